"""Bad input at the command line: one clear line, the right exit code, no traceback, no file."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runner.cli.app import app
from tests.support import ROOT, Database, only_outcome, published, shipped_project, tiny_project

Invoke = Callable[..., tuple[int, str]]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def invoke(
    database: Database, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> Invoke:
    """Runs the command in-process; returns its exit code and its one line on stderr."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    profile = database.profile(tmp_path / "profile")

    def call(
        *arguments: str, project: Path | None = None, profiles: Path | None = None
    ) -> tuple[int, str]:
        options = ["--project-dir", str(project)] if project else []
        options += ["--profiles-dir", str(profiles or profile), "--output-dir", str(out), "-q"]
        done = CliRunner().invoke(app, ["run", *arguments, *options])
        assert "Traceback" not in done.stderr
        shown = re.compile(r" *\d* \|")  # the source lines below an error
        errors = [one for one in done.stderr.splitlines() if one.strip() and not shown.match(one)]
        if done.exit_code == 2 or (done.exit_code == 1 and done.stderr.startswith("error")):
            assert len(errors) == 1 or "Usage" in done.stderr, done.stderr
        assert [name for name in published(out) if name.endswith(".csv")] == []
        return done.exit_code, done.stderr

    return call


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["layer3-behaviour"], "no audience 'layer3-behaviour'; did you mean layer3-behavior?"),
        (["layer3-behavior", "--var", "lookback=3"], "did you mean lookback_hours?"),
        (["layer3-behavior", "--var", "lookback_hours"], "is not NAME=VALUE"),
        (["layer3-behavior", "--lookback-hours", "two days"], "lookback_hours must be hours"),
        (["layer3-behavior", "--lookback-hours", "nan"], "lookback_hours must be hours"),
        (["layer3-behavior", "--lookback-hours", "0"], "must be > 0"),
        (["layer3-behavior", "--cooling-hours=-1"], "must be >= 0"),
        (["layer3-behavior", "--var", "min_wishlist_count=2.5"], "a whole number"),
        (["layer3-behavior", "--var", "require_complete_profile=maybe"], "true or false"),
        (
            ["layer3-behavior", "--var", "size_attribute=x' or '1'='1"],
            "size_attribute must be text",
        ),
        (["layer3-behavior", "--lookback-hours", "24"], "above 24 or lower cooling_hours below 12"),
        (["layer3-behavior", "--lookback-hours", "9", "--var", "lookback_hours=9"], "given twice"),
        (["layer3-behavior", "--as-of", "yesterday"], "is not a date and time"),
        (["layer3-behavior", "--as-of", "2025-11-28T12:00:00"], "has no offset"),
        (["layer3-behavior", "--target", "tset"], "there is no target 'tset'; did you mean test?"),
        (["layer3-behavior", "--log-format", "xml"], "--log-format"),
        (["layer3-behavior", "--look-back", "1"], "No such option"),
        ([], "Missing argument"),
    ],
)
def test_usage_errors_exit_2(invoke: Invoke, out: Path, arguments: list[str], message: str) -> None:
    code, error = invoke(*arguments)
    assert code == 2
    assert message in error
    assert not out.exists()


def test_an_empty_window_shows_both_instants(invoke: Invoke) -> None:
    options = ["--lookback-hours", "20", "--as-of", "2025-11-28T12:00:00Z"]
    code, error = invoke("layer3-behavior", *options)
    assert code == 2
    assert "from 2025-11-28T04:00:00Z to 2025-11-28T00:00:00Z is empty" in error


