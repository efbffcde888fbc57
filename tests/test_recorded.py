"""Every JSON document that a command prints or writes has the keys and types that were recorded.

Programs read these documents, so a key that goes, comes or changes its type shows here. What was
changed on purpose is listed in INTENDED with its reason. To record anew, empty that list and run

    AUDIENCES_RECORD=1 pytest tests/test_recorded.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_commands import command, invoke
from tests.support import GOLDEN, ROOT, Database, tiny_project

DOCUMENTS = Path(__file__).parent / "recorded" / "documents"
IS_RECORDING = os.environ.get("AUDIENCES_RECORD") == "1"
AS_OF = ("--as-of", "2025-11-28T12:00:00Z")

Shape = dict[str, str]
Documents = Iterator[tuple[str, Any]]


@dataclass(frozen=True)
class Change:
    """Keys that came (`+`) or went (`-`) on purpose, in which documents, and why. A key whose type
    changed is both."""

    documents: tuple[str, ...]
    lines: tuple[str, ...]
    reason: str


WITHOUT_HYPOPG = "explain no longer creates hypothetical indexes with the extension hypopg"
INTENDED = (
    Change(
        ("explain-planned", "explain-analyzed", "explain-advice", "explain-without-temp"),
        ("- hypopg: boolean",),
        WITHOUT_HYPOPG,
    ),
    Change(
        ("explain-advice",),
        ("- advice[].plannerWouldUseIt: null", "- advice[].uses[].costWithIndex: null"),
        WITHOUT_HYPOPG,
    ),
    Change(
        ("list-audiences",),
        ("+ [].outputs[].placeholders: object",),
        "an output may have placeholders of its own for its test row",
    ),
)

OPAQUE = ("steps[].plan", "$defs", "properties", "[].outputs[].placeholders")
"""A plan is what PostgreSQL makes of the models, a JSON schema grows with each YAML key, and
placeholders are named after the columns of files."""
COLUMNS_OF_MODELS = (
    "users[].outside[].row",
    "users[].steps[].rows[]",
    "users[].steps[].leftOut[]",
)
"""Rows whose keys are columns of models, which analysts change."""


# Shapes


def shape(document: Any) -> Shape:
    """For each key's path the JSON types of its values. A list's elements are taken together; a
    key that only some of them have is also `absent`."""
    types: dict[str, set[str]] = defaultdict(set)
    _collect(document, "", types)
    return {path or ".": " or ".join(sorted(types[path])) for path in sorted(types)}


def _collect(value: Any, path: str, types: dict[str, set[str]]) -> None:
    types[path].add(_json_type(value))
    if path in OPAQUE:
        return
    if isinstance(value, dict):
        for key, below in value.items():
            name = "*" if path in COLUMNS_OF_MODELS else key
            _collect(below, f"{path}.{name}" if path else name, types)
    elif isinstance(value, list):
        objects = [one for one in value if isinstance(one, dict)]
        for one in value:
            _collect(one, f"{path}[]", types)
        if f"{path}[]" not in COLUMNS_OF_MODELS:
            for key in {key for one in objects for key in one}:
                if not all(key in one for one in objects):
                    types[f"{path}[].{key}"].add("absent")


def _json_type(value: Any) -> str:
    names = {dict: "object", list: "array", str: "string", type(None): "null"}
    return names.get(type(value)) or {bool: "boolean", int: "integer", float: "number"}[type(value)]


# Documents, by command


@dataclass(frozen=True)
class World:
    """The golden data, a folder to write into, and the commands."""

    golden: Database
    folder: Path
    role: str

    def target(self, project: Path = ROOT, **settings: Any) -> list[object]:
        profile = self.golden.profile(self.folder / "profile", **settings)
        return ["--project-dir", project, "--profiles-dir", profile]

    def target_without_temp(self) -> list[object]:
        """The same data for a role that may create no temp table."""
        self.golden.execute(f"grant select on all tables in schema public to {self.role}")
        name = self.golden.value("select current_database()")
        self.golden.execute(f'revoke temp on database "{name}" from public')
        return self.target(user=self.role, password="reader secret")

    def tiny(self, name: str, yaml: str = "", **models: str) -> Path:
        """A project of three small models, with one more YAML file."""
        project = tiny_project(self.folder / name, **models)
        (project / "models" / "more.yml").write_text(yaml)
        return project

    def layer3(self, name: str = "out", *arguments: object, code: int = 0) -> Any:
        """A run of the shipped audience into a folder of its own."""
        where = [*self.target(), "--output-dir", self.folder / name]
        return ask("run", "layer3-behavior", *where, *arguments, code=code)


def ask(*arguments: object, code: int = 0) -> Any:
    """The document that a command prints with --json; it must end with this exit code."""
    found, stdout, stderr = invoke(*arguments, "--json")
    assert found == code, stderr
    return json.loads(stdout)


FAILS = "select *, 1 / (user_id - 3) as x from {{ ref('people') }}"
FAILING_TESTS = """
models:
  - name: second_file
    description: One row per person of the second file.
    columns:
      - {name: user_id, description: who}
      - name: name
        description: what they are called
        data_tests:
          - accepted_values: {arguments: {values: [name 4]}}
          - not_null
