"""The funnel: what a run counts on its way to the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.errors import ProjectError
from runner.files.document import RunResult
from runner.project.load import load_project
from runner.project.targets import Target
from runner.sql.compile import compile_audience
from runner.sql.plan import Plan
from runner.sql.psql_script import psql_script
from tests.sql.test_compile import OFFLINE, psql
from tests.support import AS_OF, Database, run_project, tiny_project

SPARE = "{name: spare, type: boolean, default: false, description: x}"
LEVELS = {
    "people": "select n as user_id, 'x' as name from generate_series(1, 9) as given (n)",
    "levels": (
        "select user_id, name, case when user_id < 3 then 1 when user_id < 4 then 2 "
        "when user_id < 9 then 3 end as level,\n"
        "case when user_id < 3 then 'no_shoes' when user_id < 4 then 'no_bio' "
        "when user_id < 9 then 'stars' end as stage, user_id <> 5 as is_kept\n"
        "from {{ ref('people') }}"
    ),
    "first_file": "select user_id, name from {{ ref('levels') }} where level = 1",
    "second_file": "select user_id, name from {{ ref('levels') }} where level = 3 and is_kept",
}
LEFT_OUT = "select user_id, case when user_id = 5 then 'limit' end as reason from {{ ref('people') }} where user_id = 5"


def project_with(folder: Path, *steps: str, **models: str) -> Path:
    """The tiny audience as a waterfall, with these steps in its funnel."""
    project = tiny_project(folder, parameters=SPARE, **{**LEVELS, "left_out": LEFT_OUT, **models})
    path = project / "models" / "tiny.yml"
    document = yaml.safe_load(path.read_text())
    document["audiences"][0]["funnel"] = [yaml.safe_load(step) for step in steps]
    path.write_text(yaml.safe_dump(document))
    return project


def counted(result: RunResult) -> list[tuple[str, int, dict[str, int]]]:
    return [(one.label, one.total, one.by_kind) for one in result.metadata.funnel]


WATERFALL = (
    "{label: new users, model: people}",
    "{label: left after no_shoes, model: levels, without: {stage: [no_shoes]}}",
    "{label: left after no_bio, model: levels, without: {stage: [no_shoes, no_bio]}, by: stage}",
    "{label: kept after level 2, model: levels, without: {level: [1, 2]}, where: [is_kept]}",
    "{label: by stage, model: levels, by: stage, kinds: [stars, no_offers]}",
    "{label: left out, model: left_out, by: reason, kinds: [cooldown, limit], when: spare}",
    "{label: rows, files: true}",
)
COUNTED = [
    ("new users", 9, {}),
    # who has no stage at all is left by every step
    ("left after no_shoes", 7, {}),
    ("left after no_bio", 6, {"stars": 5}),
    ("kept after level 2", 5, {}),
    ("by stage", 9, {"stars": 5, "no_offers": 0, "no_bio": 1, "no_shoes": 2}),
    ("left out", 1, {"cooldown": 0, "limit": 1}),
    ("rows", 6, {"first": 2, "second": 4}),
]
ON = {"spare": "true"}


def without_temp(database: Database, role: str) -> Target:
    database.execute(f"revoke temp on database {database.connection.info.dbname} from public")
    return database.target(user=role, password="reader secret")


@pytest.mark.parametrize("has_temp", [True, False])
def test_a_waterfall_is_counted_step_by_step(
    database: Database, tmp_path: Path, role: str, has_temp: bool
) -> None:
    project = project_with(tmp_path / "p", *WATERFALL)
    target = database.target() if has_temp else without_temp(database, role)
    result = run_project(project, database, tmp_path / "out", parameters=ON, target=target)
    assert counted(result) == COUNTED
    assert [list(kinds) for _, _, kinds in counted(result)] == [
        list(kinds) for _, _, kinds in COUNTED
    ], "the declared kinds come first, in their order"
    dry = run_project(
        project, database, tmp_path / "dry", parameters=ON, target=target, is_dry_run=True
    )
    assert counted(dry) == COUNTED


@pytest.mark.parametrize("has_temp", [True, False])
def test_a_step_that_a_parameter_switches_off_is_0_and_reads_nothing(
    database: Database, tmp_path: Path, role: str, has_temp: bool
) -> None:
    broken = "select 1 as user_id, reason from not_there"
    project = project_with(tmp_path / "p", *WATERFALL, left_out=broken)
    target = database.target() if has_temp else without_temp(database, role)
    result = run_project(project, database, tmp_path / "out", target=target)
    assert result.status == "success", result.error
    off = ("left out", 0, {"cooldown": 0, "limit": 0})
    assert counted(result) == [off if one[0] == "left out" else one for one in COUNTED]
    plan = Plan(compile_audience(load_project(project), "tiny", {}, AS_OF), AS_OF)
    assert "left_out" not in plan.compiled.graph.models
    assert not [step for step in plan.steps if "left_out" in step.sql.text]


def test_rows_of_files_are_those_of_files_that_are_published(
    database: Database, tmp_path: Path
) -> None:
    wrong = "select 7 / (user_id - 3) as user_id, name from {{ ref('levels') }}"
    partial = run_project(
        project_with(tmp_path / "p", *WATERFALL, second_file=wrong), database, tmp_path / "out"
    )
    assert partial.status == "partial"
    assert counted(partial)[-1] == ("rows", 2, {"first": 2})
    assert partial.metadata.rows_by_type == {"first": 2}


def test_without_activity_nothing_is_counted(database: Database, tmp_path: Path) -> None:
    nobody = f"{LEVELS['people']} where n > 9"
    project = project_with(tmp_path / "p", *WATERFALL, people=nobody)
    result = run_project(project, database, tmp_path / "out")
    assert (result.status, counted(result)) == ("no_activity", [])


def test_psql_counts_the_same(database: Database, tmp_path: Path) -> None:
    compiled = compile_audience(load_project(project_with(tmp_path / "p", *WATERFALL)), "tiny", {}, AS_OF)  # fmt: skip
    done = psql(database, psql_script(Plan(compiled, AS_OF), OFFLINE), tmp_path / "psql")
    assert (done.returncode, done.stderr) == (0, "")
    heads = [line for line in done.stdout.splitlines() if line in dict.fromkeys(c[0] for c in COUNTED)]  # fmt: skip
    assert heads == [label for label, _, _ in COUNTED[:-1]]


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (["{label: x}"], "counts the rows of a model, or files: true"),
        (["{label: x, model: people, files: true}"], "not both"),
        (["{label: x, files: false}"], "files"),
        (["{label: x, files: true, by: stage}"], "takes a label only"),
        (["{label: x, files: true, when: spare}"], "takes a label only"),
        (["{label: x, model: people, kinds: [a]}"], "kinds are values of the column by"),
        (["{label: x, files: true}", "{label: y, model: people}"], "rows of files are counted last"),
        (["{label: x, model: people, when: spar}"], "'spar' is not a boolean parameter.*did you mean spare"),
        (["{label: x, model: peple}"], "no model 'peple'; did you mean people"),
        (["{label: x, model: levels, without: {stag: [a]}}"], "no column 'stag'; did you mean stage"),
        (["{label: x, model: levels, without: [a]}"], "without"),
        (["{label: x, model: levels, withot: {stage: [a]}}"], "unknown key 'withot'; did you mean without"),
    ],
)  # fmt: skip
def test_a_step_that_makes_no_sense_is_refused(
    tmp_path: Path, steps: list[str], message: str
) -> None:
    project = project_with(tmp_path, *steps)
    described: list[dict[str, Any]] = [{"name": "stage"}, {"name": "level"}]
    document = {"models": [{"name": "levels", "description": "d", "columns": described}]}
    (project / "models" / "more.yml").write_text(yaml.safe_dump(document))
    with pytest.raises(ProjectError, match=message) as caught:
        load_project(project)
    assert "models/tiny.yml:" in str(caught.value)
