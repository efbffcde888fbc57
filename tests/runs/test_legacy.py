"""The old engine: a script stands in for it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from runner.cli.app import app
from runner.clock import file_timestamp
from runner.errors import ProjectError, UsageError
from runner.files.document import RunResult
from runner.project.load import load_project
from runner.project.targets import Target
from runner.runs import child
from runner.runs.phases import run
from runner.runs.settings import Settings, chosen_engine
from tests.support import AS_OF, Database, csv_files, published, run_project, tiny_project

TARGET = Target(
    name="old", type="postgres", url=SecretStr("postgresql://app:s3cret-word@nowhere/x")
)
WRITE_BOTH = """
import pathlib, sys
folder = pathlib.Path(sys.argv[1])
for stem, rows in (("first", ["1,Ann", '2,"two\\nlines"']), ("second", ["3,Cem"])):
    (folder / f"{stem}_20251128_120000.csv").write_bytes("\\r\\n".join(["user_id,name", *rows, ""]).encode())
    (folder / f"{stem}_TEST_20251128_120000.csv").write_bytes(b"user_id,name\\r\\n0,nobody\\r\\n")
print("made", len(rows), "rows", flush=True)
"""


def old_project(
    folder: Path, script: str, *, words: str = "", timeout: str = "30s", parameters: str = ""
) -> Path:
    """A tiny project whose legacy command is a Python script."""
    project = tiny_project(folder, parameters=parameters)
    (project / "old.py").write_text(script)
    words = words or '"{output_dir}"'
    with (project / "models" / "tiny.yml").open("a") as file:
        command = f"[{sys.executable}, -u, old.py, {words}]"
        file.write(f"    legacy: {{command: {command}, timeout: {timeout}}}\n")
    return project


def run_old(project: Path, output_dir: Path, **settings: object) -> RunResult:
    given = {"project_dir": project, "audience": "tiny", "output_dir": output_dir, "engine": "v1"}
    return run(Settings(**{**given, "target": TARGET, **settings}))  # type: ignore[arg-type]


def lines_of(caplog: pytest.LogCaptureFixture, event: str) -> list[str]:
    return [one.getMessage() for one in caplog.records if getattr(one, "event", "") == event]


def keys_of(value: object) -> object:
    """The shape of a JSON document."""
    if isinstance(value, dict):
        return {name: keys_of(below) for name, below in value.items()}
    return [keys_of(value[0])] if isinstance(value, list) and value else type(value).__name__


# What it does


def test_the_old_engines_files_are_published_as_they_are_under_our_names(tmp_path: Path) -> None:
    result = run_old(old_project(tmp_path / "p", WRITE_BOTH), tmp_path / "out")
    assert result.status == "success", result.error
    assert result.metadata.rows_by_type == {"first": 2, "second": 1}
    assert result.metadata.legacy is not None
    assert result.metadata.legacy.exit_code == 0
    for file in result.csv_files:
        content = file.path.read_bytes()
        assert content.startswith(b"user_id,name\r\n")
        assert (file.size_bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    stamp = file_timestamp(result.metadata.started_at)
    names = {f"{stem}_{stamp}.csv" for stem in ("first", "first_TEST", "second", "second_TEST")}
    assert {file.path.name for file in result.csv_files} == names
    assert result.metadata.manifest is not None
    assert set(published(tmp_path / "out")) == {*names, f"tiny_{stamp}.json", "tiny.latest.json"}
    listed = json.loads(result.metadata.manifest.read_text())
    assert listed["metadata"]["engine"] == "v1"
    assert {file["path"] for file in listed["csvFiles"]} == names


def test_result_and_manifest_have_the_same_shape_as_with_the_models(
    database: Database, tmp_path: Path
) -> None:
    project = old_project(tmp_path / "p", WRITE_BOTH)
    old = run_old(project, tmp_path / "old")
    new = run_project(project, database, tmp_path / "new")
    for one, other in (
        (old.as_json(), new.as_json()),
        *zip(*map(manifests, (old, new)), strict=True),
    ):
        assert [keys_of(one["csvFiles"][0]), list(one)] == [
            keys_of(other["csvFiles"][0]),
            list(other),
        ]
        assert list(one["metadata"]) == list(other["metadata"])
        assert keys_of(one["metadata"]["steps"][0]) == {**keys_of(other["metadata"]["steps"][0])}  # type: ignore[dict-item]
    assert (old.as_json()["metadata"]["engine"], new.as_json()["metadata"]["engine"]) == (
        "v1",
        "v2",
    )


def manifests(result: RunResult) -> list[dict[str, object]]:
    assert result.metadata.manifest is not None
    return [json.loads(result.metadata.manifest.read_text())]


def test_the_log_says_which_engine_ran(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="runner")
    project = old_project(tmp_path / "p", WRITE_BOTH)
    run_old(project, tmp_path / "old")
    assert (
        "tiny with engine v1 (its legacy command) on target old"
        in lines_of(caplog, "run_started")[0]
    )
    caplog.clear()
    run_project(project, database, tmp_path / "new")
    assert "tiny with engine v2 (its models) on target test" in lines_of(caplog, "run_started")[0]


def test_broken_models_do_not_stop_the_old_engine(tmp_path: Path) -> None:
    project = old_project(tmp_path / "p", WRITE_BOTH)
    (project / "models" / "people.sql").write_text("selekt {{ nonsense")
    assert run_old(project, tmp_path / "out").status == "success"


def test_parameters_as_of_and_folder_are_words_of_the_command_and_no_shell_sees_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="runner")
    parameters = (
        "{name: hours, type: hours, default: 48, description: h}, "
        "{name: fast, type: boolean, default: false, description: f}, "
        "{name: word, type: text, default: a, pattern: '.*', description: w}"
    )
    words = '"{hours}", "{fast}", "--word={word}", "{{}}", "{as_of}", "{output_dir}"'
    script = "import sys\nprint(sys.argv[1:6])\n"
    project = old_project(tmp_path / "p", script, words=words, parameters=parameters)
    given = {"hours": "30.50", "fast": "true", "word": "$(touch x); 'a' \"b\" {as_of}"}
    result = run_old(project, tmp_path / "out", parameters=given, as_of=AS_OF)
    told = ["30.50", "true", f"--word={given['word']}", "{}", "2025-11-28T12:00:00Z"]
    assert lines_of(caplog, "legacy_output") == [f"| {told}"]
    assert result.metadata.legacy is not None
    assert list(result.metadata.legacy.command[3:8]) == told


def test_output_is_told_line_by_line_as_it_comes(tmp_path: Path) -> None:
    script = "import sys, time\nfor n in range(3):\n    print('line', n)\n    sys.stderr.write('err\\n')\ntime.sleep(60)"
    project = old_project(tmp_path / "p", script)
    running = start(project, tmp_path / "out")
    assert running.stderr is not None
    seen = [running.stderr.readline() for _ in range(7)]
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=20)
    assert [line.split("| ")[1].strip() for line in seen[1:]] == [
        "line 0",
        "err",
        "line 1",
        "err",
        "line 2",
        "err",
    ]


def test_endless_and_unprintable_lines_are_cut_and_cleaned(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="runner")
    script = (
        "import sys\nsys.stdout.buffer.write(b'1%\\r2%\\r\\x1b[31mred\\xff\\n' + b'x' * 300_000)\n"
        "sys.stdout.buffer.write(b'\\nend')"
    )
    run_old(old_project(tmp_path / "p", script), tmp_path / "out")
    lines = lines_of(caplog, "legacy_output")
    assert lines[:3] == ["| 1%", "| 2%", "| [31mred\ufffd"]
    assert lines[-1] == "| end"
    assert max(map(len, lines)) == child.LONGEST_SHOWN + 2


def test_secrets_that_the_command_prints_are_hidden(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO", logger="runner")
    monkeypatch.setenv("OTHER_URL", "postgresql://me:p%40ss-other@host/db")
    monkeypatch.setenv("API_TOKEN", "tok-123456")
    script = (
        "import os\nprint('at postgresql://app:s3cret-word@nowhere/x')\n"
        "print(os.environ['OTHER_URL'], os.environ['API_TOKEN'], 'p@ss-other')\nraise SystemExit('s3cret-word')"
    )
    result = run_old(old_project(tmp_path / "p", script), tmp_path / "out")
    shown = json.dumps(result.as_json()) + "".join(one.getMessage() for one in caplog.records)
    assert "********" in shown
    for secret in ("s3cret-word", "p%40ss-other", "p@ss-other", "tok-123456"):
        assert secret not in shown


# Its failures


def test_its_failure_is_reported_with_exit_code_and_last_line_and_publishes_nothing(
    tmp_path: Path,
) -> None:
    script = WRITE_BOTH + "\nprint('no such table: users')\nsys.exit(7)\n"
    result = run_old(old_project(tmp_path / "p", script), tmp_path / "out")
    assert (result.status, result.exit_code) == ("failed", 1)
    assert result.error == (
        "models/tiny.yml:14: the legacy command ended with exit code 7; "
        "its last line: no such table: users; read its output in the log (legacy_output)"
    )
    assert result.as_json()["metadata"]["legacy"]["exitCode"] == 7
    assert csv_files(tmp_path / "out") == []


def test_its_timeout_is_reported_and_ends_its_whole_process_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "GRACE_SECONDS", 0.2)
    script = (
        "import signal, subprocess, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"sub = subprocess.Popen(['sleep', '600'])\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(sub.pid))\n"
        "print('working')\ntime.sleep(600)"
    )
    result = run_old(old_project(tmp_path / "p", script, timeout="4s"), tmp_path / "out")
    assert (result.status, result.exit_code) == ("failed", 1)
    assert result.error is not None
    assert (
        "the legacy command did not end within 4s and was stopped; its last line: working"
        in result.error
    )
    assert result.as_json()["metadata"]["legacy"]["exitCode"] is None
    assert csv_files(tmp_path / "out") == []
    assert is_gone(int((tmp_path / "pid").read_text()))


def is_gone(pid: int) -> bool:
    """Whether a process is dead, or will be in a moment: a signal takes its time."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_a_command_ended_by_a_signal_is_a_failure(tmp_path: Path) -> None:
    script = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    result = run_old(old_project(tmp_path / "p", script), tmp_path / "out")
    assert result.status == "failed"
    assert "was ended by signal 9" in str(result.error)