"""


def run_documents(world: World) -> Documents:
    where = [*world.target(), "--output-dir", world.folder / "out"]
    yield "dry-run", world.layer3("out", *AS_OF, "--dry-run")
    yield "no-activity", world.layer3("none", "--as-of", "2001-01-01T00:00:00Z")
    code, stdout, stderr = invoke(
        "run", "layer3-behavior", *where, *AS_OF, "--json", "--log-format", "json"
    )
    assert code == 0, stderr
    yield "success", json.loads(stdout)
    (manifest,) = (world.folder / "out").glob("layer3-behavior_*.json")
    yield "manifest", json.loads(manifest.read_text())
    pointer = world.folder / "out" / "layer3-behavior.latest.json"
    yield "pointer", json.loads(pointer.read_text())
    events: dict[str, list[Any]] = defaultdict(list)
    for line in stderr.splitlines():
        event = json.loads(line)
        events[event["event"]].append(event)
    yield "log", dict(events)
    yield "usage-error", world.layer3("out", "--var", "nope=1", code=2)
    yield "sizes-accepted", world.layer3("out", *AS_OF, "--accept-size", "checked by hand")
    without_temp = ["--output-dir", world.folder / "temp", *world.target_without_temp()]
    yield "without-temp", ask("run", "layer3-behavior", *without_temp, *AS_OF)
    yield from _ends_of_tiny_runs(world)
    world.golden.execute("alter table products rename to goods")
    yield "failed", world.layer3("out", *AS_OF, code=1)
    nowhere = world.target(dbname="nowhere")
    yield "no-database", ask("run", "layer3-behavior", *nowhere, *AS_OF, code=1)


def _ends_of_tiny_runs(world: World) -> Documents:
    def tiny(project: Path, code: int) -> Any:
        where = ["--output-dir", project / "out"]
        return ask("run", "tiny", *world.target(project), *where, *AS_OF, code=code)

    yield "partial", tiny(world.tiny("partial", second_file=FAILS), 3)
    yield "failed-test", tiny(world.tiny("failing", FAILING_TESTS), 3)
    guarded = world.tiny("guarded")
    path = guarded / "models" / "tiny.yml"
    text = path.read_text()
    path.write_text(text.replace("file: first,", "file: first, size_guard: {minimum_rows: 9},"))
    yield "size-guard", tiny(guarded, 3)
    yield from _old_engine(world)
    yield from _two_at_once(world)


def _old_engine(world: World) -> Documents:
    project = world.tiny("old")
    (project / "old.py").write_text(
        "import pathlib, sys\n"
        "for name in ('first', 'first_TEST', 'second', 'second_TEST'):\n"
        "    path = pathlib.Path(sys.argv[1]) / f'{name}_20251128_120000.csv'\n"
        "    path.write_bytes(b'user_id,name\\r\\n1,Ann\\r\\n')\n"
    )
    with (project / "models" / "tiny.yml").open("a") as file:
        words = json.dumps([sys.executable, "old.py", "{output_dir}"])
        file.write(f"    legacy: {{command: {words}, timeout: 30s}}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOMATION_ENGINE_VERSION", "v1")
        where = [*world.target(project), "--output-dir", project / "out"]
        yield "old-engine", ask("run", "tiny", *where)


def _two_at_once(world: World) -> Documents:
    """One run is ended by a signal while another finds it at work."""
    slow = "select n as user_id, pg_sleep(60)::text as name from generate_series(1, 3) as g (n)"
    project = world.tiny("slow", people=slow)
    arguments = ["run", "tiny", *world.target(project), "--output-dir", project / "out"]
    first = subprocess.Popen(
        command(*arguments, "--json", "-q"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    active = "select count(*) from pg_stat_activity where datname = current_database() and state = 'active' and query like '%pg_sleep(60)%' and pid <> pg_backend_pid()"
    while not world.golden.value(active) and first.poll() is None:
        time.sleep(0.05)
    yield "locked", ask(*arguments, code=4)
    first.terminate()
    stdout, stderr = first.communicate(timeout=60)
    assert first.returncode == 143, stderr
    yield "terminated", json.loads(stdout)


def list_documents(world: World) -> Documents:
    yield "audiences", ask("list", "--project-dir", ROOT)
    yield "usage-error", ask("list", "--project-dir", world.folder, code=2)


def check_documents(world: World) -> Documents:
    yield "valid", ask("check", *world.target())
    world.golden.execute("drop table offer_items")
    world.golden.execute("alter table users rename first_name to given_name")
    yield "invalid", ask("check", *world.target(), code=1)
    yield "usage-error", ask("check", *world.target(), "--target", "nope", code=2)


def show_documents(world: World) -> Documents:
    shown = ["--limit", 3, *world.target(), *AS_OF]
    yield "masked", ask("show", "layer3_prioritized", *shown)
    yield "unmasked", ask("show", "layer3_closet_adders", "--unmask", *shown)
    yield "usage-error", ask("show", "nope", *shown, code=2)


def data_test_documents(world: World) -> Documents:
    yield "passed", ask("test", "layer3-behavior", *world.target(), *AS_OF)
    failing = world.target(world.tiny("failing", FAILING_TESTS))
    yield "failed", ask("test", "tiny", *failing, code=1)
    yield "failed-rows", ask("test", "tiny", *failing, "--show-rows", code=1)
    yield "usage-error", ask("test", *failing, code=2)
    yield "without-temp", ask("test", "layer3-behavior", *world.target_without_temp(), *AS_OF)


PASSING_CASE = """
unit_tests:
  - name: passes
    model: first_file
    given: [{input: ref('people'), rows: [{user_id: 1, name: a}]}]
    expect: {rows: [{user_id: 1, name: a}]}
