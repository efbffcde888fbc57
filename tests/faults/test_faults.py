"""Connections that break, stall, or never come; servers that go away: a run ends right or fails
within its deadline, and nothing is lost."""

from __future__ import annotations

import hashlib
import random
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.clock import Deadline, seconds_of
from runner.database.retries import retried
from runner.demo.server import EmbeddedServer
from runner.errors import DatabaseError, DeadlinePassed
from runner.files.document import RunResult
from runner.project.load import load_project
from runner.project.targets import Target
from runner.runs.phases import run
from runner.runs.settings import Settings
from runner.tools.check import check
from tests.proxy import Proxy, tls_before
from tests.support import (
    AS_OF,
    GOLDEN,
    ROOT,
    Database,
    load_csv_folder,
    load_schema,
    manifests,
    only_outcome,
    published,
    run_project,
    tiny_project,
)

SLACK_SECONDS = 5
"""What a loaded machine may take beyond a deadline that was kept."""


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    """A server that may be stopped, with the golden data."""
    own = EmbeddedServer(Path(tempfile.mkdtemp(prefix="audiences-faults-")))
    own.start()
    options = {"host": str(own.socket_folder), "user": "postgres", "dbname": "postgres"}
    load_schema(**options)
    load_csv_folder(GOLDEN / "source_data", **options)
    yield own
    own.stop()
    shutil.rmtree(own.folder)


def socket_of(server: EmbeddedServer) -> str:
    return f"{server.socket_folder}/.s.PGSQL.5432"


def target_at(port: int, **settings: Any) -> Target:
    given = {"host": "127.0.0.1", "port": port, "user": "postgres", "dbname": "postgres"}
    return Target(**{"name": "proxied", "type": "postgres", **given, **settings})


def proxied(database: Database, **fault: Any) -> Proxy:
    info = database.connection.info
    return Proxy(f"{info.host}/.s.PGSQL.{info.port}", **fault)


def target_through(proxy: Proxy, database: Database, **settings: Any) -> Target:
    info = database.connection.info
    reach = {"user": info.user, "password": info.password or None, "dbname": info.dbname}
    return target_at(proxy.port, **{**reach, **settings})


@pytest.fixture(autouse=True)
def needs_a_socket(database_server: Any) -> None:
    if not database_server.host.startswith("/"):
        pytest.skip("the proxy stands before a server's socket")


def attempts_of(result: RunResult) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = result.as_json()["metadata"]["attempts"]
    return found


# What is tried again, and what is not


@pytest.mark.parametrize("fault", ["reset", "close", "half"])
@pytest.mark.parametrize("statement", [b"create temp table", b"insert into", b"copy ("])
def test_a_lost_session_is_a_new_attempt_at_the_same_run(
    database: Database, tmp_path: Path, fault: str, statement: bytes
) -> None:
    project = tiny_project(tmp_path / "p")
    before = run_project(project, database, tmp_path / "probe")
    with proxied(database, fault=fault, on=statement) as proxy:
        target = target_through(proxy, database)
        result = run_project(project, database, tmp_path / "out", target=target)
    assert result.status == "success", result.error
    first, second = attempts_of(result)
    assert first["reason"] and first["waitedMs"] >= 500
    assert (second["reason"], second["waitedMs"]) == (None, 0)
    assert result.metadata.rows_by_type == before.metadata.rows_by_type
    assert len(result.metadata.steps) == len(before.metadata.steps)
    assert len(published(tmp_path / "out")) == 6
    (manifest,) = manifests(tmp_path / "out")
    assert manifest["status"] == "success"
    assert len(manifest["metadata"]["attempts"]) == 2


def test_each_retry_is_logged_with_its_reason(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        proxied(database, fault="reset", on=b"insert into") as proxy,
        caplog.at_level("INFO", "runner"),
    ):
        run_project(
            tiny_project(tmp_path / "p"),
            database,
            tmp_path / "out",
            target=target_through(proxy, database),
        )
    (retry,) = (one for one in caplog.records if getattr(one, "event", "") == "retry")
    assert retry.fields["attempt"] == 1  # type: ignore[attr-defined]
    assert "closed the connection" in retry.getMessage() or "reset" in retry.getMessage()


