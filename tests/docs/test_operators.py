"""docs/operators: exit codes and messages are ours, rollout and rollback work as they stand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import yaml

from runner import errors
from runner.project.targets import load_target
from tests.docs.pages import DOCS, README, blocks, table_rows
from tests.support import AS_OF, GOLDEN, ROOT, Database, published, shipped_project

OPERATORS = DOCS / "operators"
ROLLOUT = OPERATORS / "rollout.md"
CASE = GOLDEN / "layer3_behavior" / "lookback_48_cooling_12"
OLD_GENERATOR = """
import argparse, pathlib, shutil
parser = argparse.ArgumentParser()
for name in ("--lookback-hours", "--cooling-hours", "--output-dir"):
    parser.add_argument(name, required=True)
given = parser.parse_args()
assert (float(given.lookback_hours), float(given.cooling_hours)) == (48, 12)
for path in pathlib.Path(CASE).glob("*.csv"):
    shutil.copy(path, pathlib.Path(given.output_dir) / f"{path.stem}_20251128_120000.csv")
print("Generated 6 files")
"""


# Exit codes, messages, targets


def codes(path: Path, heading: str) -> set[int]:
    cells = [row[0] for row in table_rows(path, heading)]
    return {int(code) for cell in cells for code in re.findall(r"\d+", cell)}


def test_each_exit_code_is_explained() -> None:
    ours = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert codes(OPERATORS / "running.md", "Exit codes") >= ours | {130, 143, 129}
    assert codes(README, "Commands") >= ours | {130, 143, 129}


def test_each_message_of_the_runbook_is_one_of_ours() -> None:
    sources = [*(ROOT / "runner").rglob("*.py"), *(ROOT / "models").rglob("*.yml")]
    text = "\n".join(path.read_text() for path in sources)
    # texts that are written on several lines, and values that are put into them
    whole = re.sub(r'"\s*\n\s*f?"', "", text).replace(
        "{ENGINE_VARIABLE}", "AUTOMATION_ENGINE_VERSION"
    )
    whole = re.sub(r"\s+", " ", whole)
    page = OPERATORS / "runbook.md"
    headings = re.findall(r"^## (.*)$", page.read_text(), re.MULTILINE)
    messages = [
        message
        for heading in headings
        for row in table_rows(page, heading)
        for message in re.findall(r"`([^`]+)`", row[0])
    ]
    assert len(messages) > 20
    for message in messages:
        state = re.fullmatch(r"\[SQLSTATE (\w{5})\]", message)
        assert state or message in whole, message


def test_the_target_of_the_page_is_read(tmp_path: Path) -> None:
    (block,) = blocks(OPERATORS / "targets.md", "yaml")
    (tmp_path / "profiles.yml").write_text(block)
    target = load_target(tmp_path, None, {"DATABASE_URL": "postgresql://u@h/d"})
    assert (target.name, target.deadline, target.files.mode) == ("prod", "10min", "0640")


def test_every_target_of_the_shipped_profiles_is_in_the_page() -> None:
    profile = yaml.safe_load((ROOT / "profiles.yml").read_text())["push_audiences"]
    rows = table_rows(OPERATORS / "targets.md", "Targets: where the runner connects")
    assert {row[0].strip("`") for row in rows} == set(profile["outputs"])


# The old engine


def with_old_engine(folder: Path) -> Path:
    """The shipped project with the page's legacy command, and a script that stands in for it."""
    project = shipped_project(folder)
    text = ROLLOUT.read_text()
    (name,) = re.findall(r"`line_ending:` in `(models/\S+)`", text)
    path = project / name
    before, after = path.read_text().split("    line_ending: lf\n")
    (legacy,) = blocks(ROLLOUT, "yaml")
    path.write_text(f"{before}    line_ending: lf\n{legacy}{after}")
    (project / "scripts").mkdir()
    script = OLD_GENERATOR.replace("CASE", repr(str(CASE)))
    (project / "scripts" / "generate_layer_3_push_csvs.py").write_text(script)
    return project


def shell(script: str, project: Path, tools: Path) -> subprocess.CompletedProcess[str]:
    """Run a block of a page as a person would, in the project's folder."""
    tools.mkdir(exist_ok=True)
    program = (
        f"#!/bin/sh\nexec {sys.executable} -c 'from runner.cli.app import main; main()' \"$@\"\n"
    )
    (tools / "audiences").write_text(program)
    (tools / "audiences").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    environment.pop("AUTOMATION_ENGINE_VERSION", None)
    return subprocess.run(
        ["sh", "-c", script], cwd=project, env=environment, capture_output=True, text=True
    )


def test_the_rollout_works_as_it_stands(golden: Database, tmp_path: Path) -> None:
    """The golden case as if it were now: both engines find the same users."""
    shift = datetime.now(UTC) - AS_OF
    for table in ("offers", "inventory_items", "wishlist_items"):
        golden.connection.execute(f"update {table} set created_at = created_at + %s", [shift])
    project = with_old_engine(tmp_path / "p")
    golden.profile(project)
    (script,) = blocks(ROLLOUT, "sh", "Rollout")
    done = shell(script, project, tmp_path / "tools")
    assert "error" not in done.stderr, done.stderr
    assert "with engine v1 (its legacy command)" in done.stderr
    assert "with engine v2 (its models)" in done.stderr
    assert "| Generated 6 files" in done.stderr
    assert done.stdout.count("recent-offer-creators  ") == 2, done.stdout
    last = done.stdout.rpartition("(lastActive ignored)")[2]
    counts = re.search(r"^all +(\d+) +(\d+) +(\d+) ", last, re.MULTILINE)
    assert counts is not None, done.stdout
    assert int(counts[1]) == 216
    # seconds passed between the golden instant and now: an action at the edge may be out
    assert min(int(counts[2]), int(counts[3])) > 200
    assert len([name for name in published(project / "trial") if name.endswith(".csv")]) == 12


def test_the_rollback_works_as_it_stands(golden: Database, tmp_path: Path) -> None:
    project = with_old_engine(tmp_path / "p")
    golden.profile(project)
    (script,) = blocks(ROLLOUT, "sh", "Rollback")
    script = script.replace("/var/lib/push-audiences", str(tmp_path / "out"))
    done = shell(script, project, tmp_path / "tools")
    assert done.stdout == "success v1 216\n", done.stderr
    result = json.loads((project / "rollback.json").read_text())
    assert result["metadata"]["legacy"]["exitCode"] == 0
    assert len([name for name in published(tmp_path / "out") if name.endswith(".csv")]) == 6