def test_what_it_leaves_running_is_ended_and_does_not_hold_the_run_up(tmp_path: Path) -> None:
    script = WRITE_BOTH + (
        f"\nimport subprocess\nsub = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(sub.pid))\n"
    )
    result = run_old(old_project(tmp_path / "p", script, timeout="10s"), tmp_path / "out")
    assert result.status == "success", result.error
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_a_command_that_closes_its_output_is_waited_for(tmp_path: Path) -> None:
    quiet = WRITE_BOTH.rpartition("print(")[0]
    script = f"import os, time\nos.close(1)\nos.close(2)\ntime.sleep(0.5)\n{quiet}"
    result = run_old(old_project(tmp_path / "p", script), tmp_path / "out")
    assert result.status == "success", result.error


def test_a_type_without_a_file_or_with_a_broken_one_falls_alone(tmp_path: Path) -> None:
    only_first = WRITE_BOTH + "\n(folder / 'second_20251128_120000.csv').unlink()\n"
    result = run_old(old_project(tmp_path / "p", only_first), tmp_path / "out")
    assert (result.status, result.exit_code) == ("partial", 3)
    assert result.metadata.rows_by_type == {"first": 2}
    assert "second_{time}.csv" in result.metadata.errors[0].message
    assert not [name for name in published(tmp_path / "out") if name.startswith("second")]
    broken = (
        WRITE_BOTH + "\n(folder / 'second_20251128_120000.csv').write_text('user_id,name\\n1\\n')\n"
    )
    result = run_old(old_project(tmp_path / "q", broken), tmp_path / "out2")
    assert result.status == "partial"
    assert "second_20251128_120000.csv:2: this row has 1 cell and the header 2 cells" in str(
        result.error
    )


