"""A run's manifest from start to end, the latest pointer, verify, clean, and disks that fail."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from runner.cli.app import app
from runner.errors import ExportError, UsageError
from runner.files.claim import Claim
from runner.files.clean import clean
from runner.files.document import Pointer, RunResult
from runner.files.folder import Folder
from runner.files.history import runs
from runner.files.manifest import LOCK
from runner.files.names import RunName
from runner.files.verify import verify
from runner.project.load import load_project
from tests.faults.test_kill import broken_promises
from tests.support import (
    AS_OF,
    ROOT,
    Database,
    claimed_in,
    manifests,
    published,
    run_layer3,
    run_project,
    running,
    tiny_project,
)

BROKEN_SECOND = "select *\nfrom {{ ref('people') }}\nwhere 1 / (user_id - 3) > 0"
NOBODY = "select n as user_id, 'name' as name\nfrom generate_series(1, 0) as given (n)"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return tiny_project(tmp_path / "p")


def invoke(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    return done.exit_code, done.stdout, done.stderr


def problems(path: Path) -> dict[str, str]:
    return {one.name: one.problem for one in verify(path) if one.problem}


def pointer(folder: Path, audience: str = "tiny") -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / f"{audience}.latest.json").read_text())
    return document


def the_manifest(folder: Path) -> Path:
    (path,) = folder.glob("tiny_*.json")
    return path


# From running to its end


def test_the_manifest_says_running_then_publishing_then_success(
    database: Database, project: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int, int]] = []
    link, move = Folder.link, Folder.move

    def look() -> None:
        for document in manifests(out):
            csv_files = len([name for name in published(out) if re.match(r"[a-z]+_.*csv", name)])
            staged = len(list(out.glob(".*/*.csv")))
            seen.append((document["status"], len(document["csvFiles"]), csv_files - staged))

    def linked(self: Folder, name: str, into: Folder) -> None:
        link(self, name, into)
        look()

    def moved(self: Folder, name: str, into: Folder) -> None:
        move(self, name, into)
        look()

    monkeypatch.setattr(Folder, "link", linked)
    monkeypatch.setattr(Folder, "move", moved)
    run_project(project, database, out)
    assert seen == [
        ("running", 0, 0), ("publishing", 4, 0), *(("publishing", 4, n) for n in (1, 2, 3, 4)),
        ("success", 4, 4), ("success", 4, 4),
    ]  # fmt: skip


def test_a_running_manifest_says_whose_it_is(
    database: Database, project: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced: list[dict[str, Any]] = []
    announce = Claim.announce

    def told(self: Claim, result: RunResult) -> None:
        announced.append(result.as_manifest())
        announce(self, result)

    monkeypatch.setattr(Claim, "announce", told)
    run_project(project, database, out)
    (document,) = announced
    assert (document["success"], document["csvFiles"]) == (False, [])
    assert document["metadata"]["pid"] == os.getpid()
    assert document["metadata"]["host"] == os.uname().nodename


def test_a_dry_run_leaves_no_trace(database: Database, project: Path, out: Path) -> None:
    assert run_project(project, database, out, is_dry_run=True).status == "success"
    assert not out.exists()


def test_a_failed_run_says_why_in_its_manifest(
    database: Database, tmp_path: Path, out: Path
) -> None:
    project = tiny_project(tmp_path / "p", people="select 1 / 0 as user_id, 'x' as name")
    result = run_project(project, database, out)
    (document,) = manifests(out)
    assert document["status"] == "failed"
    assert document["error"] == result.error
    assert "models/people.sql" in document["error"]
    assert result.metadata.manifest == the_manifest(out)


def test_a_defect_is_no_success_and_its_manifest_quotes_nothing(
    database: Database, project: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("s3cret")

    monkeypatch.setattr("runner.runs.phases._read", fail)
    with pytest.raises(ZeroDivisionError):
        run_project(project, database, out)
    (document,) = manifests(out)
    assert (document["status"], document["error"]) == ("failed", "a defect: ZeroDivisionError")


def test_files_are_on_disk_before_what_tells_of_them(
    database: Database, project: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order that a power cut must find: files, their listing, names, outcome, pointer."""
    calls: list[str] = []
    names: dict[int, str] = {}
    originals = {name: getattr(os, name) for name in ("open", "fsync", "link", "rename")}

    def opened(path: Any, *arguments: Any, **options: Any) -> int:
        descriptor: int = originals["open"](path, *arguments, **options)
        names[descriptor] = "folder" if str(path) == str(out) else str(path).split("_2")[0]
        return descriptor

    def flushed(descriptor: int) -> None:
        originals["fsync"](descriptor)
        calls.append(f"flush {names[descriptor]}")

    def named(how: str) -> Any:
        def call(name: str, *arguments: Any, **options: Any) -> None:
            originals[how](name, *arguments, **options)
            calls.append(f"{how} {name.split('_2')[0]}")

        return call

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "link", named("link"))
    monkeypatch.setattr(os, "rename", named("rename"))
    out.mkdir()
    run_project(project, database, out)
    files = ["first", "first_TEST", "second", "second_TEST"]
    assert calls == [
        "flush tiny", "link tiny", "flush folder",
        *(f"flush {name}" for name in files),
        "flush tiny", "rename tiny", "flush folder",
        *(f"link {name}" for name in files), "flush folder",
        "flush tiny.latest.json", "flush tiny", "rename tiny", "flush folder",
        "rename tiny.latest.json", "flush folder",
    ]  # fmt: skip


