"""Secrets are planted wherever one can be, and everything written is searched for them; and no
error tells a row's data."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from runner.cli.logs import JsonFormatter, Redaction
from runner.database.session import open_session
from runner.errors import DatabaseError
from runner.files.document import failure_json
from runner.project.secrets import hide, redacted, redacted_document
from runner.project.targets import Target
from tests.proxy import Proxy
from tests.support import ROOT, Database, run_project, tiny_project

SECRETS = {
    "url": "Url-s3cret",
    "encoded": "Enc/s3cret@100%:x",
    "query": "Query-s3cret",
    "options": "Options-s3cret",
    "password": "Parts s3cret'\"\\",
    "PGPASSWORD": "Env-s3cret",
    "pgpass": "Pass:file\\s3cret",
    "service": "Service-s3cret",
    "settings": "Settings-s3cret",
    "session": "Session-s3cret",
}
"""By where it is planted. Each is searched for in each spelling."""


def spellings(secret: str) -> set[str]:
    quoted = json.dumps(secret, ensure_ascii=False)[1:-1]
    return {secret, quote(secret, safe=""), quote(secret), quoted, repr(secret)[1:-1]}


def target_yaml(place: str, info: psycopg.ConnectionInfo) -> str:
    """A target that has its secret in this place. It is of no use to the server, which trusts."""
    host, base = quote(info.host, safe=""), f"{info.dbname}?host={quote(info.host, safe='')}"
    encoded = quote(SECRETS["encoded"], safe="")
    plain = f"host: '{info.host}', user: postgres, dbname: {info.dbname}"
    options = quote(f"-c app.token={SECRETS['options']}", safe="")
    return {
        "url": f"url: 'postgresql://postgres:{SECRETS['url']}@/{base}'",
        "encoded": f"url: 'postgresql://postgres:{encoded}@/{base}'",
        "query": f"url: 'postgresql:///{info.dbname}?host={host}&user=postgres&password={SECRETS['query']}'",
        "options": f"url: 'postgresql://postgres@/{base}&options={options}'",
        "password": plain + ", password: \"{{ env_var('APP_PASSWORD') }}\"",
        "PGPASSWORD": plain,
        "pgpass": plain,
        "service": "url: 'postgresql:///?service=app'",
        "settings": plain + ", settings: {app.token: \"{{ env_var('APP_TOKEN') }}\"}",
        "session": plain + ", session: [\"set app.token to '{{ env_var('APP_TOKEN') }}'\"]",
    }[place]


@pytest.fixture
def planted(
    database: Database, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[dict[str, str]]:
    """The environment, with pgpass and service files."""
    place: str = request.param
    info = database.connection.info
    if not info.host.startswith("/"):
        pytest.skip("needs a server that trusts whoever comes by its socket")
    escaped = SECRETS["pgpass"].replace("\\", "\\\\").replace(":", "\\:")
    pgpass = tmp_path / "pgpass"
    pgpass.write_text(f"# passwords\n*:*:*:*:{escaped}\n")
    pgpass.chmod(0o600)
    service = tmp_path / "pg_service.conf"
    service.write_text(
        f"[app]\nhost={info.host}\nuser=postgres\ndbname={info.dbname}\npassword={SECRETS['service']}\n"
    )
    (tmp_path / "profiles.yml").write_text(
        "p: {target: t, outputs: {t: {type: postgres, " + target_yaml(place, info) + "}}}"
    )
    yield {
        **os.environ,
        "APP_PASSWORD": SECRETS["password"],
        "APP_TOKEN": SECRETS.get(place, ""),
        "PGPASSFILE": str(pgpass),
        "PGSERVICEFILE": str(service),
        **({"PGPASSWORD": SECRETS["PGPASSWORD"]} if place == "PGPASSWORD" else {}),
    }


def telling(secret: str) -> dict[str, str]:
    """Models that make the server say the secret: as a name that is unknown, and as data."""
    name = secret.replace('"', '""')
    text = secret.replace("'", "''")
    return {
        "first_file": f"select user_id, \"{name}\" as name from {{{{ ref('people') }}}}",
        "second_file": f"select user_id, '{text}'::int as name from {{{{ ref('people') }}}}",
    }


@pytest.mark.parametrize("planted", SECRETS, indirect=True)
def test_no_secret_is_in_anything_that_is_written(
    planted: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place = request.node.callspec.params["planted"]
    secret = SECRETS[place]
    good, bad = tiny_project(tmp_path / "good"), tiny_project(tmp_path / "bad", **telling(secret))
    half = tiny_project(tmp_path / "half", first_file=telling(secret)["first_file"])
    written: dict[str, str] = {}
    for project in (good, bad, half):
        for more in (["--log-format", "json", "--json"], ["--automation-id", f"for {secret}"]):
            arguments = ["run", "tiny", "--output-dir", f"out/{project.name}", *more]
            written |= outputs(arguments, project, planted, tmp_path)
    for arguments in (["check"], ["check", "--json"], ["compile", "tiny"], ["list"],
                      ["compile", "tiny", "--to", "compiled"]):  # fmt: skip
        written |= outputs(arguments, good, planted, tmp_path)
    files = [path for folder in ("out", "compiled") for path in (tmp_path / folder).rglob("*")]
    written |= {str(path): path.read_text() for path in files if path.is_file()}
    assert len([name for name in written if name.endswith(".json")]) >= 4
    assert any("********" in text for text in written.values())
    for name, text in written.items():
        for spelling in spellings(secret):
            assert spelling not in text, name
    print(f"{place}: {len(written)} texts searched")


def outputs(
    arguments: list[str], project: Path, environment: dict[str, str], folder: Path
) -> dict[str, str]:
    program = "from runner.cli.app import main; main()"
    options = [
        "--project-dir",
        str(project),
        *(["--profiles-dir", str(folder)] if arguments[0] != "list" else []),
    ]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments, *options],
        env={**environment, "PYTHONPATH": str(ROOT)}, cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 1, 3), done.stderr
    name = " ".join([*arguments, project.name])
    return {f"{name} stdout": done.stdout, f"{name} stderr": done.stderr}


def test_no_secret_is_in_what_is_said_of_lost_connections(
    database: Database, tmp_path: Path
) -> None:
    info = database.connection.info
    if not info.host.startswith("/"):
        pytest.skip("the proxy stands before a server's socket")
    with Proxy(f"{info.host}/.s.PGSQL.{info.port}", fault="reset", on=b"insert into") as proxy:
        url = f"postgresql://postgres:Url-s3cret@127.0.0.1:{proxy.port}/{info.dbname}"
        (tmp_path / "profiles.yml").write_text(
            f"p: {{target: t, outputs: {{t: {{type: postgres, url: '{url}'}}}}}}"
        )
        more = ["--log-format", "json", "--json", "--automation-id", "Url-s3cret"]
        project = tiny_project(tmp_path / "p")
        arguments = ["run", "tiny", "--output-dir", "out", *more]
        written = outputs(arguments, project, dict(os.environ), tmp_path)
    (stderr,) = (text for name, text in written.items() if name.endswith("stderr"))
    events = [json.loads(line)["event"] for line in stderr.splitlines()]
    assert "retry" in events
    assert all("s3cret" not in text for text in written.values())


# The one point


def test_a_log_line_is_redacted_wherever_the_secret_is() -> None:
    hide(Target(name="t", type="postgres", host="h", password="top'secret\""))
    record = logging.makeLogRecord({"msg": "said %s", "args": ("top'secret\"",)})
    record.fields = {"a": ["top'secret\""], "b": {"c": "x top'secret\" y"}, "rows": 3}
    assert Redaction().filter(record)
    line = json.loads(JsonFormatter().format(record))
    assert line["message"] == "said ********"
    assert (line["a"], line["b"], line["rows"]) == (["********"], {"c": "x ******** y"}, 3)


def test_a_document_keeps_what_others_rely_on() -> None:
    hide(Target(name="t", type="postgres", host="h", password="first"))
    document = redacted_document(
        {"csvFiles": [{"path": "first_1.csv", "sha256": "first"}], "error": "first failed"}
    )
    assert document == {
        "csvFiles": [{"path": "first_1.csv", "sha256": "first"}],
        "error": "******** failed",
    }
    assert failure_json("first")["error"] == "********"


def test_secrets_of_two_targets_are_both_hidden() -> None:
    for password in ("one-secret", "two-secret"):
        hide(Target(name="t", type="postgres", host="h", password=password))
    assert redacted("one-secret two-secret") == "******** ********"


# Rows


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("('row-' || n)::int", 'invalid input syntax for type integer: "..." [SQLSTATE 22P02]'),
        ("('a\"row-' || n)::int", 'type integer: "..." [SQLSTATE 22P02]'),
        ("('2020-99-0' || n)::date", 'out of range: "..." [SQLSTATE 22008]'),
        ("('row-' || n)::timestamptz", 'type timestamp with time zone: "..." [SQLSTATE 22007]'),
        ("('9999999999' || n)::int", 'value "..." is out of range for type integer [SQLSTATE 22003]'),
        ("('{row-' || n)::jsonb", "invalid input syntax for type json [SQLSTATE 22P02]"),
        ("to_date('row-' || n, 'YYYY')", 'invalid value "..." [SQLSTATE 22007]'),
        ("timezone('row-/' || n, now_is)", 'time zone "..." not recognized [SQLSTATE 22023]'),
        ("say('row-' || n)", "a function raised an error; its text may quote rows"),
    ],
)  # fmt: skip
def test_errors_do_not_quote_rows(
    database: Database, tmp_path: Path, expression: str, told: str
) -> None:
    database.execute(
        "create function say(words text) returns text language plpgsql as "
        "$$ begin raise exception 'no %', words using hint = words, detail = words; end $$"
    )
    people = (
        f"select n as user_id, ({expression})::text as name "
        "from generate_series(1, 3) as given (n), "
        "(values ('2020-01-01'::timestamptz)) as clock (now_is)"
    )
    result = run_project(tiny_project(tmp_path / "p", people=people), database, tmp_path / "out")
    assert result.status == "failed"
    error = result.error or ""
    assert told in error
    assert "row-" not in error
    assert "99999" not in error
    assert "2020-99" not in error


def test_a_doubled_key_is_not_told(database: Database, tmp_path: Path) -> None:
    database.execute("create table t (n text primary key)")
    database.execute("insert into t values ('row-1')")
    with open_session(database.target()) as session:
        session.execute("set default_transaction_read_only to off")
        with pytest.raises(DatabaseError) as caught:
            session.execute("insert into t values ('row-1')")
        problem = str(caught.value)
    assert 'unique constraint "t_pkey" [SQLSTATE 23505]' in problem
    assert "row-1" not in problem
