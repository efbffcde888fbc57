"""What a command imports is what it needs: imports are most of the time before its first statement."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support import ROOT, Database

# installed with libraries, and imported by them
OF_LIBRARIES = {
    "annotated_doc", "annotated_types", "attr", "attrs", "cython_runtime", "greenlet", "markdown_it",
    "markupsafe", "mdurl", "psycopg_binary", "pydantic_core", "pygments", "shellingham",
    "typing_extensions", "typing_inspection",
}  # fmt: skip
PROBE = """
import atexit, json, os, sys
def report(code):
    third = {name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)
    rooms = {'.'.join(name.split('.')[:3]) for name in sys.modules if name.startswith('runner.')}
    print(json.dumps([sorted(third), sorted(rooms)]), file=sys.stderr)
    sys.stderr.flush()
    os.kill(os.getpid(), 9)
os._exit = report
from runner.cli.app import main
main()
report(0)
"""


def imported(*arguments: object) -> tuple[set[str], set[str]]:
    """The packages that are not Python's own, and the runner's rooms with their modules."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={name: os.environ[name] for name in os.environ if not name.startswith("COV")},
    )
    packages, rooms = json.loads(done.stderr.splitlines()[-1])
    ours = {name for name in packages if not name.startswith("_") and "editable" not in name}
    return ours - OF_LIBRARIES - {"runner"}, set(rooms)


def test_help_imports_typer_alone() -> None:
    packages, rooms = imported("--help")
    assert packages == {"typer", "rich"}
    assert not {room for room in rooms if room.startswith(("runner.runs.", "runner.sql."))}


def test_compile_imports_no_driver() -> None:
    packages, rooms = imported("compile", "layer3-behavior", "--project-dir", ROOT)
    assert packages == {"typer", "jinja2", "yaml", "pydantic"}
    assert not {room for room in rooms if room.startswith(("runner.tools.", "runner.database."))}


def test_a_run_imports_no_tool_and_neither_unit_tests_nor_the_old_engine(
    golden: Database, tmp_path: Path
) -> None:
    profile = golden.profile(tmp_path / "profile")
    where = ("--project-dir", ROOT, "--profiles-dir", profile, "--output-dir", tmp_path / "out")
    packages, rooms = imported("run", "layer3-behavior", *where, "--quiet")
    assert packages == {"typer", "jinja2", "yaml", "pydantic", "psycopg", "sqlalchemy", "tenacity"}
    assert "runner.runs.phases" in rooms
    assert not {room for room in rooms if room.startswith("runner.tools.")}
    assert not {"runner.project.unit_test", "runner.runs.legacy", "runner.runs.child"} & rooms
