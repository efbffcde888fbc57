"""Runs that are killed or told to stop at any moment: no file is torn, unlisted or another's."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.files.verify import verify
from tests.support import Database, manifests, published, tiny_project

OUTPUTS = 12
SECONDS_TO_END = 2

OUTPUT = """
      - audience_type: type_{n}
        model: type_{n}
        file: type-{n}
        columns: [user_id, name]
        order_by: [user_id]
"""

KILLED_AT_CALL = """
import os, signal, sys

calls, fatal = 0, int(sys.argv.pop(1))

def counted(function):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call

from runner.cli.app import main
import runner.runs.publish, runner.runs.phases
for name in ("mkdir", "link", "rename", "unlink", "fsync", "fchmod", "rmdir"):
    setattr(os, name, counted(getattr(os, name)))
end = os._exit

def report_and_end(code):
    print("calls", calls, file=sys.stderr, flush=True)
    end(code)

os._exit = report_and_end
main()
"""


def wide_project(folder: Path, people: str) -> Path:
    """Many files, so that their publication takes a good part of a run."""
    models = {
        f"type_{n}": f"select * from {{{{ ref('people') }}}} where user_id % {OUTPUTS} = {n}"
        for n in range(OUTPUTS)
    }
    project = tiny_project(folder, people=people, **models)
    path = project / "models" / "tiny.yml"
    before, rest = path.read_text().split("    outputs:\n")
    _, after = rest.split("    line_ending:")
    outputs = "".join(OUTPUT.format(n=n).removeprefix("\n") for n in range(OUTPUTS))
    path.write_text(f"{before}    outputs:\n{outputs}    line_ending:{after}")
    return project


@pytest.fixture
def arguments(database: Database, tmp_path: Path) -> list[str]:
    """A run of such a project into tmp_path/out."""
    people = (
        "select n as user_id, 'name ' || n as name from generate_series(1, 3000) as given (n)\n"
        "cross join (select pg_sleep(0.15)) as slept"
    )
    project = wide_project(tmp_path / "p", people)
    profile = database.profile(tmp_path / "profile")
    return ["run", "tiny", "--project-dir", str(project), "--profiles-dir", str(profile),
            "--output-dir", str(tmp_path / "out")]  # fmt: skip


def start(arguments: list[str], program: str = "from runner.cli.app import main; main()") -> subprocess.Popen[str]:  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def broken_promises(folder: Path) -> Iterator[str]:
    """What no kill may leave behind, found without the runner's own verification."""
    listed: dict[str, list[tuple[str, int]]] = {}
    for manifest in manifests(folder):
        for entry in manifest["csvFiles"]:
            listed.setdefault(entry["path"], []).append((entry["sha256"], entry["bytes"]))
    for path in folder.glob("*.csv"):
        content = path.read_bytes()
        found = (hashlib.sha256(content).hexdigest(), len(content))
        if path.name not in listed:
            yield f"{path.name} is unlisted"
        elif listed[path.name] != [found]:
            yield f"{path.name} is torn, or listed with a wrong hash"
    for pointer in folder.glob("*.latest.json"):
        document = json.loads(pointer.read_text())
        if json.loads((folder / document["manifest"]).read_text())["status"] != "success":
            yield f"{pointer.name} points to a run that was not published"
        for entry in document["csvFiles"]:
            content = (folder / entry["path"]).read_bytes()
            if hashlib.sha256(content).hexdigest() != entry["sha256"]:
                yield f"{entry['path']} is not what the pointer says"


def says(folder: Path, status: str) -> bool:
    """Whether the newest manifest says that of its run, which may be replacing it right now."""
    newest = max(folder.glob("tiny_*.json"), default=None)
    return newest is not None and f'"status": "{status}"' in newest.read_text()[:100]


def settled(arguments: list[str], folder: Path) -> None:
    """One undisturbed run leaves nothing of the dead ones but their manifests."""
    last = start([*arguments, "--keep-runs", "3"])
    _, stderr = last.communicate()
    assert last.returncode == 0, stderr
    assert [name for name in published(folder) if name.startswith(".")] == []
    assert {one["status"] for one in manifests(folder)} <= {"success", "died", "interrupted"}
    assert [finding for finding in verify(folder) if finding.problem] == []
    assert list(broken_promises(folder)) == []