def test_a_server_that_is_not_there_is_tried_until_the_deadline_leaves_no_time(
    database: Database, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    clock = time.monotonic()
    result = run_project(
        tiny_project(tmp_path / "p"),
        database,
        tmp_path / "out",
        target=target_at(port),
        deadline_seconds=3,
    )
    assert time.monotonic() - clock < 3 + SLACK_SECONDS
    assert (result.status, result.exit_code) == ("failed", 1)
    assert "onnection refused" in (result.error or "")
    assert len(attempts_of(result)) >= 2
    assert only_outcome(tmp_path / "out") == "failed"


def test_a_server_that_comes_back_is_enough(server: EmbeddedServer, tmp_path: Path) -> None:
    server.stop()
    starting = threading.Timer(1.5, server.start)
    starting.start()
    target = Target(name="own", type="postgres", url=server.url("postgres"))
    settings = Settings(ROOT, "layer3-behavior", target, as_of=AS_OF, output_dir=tmp_path)
    result = run(settings)
    starting.join()
    assert result.status == "success", result.error
    assert len(attempts_of(result)) >= 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dbname": "nowhere"}, 'database "nowhere" does not exist'),
        ({"user": "nobody_here"}, 'role "nobody_here" does not exist'),
        ({"host": "no-such-host.invalid"}, "failed to resolve host"),
        ({"settings": {"work_mem": "much"}}, 'invalid value for parameter "work_mem"'),
    ],
)
def test_what_does_not_pass_by_itself_is_not_tried_again(
    database: Database, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    project = tiny_project(tmp_path / "p")
    with proxied(database) as proxy:
        target = target_through(proxy, database, **settings)
        result = run_project(project, database, tmp_path / "out", target=target)
    assert result.status == "failed"
    assert message in (result.error or "")
    assert len(attempts_of(result)) == 1


@pytest.mark.parametrize(
    ("people", "message"),
    [
        ("select nope as user_id, 'x' as name", "42703"),
        ("select 1 / 0 as user_id, 'x' as name", "22012"),
        ("select secret.n as user_id, 'x' as name from secret", "42501"),
        ("select 1 as user_id, pg_sleep(5)::text as name", "57014"),
    ],
)
def test_an_error_in_sql_is_not_tried_again(
    database: Database, tmp_path: Path, role: str, people: str, message: str
) -> None:
    database.execute("create table secret (n int)")
    target = database.target(user=role, password="reader secret", statement_timeout="300ms")
    result = run_project(
        tiny_project(tmp_path / "p", people=people), database, tmp_path / "out", target=target
    )
    assert result.status == "failed"
    assert message in (result.error or "")
    assert len(attempts_of(result)) == 1


@pytest.mark.parametrize("state", ["40001", "40P01", "57P01", "53300", "08006"])
def test_what_passes_by_itself_is_the_whole_runs_matter(
    database: Database, tmp_path: Path, state: str
) -> None:
    database.execute(
        "create function fail() returns text language plpgsql as "
        f"$$ begin raise exception 'in the way' using errcode = '{state}'; end $$"
    )
    second = "select user_id, fail() as name from {{ ref('people') }}"
    result = run_project(
        tiny_project(tmp_path / "p", second_file=second),
        database,
        tmp_path / "out",
        deadline_seconds=2.5,
    )
    assert result.status == "failed"
    states = [one["sqlstate"] for one in attempts_of(result)]
    assert states[:2] == [state, state]
    assert set(states[2:]) <= {state, None}  # None: the deadline cut the last attempt
    assert only_outcome(tmp_path / "out") == "failed"


def test_attempts_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)

    def fail() -> None:
        raise DatabaseError("gone", is_transient=True)

    with pytest.raises(DatabaseError, match="gone"):
        retried(fail, Deadline.after(600), lambda _, seconds: waits.append(seconds))
    assert len(waits) == 7
    for number, waited in enumerate(waits):
        assert min(30, 0.5 * 2**number) <= waited <= min(30, 0.5 * 2**number) + 0.5


# The deadline


