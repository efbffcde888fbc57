"""Size guards: a file whose size jumps is not published, unless somebody gives a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from runner.cli.app import app
from runner.errors import ProjectError
from runner.files.document import RunResult
from runner.files.history import runs
from runner.project.audience import SizeGuard
from runner.project.load import load_project
from runner.runs.size_guards import what_is_wrong
from tests.support import Database, csv_files, run_project, tiny_project

SIZES = """
select n as user_id, 'name' as name
from generate_series(1, (select many from sizes where file = '{file}')) as given (n)
"""
FIRST = SIZES.format(file="first")
SECOND = SIZES.format(file="second").replace("select n as", "select n + 1000000 as")

Make = Callable[..., RunResult]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Two files whose sizes are what the table `sizes` says."""
    people = "select 1 as user_id, 'x' as name"
    return tiny_project(tmp_path / "p", people=people, first_file=FIRST, second_file=SECOND)


@pytest.fixture
def make(database: Database, project: Path, tmp_path: Path) -> Make:
    database.execute("create table sizes (file text, many integer)")

    def run(first: int, second: int = 100, **settings: Any) -> RunResult:
        database.execute("truncate sizes")
        database.execute(f"insert into sizes values ('first', {first}), ('second', {second})")
        return run_project(project, database, tmp_path / "out", **settings)

    return run


def guarded(project: Path, guard: str) -> None:
    path = project / "models" / "tiny.yml"
    text = path.read_text()
    path.write_text(text.replace("file: first,", f"file: first, size_guard: {guard},"))


def verdicts(result: RunResult) -> dict[str, str]:
    told = result.as_json()["metadata"]["sizeGuards"]
    return {one["audienceType"]: one["verdict"] for one in told}


def test_ten_runs_are_the_measure_for_doubled_emptied_and_usual(make: Make, tmp_path: Path) -> None:
    for n in range(10):
        assert make(95 + n).status == "success"
    doubled = make(200)
    assert (doubled.status, doubled.exit_code) == ("partial", 3)
    assert verdicts(doubled) == {"first": "stop", "second": "pass"}
    (failure,) = doubled.metadata.errors
    assert failure.message == (
        "models/tiny.yml:8: size guard of first: 200 rows against a median of 99.5 (2.01 times) in "
        "the last 10 published runs with these parameters; 50 to 149 are let through; if this "
        'size is right, publish it once with --accept-size "reason"; size_guard: of the output sets '
        "the bounds"
    )
    assert [file.audience_type for file in doubled.csv_files] == ["second", "second"]
    emptied = make(0)
    assert (emptied.exit_code, verdicts(emptied)["first"]) == (3, "stop")
    usual = make(110)
    assert (usual.status, verdicts(usual)) == ("success", {"first": "pass", "second": "pass"})
    stopped = [run for run in runs(tmp_path / "out", "tiny") if run.status == "partial"]
    assert [run.metadata.rows_by_type for run in stopped] == [{"second": 100}, {"second": 100}]


def test_all_files_stopped_publish_nothing_and_move_no_pointer(make: Make, tmp_path: Path) -> None:
    make(100, 100)
    before = (tmp_path / "out" / "tiny.latest.json").read_bytes()
    names = csv_files(tmp_path / "out")
    result = make(300, 300)
    assert (result.status, result.exit_code) == ("failed", 1)
    assert csv_files(tmp_path / "out") == names
    assert (tmp_path / "out" / "tiny.latest.json").read_bytes() == before


def test_an_accepted_size_is_published_with_its_reason_and_is_the_new_measure(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        make(100)
    result = make(300, accepted_size="autumn campaign")
    assert (result.status, verdicts(result)["first"]) == ("success", "accepted")
    assert "size guard of first passed over: 300 rows against a median of 100" in caplog.text
    newest = max((tmp_path / "out").glob("tiny_2*.json"))
    assert json.loads(newest.read_text())["metadata"]["acceptedSize"] == "autumn campaign"
    assert runs(tmp_path / "out", "tiny")[0].metadata.accepted_size == "autumn campaign"
    assert make(310).status == "success"
    assert verdicts(make(100))["first"] == "stop"


def test_runs_with_other_parameters_and_dry_runs_are_no_measure(
    make: Make, project: Path, tmp_path: Path
) -> None:
    path = project / "models" / "tiny.yml"
    parameter = "[{name: days, type: integer, default: 1, description: days}]"
    path.write_text(path.read_text().replace("parameters: []", f"parameters: {parameter}"))
    make(100, parameters={"days": "2"})
    make(100, is_dry_run=True)
    assert make(900).status == "success"
    assert verdicts(make(100, parameters={"days": "2"}))["first"] == "pass"


def test_a_dry_run_tells_what_would_be_stopped(make: Make) -> None:
    make(100)
    assert (make(300, is_dry_run=True).exit_code, make(110, is_dry_run=True).exit_code) == (3, 0)


@pytest.mark.parametrize(
    ("guard", "rows", "reason"),
    [
        ("{minimum_rows: 5}", 4, "4 rows are fewer than minimum_rows, 5"),
        ("{minimum_rows: 5}", 5, None),
        ("{maximum_rows: 5}", 6, "6 rows are more than maximum_rows, 5"),
        ("{maximum_rows: 5}", 5, None),
        ("false", 100_000, None),
    ],
)
def test_bounds_hold_from_the_first_run(
    make: Make, project: Path, guard: str, rows: int, reason: str | None
) -> None:
    guarded(project, guard)
    result = make(rows)
    assert result.exit_code == (3 if reason else 0)
    assert (reason or "") in (result.error or "")


def test_a_guard_is_off_only_by_saying_so(make: Make, project: Path) -> None:
    guarded(project, "false")
    make(100, 100)
    result = make(5000, 100)
    assert (result.status, verdicts(result)) == ("success", {"first": "off", "second": "pass"})
    assert make(5000, 5000).exit_code == 3


@pytest.mark.parametrize(
    ("guard", "message"),
    [
        ("{minimum_rows: -1}", "greater than or equal to 0"),
        ("{maximum_rows: 1, minimum_rows: 2}", "maximum_rows is less than minimum_rows"),
        ("{change_percent: 0}", "greater than 0"),
        ("{runs: 0}", "greater than or equal to 1"),
        ("{minimum: 1}", "unknown key 'minimum'; did you mean minimum_rows"),
        ("true", "models/tiny.yml:8"),
    ],
)
def test_a_malformed_guard_is_refused(project: Path, guard: str, message: str) -> None:
    guarded(project, guard)
    with pytest.raises(ProjectError) as caught:
        load_project(project)
    assert message in str(caught.value)


def test_an_accepted_size_needs_a_reason(database: Database, project: Path, tmp_path: Path) -> None:
    profile = str(database.profile(tmp_path / "profile"))
    options = ["--project-dir", str(project), "--profiles-dir", profile]
    done = CliRunner().invoke(app, ["run", "tiny", *options, "--accept-size", " "])
    assert (done.exit_code, done.stderr) == (
        2,
        "error: --accept-size ' ' is empty or not printable; give it a value\n",
    )


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=10), st.integers(0, 10**6))
def test_what_is_let_through_lies_within_the_change_or_the_slack(
    past: list[int], rows: int
) -> None:
    usual = (
        sorted(past)[len(past) // 2]
        if len(past) % 2
        else sum(sorted(past)[len(past) // 2 - 1 :][:2]) / 2
    )
    is_stopped = what_is_wrong(SizeGuard(), rows, tuple(past)) is not None
    assert is_stopped is (abs(rows - usual) > max(usual / 2, 20))
