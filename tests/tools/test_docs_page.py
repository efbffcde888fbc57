"""`audiences docs`: what the page tells, what it must never hold, and how it is written."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from runner.cli.app import app
from runner.errors import ProjectError
from runner.files.lock import FileLock
from runner.files.manifest import LOCK
from runner.files.names import RunName
from runner.project.load import load_project
from runner.project.yaml import read_yaml
from runner.tools.docs.page import docs_page, write_page
from tests.support import AS_OF, ROOT, published, shipped_project, tiny_project

MANIFEST: dict[str, Any] = {
    "success": True,
    "status": "success",
    "csvFiles": [],
    "audienceSize": 216,
    "executionTimeMs": 370,
    "error": None,
    "metadata": {
        "runId": "0f2ed1d4-105b-41ef-887d-ff5da1469060",
        "audience": "layer3-behavior",
        "target": "demo",
        "startedAt": "2025-11-28T12:00:00Z",
        "asOf": "2025-11-28T12:00:00Z",
        "parameters": {"lookback_hours": 48.0, "cooling_hours": 12.0},
        "modelsHash": "0" * 64,
        "rowsByType": {"offer_created": 50, "closet_add": 90, "wishlist_add": 76},
        "funnel": [
            {"label": "activities in the window", "total": 400, "byKind": {"closet_add": 400}}
        ],
    },
}


def invoke(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["docs", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def html_of(project: Path, manifests: Path) -> str:
    return docs_page(load_project(project), manifests, AS_OF).html


def manifest(folder: Path, second: int = 0, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"layer3-behavior_20251128T1200{second:02}.json"
    path.write_text(json.dumps({**MANIFEST, **changes}))
    return path


class Balance(HTMLParser):
    """Notes elements that are closed in the wrong order, or not at all."""

    VOID = ("meta", "link", "input", "wbr", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [given["id"] or ""] if "id" in given else []
        self.links += [given["href"] or ""] if tag == "a" else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if self.open.pop() != tag:
            self.wrong.append(f"{tag} at {self.getpos()}")


def balance_of(html: str) -> Balance:
    parser = Balance()
    parser.feed(html)
    parser.close()
    return parser


# What it tells


def test_the_page_is_well_formed_and_every_link_leads_somewhere(tmp_path: Path) -> None:
    manifest(tmp_path)
    found = balance_of(html_of(ROOT, tmp_path))
    assert (found.wrong, found.open) == ([], [])
    assert len(found.ids) == len(set(found.ids))
    assert {link.removeprefix("#") for link in found.links} <= set(found.ids)
    assert all(link.startswith("#") for link in found.links)


def test_every_model_source_file_parameter_and_column_is_there(tmp_path: Path) -> None:
    html = html_of(ROOT, tmp_path)
    project = load_project(ROOT)
    for name in project.models:
        assert f'id="model.{name}"' in html
        assert f'href="#model.{name}" data-key=' in html
    for source_name, table in project.sources:
        assert f'id="source.{source_name}.{table}"' in html
    audience = project.audience("layer3-behavior")
    for output in audience.outputs:
        assert f'id="file.layer3-behavior.{output.file}"' in html
    for parameter in audience.parameters:
        assert f'scope="row"><code>{parameter.name}</code>' in html
    assert "&gt; 0 and &lt;= 87600" in html
    assert "one of offer_created, closet_add, wishlist_add" in html
    assert "layer3_pushes_answer_the_window" in html
    assert "pg_temp.layer3_recent_activity" in re.sub(r"</?span[^>]*>", "", html)


def test_the_same_project_and_moment_give_the_same_page(tmp_path: Path) -> None:
    assert html_of(ROOT, tmp_path) == html_of(ROOT, tmp_path)


def test_a_model_without_readers_or_description_is_told_as_such(tmp_path: Path) -> None:
    project = tiny_project(tmp_path / "p", lonely="select {{ var('nowhere') }} as one")
    html = html_of(project, tmp_path)
    assert "read by no audience" in html
    assert "no audience reads this model, so it is not compiled" in html
    assert "No manifest of a run was found" in html


def test_a_project_without_audiences_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "one.sql").write_text("select 1 as one")
    assert "No audience" in html_of(tmp_path, tmp_path)


def test_a_column_that_only_the_sql_has_is_listed(tmp_path: Path) -> None:
    assert '<th role="rowheader" scope="row"><code>user_id</code>' in html_of(
        tiny_project(tmp_path / "p"), tmp_path
    )


UNIT_TESTS = """
unit_tests:
  - name: names_are_kept
    model: people
    description: A <b> name.
    overrides: {vars: {flag: true}, macros: {run_started_at: "2025-11-28 12:00:00+00:00"}}
    given:
      - {input: ref('other'), rows: [{user_id: 1, name: null}, {user_id: 2, more: "<x>"}]}
      - {input: ref('third'), format: csv, rows: "a,b"}
      - {input: ref('empty'), rows: []}
    expect: {rows: [{user_id: 1, name: one}]}
  - {name: of_another_model, model: first_file, given: [], expect: {rows: []}}