def test_with_all_or_nothing_a_missing_file_publishes_nothing(tmp_path: Path) -> None:
    only_first = WRITE_BOTH + "\n(folder / 'second_20251128_120000.csv').unlink()\n"
    project = old_project(tmp_path / "p", only_first)
    assert run_old(project, tmp_path / "out", is_all_or_nothing=True).status == "failed"
    assert csv_files(tmp_path / "out") == []


def test_exit_code_0_without_a_file_is_a_failure_not_an_empty_audience(tmp_path: Path) -> None:
    result = run_old(old_project(tmp_path / "p", "print('done')"), tmp_path / "out")
    assert result.status == "failed"
    assert "wrote no first_{time}.csv" in str(result.error)


def test_two_files_of_one_type_are_refused_and_other_files_left_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script = WRITE_BOTH + (
        "\n(folder / 'first_20251128T120001.csv').write_text('user_id,name\\n')"
        "\n(folder / 'report.txt').write_text('x')"
        "\n(folder / 'first.csv').write_text('x')"
    )
    result = run_old(old_project(tmp_path / "p", script), tmp_path / "out")
    assert result.status == "partial"
    assert "wrote a file twice" in result.metadata.errors[0].message
    (left,) = lines_of(caplog, "legacy_left_behind")
    assert "report.txt" in left
    assert "first.csv" in left