YAML_ERRORS = [
    ("staging/staging.yml", "models:", "modles:", "unknown key 'modles'; did you mean models?", 0),
    ("staging/staging.yml", "description: may be NULL}", "descripton: x}", "did you mean description", 0),
    ("sources.yml", "version: 2", "version: 3", "version", 0),
    ("sources.yml", "    schema: public", "    schema: public\n    schema: other", "twice", 1),
    ("sources.yml", "sources:", "sources: [", "not YAML", 1),
    ("layer3_behavior/audience.yml", "default: 48", "default: [48]", "default", 0),
    ("layer3_behavior/audience.yml", "default: 48", "default: 0", "lookback_hours must be", 0),
    ("layer3_behavior/audience.yml", "model: layer3_offer_creators", "model: layer3_offers", "did you mean", 0),
    ("layer3_behavior/audience.yml", "          - firstName\n", "          - first_name\n", "describes no column 'first_name'; did you mean firstName", -3),
    ("layer3_behavior/audience.yml", "[newest_activity_at desc, user_id]", "[newest_activity_at; drop]", "not a column name", 0),
    ("layer3_behavior/audience.yml", "must: lookback_hours >", "must: lookback >", "cannot be evaluated", 0),
    ("layer3_behavior/models.yml", "  - name: layer3_profiles", "  - name: layer3_profile", "no file layer3_profile.sql", 0),
    ("layer3_behavior/audience.yml", "file: recent-offer-creators", "file: ../recent", "file", 0),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "message", "below"), YAML_ERRORS)
def test_yaml_errors_name_file_and_line(
    invoke: Invoke, tmp_path: Path, file: str, old: str, new: str, message: str, below: int
) -> None:
    project = shipped_project(tmp_path / "p")
    path = project / "models" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    code, error = invoke("layer3-behavior", project=project)
    assert code == 2
    assert message in error
    place = f"models/{file}:"
    assert place in error
    found = int(error.split(place)[1].split(":")[0].split(" ")[0])
    assert found == text[: text.index(old)].count("\n") + 1 + below


SQL_ERRORS = [
    (
        "people",
        "select nme from {{ ref('people') }}",
        "models/people.sql",
        "circle: people -> people",
    ),
    (
        "first_file",
        "select * from {{ ref('peeple') }}",
        "models/first_file.sql:1",
        "did you mean people?",
    ),
    ("first_file", "select 1;\nselect 2", "models/first_file.sql:1", "one statement"),
    ("first_file", "select\n{{ var('n') }}", "models/first_file.sql:2", "declares no parameter"),
    ("first_file", "select {% if %}", "models/first_file.sql:1", "Jinja"),
    ("first_file", "select\nnow() as user_id", "models/first_file.sql:2", "run_started_at"),
]


@pytest.mark.parametrize(("model", "text", "place", "message"), SQL_ERRORS)
def test_model_errors_exit_2_before_anything_connects(
    invoke: Invoke, tmp_path: Path, out: Path, model: str, text: str, place: str, message: str
) -> None:
    project = tiny_project(tmp_path / "p", **{model: text})
    code, error = invoke("tiny", project=project)
    assert code == 2
    assert place in error
    assert message in error
    assert not out.exists()


def test_a_cycle_is_named_in_full(invoke: Invoke, tmp_path: Path) -> None:
    project = tiny_project(
        tmp_path / "p",
        people="select * from {{ ref('second') }}",
        second="select * from {{ ref('third') }}",
        third="select * from {{ ref('people') }}",
    )
    code, error = invoke("tiny", project=project)
    assert code == 2
    assert "people -> second -> third -> people" in error


def test_two_models_of_one_name_are_refused(invoke: Invoke, tmp_path: Path) -> None:
    project = tiny_project(tmp_path / "p")
    (project / "models" / "below").mkdir()
    (project / "models" / "below" / "people.sql").write_text("select 1")
    code, error = invoke("tiny", project=project)
    assert code == 2
    assert "models/people.sql" in error
    assert "models/below/people.sql" in error


# What only the server can know: exit 1


def test_an_unknown_column_in_an_inlined_model_names_its_line(
    invoke: Invoke, tmp_path: Path
) -> None:
    project = tiny_project(
        tmp_path / "p",
        inner="select user_id,\n    name,\n    nme\nfrom {{ ref('people') }}",
        first_file="-- one\nselect * from {{ ref('inner') }}",
        second_file="select * from {{ ref('people') }} where false",
    )
    code, error = invoke("tiny", "--all-or-nothing", project=project)
    assert code == 1
    assert "models/inner.sql:3" in error
    assert 'column "nme" does not exist' in error
    assert "42703" in error


def test_a_column_that_the_final_model_lacks_names_the_audience(
    invoke: Invoke, tmp_path: Path
) -> None:
    project = tiny_project(tmp_path / "p", first_file="select user_id from {{ ref('people') }}")
    code, error = invoke("tiny", "--all-or-nothing", project=project)
    assert code == 1
    assert "models/tiny.yml:" in error
    assert "name" in error