@pytest.mark.parametrize(
    ("statement", "doing"),
    [
        (None, "connecting"),
        (b"create temp table", "preparing"),
        (b"insert into", "filling people"),
        (b"copy (", "writing first_"),
    ],
)
def test_a_half_open_connection_ends_at_the_deadline_which_says_where(
    database: Database, tmp_path: Path, statement: bytes | None, doing: str
) -> None:
    project = tiny_project(tmp_path / "p")
    clock = time.monotonic()
    with proxied(database, fault="freeze", at=1, on=statement) as proxy:
        target = target_through(proxy, database)
        result = run_project(project, database, tmp_path / "out", target=target, deadline_seconds=2)
        took = time.monotonic() - clock
    assert 2 <= took < 2 + SLACK_SECONDS
    assert result.exit_code == 1
    assert f"deadline of 2 s passed while {doing}" in (result.error or "")
    assert "nothing was published" in (result.error or "")
    assert only_outcome(tmp_path / "out") == "failed"


def test_a_stream_that_stops_in_the_middle_ends_at_the_deadline(
    database: Database, tmp_path: Path
) -> None:
    people = (
        "select n as user_id, repeat('x', 1000) as name from generate_series(1, 4000) as given (n)"
    )
    rest = "select * from {{ ref('people') }} where false"
    first = "select * from {{ ref('people') }}"
    project = tiny_project(tmp_path / "p", people=people, first_file=first, second_file=rest)
    stalled = threading.Event()
    with proxied(database) as proxy:
        stream = proxy._forward

        def stall(source: Any, sink: Any, client: Any, frozen: threading.Event) -> None:
            if source is not client:
                sink = Stalling(sink, frozen, stalled)
            stream(source, sink, client, frozen)

        proxy._forward = stall  # type: ignore[method-assign]
        clock = time.monotonic()
        target = target_through(proxy, database)
        result = run_project(
            project, database, tmp_path / "out", target=target, deadline_seconds=10
        )
    assert stalled.is_set()
    assert time.monotonic() - clock < 10 + SLACK_SECONDS
    assert "deadline of 10 s passed while writing first_" in (result.error or "")
    assert only_outcome(tmp_path / "out") == "failed"


class Stalling:
    """A client's socket that takes a million bytes and then no more."""

    def __init__(self, sink: Any, frozen: threading.Event, stalled: threading.Event) -> None:
        self.sink, self.frozen, self.stalled, self.left = sink, frozen, stalled, 1_000_000

    def sendall(self, data: bytes) -> None:
        self.left -= len(data)
        if self.left < 0:
            self.frozen.set()
            self.stalled.set()
        else:
            self.sink.sendall(data)

    def shutdown(self, how: int) -> None:
        self.sink.shutdown(how)

    def close(self) -> None:
        self.sink.close()


def test_a_long_statement_ends_at_the_deadline_on_the_server_too(
    database: Database, tmp_path: Path
) -> None:
    people = "select 1 as user_id, pg_sleep(60)::text as name"
    result = run_project(
        tiny_project(tmp_path / "p", people=people),
        database,
        tmp_path / "out",
        deadline_seconds=1.5,
    )
    assert "deadline of 1.5 s passed while filling people" in (result.error or "")
    assert result.status == "failed"
    sessions = "select count(*) from pg_stat_activity where application_name like 'push-audiences %' and datname = current_database()"
    until = Deadline.after(10)
    while database.value(sessions):
        assert not until.has_passed
        time.sleep(0.1)


def test_a_lock_is_not_waited_for_beyond_the_deadline(database: Database, tmp_path: Path) -> None:
    database.execute("create table t (n int)")
    people = "select 1 as user_id, 'x' as name from t"
    database.execute("begin; lock table t")
    result = run_project(
        tiny_project(tmp_path / "p", people=people),
        database,
        tmp_path / "out",
        deadline_seconds=1.5,
    )
    database.execute("rollback")
    assert "deadline of 1.5 s passed while preparing" in (result.error or "")


def test_a_name_that_resolves_too_slowly_ends_at_the_deadline(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(60) and [])
    clock = time.monotonic()
    result = run_project(
        tiny_project(tmp_path / "p"),
        database,
        tmp_path / "out",
        target=target_at(5432, host="slow.example"),
        deadline_seconds=1,
    )
    release.set()
    assert time.monotonic() - clock < 1 + SLACK_SECONDS
    assert "deadline of 1 s passed while connecting" in (result.error or "")


def test_the_profile_has_a_deadline(database: Database, tmp_path: Path) -> None:
    people = "select 1 as user_id, pg_sleep(60)::text as name"
    result = run_project(
        tiny_project(tmp_path / "p", people=people),
        database,
        tmp_path / "out",
        target=database.target(deadline="1s"),
    )
    assert "deadline of 1 s passed" in (result.error or "")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("10min", 600), ("1.5 h", 5400), ("250ms", 0.25)]
)  # fmt: skip
def test_lengths_of_time(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "-1s", "0s", "1 year", "10m5s", "nan s", "8d", "1e9s"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"10min|7 days"):
        seconds_of(text)