def test_two_runs_never_meet_whatever_names_the_command_gives(tmp_path: Path) -> None:
    project = old_project(tmp_path / "p", WRITE_BOTH)
    assert run_old(project, tmp_path / "out").status == "success"
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*_2*")}
    assert run_old(project, tmp_path / "out").status == "success"
    after = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*_2*")}
    assert len(after) == 2 * len(before)
    assert {name: after[name] for name in before} == before


def test_links_that_the_command_made_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("user_id,name\n1,x\n")
    script = WRITE_BOTH + (
        "\npath = folder / 'second_20251128_120000.csv'\npath.unlink()"
        f"\npath.symlink_to({str(tmp_path / 'secret.csv')!r})\n"
    )
    result = run_old(old_project(tmp_path / "p", script), tmp_path / "out")
    assert (result.status, result.metadata.rows_by_type) == ("partial", {"first": 2})


def start(project: Path, output_dir: Path) -> subprocess.Popen[str]:
    profile = project / "profiles.yml"
    profile.write_text("p: {target: t, outputs: {t: {type: postgres, host: nowhere}}}\n")
    program = "from runner.cli.app import main; main()"
    arguments = ["run", "tiny", "--project-dir", str(project), "--output-dir", str(output_dir)]
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "AUTOMATION_ENGINE_VERSION": "v1"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_signals_are_passed_on_and_publish_nothing(tmp_path: Path, number: int, code: int) -> None:
    script = (
        "import signal, sys, time\n"
        "def told(number, frame):\n    print('got', number)\n    sys.exit(0)\n"
        "for one in (1, 2, 15):\n    signal.signal(one, told)\n"
        "print('ready')\ntime.sleep(600)"
    )
    running = start(old_project(tmp_path / "p", script), tmp_path / "out")
    assert running.stderr is not None
    while "ready" not in (line := running.stderr.readline()):
        assert line, "it ended before it was ready"
    running.send_signal(number)
    _, stderr = running.communicate(timeout=20)
    assert running.returncode == code, stderr
    assert f"| got {number}" in stderr
    assert "nothing was published" in stderr
    assert "Traceback" not in stderr
    assert csv_files(tmp_path / "out") == []


# What is refused before anything runs


@pytest.mark.parametrize("value", ["", "V1", "v3", " v1"])
def test_any_other_engine_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match=r"set it to v1 .* or v2 .*, or not at all"):
        chosen_engine({"AUTOMATION_ENGINE_VERSION": value})


