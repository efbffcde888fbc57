"""The command as a process: output, logs, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runner.cli.app import app
from runner.project.load import load_project
from tests.support import ROOT, Database, only_outcome, tiny_project

SLOW = "select n as user_id, 'name' as name, pg_sleep(60)::text from generate_series(1, 3) as given (n)"


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-c", "from runner.cli.app import main; main()", *map(str, arguments)]


def invoke(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def options(golden: Database, tmp_path: Path) -> list[object]:
    profile = golden.profile(tmp_path / "profile")
    return ["--profiles-dir", profile, "--project-dir", ROOT]


def test_run_prints_window_funnel_and_files(options: list[object], tmp_path: Path) -> None:
    more = ["--output-dir", tmp_path / "out", "--as-of", "2025-11-28T12:00:00Z"]
    code, stdout, stderr = invoke("run", "layer3-behavior", *options, *more)
    assert code == 0
    assert "window   2025-11-27T00:00:00Z up to 2025-11-28T00:00:00Z" in stdout
    assert "323 users after priority" in stdout
    assert stdout.count(".csv") == 6
    assert "layer3_prioritized: 323 rows" in stderr


def test_json_is_one_document_on_stdout_and_logs_are_json_lines(
    options: list[object], tmp_path: Path
) -> None:
    more = ["--output-dir", tmp_path / "out", "--as-of", "2025-11-28T12:00:00Z", "--json"]
    code, stdout, stderr = invoke(
        "run", "layer3-behavior", *options, *more, "--log-format", "json", "--automation-id", "a-1"
    )
    document = json.loads(stdout)
    assert code == 0
    assert document["audienceSize"] == 216
    assert document["metadata"]["automationId"] == "a-1"
    events = [json.loads(line) for line in stderr.splitlines()]
    assert events[0]["event"] == "run_started"
    assert events[-1] == {**events[-1], "event": "run_ended", "status": "success"}


def test_json_tells_failure_too(options: list[object]) -> None:
    code, stdout, _ = invoke("run", "layer3-behavior", *options, "--json", "--var", "nope=1")
    assert code == 2
    assert json.loads(stdout)["success"] is False


def test_quiet_says_nothing_on_success(options: list[object], tmp_path: Path) -> None:
    assert invoke("run", "layer3-behavior", *options, "--output-dir", tmp_path / "out", "-q") == (
        0,
        "",
        "",
    )


def test_a_partial_run_exits_3(database: Database, tmp_path: Path) -> None:
    broken = "select *, 1 / (user_id - 3) as x from {{ ref('people') }}"
    project = tiny_project(tmp_path / "p", second_file=broken)
    profile = database.profile(tmp_path / "profile")
    code, stdout, _ = invoke(
        "run",
        "tiny",
        "--project-dir",
        project,
        "--profiles-dir",
        profile,
        "--output-dir",
        tmp_path / "out",
    )
    assert code == 3
    assert "failed   second: models/second_file.sql" in stdout


def test_list_shows_parameters_and_outputs() -> None:
    code, stdout, _ = invoke("list", "--project-dir", ROOT)
    assert code == 0
    assert "generate_layer_3_push_csvs" in stdout
    assert "lookback_hours" in stdout
    listed = json.loads(invoke("list", "--project-dir", ROOT, "--json")[1])
    (audience,) = (one for one in listed if one["name"] == "layer3-behavior")
    assert audience["parameters"][0]["default"] == 48


def test_check_is_all_ok_on_the_source_tables(options: list[object]) -> None:
    code, stdout, _ = invoke("check", *options)
    assert code == 0
    assert all(line.startswith("ok ") for line in stdout.splitlines())
    assert json.loads(invoke("check", *options, "--json")[1])["valid"] is True


def test_check_says_what_to_fix(golden: Database, options: list[object], role: str) -> None:
    golden.execute("alter table users rename first_name to given_name")
    golden.execute("alter table products alter name type bytea using name::bytea")
    golden.execute("drop table offer_items")
    code, stdout, _ = invoke("check", *options)
    assert code == 1
    wrong = [line for line in stdout.splitlines() if line.startswith("wrong")]
    assert len(wrong) == 3
    users = load_project(ROOT).sources["marketplace", "users"].location
    assert f"there is no column first_name; correct {users}" in stdout
    assert "column name is bytea, not character varying" in stdout
    assert "table public.offer_items: there is no such table" in stdout


def test_check_names_missing_grants(golden: Database, role: str, tmp_path: Path) -> None:
    golden.execute(f"grant select on users to {role}")
    profile = golden.profile(tmp_path / "reader", user=role, password="reader secret")
    code, stdout, _ = invoke("check", "--profiles-dir", profile, "--project-dir", ROOT)
    assert code == 1
    assert "ok    table public.users" in stdout
    assert "grant select on public.offers" in stdout


def test_check_names_row_security(golden: Database, role: str, tmp_path: Path) -> None:
    golden.execute(f"grant select on all tables in schema public to {role}")
    golden.execute("alter table users enable row level security")
    profile = golden.profile(tmp_path / "reader", user=role, password="reader secret")
    code, stdout, _ = invoke("check", "--profiles-dir", profile, "--project-dir", ROOT)
    assert code == 1
    wrong = [line for line in stdout.splitlines() if line.startswith("wrong")]
    assert wrong == [
        "wrong permission public.users: row security would hide rows from this role; give it BYPASSRLS"
    ]


def test_offline_commands_need_no_driver() -> None:
    program = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from runner.cli.app import app\n"
        "for command in (['--help'], ['list'], ['compile', 'layer3-behavior']):\n"
        "    done = CliRunner().invoke(app, command)\n"
        "    assert done.exit_code == 0, done.output\n"
        "print([name for name in ('psycopg', 'sqlalchemy') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cancels_the_statement_and_publishes_nothing(
    database: Database, tmp_path: Path, number: int, code: int
) -> None:
    project = tiny_project(tmp_path / "p", people=SLOW)
    profile = database.profile(tmp_path / "profile")
    running = subprocess.Popen(
        command("run", "tiny", "--project-dir", project, "--profiles-dir", profile,
                "--output-dir", tmp_path / "out"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    active = (
        "select count(*) from pg_stat_activity where datname = current_database() "
        "and application_name = 'push-audiences' and query like '%pg_sleep%' and state = 'active'"
    )
    deadline = time.monotonic() + 20
    while not database.value(active) and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(number)
    _, stderr = running.communicate(timeout=20)
    assert running.returncode == code, stderr
    assert "nothing was published" in stderr
    assert "Traceback" not in stderr
    assert only_outcome(tmp_path / "out") == "interrupted"
    assert database.value(active) == 0


def test_a_closed_pipe_is_no_traceback() -> None:
    done = subprocess.run(
        f"{' '.join(map(repr, command('compile', 'layer3-behavior')))} | head -1",
        shell=True, capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ,
    )  # fmt: skip
    assert done.stdout.startswith("-- Audience layer3-behavior")
    assert done.stderr == ""


def test_version() -> None:
    from runner import __version__

    assert invoke("--version")[1].strip() == f"push-audiences {__version__}"


def test_a_terminal_gets_a_line_for_each_step(options: list[object], tmp_path: Path) -> None:
    import pty

    mine, theirs = pty.openpty()
    arguments = [*options, "--output-dir", tmp_path / "out", "--as-of", "2025-11-28T12:00:00Z"]
    running = subprocess.Popen(
        command("run", "layer3-behavior", *arguments), stdout=subprocess.PIPE, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(mine, 4096)
        except OSError:  # how Linux tells that the other end is closed
            break
        if not piece:
            break
        shown += piece
    running.communicate(timeout=20)
    os.close(mine)
    assert running.returncode == 0
    assert b"layer3_prioritized: 323 rows" in shown
    assert b"INFO" not in shown