# The latest pointer


def test_the_pointer_names_the_latest_published_run_and_its_files(
    database: Database, project: Path, out: Path
) -> None:
    run_project(project, database, out)
    result = run_project(project, database, out)
    assert result.metadata.manifest is not None
    document = pointer(out)
    assert document["manifest"] == result.metadata.manifest.name
    assert document["runId"] == result.metadata.run_id
    assert document["csvFiles"] == json.loads(result.metadata.manifest.read_text())["csvFiles"]
    for entry in document["csvFiles"]:
        assert (out / entry["path"]).stat().st_size == entry["bytes"]


def test_a_partial_run_moves_the_pointer_and_says_so(
    database: Database, tmp_path: Path, out: Path
) -> None:
    run_project(tiny_project(tmp_path / "whole"), database, out)
    run_project(tiny_project(tmp_path / "p", second_file=BROKEN_SECOND), database, out)
    document = pointer(out)
    assert document["status"] == "partial"
    assert {entry["audienceType"] for entry in document["csvFiles"]} == {"first"}


@pytest.mark.parametrize(
    ("people", "status"), [("select 1 / 0 as user_id, 'x' as name", "failed"), (NOBODY, "no_activity")]
)  # fmt: skip
def test_a_run_without_files_leaves_the_pointer_alone(
    database: Database, tmp_path: Path, out: Path, people: str, status: str
) -> None:
    run_project(tiny_project(tmp_path / "good"), database, out)
    before = pointer(out)
    assert run_project(tiny_project(tmp_path / "p", people=people), database, out).status == status
    assert pointer(out) == before
    assert [one["status"] for one in manifests(out)] == ["success", status]


# What a dead run leaves


def die(out: Path, timestamp: str, status: str) -> Path:
    """Make of a folder's only run one that was killed, in the second of `timestamp`."""
    manifest = the_manifest(out)
    stamp = manifest.stem.rsplit("_", 1)[1]
    document = json.loads(manifest.read_text().replace(stamp, timestamp))
    document["status"] = status
    staging = out / f".tiny_{timestamp}.staging"
    staging.mkdir()
    (staging / LOCK).touch()
    for path in list(out.glob(f"*_{stamp}.csv")):
        path.rename(out / path.name.replace(stamp, timestamp))
    manifest.unlink()
    dead = out / f"tiny_{timestamp}.json"
    dead.write_text(json.dumps(document))
    return dead


def test_the_next_run_withdraws_a_half_published_set(
    database: Database, project: Path, out: Path
) -> None:
    run_project(project, database, out)
    (out / "tiny.latest.json").unlink()
    dead = die(out, "20200101T000000", "publishing")
    assert problems(out) == {dead.name: "its run died; the audience's next run notes that"}
    run_project(project, database, out)
    settled = json.loads(dead.read_text())
    assert (settled["status"], settled["success"], settled["csvFiles"]) == ("died", False, [])
    assert "died before its end" in settled["error"]
    assert [name for name in published(out) if "2020" in name] == [dead.name]
    assert problems(out) == {}


def test_the_next_run_withdraws_only_what_the_dead_one_made(
    database: Database, project: Path, out: Path
) -> None:
    run_project(project, database, out)
    die(out, "20200101T000000", "publishing")
    theirs = out / "first_20200101T000000.csv"
    theirs.write_text("somebody's own\n")
    run_project(project, database, out)
    assert theirs.read_text() == "somebody's own\n"
    assert not (out / "second_20200101T000000.csv").exists()


