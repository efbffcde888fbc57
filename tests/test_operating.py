"""The README's operating guide: each of its examples is taken from there and used."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from typer.main import get_command

from runner import errors
from runner.cli.app import app
from runner.project.audience import Legacy
from runner.project.load import load_project
from tests.support import (
    AS_OF,
    GOLDEN,
    ROOT,
    Database,
    published,
    run_layer3,
    run_project,
    shipped_project,
)

README = (ROOT / "README.md").read_text()
CASE = GOLDEN / "layer3_behavior" / "lookback_48_cooling_12"
STANDARD = Legacy(command=["program", "{output_dir}"])
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


def blocks(heading: str, language: str) -> list[str]:
    """The code blocks of a language under a heading, up to the next heading of any level."""
    section = re.split(rf"^#+ {re.escape(heading)}\n", README, flags=re.MULTILINE)[1]
    parts = re.split(r"^```(\w*)\n(.*?)^```\n|^#+ ", section, flags=re.MULTILINE | re.DOTALL)
    found = []
    for fence, body in zip(parts[1::3], parts[2::3], strict=False):
        if fence is None:
            break
        found += [body] if fence == language else []
    return found


def block(heading: str, language: str, index: int = 0) -> str:
    return blocks(heading, language)[index]


def parsed_by_the_command(words: list[str]) -> dict[str, Any]:
    """What `audiences run ...` makes of its words; fails where it would."""
    command = get_command(app).commands[words[0]]  # type: ignore[attr-defined]
    return dict(command.make_context(words[0], words[1:]).params)


# Role and grants


@pytest.fixture
def reader(golden: Database) -> Iterator[str]:
    """The role that the README's SQL makes, under a name of this test's own."""
    name = f"readme_reader_{os.getpid()}"
    statements = block("Role and grants", "sql").replace("push_audiences", name)
    golden.execute(statements.replace("marketplace", golden.connection.info.dbname))
    yield name
    golden.execute(f"drop owned by {name}; drop role {name}")


def test_the_role_of_the_readme_can_run_and_can_write_nothing(
    golden: Database, reader: str, tmp_path: Path
) -> None:
    if golden.connection.info.server_version < 150000:
        golden.execute("revoke create on schema public from public")
    target = golden.target(user=reader, password="change-me")
    result = run_project(
        ROOT, golden, tmp_path / "out", audience="layer3-behavior", target=target, as_of=AS_OF
    )
    assert (result.status, result.audience_size) == ("success", 216)
    assert result.working_tables == run_layer3(golden, tmp_path / "owner").working_tables
    given = {**golden.connection.info.get_parameters(), "user": reader, "password": "change-me"}
    host, port = golden.connection.info.host, golden.connection.info.port
    for statement in (
        "insert into users (id) values (gen_random_uuid())",
        "update users set username = 'x'",
        "delete from offers",
        "truncate offers",
        "create table public.mine (n int)",
        "create schema mine",
    ):
        with (
            psycopg.connect(**{**given, "host": host, "port": port}, autocommit=True) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute("set default_transaction_read_only to off")
            connection.execute(statement)


def test_the_grants_of_the_readme_are_those_of_the_sources() -> None:
    granted = set(re.findall(r"^    public\.(\w+)", block("Role and grants", "sql"), re.MULTILINE))
    assert granted == {source.table for source in load_project(ROOT).sources.values()}


def test_the_environment_file_is_read_alike_by_a_shell_and_by_systemd(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text(block("Operating it", "sh"))
    script = f"set -a && . {path} && exec env"
    seen = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, env={})
    variables = dict(line.split("=", 1) for line in seen.stdout.splitlines())
    assert variables["AUDIENCES_TARGET"] == "prod"
    for line in path.read_text().splitlines():
        name, value = line.split("=", 1)
        assert variables[name] == value.strip("'")


# Schedulers


def crontab_lines() -> list[str]:
    return [line for line in block("cron", "crontab").splitlines() if line[:1].isdigit()]


def test_the_crontab_line_runs_at_five_past_every_hour() -> None:
    (line,) = crontab_lines()
    *times, command = line.split(maxsplit=5)
    assert times == ["5", "*", "*", "*", "*"]
    assert "%" not in command, "cron takes it for a newline"
    words = shlex.split(command)
    given = parsed_by_the_command(words[words.index(".venv/bin/audiences") + 1 :])
    assert (given["audience"], given["quiet"]) == ("layer3-behavior", True)


@pytest.mark.skipif(shutil.which("crontab") is None, reason="there is no cron here")
def test_cron_itself_takes_the_crontab(tmp_path: Path) -> None:
    path = tmp_path / "crontab"
    path.write_text(block("cron", "crontab"))
    assert subprocess.run(["crontab", "-n", path], capture_output=True).returncode == 0
    path.write_text(block("cron", "crontab").replace("5 * * * *", "65 * * * *"))
    assert subprocess.run(["crontab", "-n", path], capture_output=True).returncode != 0


def unit(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


def test_the_units_say_what_a_run_needs() -> None:
    service, timer = (unit(text) for text in blocks("systemd", "ini"))
    words = shlex.split(service["Service"]["ExecStart"])
    assert parsed_by_the_command(words[1:])["audience"] == "layer3-behavior"
    assert service["Service"]["Type"] == "oneshot"
    assert "Restart" not in service["Service"]
    longest = int(service["Service"]["TimeoutStartSec"].removesuffix("min")) * 60
    assert longest > STANDARD.timeout_seconds
    assert timer["Timer"]["Persistent"] == "no"
    assert timer["Timer"]["OnCalendar"].endswith("UTC")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_itself_takes_the_units(tmp_path: Path) -> None:
    service, timer = blocks("systemd", "ini")
    program = service.split("ExecStart=")[1].split()[0]
    (tmp_path / "push-audiences.service").write_text(service.replace(program, "/bin/true"))
    (tmp_path / "push-audiences.timer").write_text(timer)
    units = [str(tmp_path / f"push-audiences.{kind}") for kind in ("service", "timer")]
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True
    )
    said = [line for line in verified.stderr.splitlines() if "push-audiences" in line]
    assert (verified.returncode, said) == (0, []), verified.stderr
    calendar = unit(timer)["Timer"]["OnCalendar"]
    assert subprocess.run(["systemd-analyze", "calendar", calendar]).returncode == 0


def test_the_cron_job_runs_one_at_a_time_never_twice_and_longer_than_any_limit_of_ours() -> None:
    document = yaml.safe_load(block("Kubernetes", "yaml"))
    assert (document["apiVersion"], document["kind"]) == ("batch/v1", "CronJob")
    assert document["spec"]["concurrencyPolicy"] == "Forbid"
    job = document["spec"]["jobTemplate"]["spec"]
    assert job["backoffLimit"] == 0
    assert job["activeDeadlineSeconds"] > STANDARD.timeout_seconds
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    (container,) = pod["containers"]
    words = container["command"]
    assert (
        parsed_by_the_command(words[1:])["output_dir"] == container["volumeMounts"][0]["mountPath"]
    )
    variables = {one["name"]: one for one in container["env"]}
    assert variables["DATABASE_URL"]["valueFrom"]["secretKeyRef"]["key"] == "database-url"
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }


# Exit codes and messages


def first_cells(heading: str) -> list[str]:
    section = README.split(f"### {heading}\n")[1].split("\n#")[0]
    cells = [line.split(" | ")[0].removeprefix("| ") for line in section.splitlines()]
    return [
        cell for line, cell in zip(section.splitlines(), cells, strict=True) if line[:2] == "| "
    ][1:]


def test_each_exit_code_is_explained_to_the_scheduler() -> None:
    listed = {
        int(code)
        for cell in first_cells("What an exit code means to the scheduler")
        for code in cell.split(", ")
    }
    ours = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert ours | {130, 143, 129} <= listed


def test_each_message_of_the_runbook_is_one_of_ours() -> None:
    sources = [*(ROOT / "runner").rglob("*.py"), *(ROOT / "models").rglob("*.yml")]
    text = "\n".join(path.read_text() for path in sources)
    # texts that are written on several lines, and values that are put into them
    whole = re.sub(r'"\s*\n\s*f?"', "", text).replace(
        "{ENGINE_VARIABLE}", "AUTOMATION_ENGINE_VERSION"
    )
    whole = re.sub(r"\s+", " ", whole)
    for cell in first_cells("Runbook"):
        for message in re.findall(r"`([^`]+)`", cell):
            state = re.fullmatch(r"\[SQLSTATE (\w{5})\]", message)
            assert state or message in whole, message


# The old engine


def with_old_engine(folder: Path) -> Path:
    """The shipped project with the README's legacy command, and a script that stands in for it."""
    project = shipped_project(folder)
    path = project / "models" / "layer3_behavior" / "audience.yml"
    before, after = path.read_text().split("    line_ending: lf\n")
    path.write_text(f"{before}    line_ending: lf\n{block('Beside the old engine', 'yaml')}{after}")
    (project / "scripts").mkdir()
    script = OLD_GENERATOR.replace("CASE", repr(str(CASE)))
    (project / "scripts" / "generate_layer_3_push_csvs.py").write_text(script)
    return project