def test_a_passed_deadline_says_so() -> None:
    with pytest.raises(DeadlinePassed, match="deadline of 10 min passed while counting"):
        Deadline(600, ends=0).check("counting")


# check names the stage


def failing(target: Target) -> tuple[str, str, list[str]]:
    checks = check(load_project(ROOT), target)
    (wrong,) = (one for one in checks if not one.is_ok)
    return wrong.name, wrong.fix, [one.name for one in checks if one.is_ok]


def test_check_names_the_stage_of_the_connection_that_fails(
    golden: Database, role: str, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        free = listener.getsockname()[1]
    with proxied(golden) as proxy:
        name, fix, passed = failing(target_through(proxy, golden, host="nowhere.invalid"))
        assert (name, fix) == ("name resolution", "correct the host's name in the target")
        assert passed == []
        name, fix, passed = failing(target_at(free))
        assert (name, passed) == ("TCP", ["name resolution"])
        assert "check that the server is running" in fix
        name, fix, passed = failing(target_through(proxy, golden, sslmode="require"))
        assert (name, passed) == ("TLS", ["name resolution", "TCP"])
        name, fix, passed = failing(target_through(proxy, golden, user="nobody_here"))
        assert (name, fix) == ("authentication", "correct the user of the target")
        assert passed == ["name resolution", "TCP", "TLS"]
        name, fix, passed = failing(target_through(proxy, golden, dbname="nowhere"))
        assert (name, fix) == ("database", "correct the database's name in the target")
        dbname = golden.connection.info.dbname
        golden.execute(f'revoke connect on database "{dbname}" from public')
        reader = {"user": role, "password": "reader secret"}
        name, fix, passed = failing(target_through(proxy, golden, **reader))
        assert (name, fix) == ("permission", "grant the role CONNECT on the database")
        assert passed[-1] == "database"


def test_check_waits_no_longer_than_connect_timeout(golden: Database) -> None:
    with proxied(golden, fault="freeze", at=1) as proxy:
        name, fix, _ = failing(target_through(proxy, golden, connect_timeout=2))
    assert name == "TCP"
    assert "connect_timeout" in fix


# TLS


@pytest.fixture(scope="module")
def certificates() -> Iterator[Path]:
    """A certificate for db.example signed by a root of our own, and another root."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    folder = Path(tempfile.mkdtemp(prefix="audiences-tls-"))

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    for root in ("root", "other"):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={root}",
                "-keyout", f"{root}.key", "-out", f"{root}.crt")  # fmt: skip
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
            "-keyout", "server.key", "-out", "server.csr")  # fmt: skip
    openssl("x509", "-req", "-in", "server.csr", "-CA", "root.crt", "-CAkey", "root.key",
            "-CAcreateserial", "-days", "2", "-out", "server.crt")  # fmt: skip
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_verify_full_takes_the_right_server_only(
    golden: Database, certificates: Path, tmp_path: Path
) -> None:
    root, other = str(certificates / "root.crt"), str(certificates / "other.crt")
    key = certificates / "server.key"
    with proxied(golden) as proxy, tls_before(proxy.port, certificates / "server.crt", key) as port:

        def target(host: str, root: str) -> Target:
            trust = {"sslmode": "verify-full", "sslrootcert": root, "connect_timeout": 5}
            given = target_through(proxy, golden, **trust)
            return given.model_copy(update={"host": host, "port": port})

        right = check(load_project(ROOT), target("localhost", root))
        assert [one.detail for one in right if one.name == "TLS"] == ["in use"]
        assert all(one.is_ok for one in right)
        name, fix, passed = failing(target("localhost", other))
        assert (name, passed) == ("TLS", ["name resolution", "TCP"])
        assert "sslrootcert" in fix
        name, fix, _ = failing(target("127.0.0.1", root))
        assert (name, fix) == ("TLS", "set host to the name that is in the server's certificate")
        assert failing(target("localhost", str(tmp_path / "missing.crt")))[0] == "TLS"
        result = run_project(
            tiny_project(tmp_path / "p"), golden, tmp_path / "o", target=target("localhost", other)
        )
    assert len(attempts_of(result)) == 1
    assert "certificate verify failed" in (result.error or "")


def test_a_half_open_connection_with_tls_ends_at_the_deadline(
    golden: Database, certificates: Path, tmp_path: Path
) -> None:
    key = certificates / "server.key"
    with (
        proxied(golden, fault="freeze", at=15) as proxy,
        tls_before(proxy.port, certificates / "server.crt", key) as port,
    ):
        target = target_through(proxy, golden, sslmode="require").model_copy(update={"port": port})
        result = run_project(
            tiny_project(tmp_path / "p"), golden, tmp_path / "o", target=target, deadline_seconds=2
        )
    assert "deadline of 2 s passed" in (result.error or "")
    assert only_outcome(tmp_path / "o") == "failed"


# Many faults


def contents(result: RunResult) -> dict[str, str]:
    return {file.audience_type: file.sha256 for file in result.csv_files if not file.is_test_file}


def verdict(result: RunResult, folder: Path, expected: dict[str, str]) -> str:
    """`right`, `failed`, or what is wrong with it."""
    names = published(folder)
    (manifest,) = manifests(folder)
    if manifest["status"] != result.status:
        return f"lost: {result.status}, but the manifest says {manifest['status']}"
    if result.status == "failed":
        is_clean = len(names) == 1 and manifest["csvFiles"] == []
        return "failed" if is_clean else f"lost: failed, and left {names}"
    if result.status != "success" or contents(result) != expected:
        return f"lost: {result.status} with other content"
    listed = {one["path"]: one["sha256"] for one in manifest["csvFiles"]}
    there = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.csv")
    }
    is_whole = listed == there and len(names) == 8
    return "right" if is_whole else "lost: files and manifest differ"


def one_fault(
    server: EmbeddedServer, chance: random.Random, pieces: int, folder: Path
) -> tuple[str, RunResult, float]:
    """A run with one fault at a random moment: what fault, the result, seconds beyond deadline."""
    kind = chance.choice(
        ["reset", "close", "half", "freeze", "latency", "restart", "crash", "refuse"]
    )
    at = chance.randint(1, pieces)
    deadline = 3.0 if kind == "freeze" else 20.0
    restarting: list[threading.Thread] = []

    def restart() -> None:
        mode = "fast" if kind == "restart" else "immediate"
        server._pg_ctl("stop", "-w", "-m", mode)
        restarting.append(threading.Thread(target=server.start))
        restarting[0].start()

    fault: Any = {"restart": "close", "crash": "close", "refuse": "reset"}.get(kind, kind)
    then = restart if kind in ("restart", "crash") else None
    with Proxy(socket_of(server), fault=fault, at=at, seconds=0.005, then=then) as proxy:
        clock = time.monotonic()
        if kind == "refuse":  # from the beginning, for a while
            proxy.at, proxy.server = 0, f"{server.folder}/nothing"
            threading.Timer(1, lambda: setattr(proxy, "server", socket_of(server))).start()
        result = run(
            Settings(
                ROOT, "layer3-behavior", target_at(proxy.port), as_of=AS_OF, output_dir=folder,
                deadline_seconds=deadline,
            )
        )  # fmt: skip
        late = time.monotonic() - clock - deadline
    for thread in restarting:
        thread.join()
    return kind, result, late


@pytest.mark.slow
def test_a_hundred_faults_at_random_moments_lose_nothing(
    server: EmbeddedServer, tmp_path: Path, fault_share: float
) -> None:
    with Proxy(socket_of(server)) as proxy:
        settings = Settings(
            ROOT, "layer3-behavior", target_at(proxy.port), as_of=AS_OF, output_dir=tmp_path / "0"
        )
        expected = contents(run(settings))
        pieces = proxy.pieces
    assert len(expected) == 3
    chance = random.Random(5)
    counts: Counter[str] = Counter()
    for number in range(1, max(1, round(100 * fault_share)) + 1):
        folder = tmp_path / str(number)
        kind, result, late = one_fault(server, chance, pieces, folder)
        found = verdict(result, folder, expected)
        counts[f"{kind}: {found}"] += 1
        assert found in ("right", "failed"), (number, kind, found, result.error)
        assert late < SLACK_SECONDS, (number, kind, late)
    print(f"\n{sum(counts.values())} fault runs: {dict(sorted(counts.items()))}")