def test_the_next_run_completes_the_pointer_of_a_run_killed_in_its_last_step(
    database: Database, project: Path, tmp_path: Path, out: Path
) -> None:
    run_project(project, database, out)
    (out / "tiny.latest.json").unlink()
    dead = die(out, "20200101T000000", "success")
    nobody = tiny_project(tmp_path / "nobody", people=NOBODY)
    assert run_project(nobody, database, out).status == "no_activity"
    assert pointer(out)["manifest"] == dead.name
    assert problems(out) == {}


def test_a_dead_runs_older_files_never_become_the_latest(
    database: Database, project: Path, out: Path
) -> None:
    run_project(project, database, out)
    die(out, "20200101T000000", "success")
    newer = Pointer.to(RunName("tiny", "20210101T000000"), runs(out)[0].document)
    moved = json.dumps(newer.as_json()).replace("20200101T", "20210101T")
    (out / "tiny.latest.json").write_text(moved)
    with claimed_in(out, load_project(project).audience("tiny"), AS_OF):
        assert pointer(out)["timestamp"] == "20210101T000000"


def test_a_living_run_is_not_settled(database: Database, project: Path, out: Path) -> None:
    audience = load_project(project).audience("tiny")
    run_project(project, database, out)
    with claimed_in(out, audience, AS_OF) as claim:
        claim.announce(running(out))
        run_project(project, database, out)
        assert json.loads(claim.manifest_path.read_text())["status"] == "running"
        assert problems(out) == {}
        assert problems(claim.manifest_path) == {claim.manifest_path.name: "its run has not ended"}


# verify


def test_verify_finds_nothing_wrong_with_what_runs_made(golden: Database, out: Path) -> None:
    result = run_layer3(golden, out)
    assert result.metadata.manifest is not None
    for path in (out, result.metadata.manifest, out / "layer3-behavior.latest.json"):
        code, stdout, _ = invoke("verify", path)
        assert code == 0
        assert stdout.startswith("all right: 6 CSV files, ")


def changed(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"name 1", b"name 9"))


def appended(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def linked_to(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (Path.unlink, "is missing"),
        (changed, "has sha256"),
        (appended, "bytes, not the"),
        (linked_to, "cannot be read as a file"),
        (a_pipe, "cannot be read as a file: not a regular file"),
    ],
)
def test_verify_names_each_file_that_differs(
    database: Database, project: Path, out: Path, harm: Any, problem: str
) -> None:
    run_project(project, database, out)
    (path,) = out.glob("first_2*.csv")
    harm(path)
    for looked_at in (out, the_manifest(out), out / "tiny.latest.json"):
        code, stdout, _ = invoke("verify", looked_at)
        assert code == 1
        assert re.search(f"^wrong {path.name}: .*{problem}", stdout)
        code, stdout, _ = invoke("verify", looked_at, "--json")
        assert code == 1
        document = json.loads(stdout)
        assert document["valid"] is False
        assert problem in document["errors"][0]


def test_verify_names_files_that_no_manifest_lists(
    database: Database, project: Path, out: Path
) -> None:
    run_project(project, database, out)
    stamp = the_manifest(out).stem.rsplit("_", 1)[1]
    (out / f"third_{stamp}.csv").write_text("user_id\n")
    (out / "third_20200101T000000.csv").write_text("user_id\n")
    (out / "notes.csv").write_text("not of a run")
    assert sorted(problems(out)) == ["third_20200101T000000.csv", f"third_{stamp}.csv"]
    assert list(problems(the_manifest(out))) == [f"third_{stamp}.csv"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "[" * 100_000, '{"status": "success"}'])
def test_verify_names_a_broken_manifest_and_pointer(
    database: Database, project: Path, out: Path, content: str
) -> None:
    run_project(project, database, out)
    broken = out / "tiny_20200101T000000.json"
    broken.write_text(content)
    (out / "tiny.latest.json").write_text(content)
    assert set(problems(out)) == {broken.name, "tiny.latest.json"}
    assert invoke("verify", broken)[0] == 2
    assert invoke("verify", out / "tiny.latest.json")[0] == 2


def test_a_manifest_cannot_lead_out_of_its_folder(
    database: Database, project: Path, tmp_path: Path, out: Path
) -> None:
    outside = tmp_path / "outside_20200101T000000.csv"
    outside.write_text("mine")
    run_project(project, database, out)
    manifest = die(out, "20200101T000000", "publishing")
    document = json.loads(manifest.read_text())
    document["csvFiles"][0]["path"] = f"../{outside.name}"
    manifest.write_text(json.dumps(document))
    assert problems(out)[manifest.name] == "csvFiles.0.path is no name of a file of this run"
    run_project(project, database, out)
    clean(out, keep_runs=1)
    assert outside.read_text() == "mine"