"""
OTHER_CASES = """
  - name: fails
    model: first_file
    given: [{input: ref('people'), rows: [{user_id: 1, name: a}, {user_id: 2, name: b}]}]
    expect: {rows: [{user_id: 1, name: c}, {user_id: 9, name: b}]}
  - name: cannot_run
    model: second_file
    given: [{input: ref('people'), rows: [{user_id: 3, name: a}]}]
    expect: {rows: []}
"""


def unit_documents(world: World) -> Documents:
    chosen = ["--select", "stg_users", "--select", "layer3_candidates"]
    yield "shipped", ask("test", "--unit", *world.target(), *chosen)
    failing = world.tiny("units", PASSING_CASE + OTHER_CASES, second_file=FAILS)
    yield "failed", ask("test", "--unit", *world.target(failing), code=1)
    passing = world.tiny("mutations", PASSING_CASE)
    chosen = ["--mutate", "--select", "first_file"]
    yield "mutations", ask("test", "--unit", *chosen, *world.target(passing), code=1)


def explain_documents(world: World) -> Documents:
    yield "planned", ask("explain", "layer3-behavior", *world.target(), *AS_OF)
    yield "analyzed", ask("explain", "layer3-behavior", *world.target(), *AS_OF, "--analyze")
    visits = "select n as visit_id, n % 50000 as visitor from generate_series(1, 300000) as g (n)"
    world.golden.execute(f"create table visits as {visits}")
    world.golden.execute("analyze visits")
    visited = "select people.user_id, people.name from {{ ref('people') }} as people inner join {{ source('app', 'visits') }} as visits on people.user_id = visits.visitor"
    source = "sources: [{name: app, tables: [{name: visits, columns: [{name: visitor}]}]}]"
    project = world.tiny("visited", source, first_file=visited)
    yield "advice", ask("explain", "tiny", *world.target(project), "--analyze")
    yield "usage-error", ask("explain", "nope", *world.target(), code=2)
    without_temp = [*world.target_without_temp(), *AS_OF, "--analyze"]
    yield "without-temp", ask("explain", "layer3-behavior", *without_temp)


def trace_documents(world: World) -> Documents:
    users = [row[0] for row in world.golden.execute("select id from users order by id limit 300")]
    unknown = "00000000-0000-0000-0000-000000000007"
    yield "users", ask("trace", "layer3-behavior", *users, unknown, *world.target(), *AS_OF)
    more = ["--var", "require_complete_profile=true", "--unmask"]
    yield "unmasked", ask("trace", "layer3-behavior", *users, *world.target(), *AS_OF, *more)
    yield "usage-error", ask("trace", "layer3-behavior", "nobody", *world.target(), code=2)


def compare_documents(world: World) -> Documents:
    recorded = DOCUMENTS.parent / "manifests"
    where = ["--project-dir", ROOT]
    yield "equal", ask("compare", recorded, recorded, "--test-files", *where)
    world.layer3("out", *AS_OF, "--var", "lookback_hours=72", "--cooling-hours", "24")
    case = GOLDEN / "layer3_behavior" / "lookback_48_cooling_12"
    more = ["--show-users", 2, "--ignore", "lastActive", *where]
    yield "different", ask("compare", case, world.folder / "out", *more, code=1)
    yield "usage-error", ask("compare", recorded, world.folder / "nowhere", code=2)


def history_documents(world: World) -> Documents:
    yield "empty", ask("history", "--output-dir", world.folder / "nowhere")
    world.layer3("out", *AS_OF)
    world.golden.execute("alter table products rename to goods")
    world.layer3("out", *AS_OF, code=1)
    (world.folder / "out" / "layer3-behavior_20200101T000000.json").write_text("{}")
    yield "runs", ask("history", "--output-dir", world.folder / "out")
    where = ["--project-dir", ROOT]
    yield "usage-error", ask("history", "nope", *where, code=2)


def verify_documents(world: World) -> Documents:
    world.layer3("out", *AS_OF)
    yield "valid", ask("verify", world.folder / "out")
    next((world.folder / "out").glob("*.csv")).unlink()
    yield "invalid", ask("verify", world.folder / "out", code=1)
    yield "usage-error", ask("verify", world.folder / "nowhere", code=2)


def clean_documents(world: World) -> Documents:
    where = [world.folder / "out", "--project-dir", ROOT, "--keep-runs", 1]
    world.layer3("out", *AS_OF)
    world.layer3("out", *AS_OF)
    yield "dry-run", ask("clean", *where, "--dry-run")
    yield "removed", ask("clean", *where)
    yield "usage-error", ask("clean", *where, "--audience", "nope", code=2)


def schema_documents(world: World) -> Documents:
    code, _, stderr = invoke("schema", "--project-dir", ROOT, "--to", world.folder / "schemas")
    assert code == 0, stderr
    for path in sorted((world.folder / "schemas").iterdir()):
        yield path.stem, json.loads(path.read_text())


BY_COMMAND: dict[str, Callable[[World], Documents]] = {
    "run": run_documents,
    "list": list_documents,
    "check": check_documents,
    "show": show_documents,
    "test": data_test_documents,
    "unit": unit_documents,
    "explain": explain_documents,
    "trace": trace_documents,
    "compare": compare_documents,
    "history": history_documents,
    "verify": verify_documents,
    "clean": clean_documents,
    "schema": schema_documents,
}


@pytest.mark.parametrize("name", BY_COMMAND)
def test_documents_have_the_recorded_keys_and_types(
    name: str, golden: Database, role: str, tmp_path: Path
) -> None:
    world = World(golden, tmp_path, role)
    made = {f"{name}-{case}": shape(one) for case, one in BY_COMMAND[name](world)}
    if IS_RECORDING:
        for document, types in made.items():
            (DOCUMENTS / f"{document}.json").write_text(json.dumps(types, indent=0) + "\n")
    recorded = {path.stem: json.loads(path.read_text()) for path in DOCUMENTS.glob(f"{name}-*")}
    assert set(made) == set(recorded)
    differences = {
        f"{document} {sign} {path}: {types}"
        for document in made
        for sign, paths in (
            ("-", recorded[document].items() - made[document].items()),
            ("+", made[document].items() - recorded[document].items()),
        )
        for path, types in paths
    }
    intended = {
        f"{document} {line}"
        for change in INTENDED
        for document in change.documents
        for line in change.lines
        if document in made
    }
    assert "\n".join(sorted(differences)) == "\n".join(sorted(intended))


def test_a_key_that_some_elements_lack_or_that_changes_its_type_is_seen() -> None:
    one = shape({"a": [{"b": 1, "c": None}, {"b": 1.5}], "d": []})
    assert one == {
        ".": "object",
        "a": "array",
        "a[]": "object",
        "a[].b": "integer or number",
        "a[].c": "absent or null",
        "d": "array",
    }
