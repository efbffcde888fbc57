"""The last runs, as their manifests tell them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runner.cli.app import app
from runner.errors import UsageError
from runner.files.history import runs
from runner.project.load import load_project
from tests.support import (
    AS_OF,
    ROOT,
    Database,
    claimed_in,
    run_layer3,
    run_project,
    running,
    tiny_project,
)

FAILING = "select 1 / 0 as user_id, 'x' as name"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return tiny_project(tmp_path / "p")


def invoke(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["history", *(str(one) for one in arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_runs_are_told_newest_first_with_the_results_own_numbers(
    golden: Database, out: Path
) -> None:
    first = run_layer3(golden, out, lookback_hours="72")
    second = run_layer3(golden, out)
    newest, oldest = runs(out, "layer3-behavior")
    assert (newest.status, newest.is_published) == ("success", True)
    assert newest.metadata.as_of == AS_OF
    assert second.audience_size == 216
    for run, result in ((oldest, first), (newest, second)):
        assert run.manifest == result.metadata.manifest
        assert run.metadata.as_json() == result.as_manifest()["metadata"]
    hours = [run.metadata.parameters["lookback_hours"] for run in (oldest, newest)]
    assert hours == [72, 48]


def test_the_table_shows_sizes_seconds_and_why_a_run_failed(
    database: Database, project: Path, tmp_path: Path, out: Path
) -> None:
    run_project(project, database, out)
    run_project(tiny_project(tmp_path / "failing", people=FAILING), database, out)
    code, stdout, _ = invoke("--output-dir", out)
    assert code == 0
    head, failed, success = stdout.splitlines()
    assert head.split() == ["started", "audience", "status", "rows", "by", "type", "seconds", "target", "error"]  # fmt: skip
    assert "first 2, second 1" in success
    assert "  test" in success
    assert "failed" in failed
    assert "models/people.sql" in failed


def test_json_has_the_results_field_names(database: Database, project: Path, out: Path) -> None:
    result = run_project(project, database, out).as_json()
    code, stdout, _ = invoke("--output-dir", out, "--json")
    assert code == 0
    document = json.loads(stdout)
    assert document["broken"] == []
    (run,) = document["runs"]
    for name in ("status", "audienceSize", "error"):
        assert run[name] == result[name]
    for name in ("runId", "startedAt", "asOf", "parameters", "rowsByType", "target", "modelsHash"):
        assert run[name] == result["metadata"][name]
    assert run["manifest"] == result["metadata"]["manifest"]


def test_a_broken_manifest_is_named_and_the_others_are_told(
    database: Database, project: Path, out: Path
) -> None:
    run_project(project, database, out)
    broken = out / "tiny_20200101T000000.json"
    broken.write_text("{")
    code, stdout, _ = invoke("--output-dir", out)
    assert code == 0
    reason = "is no JSON document: EOF while parsing an object at line 1 column 1"
    assert f"broken   {broken}: {reason}" in stdout
    assert "success" in stdout
    document = json.loads(invoke("--output-dir", out, "--json")[1])
    assert document["broken"] == [{"manifest": str(broken), "error": reason}]
    assert len(document["runs"]) == len(runs(out)) == 1


@pytest.mark.parametrize("instant", ["0001-01-01T00:00:00+14:00", "2020-01-01T00:00:00", "soon"])
def test_an_instant_that_is_none_breaks_only_its_manifest(
    database: Database, project: Path, out: Path, instant: str
) -> None:
    run_project(project, database, out)
    (path,) = out.glob("tiny_*.json")
    document = json.loads(path.read_text())
    document["metadata"]["startedAt"] = instant
    path.write_text(json.dumps(document))
    code, stdout, _ = invoke("--output-dir", out)
    assert code == 0
    assert stdout.startswith(f"no runs yet\nbroken   {path}: metadata.startedAt: ")


def test_a_run_whose_process_is_gone_has_died_and_a_living_one_runs(
    database: Database, project: Path, out: Path
) -> None:
    run_project(project, database, out)
    audience = load_project(project).audience("tiny")
    with claimed_in(out, audience, AS_OF) as claim:
        claim.announce(running(out))
        assert runs(out)[-1].status == "running"
        assert runs(out)[-1].milliseconds is None
    assert runs(out)[-1].status == "died"
    assert not runs(out)[-1].is_published


def test_an_audience_and_a_limit_choose(golden: Database, project: Path, out: Path) -> None:
    for _ in range(2):
        run_project(project, golden, out)
        run_layer3(golden, out)
    assert len(runs(out)) == 4
    assert {run.name.audience for run in runs(out, "tiny")} == {"tiny"}
    assert runs(out, limit=1) == runs(out)[:1]
    assert runs(out, "tiny", limit=1) == runs(out, "tiny")[:1]
    name = "generate_layer_3_push_csvs"
    code, stdout, _ = invoke(name, "--output-dir", out, "--project-dir", ROOT, "--limit", 1, "--json")  # fmt: skip
    assert code == 0
    (run,) = json.loads(stdout)["runs"]
    assert run["audience"] == "layer3-behavior"


def test_no_folder_yet_is_no_run_yet(out: Path) -> None:
    assert runs(out) == []
    assert invoke("--output-dir", out) == (0, "no runs yet\n", "")


def test_an_unknown_audience_is_a_usage_error(out: Path) -> None:
    code, _, stderr = invoke("layer3", "--output-dir", out, "--project-dir", ROOT)
    assert code == 2
    assert "there is no audience 'layer3'" in stderr


@pytest.mark.parametrize("limit", ["0", "-1", "x"])
def test_a_limit_that_is_none_is_a_usage_error(out: Path, limit: str) -> None:
    assert invoke("--output-dir", out, "--limit", limit)[0] == 2


def test_a_file_or_a_link_where_the_folder_should_be_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(UsageError):
            runs(tmp_path / name)
        assert invoke("--output-dir", tmp_path / name)[0] == 2


def test_it_needs_no_driver(out: Path) -> None:
    import subprocess
    import sys

    program = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from runner.cli.app import app\n"
        "for command in (['history'], ['verify', '.'], ['clean', '.', '--keep-runs', '1']):\n"
        "    done = CliRunner().invoke(app, command)\n"
        "    assert done.exit_code == 0, done.output\n"
        "print([name for name in ('psycopg', 'sqlalchemy') if name in sys.modules])\n"
    )
    out.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=out,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "arguments",
    [["clean", "", "--keep-runs", "1"], ["history", "--output-dir", ""], ["verify", ""]],
)
def test_an_unset_variable_is_no_folder(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "'' is empty or not printable; give it a value" in done.stderr


@pytest.mark.parametrize("folder", ["a" * 300, "/proc/1/fd/none/there"])
def test_a_folder_that_cannot_be_is_no_traceback(folder: str) -> None:
    done = CliRunner().invoke(app, ["history", "--output-dir", folder])
    assert done.exit_code in (0, 2)
    assert done.exception is None or isinstance(done.exception, SystemExit)
