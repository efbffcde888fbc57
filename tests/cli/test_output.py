"""What a command prints is lost or cannot be encoded: its exit code still says what it did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

from runner.cli.app import COMMANDS
from tests.support import ROOT, Database, manifests, published, run_project, tiny_project

needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux only")

DONE_ELSEWHERE = {"run", "clean", "schema", "docs", "demo", "new"}
"""Commands whose product is not what they print."""
STRANGE = "jesień 👟"
UNIT_TESTS = """
unit_tests:
  - name: numbers
    model: first_file
    given: [{input: ref('people'), rows: [{user_id: 1, name: jesień 👟}]}]
    expect: {rows: [{user_id: 1, name: jesień 👟}]}
"""


@dataclass
class Shell:
    """A project, a target and a past run, all with names that Latin-1 does not have."""

    database: Database
    folder: Path
    numbers: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        people = (
            f"select n as user_id, '{STRANGE}' as name\nfrom generate_series(1, 3) as given (n)"
        )
        project = tiny_project(self.project, people=people)
        tiny = project / "models" / "tiny.yml"
        tiny.write_text(tiny.read_text().replace("A small audience.", STRANGE) + UNIT_TESTS)
        self.profile = self.database.profile(self.folder / "profile")
        run_project(project, self.database, self.out)

    @property
    def project(self) -> Path:
        return self.folder / "próbka-wyjście"

    @property
    def out(self) -> Path:
        return self.folder / "wyjście"

    def arguments(self, command: str) -> list[object]:
        on = ["--project-dir", self.project]
        at = [*on, "--profiles-dir", self.profile]
        return {
            "run": ["tiny", *at, "--output-dir", self.out],
            "check": at,
            "compare": [self.out, self.out],
            "demo": ["--reset"],
            "history": ["--output-dir", self.out],
            "verify": [self.out],
            "clean": ["--keep-runs", 1, self.out],
            "list": on,
            "compile": ["tiny", *at],
            "test": ["tiny", *at],
            "show": ["people", *at],
            "explain": ["tiny", *at],
            "trace": ["tiny", "1", *at],
            "docs": ["--to", self.folder / "page.html", *on],
            "schema": ["--to", self.folder / "schemas", *on],
            "new": [f"sellers-{next(self.numbers)}", *on],
        }[command]

    def call(
        self, command: str, *more: object, redirect: str = "", **environment: str
    ) -> subprocess.CompletedProcess[bytes]:
        """The exit code and the bytes of both streams."""
        program = [sys.executable, "-c", "from runner.cli.app import main; main()", command]
        words = [*program, *self.arguments(command), *more]
        script = f'"$@" {redirect}'
        return subprocess.run(
            ["bash", "-c", script, "bash", *map(str, words)],
            capture_output=True, check=False, cwd=ROOT, env=os.environ | environment,
        )  # fmt: skip


@pytest.fixture
def shell(database: Database, tmp_path: Path) -> Shell:
    return Shell(database, tmp_path)


EVERY_COMMAND = [name for names in COMMANDS.values() for name in names if name != "demo"]


def expected_code(command: str) -> int:
    return 0 if command in DONE_ELSEWHERE else 1


@needs_dev_full
@pytest.mark.parametrize("command", EVERY_COMMAND)
def test_a_full_stdout_fails_the_commands_whose_product_is_lost(shell: Shell, command: str) -> None:
    done = shell.call(command, redirect="> /dev/full")
    stderr = done.stderr.decode()
    assert done.returncode == expected_code(command), stderr
    assert "stdout cannot be written to: No space left on device" in stderr
    assert "Traceback" not in stderr


@needs_dev_full
@pytest.mark.parametrize("command", EVERY_COMMAND)
def test_both_streams_full_change_no_more_than_that(shell: Shell, command: str) -> None:
    done = shell.call(command, redirect="> /dev/full 2> /dev/full")
    assert done.returncode == expected_code(command)


@pytest.mark.parametrize("command", EVERY_COMMAND)
def test_latin_1_changes_no_exit_code(shell: Shell, command: str) -> None:
    done = shell.call(command, PYTHONIOENCODING="latin1")
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr


@pytest.mark.parametrize(
    ("command", "text"),
    [("list", r"jesie\u0144 \U0001f45f"), ("show", r"jesie\u0144 \U0001f45f"), ("run", r"wyj\u015bcie")],
)  # fmt: skip
def test_text_is_escaped_where_the_terminal_lacks_a_character(
    shell: Shell, command: str, text: str
) -> None:
    done = shell.call(command, PYTHONIOENCODING="latin1")
    assert text.encode() in done.stdout


@pytest.mark.parametrize(
    ("command", "more"),
    [
        ("run", ["--json", "--accept-size", STRANGE]),
        ("list", ["--json"]),
        ("history", ["--json"]),
        ("show", ["--json"]),
        ("trace", ["--json"]),
    ],
)
def test_json_is_utf_8_in_every_locale(shell: Shell, command: str, more: list[object]) -> None:
    done = shell.call(command, *more, PYTHONIOENCODING="latin1")
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout.decode("utf-8"))


def test_csv_and_sql_are_utf_8_in_every_locale(shell: Shell) -> None:
    shown = shell.call("show", "--csv", PYTHONIOENCODING="latin1")
    assert shown.stdout.decode("utf-8").splitlines()[1] == f"1,{STRANGE}"
    compiled = shell.call("compile", PYTHONIOENCODING="latin1")
    assert f"'{STRANGE}'" in compiled.stdout.decode("utf-8")


@needs_dev_full
@pytest.mark.parametrize("redirect", ["> /dev/full 2> /dev/full", ">&- 2>&-", "2> >(exec true)"])
def test_a_run_publishes_and_exits_0_whatever_becomes_of_its_output(
    shell: Shell, redirect: str
) -> None:
    before = len(published(shell.out))
    done = shell.call("run", "--json", redirect=redirect)
    assert done.returncode == 0
    assert len(published(shell.out)) > before
    assert manifests(shell.out)[-1]["status"] == "success"


@needs_dev_full
@pytest.mark.parametrize("redirect", ["2> /dev/full", "2>&-", "2> >(exec true)"])
def test_a_lost_stderr_does_not_change_the_code_of_an_error(shell: Shell, redirect: str) -> None:
    assert shell.call("run", "--no-such-option", redirect=redirect).returncode == 2
    assert shell.call("run", "--as-of", "never", redirect=redirect).returncode == 2
    assert shell.call("verify", "--json", redirect=f"nowhere {redirect}").returncode == 2


@needs_dev_full
@pytest.mark.parametrize(
    "argument", ["--help", "--version", "--show-completion bash", "run --help"]
)
def test_help_that_is_lost_is_an_error_in_one_line(argument: str) -> None:
    program = f"{sys.executable} -c 'from runner.cli.app import main; main()' {argument}"
    done = subprocess.run(
        ["bash", "-c", f"{program} > /dev/full"], capture_output=True, text=True, check=False,
        env=os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
    )  # fmt: skip
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_a_reader_who_has_read_enough_is_no_error(shell: Shell) -> None:
    done = shell.call("compile", redirect="| head -1; exit ${PIPESTATUS[0]}")
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_pipe_that_does_not_block_loses_nothing(shell: Shell) -> None:
    """Another program may have made the pipe so: a write that finds it full waits."""
    setter = "import fcntl, os; fcntl.fcntl(1, fcntl.F_SETFL, os.O_WRONLY | os.O_NONBLOCK)"
    slow = f"| (sleep 1; {sys.executable} -c 'import sys; print(len(sys.stdin.buffer.read()))')"
    program = f"{setter}\nfrom runner.cli.app import main; main()"
    words = [sys.executable, "-c", program, *("show", "many", "--csv", "--limit", "100000")]
    (shell.project / "models" / "many.sql").write_text(
        "select n, repeat('x', 20) as text\nfrom generate_series(1, 100000) as given (n)"
    )
    words += [str(one) for one in shell.arguments("show")[1:]] + ["--audience", "tiny"]
    done = subprocess.run(
        ["bash", "-c", f'"$@" {slow}', "bash", *words],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert int(done.stdout) > 2_600_000, done.stderr