def test_a_missing_source_column_names_the_staging_models_line(
    invoke: Invoke, database: Database
) -> None:
    database.execute("alter table users rename first_name to given_name")
    code, error = invoke("layer3-behavior")
    assert code == 1
    assert "models/staging/stg_users.sql:8" in error
    assert 'column "first_name" does not exist' in error


def test_no_database_url_for_prod_exits_2(invoke: Invoke, tmp_path: Path) -> None:
    code, error = invoke("layer3-behavior", "--target", "prod", profiles=ROOT)
    assert code == 2
    assert "DATABASE_URL, which is unset" in error
    assert "profiles.yml:" in error


def unreachable(tmp_path: Path, url: str) -> Path:
    folder = tmp_path / "unreachable"
    folder.mkdir()
    (folder / "profiles.yml").write_text(
        f"p: {{target: t, outputs: {{t: {{type: postgres, url: {json.dumps(url)}, connect_timeout: 2}}}}}}"
    )
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://ann:s3cr3tword@127.0.0.1:{port}/app", "check that the server is running"),
        ("postgresql://ann:s3cr3tword@no-such-host.invalid/app", "correct the host's name"),
        ("postgresql://ann:s3cr3tword@127.0.0.1:port/app", "correct the target's url"),
    ],
)
def test_an_unreachable_server_exits_1_without_the_password(
    invoke: Invoke, tmp_path: Path, url: str, message: str
) -> None:
    profiles = unreachable(tmp_path, url.format(port=free_port()))
    code, error = invoke("layer3-behavior", profiles=profiles)
    assert code == 1
    assert message in error
    assert "s3cr3tword" not in error


@pytest.mark.parametrize("url", ["mysql://ann:s3cr3tword@127.0.0.1/app", "s3cr3tword"])
def test_a_url_that_is_none_exits_2_without_the_password(
    invoke: Invoke, tmp_path: Path, url: str
) -> None:
    code, error = invoke("layer3-behavior", profiles=unreachable(tmp_path, url))
    assert code == 2
    assert "cannot be read" in error
    assert "s3cr3tword" not in error


def test_a_missing_database_is_named(invoke: Invoke, database: Database, tmp_path: Path) -> None:
    profiles = database.profile(tmp_path / "missing", dbname="no_such_database")
    code, error = invoke("layer3-behavior", profiles=profiles)
    assert code == 1
    assert 'database "no_such_database" does not exist' in error


# Files


def test_a_file_where_the_folder_should_be(invoke: Invoke, out: Path) -> None:
    out.write_text("I am a file")
    code, error = invoke("layer3-behavior")
    assert code == 1
    assert "a file stands where the folder should be" in error
    assert out.read_text() == "I am a file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to(invoke: Invoke, out: Path) -> None:
    out.mkdir(mode=0o500)
    code, error = invoke("layer3-behavior")
    assert code == 1
    assert "allow this user to write there" in error


def test_a_full_disk_publishes_nothing(database: Database, tmp_path: Path) -> None:
    """A file size limit stands in for a full disk: both end a write with an error."""
    program = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (40000, 40000))\n"
        "from runner.cli.app import main\n"
        "main()\n"
    )
    people = "select n as user_id, 'name ' || n as name\nfrom generate_series(1, 9000) as given (n)"
    project = tiny_project(tmp_path / "p", people=people)
    profile = database.profile(tmp_path / "profile")
    done = subprocess.run(
        [sys.executable, "-c", program, "run", "tiny", "--project-dir", project, "--profiles-dir",
         profile, "--output-dir", tmp_path / "out", "-q", "--all-or-nothing"],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "cannot be written: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert only_outcome(tmp_path / "out") == "failed"


def test_names_that_are_taken_for_many_seconds_are_never_overwritten(
    invoke: Invoke, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.files.claim._taken", lambda *_: True)
    monkeypatch.setattr("runner.files.claim.time.sleep", lambda _: None)
    code, error = invoke("layer3-behavior")
    assert code == 1
    assert "already have the names" in error
    assert published(out) == []