@pytest.mark.slow
def test_kill_9_at_random_moments_leaves_no_torn_unlisted_or_wrong_file(
    arguments: list[str], tmp_path: Path, fault_share: float
) -> None:
    folder = tmp_path / "out"
    clock = time.monotonic()
    assert start(arguments).wait() == 0
    whole = time.monotonic() - clock
    chance = random.Random(5)
    outcomes: Counter[str] = Counter()
    wanted = max(2, round(200 * fault_share))
    while outcomes["killed"] < wanted:
        process = start([*arguments, "--keep-runs", "3"])
        # a third at any moment of the process, the others at those that matter most
        aims = ((None, whole), ("running", 0.4), ("publishing", 0.015))
        aim, longest = aims[outcomes["killed"] % 3]
        while aim and process.poll() is None and not says(folder, aim):
            time.sleep(0.0005)
        time.sleep(chance.uniform(0, longest))
        process.kill()
        process.communicate()
        assert list(broken_promises(folder)) == []
        last = manifests(folder)[-1]["status"]
        outcomes["killed" if process.returncode == -signal.SIGKILL else "was done"] += 1
        outcomes[f"last manifest: {last}"] += 1
    print(dict(outcomes))
    settled(arguments, folder)


@pytest.mark.slow
def test_kill_9_before_each_file_operation_leaves_no_torn_unlisted_or_wrong_file(
    arguments: list[str], tmp_path: Path, fault_share: float
) -> None:
    folder = tmp_path / "out"
    assert start(arguments).wait() == 0
    whole = start(["0", *arguments, "--keep-runs", "1"], KILLED_AT_CALL)
    _, stderr = whole.communicate()
    calls = int(stderr.rsplit("calls ", 1)[1])
    step = max(1, round(1 / fault_share))
    fatal = range(1 + random.Random(5).randrange(step), calls + 1, step)
    for call in fatal:
        process = start([str(call), *arguments, "--keep-runs", "1"], KILLED_AT_CALL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, call
        assert list(broken_promises(folder)) == [], call
    print(f"{len(fatal)} of {calls} operations")
    settled(arguments, folder)


@pytest.mark.slow
def test_sigterm_leaves_no_session_after_two_seconds(
    database: Database, tmp_path: Path, fault_share: float
) -> None:
    people = (
        "select n as user_id, 'x' || pg_sleep(1) as name\nfrom generate_series(1, 2) as given (n)"
    )
    project = wide_project(tmp_path / "p", people)
    profile = database.profile(tmp_path / "profile")
    folder = tmp_path / "out"
    arguments = ["run", "tiny", "--project-dir", str(project), "--profiles-dir", str(profile), "--output-dir", str(folder)]  # fmt: skip
    sessions = (
        "select count(*) from pg_stat_activity where datname = current_database() "
        "and application_name = 'push-audiences'"
    )
    chance = random.Random(7)
    outcomes: Counter[str] = Counter()
    for _ in range(max(1, round(50 * fault_share))):
        before = len(manifests(folder))
        process = start(arguments)
        while process.poll() is None and len(manifests(folder)) == before:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 2.5))
        told_at = time.monotonic()
        process.send_signal(signal.SIGTERM)
        while database.value(sessions) and time.monotonic() < told_at + SECONDS_TO_END:
            time.sleep(0.01)
        assert database.value(sessions) == 0
        _, stderr = process.communicate()
        assert "Traceback" not in stderr
        status = manifests(folder)[-1]["status"]
        outcomes[f"exit {process.returncode}, {status}"] += 1
        assert list(broken_promises(folder)) == []
    print(dict(outcomes))
    # a signal that comes during publication comes too late, one after it ends Python's own end
    too_late = {"exit 0, success", f"exit {-signal.SIGTERM}, success"}
    assert set(outcomes) <= {"exit 143, interrupted", *too_late}
    assert outcomes["exit 143, interrupted"] > 0
