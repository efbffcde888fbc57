"""A signal after publication does not change the exit code."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import AS_OF, Database, manifests, tiny_project

PROGRAM = """
import os, sys, threading, time
from runner.files.claim import Claim
conclude = Claim.conclude
number, delay = int(sys.argv.pop(1)), float(sys.argv.pop(1))

def strike():
    time.sleep(delay)
    os.kill(os.getpid(), number)

def concluded(*arguments):
    conclude(*arguments)
    threading.Thread(target=strike, daemon=True).start()

Claim.conclude = concluded
from runner.cli.app import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("delay", [0, 0.001, 0.005, 0.01, 0.02, 0.05])
def test_the_exit_code_is_0_whenever_a_signal_comes_after_publication(
    database: Database, tmp_path: Path, number: signal.Signals, delay: float
) -> None:
    project = tiny_project(tmp_path / "p")
    database.profile(project)
    arguments = ["run", "tiny", "--project-dir", project, "--output-dir", tmp_path / "out"]
    command = [sys.executable, "-c", PROGRAM, number, delay, *arguments, "--as-of", AS_OF.isoformat(), "--json"]  # fmt: skip
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "success"
    (manifest,) = manifests(tmp_path / "out")
    assert manifest["status"] == "success"