def test_a_pointer_to_a_run_that_is_gone_is_wrong(
    database: Database, project: Path, out: Path
) -> None:
    run_project(project, database, out)
    manifest = the_manifest(out)
    for path in (*out.glob("*.csv"), manifest):
        path.unlink()
    assert f"points to {manifest.name}" in problems(out)["tiny.latest.json"]


@pytest.mark.parametrize(
    "path", ["nowhere", "p", "x" * 5000, "file.json", "tiny_20200101T000000.json/x"]
)
def test_a_path_that_cannot_be_verified_is_a_usage_error(tmp_path: Path, path: str) -> None:
    (tmp_path / "file.json").write_text("{}")
    (tmp_path / "p").symlink_to(tmp_path)
    code, stdout, stderr = invoke("verify", tmp_path / path, "--json")
    assert code == 2, stdout
    assert json.loads(stdout)["valid"] is False
    assert stderr.startswith("error: ")


# clean, and --keep-runs


def test_keep_runs_removes_older_runs_after_publishing(
    database: Database, project: Path, out: Path
) -> None:
    run_project(project, database, out)
    first = published(out)
    run_project(project, database, out)
    result = run_project(project, database, out, keep_runs=2)
    assert result.status == "success"
    assert len(manifests(out)) == 2
    assert set(first) & set(published(out)) == {"tiny.latest.json"}
    assert problems(out) == {}


def test_a_run_without_files_removes_nothing(
    database: Database, project: Path, tmp_path: Path, out: Path
) -> None:
    run_project(project, database, out)
    run_project(project, database, out)
    run_project(tiny_project(tmp_path / "nobody", people=NOBODY), database, out, keep_runs=1)
    assert [one["status"] for one in manifests(out)] == ["success", "success", "no_activity"]


def test_clean_keeps_the_newest_of_each_kind_the_latest_and_what_is_unlisted(
    database: Database, project: Path, tmp_path: Path, out: Path
) -> None:
    nobody = tiny_project(tmp_path / "nobody", people=NOBODY)
    for one in (project, nobody, project, nobody):
        run_project(one, database, out)
    unlisted = out / "first_20200101T000000.csv"
    unlisted.write_text("whose?")
    old = [one["metadata"]["runId"] for one in manifests(out)][:2]
    would = clean(out, keep_runs=1, is_dry_run=True)
    assert len(manifests(out)) == 4
    removed = clean(out, keep_runs=1)
    assert removed == would
    assert [name for one in removed for name in one.names][-1].endswith(".json")
    left = [one["metadata"]["runId"] for one in manifests(out)]
    assert len(left) == 2
    assert not set(left) & set(old)
    assert unlisted.exists()
    assert set(problems(out)) == {unlisted.name}


def test_clean_never_removes_the_run_that_the_pointer_names(
    database: Database, project: Path, out: Path
) -> None:
    run_project(project, database, out)
    latest = (out / "tiny.latest.json").read_text()
    run_project(project, database, out)
    (out / "tiny.latest.json").write_text(latest)
    run_project(project, database, out)
    (out / "tiny.latest.json").write_text(latest)
    clean(out, keep_runs=1)
    assert len(manifests(out)) == 2
    assert problems(out) == {}


def test_clean_never_touches_a_running_run(database: Database, project: Path, out: Path) -> None:
    run_project(project, database, out)
    with claimed_in(out, load_project(project).audience("tiny"), AS_OF) as claim:
        claim.announce(running(out))
        clean(out, keep_runs=1)
        assert claim.manifest_path.exists()


def test_clean_of_one_audience_leaves_the_others(
    database: Database, golden: Database, project: Path, out: Path
) -> None:
    for _ in range(2):
        run_project(project, golden, out)
        run_layer3(golden, out)
    code, stdout, _ = invoke(
        "clean", out, "--keep-runs", 1, "--audience", "generate_layer_3_push_csvs",
        "--project-dir", ROOT, "--json",
    )  # fmt: skip
    assert code == 0
    assert {run["audience"] for run in json.loads(stdout)["runs"]} == {"layer3-behavior"}
    assert len(list(out.glob("tiny_*.json"))) == 2
    assert len(list(out.glob("layer3-behavior_*.json"))) == 1


