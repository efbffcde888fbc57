"""The run document is read as it was written, by every version; what is none is one clear error."""

from __future__ import annotations

import json
import shutil
import warnings
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from runner.cli.app import app
from runner.errors import Location
from runner.files.clean import clean
from runner.files.document import (
    BrokenManifest,
    Metadata,
    Pointer,
    RunIdentity,
    RunResult,
    TypeFailure,
    failure_json,
    parsed,
)
from runner.files.history import read_history, runs
from runner.files.manifest import LONGEST_DOCUMENT
from runner.files.names import RunName
from runner.files.verify import verify
from tests.support import (
    AS_OF,
    RECORDED_MANIFESTS,
    Database,
    manifests,
    published,
    run_layer3,
    run_project,
    tiny_project,
)

IDENTITY = RunIdentity(
    run_id="1",
    audience="tiny",
    target="test",
    started_at=AS_OF,
    as_of=AS_OF,
    parameters={"hours": 48.0},
    models_hash="0" * 64,
)
METADATA = Metadata(**dict(IDENTITY), rows_by_type={"first": 2})
RECORDED = sorted(RECORDED_MANIFESTS.glob("layer3-behavior_*.json"))
NAME = "tiny_20200101T000000.json"
ARABIC = "20200101T000000".translate({ord("0") + n: 0x660 + n for n in range(10)})


def document(**changes: Any) -> dict[str, Any]:
    """A manifest of no file, changed at the top or, as `metadata__key`, below it."""
    made = RunResult.of("success", METADATA, execution_time_ms=7).as_manifest()
    for key, value in changes.items():
        below, _, name = key.rpartition("__")
        (made[below] if below else made)[name] = value
    return made


