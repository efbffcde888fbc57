"""Ways around the rules that were tried once: each must stay closed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.database.session import open_session
from runner.demo.server import EmbeddedServer, EmbeddedServerError, binaries
from runner.errors import DatabaseError, ExportError, ProfileError, ProjectError, UsageError
from runner.files.claim import Claim
from runner.files.folder import Folder
from runner.project.load import load_project
from runner.project.secrets import hide, redacted
from runner.project.targets import Target, load_target
from runner.runs.phases import run
from runner.runs.settings import Settings
from tests.support import (
    AS_OF,
    GOLDEN,
    ROOT,
    Database,
    claimed_in,
    load_csv_folder,
    load_schema,
    only_outcome,
    published,
    run_layer3,
    run_project,
    shipped_project,
    tiny_project,
)

# Writes

SMUGGLED = [
    "select 1 as user_id, 'x' as name -- {{ '\\r' }} with no data; commit; drop table victim; --",
    "select 1 as user_id, E'a'\n'\\' ' <> '' as name; commit; drop table victim; --  '",
    "select 1 as →$x$ ; commit; drop table victim; select 1 as →$x$",
    "select 1 as a, ٣$x$; commit; drop table victim; --$x$ as name",
]


@pytest.mark.parametrize("people", SMUGGLED)
def test_a_second_statement_never_runs(database: Database, tmp_path: Path, people: str) -> None:
    database.execute("create table victim (n int)")
    try:
        result = run_project(
            tiny_project(tmp_path / "p", people=people), database, tmp_path / "out"
        )
        assert result.status == "failed"
    except ProjectError:
        pass
    assert database.value("select to_regclass('victim') is not null")


@pytest.mark.parametrize("statement", ["select 1; select 2", "begin; drop table victim"])
def test_the_server_refuses_two_statements_in_one(database: Database, statement: str) -> None:
    with open_session(database.target()) as session, pytest.raises(DatabaseError, match="multiple"):
        session.execute(statement)


def test_a_nul_cannot_cut_a_statement_short(database: Database, tmp_path: Path) -> None:
    people = "select 1 as user_id, 'x' as name {{ '\\0' }}"
    with pytest.raises(ProjectError, match="PostgreSQL cannot read"):
        run_project(tiny_project(tmp_path / "p", people=people), database, tmp_path / "out")


def test_a_function_that_lies_about_writing_is_refused(database: Database, tmp_path: Path) -> None:
    database.execute("create table witness (n int)")
    database.execute(
        "create function sneak() returns int immutable language plpgsql as "
        "'begin insert into witness values (1); return 1; end'"
    )
    final = "{{ config(materialized='ephemeral') }}\nselect sneak() as user_id, 'x' as name"
    project = tiny_project(tmp_path / "p", first_file=final, second_file=final)
    result = run_project(project, database, tmp_path / "out")
    assert result.status == "failed"
    assert database.value("select count(*) from witness") == 0


def test_session_statements_of_a_profile_cannot_write(database: Database) -> None:
    target = database.target(session=["create table made (n int)"])
    with pytest.raises(DatabaseError, match="read-only"), open_session(target):
        pass


def test_a_profile_cannot_change_what_files_rest_on(database: Database) -> None:
    with pytest.raises(ValueError, match="same in every run"):
        database.target(settings={"TimeZone": "Europe/Berlin"})


def test_row_security_is_an_error_not_fewer_rows(
    golden: Database, role: str, tmp_path: Path
) -> None:
    golden.execute(f"grant select on all tables in schema public to {role}")
    golden.execute("alter table users enable row level security")
    target = golden.target(user=role, password="reader secret")
    result = run(
        Settings(ROOT, "layer3-behavior", target, as_of=AS_OF, output_dir=tmp_path / "out")
    )
    assert result.status == "failed"
    assert "row-level security" in (result.error or "")


def test_a_function_of_the_application_does_not_shadow_ours(
    golden: Database, tmp_path: Path
) -> None:
    before = run_layer3(golden, tmp_path / "a", require_complete_profile="true")
    golden.execute(
        "create function public.btrim(varchar, text) returns text language sql as 'select null'"
    )
    after = run_layer3(golden, tmp_path / "b", require_complete_profile="true")
    assert after.metadata.rows_by_type == before.metadata.rows_by_type


# Secrets

URLS = [
    "postgresql://ann:s3crLONG@ss#wQQ@localhost:1/mk",
    "postgresql://h/db?user=u&password=s3crLONG%zz",
    "postgresql://localhost:1/db?user=u&password=s3crLONG&ss#wQQ",
    "host=localhost port=1 user=u password=s3crLONG ss#wQQ",
    "postgresql://u@localhost:1/db?password=s3crLONG",
]


@pytest.mark.parametrize("url", URLS)
def test_no_piece_of_a_password_is_told(tmp_path: Path, url: str) -> None:
    target = Target(name="t", type="postgres", url=url, connect_timeout=2)
    with pytest.raises((DatabaseError, ExportError, ProfileError)) as caught, open_session(target):
        pass
    for piece in ("s3crLONG", "ss#wQQ"):
        assert piece not in str(caught.value)
        assert piece not in repr(target)
    assert "s3crLONG" not in redacted(f"told: {url}")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://app:pw123@127.0.0.1:1/mart", 'at "127.0.0.1", port 1'),
        ("postgresql+psycopg://app:pw123@127.0.0.1:1/mart", 'at "127.0.0.1", port 1'),
        ("postgresql://app:pw123@/mart?host=%2Ftmp%2Fnosuch", "/tmp/nosuch"),
        ("postgresql://app:pw123@127.0.0.1:1/mart?application_name=server", "connection to server"),
    ],
)
def test_what_names_the_server_is_told(url: str, shown: str) -> None:
    target = Target(name="t", type="postgres", url=url, connect_timeout=2)
    with pytest.raises(DatabaseError) as caught, open_session(target):
        pass
    assert shown in str(caught.value)
    assert "pw123" not in str(caught.value)


def test_compile_shows_no_variable_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "profiles.yml").write_text(
        "p: {target: t, outputs: {t: {type: postgres, url: \"{{ env_var('DB_URL') }}\", "
        "session: [\"set app.token to '{{ env_var('TOKEN') }}'\"]}}}"
    )
    monkeypatch.setenv("TOKEN", "s3crLONG")
    target = load_target(tmp_path, None, is_offline=True)
    assert "s3crLONG" not in " ".join(target.setting_statements())
    monkeypatch.setenv("DB_URL", "postgresql://localhost/x")
    hide(load_target(tmp_path, None))
    assert redacted("s3crLONG") == "********"


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ("p: {target: t, outputs: {t: {type: demo, host: prod}}}", "needs no url and no host"),
        ("p: {target: t, outputs: {t: {type: postgres, url: x, host: y}}}", "not both"),
        ("p: {target: t, outputs: {t: {type: postgres}}}", "neither url nor host"),
        ("p: {target: t, outputs: {t: {type: postgres, hots: x}}}", "did you mean host"),
        ("p: {target: t, outputs: [t]}", "no target"),
        ("1: {target: t}", "is not text"),
        ("p: {target: t, outputs: {t: {type: postgres, url: '{{ 1 / 0 }}'}}}", "cannot be rendered"),
        ("p: {target: t, outputs: {t: {type: postgres, url: x, settings: {'a b': 1}}}}", "not the name of a PostgreSQL setting"),
        ("[]", "one profile"),
        ("a: &a [*a]", "refers to itself"),
    ],
)  # fmt: skip
def test_a_wrong_profile_is_a_usage_error(tmp_path: Path, profile: str, message: str) -> None:
    (tmp_path / "profiles.yml").write_text(profile)
    with pytest.raises(ProfileError, match=message):
        load_target(tmp_path, None, {})


# Files


@pytest.mark.parametrize("call", range(2, 8))  # the first is the manifest's, with signals held off
def test_an_interrupt_at_any_link_leaves_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    calls = 0
    link = os.link

    def link_then_interrupt(*arguments: object, **options: object) -> None:
        nonlocal calls
        link(*arguments, **options)  # type: ignore[arg-type]
        calls += 1
        if calls == call:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "link", link_then_interrupt)
    project = tiny_project(tmp_path / "p")
    try:
        result = run_project(project, database, tmp_path / "out")
        assert calls < call
        assert result.status == "success"
    except KeyboardInterrupt as problem:
        assert problem.__notes__ == ["nothing was published"]
        assert only_outcome(tmp_path / "out") == "interrupted"


@pytest.mark.parametrize("failing", [1, 2, 3, 4])
def test_a_folder_that_cannot_be_flushed_publishes_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    flushes = 0

    def flush(folder: Folder) -> None:
        nonlocal flushes
        flushes += 1
        if flushes >= failing:
            raise ExportError("cannot be written: Input/output error")

    monkeypatch.setattr(Folder, "flush", flush)
    result = run_project(tiny_project(tmp_path / "p"), database, tmp_path / "out")
    assert result.status == "failed"
    assert published(tmp_path / "out") == [] or only_outcome(tmp_path / "out") == "failed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_publication_comes_too_late(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    conclude = Claim.conclude
    threading.Thread(target=time.sleep, args=(1,), daemon=True).start()

    def interrupted(*arguments: object) -> None:
        os.kill(os.getpid(), number)
        conclude(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Claim, "conclude", interrupted)
    result = run_project(tiny_project(tmp_path / "p"), database, tmp_path / "out")
    assert result.status == "success"
    assert len(published(tmp_path / "out")) == 6


def test_a_living_runs_staging_is_not_swept(tmp_path: Path) -> None:
    audience = load_project(ROOT).audience("layer3-behavior")
    with claimed_in(tmp_path, audience, AS_OF) as first:
        half = first.staging.path / "half"
        half.write_text("half")
        with claimed_in(tmp_path, audience, AS_OF):
            assert half.exists()


@pytest.mark.parametrize("redirect", ["| true", "> /dev/full", ">&-"])
def test_a_lost_stdout_does_not_change_the_exit_code(
    database: Database, tmp_path: Path, redirect: str
) -> None:
    project = tiny_project(tmp_path / "p")
    profile = database.profile(tmp_path / "profile")
    program = f"{sys.executable} -c 'from runner.cli.app import main; main()'"
    options = f"--project-dir {project} --profiles-dir {profile} --output-dir {tmp_path}/out --json"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {program} run tiny {options} {redirect}"],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert len(published(tmp_path / "out")) == 6


def test_compile_does_not_write_over_the_models(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from runner.cli.app import app

    project = shipped_project(tmp_path / "p")
    (project / "profiles.yml").write_text("p: {target: demo, outputs: {demo: {type: demo}}}")
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    for folder in (project / "models", project / "models" / "staging"):
        options = ["--to", str(folder), "--project-dir", str(project)]
        done = CliRunner().invoke(app, ["compile", "layer3-behavior", *options])
        assert done.exit_code == 2
        assert "outside models" in done.stderr
    options = ["--to", str(project), "--project-dir", str(project)]
    assert CliRunner().invoke(app, ["compile", "layer3-behavior", *options]).exit_code == 0
    assert {path: path.read_bytes() for path in before} == before


# The rest of a partial failure


def test_a_funnel_over_a_fallen_model_does_not_fail_the_others(
    database: Database, tmp_path: Path
) -> None:
    project = tiny_project(tmp_path / "p", second_file="select nope from {{ ref('people') }}")
    path = project / "models" / "tiny.yml"
    path.write_text(path.read_text() + "    funnel: [{label: second, model: second_file}]\n")
    result = run_project(project, database, tmp_path / "out")
    assert result.status == "partial"
    assert [failure.audience_type for failure in result.metadata.errors] == ["second"]


def test_a_funnel_over_a_missing_column_names_the_funnels_line(
    database: Database, tmp_path: Path
) -> None:
    project = tiny_project(tmp_path / "p")
    path = project / "models" / "tiny.yml"
    path.write_text(
        path.read_text() + "    funnel:\n      - {label: all, model: people, by: nope}\n"
    )
    line = len(path.read_text().splitlines())
    result = run_project(project, database, tmp_path / "out")
    assert result.status == "failed"
    assert f"models/tiny.yml:{line}: " in (result.error or "")
    assert only_outcome(tmp_path / "out") == "failed"


def test_each_failed_type_is_told(database: Database, tmp_path: Path) -> None:
    broken = "select nope from {{ ref('people') }}"
    project = tiny_project(tmp_path / "p", first_file=broken, second_file=broken)
    result = run_project(project, database, tmp_path / "out")
    assert [failure.audience_type for failure in result.metadata.errors] == ["first", "second"]


# Configuration that would do nothing, or harm

LAYER3 = "layer3_behavior/audience.yml"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("        usersize: \"13\"\n", "        usersize: \"13\"\n        colour: red\n", "not a column of any"),
        ("      - name: cooling_hours\n", "      - name: lookback_hours\n", "two parameters"),
        ("[a-z][a-z0-9_]{0,62}", "[a-z", "is not a regular expression"),
        ("above: 0", "above: .nan", "finite"),
        ("        username: beems\n", "", "must name column 'username' once"),
        ("        data_tests: [unique, not_null]\n", "        data_tests: [uniqe]\n", "did you mean unique"),
        (
            "        username: beems\n        firstName: Mbiyimoh\n        usersize: \"13\"\n      run_start: [lastActive]\n",
            "        firstName: Mbiyimoh\n        usersize: \"13\"\n      run_start: [lastActive]\n",
            "must name",
        ),
        ("        product_name: Test Product\n", "        product_name: Test Product\n        username: x\n", "must name"),
        ("[newest_activity_at desc, user_id]", "[newest_at desc, user_id]", "no column 'newest_at'; did you mean newest_activity_at"),
        ("model: layer3_recent_activity, by: action_type}", "model: layer3_recent_activity, by: acton_type}", "no column 'acton_type'; did you mean action_type"),
        ("where: [keep_demand]", "where: [keep_demands]", "did you mean keep_demand"),
        ("activity_model:", "activty_model:", "did you mean activity_model"),
        ("activity_model: layer3_recent_activity", "activity_model: false", "time is a column of the activity model"),
        ("file: recent-closet-adders", "file: recent-offer-creators", "two outputs have the file"),
        ("file: recent-closet-adders", "file: x\n        placeholders: {firstname: x}", "placeholders names 'firstname'.*did you mean firstName"),
        ("file: recent-closet-adders", "file: x\n        placeholders: {username: x}", "must name column 'username' once"),
        ("file: recent-closet-adders", 'file: x\n        placeholders: {variantID: "a\\nb"}', "printable and on one line"),
    ],
)  # fmt: skip
def test_yaml_that_does_nothing_is_refused(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    project = shipped_project(tmp_path)
    folder = (project / "models" / LAYER3).parent
    path = next(path for path in sorted(folder.glob("*.yml")) if old in path.read_text())
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ProjectError, match=message):
        load_project(project)


def test_a_personal_column_never_comes_from_a_production_row(tmp_path: Path) -> None:
    project = shipped_project(tmp_path)
    path = project / "models" / LAYER3
    text = path.read_text().replace("        username: beems\n", "")
    text = text.replace("      placeholders:\n", "      placeholders:\n        username: nobody\n")
    path.write_text(text)
    with pytest.raises(ProjectError, match="'username', which is personal"):
        load_project(project)
    text = path.read_text().replace("        username: nobody\n", "")
    text = re.sub(r"(        file: .*\n)", r"\1        placeholders: {username: nobody}\n", text)
    path.write_text(text)
    with pytest.raises(ProjectError, match="'username', which is personal") as raised:
        load_project(project)
    line = text.splitlines().index("        placeholders: {username: nobody}") + 1
    assert f"audience.yml:{line}:" in str(raised.value)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--as-of", ""], "is not a date and time"),
        (["--target", ""], "--target is empty"),
        (["--output-dir", ""], "--output-dir '' is empty"),
        (["--automation-id", "\udcff"], "not printable"),
        (["--project-dir", "x" * 5000], "no profiles.yml"),
    ],
)
def test_what_an_unset_variable_leaves_is_refused(option: list[str], message: str) -> None:
    from typer.testing import CliRunner

    from runner.cli.app import app

    done = CliRunner().invoke(app, ["run", "layer3-behavior", *option])
    assert done.exit_code == 2
    assert message in done.stderr


# Other servers


@pytest.fixture(scope="module")
def own_server() -> Iterator[EmbeddedServer]:
    """A server whose configuration the test may change."""
    server = EmbeddedServer(Path(tempfile.mkdtemp(prefix="audiences own's ")))
    server.start()
    yield server
    server.stop()
    shutil.rmtree(server.folder)


def target_of(server: EmbeddedServer, **settings: object) -> Target:
    given = {
        "name": "own",
        "type": "postgres",
        "host": str(server.socket_folder),
        "user": "postgres",
    }
    return Target(**{**given, "dbname": "postgres", **settings})


def test_a_folder_with_quotes_and_spaces_works(own_server: EmbeddedServer) -> None:
    target = Target(name="own", type="postgres", url=own_server.url("postgres"))
    with open_session(target) as session:
        assert session.rows("select 1")[0][0] == 1


def test_a_wrong_password_is_told_without_it(own_server: EmbeddedServer) -> None:
    with open_session(target_of(own_server)) as session:
        session.execute("set default_transaction_read_only to off")
        session.execute("create role locked login password 'right'")
        hba = own_server.data / "pg_hba.conf"
        hba.write_text("local all locked scram-sha-256\n" + hba.read_text())
        session.execute("select pg_reload_conf()")
        target = target_of(own_server, user="locked", password="wr0ngw0rd")
        with pytest.raises(DatabaseError, match="password authentication failed") as caught:
            for _ in range(100):  # a reload takes a moment
                with open_session(target):
                    pass
    assert "correct user or password" in str(caught.value)
    assert "wr0ngw0rd" not in str(caught.value)


def test_a_standby_gives_the_same_files(own_server: EmbeddedServer, tmp_path: Path) -> None:
    options = {"host": str(own_server.socket_folder), "user": "postgres", "dbname": "postgres"}
    load_schema(**options)
    load_csv_folder(GOLDEN / "source_data", **options)
    standby = EmbeddedServer(Path(tempfile.mkdtemp(prefix="audiences-standby-")))
    standby.folder.chmod(0o777)
    own_server._run(
        "pg_basebackup", "-h", str(own_server.socket_folder), "-U", "postgres", "-D",
        str(standby.data), "-R", "-c", "fast",
    )  # fmt: skip
    try:
        standby.start()
        results = {
            name: run(
                Settings(
                    ROOT, "layer3-behavior", target_of(server), as_of=AS_OF,
                    output_dir=tmp_path / name,
                )
            )
            for name, server in (("primary", own_server), ("standby", standby))
        }  # fmt: skip
    finally:
        standby.stop()
        shutil.rmtree(standby.folder)
    assert results["standby"].metadata.working_tables == "inlined (standby)"
    assert results["primary"].audience_size == results["standby"].audience_size == 216
    contents = [
        {file.sha256 for file in result.csv_files if not file.is_test_file}
        for result in results.values()
    ]
    assert contents[0] == contents[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else")
def test_root_gets_a_copy_of_programs_that_nobody_cannot_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install, package = binaries().parent, binaries().parent.parent
    hidden = tmp_path / "hidden"
    shutil.copytree(install, hidden / package.name / install.name)
    libraries = f"{package.name}.libs"
    shutil.copytree(package.parent / libraries, hidden / libraries)
    hidden.chmod(0o700)
    programs = hidden / package.name / install.name / "bin"
    monkeypatch.setattr("runner.demo.server.binaries", lambda: programs)
    server = EmbeddedServer(Path(tempfile.mkdtemp(prefix="audiences-")))
    try:
        server.start()
        with open_session(target_of(server)) as session:
            assert session.rows("select 1")[0][0] == 1
    finally:
        server.stop()
        shutil.rmtree(server.folder)


def test_a_link_or_somebody_elses_folder_is_no_server_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(EmbeddedServerError, match="a link, or belongs to somebody else"):
        EmbeddedServer(tmp_path / "link").start()


def test_an_unknown_audience_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="did you mean layer3-behavior"):
        load_project(ROOT).audience("layer3-behaviour")


def test_the_json_of_a_failure_has_the_usual_shape(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from runner.cli.app import app

    options = ["--project-dir", str(ROOT), "--json", "--log-format", "json"]
    done = CliRunner().invoke(app, ["run", "nope", *options])
    assert set(json.loads(done.stdout)) >= {"success", "csvFiles", "audienceSize", "metadata"}
    assert json.loads(done.stderr)["event"] == "error"