def test_a_clean_that_is_stopped_leaves_every_file_listed(
    database: Database, project: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        run_project(project, database, out)
    remove = Folder.remove
    for allowed in range(10):
        calls = 0

        def stopped(self: Folder, name: str) -> None:
            nonlocal calls
            calls += 1
            if calls > allowed:  # noqa: B023
                raise ExportError("cannot be written: Input/output error")
            remove(self, name)

        monkeypatch.setattr(Folder, "remove", stopped)
        with suppress(ExportError):
            clean(out, keep_runs=1)
        assert list(broken_promises(out)) == []
    assert len(manifests(out)) == 1


def test_old_runs_that_cannot_be_removed_do_not_change_how_a_run_ends(
    database: Database, project: Path, out: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def fail(*_: object, **__: object) -> None:
        raise ExportError("cannot be written: Permission denied", where="there")

    run_project(project, database, out)
    monkeypatch.setattr("runner.files.clean._remove", fail)
    assert run_project(project, database, out, keep_runs=1).status == "success"
    assert "old runs could not be removed: there: cannot be written" in caplog.text


@pytest.mark.parametrize("arguments", [[], ["--keep-runs", "0"], ["--keep-runs", "-1"], ["--keep-runs", "x"]])  # fmt: skip
def test_clean_without_a_number_to_keep_is_a_usage_error(out: Path, arguments: list[str]) -> None:
    out.mkdir()
    assert invoke("clean", out, *arguments)[0] == 2


def test_clean_of_no_folder_is_a_usage_error(out: Path) -> None:
    assert invoke("clean", out, "--keep-runs", 1)[0] == 2
    with pytest.raises(UsageError, match="0 runs cannot be kept"):
        out.mkdir()
        clean(out, keep_runs=0)


# Disks that are full or read-only


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=False, capture_output=True
    )
    if not made or made.returncode != 0:
        pytest.skip("only who may mount file systems can fill one")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_disk_that_is_full_at_any_point_publishes_nothing_or_all(
    database: Database, tmp_path: Path, small_disk: Path
) -> None:
    people = (
        "select n as user_id, repeat('x', 20) as name\nfrom generate_series(1, 600) as given (n)"
    )
    project = tiny_project(tmp_path / "p", people=people)
    out = small_disk / "out"
    run_project(project, database, out)
    statuses = []
    for free in range(0, 120, 4):
        clean(out, keep_runs=1)
        latest = pointer(out)
        filler = small_disk / "filler"
        with open(filler, "wb") as file:
            left = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
            file.write(b"x" * max(0, left - free * 1024))
        result = run_project(project, database, out)
        filler.unlink()
        statuses.append(result.status)
        assert list(broken_promises(out)) == []
        if result.status == "success":
            assert pointer(out) != latest
        elif result.status == "failed":
            assert "No space left on device" in (result.error or "")
            assert pointer(out) == latest
    assert (statuses[0], statuses[-1]) == ("failed", "success")
    assert run_project(project, database, out).status == "success"
    assert problems(out) == {}


def test_a_disk_without_room_for_a_manifest_is_an_error_before_anything_is_read(
    database: Database, project: Path, tmp_path: Path, out: Path
) -> None:
    profile = database.profile(tmp_path / "profile")
    program = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "from runner.cli.app import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "run", "tiny", "--project-dir", project,
         "--profiles-dir", profile, "--output-dir", out],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "cannot be written: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert published(out) == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_a_read_only_folder_is_an_error(
    database: Database, project: Path, small_disk: Path
) -> None:
    (small_disk / "out").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for folder in (small_disk / "out", small_disk / "new"):
        result = run_project(project, database, folder)
        assert (result.status, result.exit_code) == ("failed", 1)
        assert f"{folder}: cannot be written: Read-only file system" in (result.error or "") or (
            f"{folder}/.tiny" in (result.error or "")
        )
    assert published(small_disk) == ["out"]


def test_trouble_after_publication_leaves_the_manifest_as_published(
    database: Database, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trouble(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("after the end")

    monkeypatch.setattr("runner.runs.publish.remove_old", trouble)
    with pytest.raises(RuntimeError):
        run_project(project, database, tmp_path / "out", keep_runs=1)
    (manifest,) = (tmp_path / "out").glob("tiny_2*.json")
    assert json.loads(manifest.read_text())["status"] == "success"
    assert not [one for one in verify(tmp_path / "out") if one.problem]


def test_a_password_that_is_a_part_of_a_name_leaves_manifests_readable(
    database: Database, project: Path, tmp_path: Path
) -> None:
    target = database.target(session=["set application_name to 'tiny'"]).model_copy(
        update={"hidden": [SecretStr("tiny"), SecretStr("test")]}
    )
    run_project(project, database, tmp_path / "out", target=target)
    (run,) = runs(tmp_path / "out", "tiny")
    assert (run.metadata.audience, run.metadata.target, run.status) == ("tiny", "test", "success")
    assert not [one for one in verify(tmp_path / "out") if one.problem]