def invoke(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.output


# Written and read


def test_what_a_run_wrote_is_what_is_read(golden: Database, tmp_path: Path) -> None:
    result = run_layer3(golden, tmp_path)
    (run,) = runs(tmp_path)
    (written,) = manifests(tmp_path)
    assert json.dumps(run.document.as_manifest()) == json.dumps(written)
    written["executionTimeMs"] = result.execution_time_ms  # goes on until the run returns
    assert written == result.as_manifest()
    text = (tmp_path / "layer3-behavior.latest.json").read_text()
    pointer = parsed(Pointer, text.encode(), "there")
    assert json.dumps(pointer.as_json(), indent=2) + "\n" == text
    assert pointer.csv_files == run.document.csv_files


def test_a_failed_partial_run_with_tests_and_guards_is_read_as_it_was_written(
    database: Database, tmp_path: Path
) -> None:
    second = "select *\nfrom {{ ref('people') }}\nwhere 1 / (user_id - 3) > 0"
    project = tiny_project(tmp_path / "p", second_file=second)
    out = tmp_path / "out"
    for _ in range(2):
        assert run_project(project, database, out, automation_id="a").status == "partial"
    newest = runs(out)[0]
    assert newest.document.as_manifest() == manifests(out)[1]
    metadata = newest.metadata
    assert metadata.errors[0].location == Location(Path("models/second_file.sql"), 3, 9)
    assert "where 1 / (user_id - 3)" in (metadata.errors[0].excerpt or "")
    assert (metadata.size_guards[0].runs, metadata.size_guards[0].median) == (1, 2)
    assert {test.status for test in metadata.data_tests} == {"pass"}


@pytest.mark.parametrize("path", RECORDED, ids=[path.stem for path in RECORDED])
def test_documents_of_earlier_versions_are_read_and_keep_all_that_they_say(path: Path) -> None:
    recorded = json.loads(path.read_text())
    again = parsed(RunResult, path.read_bytes(), "there").as_manifest()
    assert {key: again[key] for key in recorded if key != "metadata"} == {
        key: value for key, value in recorded.items() if key != "metadata"
    }
    assert {key: again["metadata"][key] for key in recorded["metadata"]} == recorded["metadata"]


def test_folders_of_earlier_versions_are_verified_listed_and_cleaned(tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(RECORDED_MANIFESTS, out)
    assert len(RECORDED) == 3
    assert [finding for finding in verify(out) if finding.problem] == []
    history = read_history(out)
    assert [(run.status, run.document.audience_size) for run in history.runs] == [
        ("success", 7)
    ] * 3
    assert history.broken == []
    removed = clean(out, keep_runs=1)
    assert [len(run.names) for run in removed] == [7, 7]
    assert len(published(out)) == 8


def test_keys_of_later_versions_are_kept_at_every_level(tmp_path: Path) -> None:
    given = json.loads(RECORDED[-1].read_text())
    levels = [given, given["metadata"], given["csvFiles"][0], given["metadata"]["window"]]
    levels += [given["metadata"][key][0] for key in ("funnel", "dataTests", "sizeGuards", "steps")]
    for level in levels:
        level["laterKey"] = {"of": ["any", 1, None, "kind\x1b"]}
    content = json.dumps(given).encode()
    died = parsed(RunResult, content, "there").without_files("died", "gone").as_manifest()
    assert died["laterKey"] == died["metadata"]["laterKey"] == {"of": ["any", 1, None, "kind\x1b"]}
    assert parsed(RunResult, content, "there").as_manifest() == given


def test_a_dead_runs_manifest_keeps_what_a_later_version_wrote(
    database: Database, tmp_path: Path
) -> None:
    project = tiny_project(tmp_path / "p")
    (tmp_path / "out").mkdir()
    dead = tmp_path / "out" / NAME
    dead.write_text(json.dumps(document(status="running", metadata__laterKey=[1])))
    run_project(project, database, tmp_path / "out")
    settled = json.loads(dead.read_text())
    assert (settled["status"], settled["metadata"]["laterKey"]) == ("died", [1])
    assert settled["metadata"]["runId"] == "1"


def test_what_a_later_version_may_call_its_steps_and_verdicts_is_read() -> None:
    given = json.loads(RECORDED[-1].read_text())
    given["metadata"]["steps"][0]["kind"] = "vacuum"
    given["metadata"]["sizeGuards"][0]["verdict"] = "postponed"
    read = parsed(RunResult, json.dumps(given).encode(), "there")
    assert read.metadata.steps[0].kind == "vacuum"


# Made by a run


def test_a_result_is_frozen_and_strict() -> None:
    result = RunResult.of("success", METADATA)
    with pytest.raises(ValidationError):
        result.status = "failed"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        RunResult.of("success", METADATA, execution_time_ms=1.5)  # type: ignore[arg-type]


def test_success_and_size_follow_from_status_and_rows() -> None:
    result = RunResult.of("success", METADATA)
    assert (result.success, result.audience_size, result.exit_code) == (True, 2, 0)
    publishing = result.with_status("publishing")
    assert (publishing.success, publishing.audience_size) == (False, 2)
    failed = result.without_files("failed", "why")
    assert (failed.success, failed.audience_size, failed.exit_code) == (False, 0, 1)
    assert failed.metadata.rows_by_type == {}


def test_instants_are_utc_with_z_whatever_their_offset() -> None:
    moment = datetime(2025, 11, 28, 14, 0, 0, 500, timezone(timedelta(hours=2)))
    identity = IDENTITY.model_copy(update={"as_of": AS_OF})
    made = RunIdentity(**{**dict(identity), "started_at": moment}).as_json()
    assert (made["startedAt"], made["asOf"]) == (
        "2025-11-28T12:00:00.000500Z",
        "2025-11-28T12:00:00Z",
    )
    assert RunIdentity(**{**dict(identity), "started_at": moment}).started_at.tzinfo is UTC


def test_names_that_are_not_utf8_do_not_stop_a_document(tmp_path: Path) -> None:
    odd = b"\xff".decode("utf-8", "surrogateescape")
    failure = TypeFailure.at(Location(Path(f"models/{odd}.sql"), 1), "first", f"in {odd}")
    assert (failure.message, failure.path) == ("in ?", "models/?.sql")
    assert RunResult.of("failed", METADATA, error=f"in {odd}").as_json()["error"] == "in ?"
    metadata = METADATA.model_copy(update={"manifest": tmp_path / odd})
    assert RunResult.of("success", metadata).as_json()["metadata"]["manifest"].endswith(odd)


def test_a_failure_before_anything_is_known_has_the_keys_of_a_result_but_no_identity() -> None:
    with warnings.catch_warnings(action="error"):
        failed = failure_json("why")
    whole = document()
    known = {field for field in document()["metadata"] if field not in failed["metadata"]}
    assert list(failed) == list(whole)
    assert known == set(IDENTITY.as_json())
    assert (failed["success"], failed["status"], failed["error"]) == (False, "failed", "why")


# What is no run document


DEEP = "[" * 100_000
HUGE = "x" * (LONGEST_DOCUMENT + 1)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is no JSON document: EOF while parsing a value at line 1 column 0"),
        ('{"status": ', "is no JSON document: "),
        ('{"status": "success"', "is no JSON document: "),
        (b"\xff\xfe", "is no JSON document: "),
        (DEEP, "is no JSON document: "),
        ("[]", "is no JSON object"),
        ("null", "is no JSON object"),
        ("{}", "success: Field required"),
        (HUGE, "is larger than 10 MB"),
        (document(status="\ud800"), "is no JSON document: "),
        (document(error="\udc00"), "is no JSON document: "),
        (document(metadata__parameters={"a": "\ud800"}), "is no JSON document: "),
        (document(audienceSize=10**400), "audienceSize: "),
        (document(audienceSize=10**16), "audienceSize: Input should be less than or equal to"),
        (document(executionTimeMs=10**400), "executionTimeMs: "),
        (document(executionTimeMs=10**4000), "executionTimeMs: "),
        (document(executionTimeMs=float("nan")), "executionTimeMs: "),
        (document(executionTimeMs=True), "executionTimeMs: Input should be a valid integer"),
        (document(audienceSize="7"), "audienceSize: Input should be a valid integer"),
        (document(metadata__rowsByType={"first": 10**400}), "metadata.rowsByType.first: "),
        (document(metadata__rowsByType={"\x1b[31m": -1}), r"'metadata.rowsByType.\x1b[31m': "),
        (document(metadata__audience="other"), "is not the manifest of its name"),
        (document(metadata__startedAt="0001-01-01T00:00:00+14:00"), "metadata.startedAt: "),
        (document(metadata__startedAt="2025-11-28T12:00:00"), "metadata.startedAt: "),
        (document(metadata__startedAt=10**400), "metadata.startedAt: "),
        (document(metadata="none"), "metadata: Input should be an object"),
        (document(status="postponed"), "status: Input should be 'running', "),
        (document(csvFiles=[7]), "csvFiles.0: Input should be an object"),
        (document(csvFiles={}), "csvFiles: Input should be a valid array"),
    ],
)  # fmt: skip
def test_a_broken_manifest_is_one_clear_line_for_each_command(
    tmp_path: Path, content: Any, problem: str
) -> None:
    path = tmp_path / NAME
    if isinstance(content, dict):
        content = json.dumps(content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    history = read_history(tmp_path)
    assert history.runs == []
    (broken,) = history.broken
    assert broken.what.startswith(problem)
    assert broken.what.isprintable()
    assert f"broken   {path}: {broken.what}" in invoke("history", "--output-dir", tmp_path)
    assert invoke("verify", path).startswith(f"error: {path}: {broken.what}")
    assert invoke("verify", tmp_path).startswith(f"wrong {NAME}: {broken.what}\n")
    assert invoke("clean", tmp_path, "--keep-runs", 1) == "removed: 0 files, runs: 0\n"


@pytest.mark.parametrize("value", [10**400, -(10**400), 1e300, "\x1b[31m", [[]], {"a": None}])
def test_any_parameter_and_any_unknown_key_is_read(tmp_path: Path, value: Any) -> None:
    given = document(metadata__parameters={"hours": value}, later=value)
    (tmp_path / NAME).write_text(json.dumps(given))
    (run,) = runs(tmp_path)
    assert run.metadata.parameters == {"hours": value}
    assert json.loads(json.dumps(run.document.as_manifest())) == given
    shown = invoke("history", "--output-dir", tmp_path, "--json")
    assert json.loads(shown)["runs"][0]["parameters"] == {"hours": value}


def test_history_prints_no_control_characters(tmp_path: Path) -> None:
    odd = "a\x1b[2J\x9b\x00\x7f\n\u202eb"
    rows = {"metadata__rowsByType": {odd: 2}, "metadata__target": odd, "error": odd}
    (tmp_path / NAME).write_text(json.dumps(document(**rows)))
    shown = invoke("history", "--output-dir", tmp_path)
    assert len(shown.splitlines()) == 2
    assert all(line.isprintable() for line in shown.splitlines())
    assert r"\x1b[2J" in shown


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"timestamp": "20200101T000001"}, "is not the pointer of its name"),
        ({"manifest": "other_20200101T000000.json"}, "is not the pointer of its name"),
        ({"manifest": "../tiny_20200101T000000.json"}, "manifest: Value error, is no name"),
        ({"status": "failed"}, "status: Input should be 'success' or 'partial'"),
        ({"csvFiles": [{"path": "/etc/passwd"}]}, "csvFiles.0.rowCount: Field required"),
        ({"startedAt": 10**400}, "startedAt: "),
    ],
)
def test_a_broken_pointer_is_one_clear_line(
    tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    (tmp_path / NAME).write_text(json.dumps(document()))
    pointer = Pointer.to(RunName("tiny", "20200101T000000"), RunResult.of("success", METADATA))
    path = tmp_path / "tiny.latest.json"
    path.write_text(json.dumps(pointer.as_json()))
    assert [finding.problem for finding in verify(tmp_path)] == [None, None]
    path.write_text(json.dumps({**pointer.as_json(), **changes}))
    (finding,) = [finding for finding in verify(tmp_path) if finding.problem]
    assert finding.name == path.name
    assert (finding.problem or "").startswith(problem)
    with pytest.raises(BrokenManifest):
        clean(tmp_path, keep_runs=1)


@pytest.mark.parametrize("listed", ["../x_20200101T000000.csv", "/x_20200101T000000.csv", "x.csv", "x_20200101T000001.csv", f"x_{ARABIC}.csv", "a\x1b_20200101T000000.csv"])  # fmt: skip
def test_a_manifest_lists_only_files_of_its_own_run_beside_it(tmp_path: Path, listed: str) -> None:
    file = {"path": listed, "rowCount": 1, "isTestFile": False, "audienceType": "x", "bytes": 1, "sha256": "0" * 64}  # fmt: skip
    (tmp_path / NAME).write_text(json.dumps(document(csvFiles=[file])))
    (broken,) = read_history(tmp_path).broken
    assert broken.what == "csvFiles.0.path is no name of a file of this run"


def test_a_broken_manifest_neither_stops_a_run_nor_counts_for_its_size_guard(
    database: Database, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / NAME).write_text(json.dumps(document(executionTimeMs=10**400)))
    (out / "tiny_20200101T000001.json").write_text('{"error": "\\ud800"}')
    (out / f"tiny_{ARABIC}.json").write_text("{}")
    (out / f".tiny_{ARABIC}.staging").mkdir()
    (out / f"first_{ARABIC}.csv").touch()
    result = run_project(tiny_project(tmp_path / "p"), database, out, keep_runs=1)
    assert result.status == "success"
    assert result.metadata.size_guards[0].runs == 0
    assert len(runs(out)) == 1
    wrong = [finding.name for finding in verify(out) if finding.problem]
    assert sorted(wrong) == [NAME, "tiny_20200101T000001.json"]
    clean(out, keep_runs=1)
    assert f"first_{ARABIC}.csv" in published(out)


def test_a_manifest_that_lists_a_folder_does_not_block_clean(
    database: Database, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        run_project(tiny_project(tmp_path / f"p{len(runs(out))}"), database, out)
    oldest = runs(out)[-1]
    first, *others = [file.path.name for file in oldest.document.csv_files]
    (out / first).unlink()
    (out / first / "inside").mkdir(parents=True)
    (removed,) = clean(out, keep_runs=1)
    assert removed.names == (*others, oldest.name.manifest)
    assert (out / first / "inside").exists()
    assert [run.name for run in runs(out)] != [oldest.name]
    assert clean(out, keep_runs=1) == []
    assert {one.name: one.problem for one in verify(out) if one.problem} == {
        first: "is listed by no manifest"
    }