def shell(script: str, project: Path, tools: Path) -> subprocess.CompletedProcess[str]:
    """Run a block of the README as a person would, in the project's folder."""
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


def test_the_rollout_of_the_readme_works_as_it_stands(golden: Database, tmp_path: Path) -> None:
    """The golden case as if it were now: both engines find the same users."""
    shift = datetime.now(UTC) - AS_OF
    for table in ("offers", "inventory_items", "wishlist_items"):
        golden.connection.execute(f"update {table} set created_at = created_at + %s", [shift])
    project = with_old_engine(tmp_path / "p")
    golden.profile(project)
    done = shell(block("Rollout", "sh"), project, tmp_path / "tools")
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


def test_the_rollback_of_the_readme_works_as_it_stands(golden: Database, tmp_path: Path) -> None:
    project = with_old_engine(tmp_path / "p")
    golden.profile(project)
    script = block("Rollback", "sh").replace("/var/lib/push-audiences", str(tmp_path / "out"))
    done = shell(script, project, tmp_path / "tools")
    assert done.stdout == "success v1 216\n", done.stderr
    assert (
        json.loads((project / "rollback.json").read_text())["metadata"]["legacy"]["exitCode"] == 0
    )
    assert len([name for name in published(tmp_path / "out") if name.endswith(".csv")]) == 6