def test_the_models_are_the_default_engine() -> None:
    assert chosen_engine({}) == "v2"


def test_the_variable_is_read_by_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = old_project(tmp_path / "p", WRITE_BOTH)
    (project / "profiles.yml").write_text(
        "p: {target: t, outputs: {t: {type: postgres, host: x}}}\n"
    )
    arguments = [
        "run",
        "tiny",
        "--project-dir",
        str(project),
        "--output-dir",
        str(tmp_path / "out"),
        "--json",
    ]
    monkeypatch.setenv("AUTOMATION_ENGINE_VERSION", "v1")
    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, json.loads(done.stdout)["metadata"]["engine"]) == (0, "v1")
    monkeypatch.setenv("AUTOMATION_ENGINE_VERSION", "v9")
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "AUTOMATION_ENGINE_VERSION is 'v9'" in done.stderr


def test_v1_without_a_command_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        run_old(tiny_project(tmp_path / "p"), tmp_path / "out")
    assert str(caught.value) == (
        "models/tiny.yml:3: AUTOMATION_ENGINE_VERSION is v1, but audience tiny has no legacy command; "
        "add legacy: with its command there, or set AUTOMATION_ENGINE_VERSION to v2"
    )


def test_what_the_command_would_pass_over_is_refused(tmp_path: Path) -> None:
    parameter = "{name: hours, type: hours, default: 48, description: h}"
    project = old_project(tmp_path / "p", WRITE_BOTH, parameters=parameter)
    with pytest.raises(UsageError, match="does not use hours, so the value given would be ignored"):
        run_old(project, tmp_path / "out", parameters={"hours": "3"})
    with pytest.raises(UsageError, match="does not use as_of"):
        run_old(project, tmp_path / "out", as_of=AS_OF - timedelta(days=1))
    with pytest.raises(UsageError, match="has no parameter 'ours'"):
        run_old(project, tmp_path / "out", parameters={"ours": "3"})
    with pytest.raises(UsageError, match="no dry run"):
        run_old(project, tmp_path / "out", is_dry_run=True)
    assert csv_files(tmp_path / "out") == []


def test_a_program_that_is_not_there_is_a_configuration_error(tmp_path: Path) -> None:
    project = tiny_project(tmp_path / "p")
    with (project / "models" / "tiny.yml").open("a") as file:
        file.write('    legacy: {command: [no-such-program, "{output_dir}"]}\n')
    with pytest.raises(UsageError, match=r"models/tiny.yml:14: .*cannot be started: No such file"):
        run_old(project, tmp_path / "out")
    assert csv_files(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("legacy", "message"),
    [
        ("{command: []}", "at least 1 item"),
        ('{command: [x, "{output_dir}"], timeout: soon}', "should match pattern"),
        ('{command: [x, "{output_dir}"], timeout: 0s}', "should match pattern"),
        ('{command: [x, "{output_dir"]}', "expected '}' before end"),
        ('{command: [x, "{output_dir!r}"]}', "its {placeholders} are not plain names"),
        ('{command: [x, "{output_dir.x}"]}', "its {placeholders} are not plain names"),
        ('{command: [x, "{}"]}', "its {placeholders} are not plain names"),
        ('{command: ["{output_dir}"]}', "first word must be the program"),
        ("{command: [x]}", "must contain {output_dir}"),
        (
            '{command: [x, "{output_dir}", "{lookback}"]}',
            "{lookback} is not a parameter; known: as_of, output_dir",
        ),
        ('{comand: [x, "{output_dir}"]}', "did you mean command?"),
    ],
)
def test_a_command_that_cannot_work_is_refused_with_its_line(
    tmp_path: Path, legacy: str, message: str
) -> None:
    project = tiny_project(tmp_path / "p")
    with (project / "models" / "tiny.yml").open("a") as file:
        file.write(f"    legacy: {legacy}\n")
    with pytest.raises(ProjectError) as caught:
        load_project(project)
    assert str(caught.value).startswith("models/tiny.yml:14: ")
    assert message in str(caught.value)