"""


def test_unit_cases_are_told_with_their_rows(tmp_path: Path) -> None:
    (tmp_path / "cases.yml").write_text(UNIT_TESTS)
    document = read_yaml(tmp_path / "cases.yml", Path("cases.yml"), ProjectError)
    project = load_project(tiny_project(tmp_path / "p"))
    project = replace(project, documents=(*project.documents, document))
    html = docs_page(project, tmp_path, AS_OF).html
    people = html.split('<article class="model" id="model.people"')[1].split("</article>")[0]
    assert "<code>names_are_kept</code>" in people
    assert "of_another_model" not in people
    assert "<code>flag</code> = <code>true</code>" in people
    assert (
        "<tr><td>1</td><td>null</td><td></td></tr><tr><td>2</td><td></td><td>&lt;x&gt;</td></tr>"
        in people
    )
    assert "<code>a,b</code>" in people
    assert "no rows" in people
    assert "A &lt;b&gt; name." in people
    assert balance_of(html).wrong == []


# What it must never hold


def test_whatever_the_project_says_is_text(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    project = tiny_project(
        tmp_path / "p", people=f"-- {bad}\nselect 1 as user_id, '{bad}'::text as name"
    )
    (project / "models" / "more.yml").write_text(
        json.dumps(
            {
                "sources": [{"name": bad, "tables": [{"name": bad, "columns": [{"name": bad}]}]}],
                "models": [{"name": "people", "description": bad}],
            }
        )
    )
    page = docs_page(load_project(project), tmp_path, AS_OF).html
    assert page.count("<script>") == 1
    assert "<img" not in page
    assert "&lt;script&gt;" in page
    assert balance_of(page).wrong == []


def test_whatever_a_manifest_says_is_text(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>"
    manifest(
        tmp_path,
        metadata={
            **MANIFEST["metadata"],
            "target": bad,
            "rowsByType": {bad: 3},
            "funnel": [{"label": bad, "total": 3, "byKind": {bad: 3}}],
        },
    )
    html = html_of(ROOT, tmp_path)
    assert html.count("<script>") == 1
    assert "&lt;script&gt;alert(1)" in html


def test_the_page_names_no_other_place_and_no_test_user(tmp_path: Path) -> None:
    manifest(tmp_path, error="Key (user_id)=(4711) is there twice", success=False, status="failed")
    html = html_of(ROOT, tmp_path)
    assert "http:" not in html
    assert "https:" not in html
    assert set(re.findall(r"url\(([^)]*)\)", html)) == {"#arrow", "#arrow-on"}
    assert "0e54067c" not in html
    assert "4711" not in html
    assert str(ROOT) not in html


# Past runs


def test_past_runs_are_told_with_funnel_sizes_and_times(tmp_path: Path) -> None:
    manifest(tmp_path)
    later = {**MANIFEST["metadata"], "startedAt": "2025-11-29T12:00:00+02:00"}
    manifest(tmp_path, 1, executionTimeMs=61_000, status="partial", metadata=later)
    html = html_of(ROOT, tmp_path)
    assert "2 runs, oldest on the left: 2025-11-28 12:00 to 2025-11-29 10:00 UTC." in html
    assert "activities in the window" in html
    assert "2025-11-28 12:00: 90 rows" in html
    assert "1 min 1 s" in html
    assert "another version than on this page" in html


def test_a_run_that_is_still_running_has_no_sizes_yet_and_one_whose_process_is_gone_has_died(
    tmp_path: Path,
) -> None:
    path = manifest(tmp_path, status="running", audienceSize=0)
    run = RunName.from_manifest(path.name)
    assert run is not None
    staging = tmp_path / run.staging
    staging.mkdir()
    with FileLock(staging / LOCK) as lock:
        lock.acquire()
        html = html_of(ROOT, tmp_path)
    assert '<td>running</td><td class="number">\N{EN DASH}</td>' in html
    assert "not known" in html
    assert "<td>died</td>" in html_of(ROOT, tmp_path)


BROKEN = "layer3-behavior_20251128T110000.json"


def test_page_and_stderr_note_what_was_skipped(tmp_path: Path) -> None:
    manifest(tmp_path)
    (tmp_path / BROKEN).write_text("[]")
    code, stdout, stderr = invoke(
        "--to", tmp_path / "page.html", "--output-dir", tmp_path, "--project-dir", ROOT
    )
    assert code == 0
    assert "1 past runs" in stdout
    assert stderr == f"note: {BROKEN} is skipped: is no JSON object\n"
    html = (tmp_path / "page.html").read_text()
    assert f"<code>{BROKEN}</code> is no JSON object" in html


def test_what_is_no_file_is_skipped_too(tmp_path: Path) -> None:
    (tmp_path / "layer3-behavior_20251128T110001.json").mkdir()
    os.mkfifo(tmp_path / "layer3-behavior_20251128T110002.json")
    (tmp_path / "layer3-behavior_20251128T110003.json").symlink_to(tmp_path / "nowhere")
    page = docs_page(load_project(ROOT), tmp_path, AS_OF)
    assert len(page.notes) == 3
    assert all("is skipped: cannot be read: " in note for note in page.notes)


def test_a_folder_that_cannot_be_read_is_noted_and_one_behind_a_link_is_read(
    tmp_path: Path,
) -> None:
    manifest(tmp_path / "runs")
    (tmp_path / "link").symlink_to("runs")
    (tmp_path / "file").touch()
    project = load_project(ROOT)
    assert "1 past runs" in docs_page(project, tmp_path / "link", AS_OF).summary
    assert docs_page(project, tmp_path / "none", AS_OF).notes == []
    (note,) = docs_page(project, tmp_path / "file", AS_OF).notes
    assert note == "file is skipped: cannot be read: Not a directory"


def test_only_the_newest_runs_are_read(tmp_path: Path) -> None:
    for number in range(103):
        name = f"layer3-behavior_20251128T12{number // 60:02}{number % 60:02}.json"
        (tmp_path / name).write_text(json.dumps(MANIFEST))
    assert "3 older runs are not shown" in html_of(ROOT, tmp_path)


# How it is written


def test_others_may_read_the_page_where_the_umask_lets_them(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_page("page", tmp_path / "page.html")
    finally:
        os.umask(before)
    assert (tmp_path / "page.html").stat().st_mode & 0o777 == 0o640


def test_the_command_says_what_it_wrote_and_replaces_the_page(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "page.html"
    options = ["--to", target, "--project-dir", ROOT, "--output-dir", tmp_path / "none"]
    assert invoke(*options)[0] == 0
    target.write_text("old")
    code, stdout, stderr = invoke(*options)
    assert (code, stderr) == (0, "")
    assert stdout.startswith(f"{target}: 51 models, 14 source tables, 10 files, 0 past runs, ")
    assert target.read_text().startswith("<!DOCTYPE html>")
    assert published(target.parent) == ["page.html"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("taken", "the page is written only to a file whose name ends in .html or .htm"),
        ("taken.html", "cannot be written: Is a directory; choose another file with --to"),
        (
            "file.txt/page.html",
            "cannot be written: its folder is a file; choose another",
        ),
        ("x" * 300 + ".html", "cannot be written: File name too long; choose another file with"),
    ],
)
def test_a_target_that_cannot_be_written_is_one_line(
    tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "taken.html").mkdir()
    (tmp_path / "file.txt").write_text("mine")
    before = published(tmp_path)
    code, stdout, stderr = invoke("--to", tmp_path / name, "--project-dir", ROOT)
    assert code == (1 if name.endswith(".html") else 2)
    assert stdout == ""
    assert stderr.startswith(f"error: {tmp_path / name}: {message}")
    assert stderr.count("\n") == 1
    assert published(tmp_path) == before


@pytest.mark.parametrize("target", ["", " ", "/dev/full", "/dev/null", "models/sources.yml"])
def test_nothing_but_an_html_file_is_replaced(tmp_path: Path, target: str) -> None:
    project = shipped_project(tmp_path / "p")
    place = project / target if target.startswith("models") else target
    code, _, stderr = invoke("--to", place, "--project-dir", project)
    assert code == 2
    assert stderr.count("\n") == 1
    assert (project / "models" / "sources.yml").read_text().startswith("# yaml-language-server")


def test_a_full_disk_leaves_the_old_page_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target = tmp_path / "page.html"
    target.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    code, _, stderr = invoke("--to", target, "--project-dir", ROOT)
    assert code == 1
    assert stderr.startswith(f"error: {target}: cannot be written: No space left on device")
    assert target.read_text() == "old"
    assert published(tmp_path) == ["page.html"]


def test_a_link_to_a_device_is_replaced_and_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    target.symlink_to("/dev/full")
    assert invoke("--to", target, "--project-dir", ROOT)[0] == 0
    assert target.is_file()
    assert not target.is_symlink()


def test_a_project_with_an_error_has_no_page(tmp_path: Path) -> None:
    project = tiny_project(tmp_path / "p", people="select {{ nope }}")
    code, _, stderr = invoke("--to", tmp_path / "page.html", "--project-dir", project)
    assert code == 2
    assert "models/people.sql:1" in stderr
    assert not (tmp_path / "page.html").exists()


def test_the_page_is_made_without_driver_database_or_graph_library_at_start(tmp_path: Path) -> None:
    """And nothing of what docs needs is imported by a command that does not need it."""
    script = (
        "import sys; from runner.cli.app import app\n"
        "early = {'sqlglot', 'graphlay', 'pygments.lexers.sql'} & set(sys.modules)\n"
        f"code = app(['docs', '--to', {str(tmp_path / 'page.html')!r}, '--project-dir', {str(ROOT)!r}], "
        "standalone_mode=False)\n"
        "print(sorted(early), sorted({'psycopg', 'sqlalchemy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1] == "[] []", done.stderr


def test_without_graphlay_the_command_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "graphlay", None)
    code, _, stderr = invoke("--to", tmp_path / "page.html", "--project-dir", ROOT)
    assert code == 2
    assert stderr == (
        "error: drawing the models needs graphlay, which is not installed; "
        "pip install 'push-audiences[docs]'\n"
    )
