"""One run of an audience at a time: the others end at once and say who is at work, or wait."""

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
from typing import Any

import psycopg
import pytest

from runner.clock import Deadline
from runner.database.session import open_session
from runner.demo.server import EmbeddedServer
from runner.errors import DeadlinePassed, ExportError, LockedError
from runner.files.folder import Folder, written_to
from runner.project.targets import Target
from runner.runs.locks import Contender, alone_in, lock_database, lock_key
from runner.runs.phases import run
from runner.runs.settings import Settings
from tests.proxy import Proxy
from tests.support import (
    AS_OF,
    GOLDEN,
    ROOT,
    Database,
    csv_files,
    load_csv_folder,
    load_schema,
    published,
    run_project,
    tiny_project,
)

GATE = 42
WAITING = f"select n as user_id, 'x' || pg_advisory_lock_shared({GATE})::text as name from generate_series(1, 3) as given (n)"
"""A model that ends when the test opens the gate."""


def contender(audience: str = "tiny", *, wait: float = 0, run_id: str = "12345678") -> Contender:
    return Contender(
        "p", audience, run_id, Deadline.after(60), Deadline.after(wait), lambda who: None
    )


def start(project: Path, profile: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    program = "from runner.cli.app import main; main()"
    options = ["--project-dir", project, "--profiles-dir", profile, "--output-dir", out, *more]
    return subprocess.Popen(
        [sys.executable, "-c", program, "run", "tiny", *map(str, options)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip


def until(condition: Any, seconds: float = 60) -> None:
    deadline = Deadline.after(seconds)
    while not condition():
        assert not deadline.has_passed
        time.sleep(0.05)


@pytest.fixture
def gate(database: Database) -> Iterator[Database]:
    """The gate, shut."""
    database.execute(f"select pg_advisory_lock({GATE})")
    yield database
    database.execute("select pg_advisory_unlock_all()")


def waiters(database: Database) -> int:
    """Runs that stand at the gate."""
    return int(
        database.value(
            f"select count(*) from pg_locks where locktype = 'advisory' and objid = {GATE} "
            "and not granted and database = (select oid from pg_database where datname = current_database())"
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize("is_one_folder", [True, False])
def test_of_twenty_runs_at_once_one_publishes_and_nineteen_exit_4(
    gate: Database, tmp_path: Path, is_one_folder: bool, fault_share: float
) -> None:
    count = max(4, round(20 * fault_share))
    project = tiny_project(tmp_path / "p", people=WAITING)
    profile = gate.profile(tmp_path / "profile", lock_timeout="0")
    folders = [tmp_path / ("out" if is_one_folder else f"out{n}") for n in range(count)]
    running = [start(project, profile, folder, "--json") for folder in folders]
    until(lambda: sum(one.poll() is None for one in running) == 1 and waiters(gate) == 1, 300)
    gate.execute("select pg_advisory_unlock_all()")
    outputs = [one.communicate(timeout=60) for one in running]
    codes = sorted(one.returncode for one in running)
    assert codes == [0] + [4] * (count - 1), outputs
    (winner,) = (one for one in running if one.returncode == 0)
    for one, (stdout, stderr) in zip(running, outputs, strict=True):
        assert "Traceback" not in stderr
        document = json.loads(stdout)
        assert document["success"] is (one is winner)
        if one is not winner:
            assert f"process {winner.pid} on host " in document["error"]
            assert re.search(r"since 20\d\d-", document["error"])
            assert "--wait 5m" in document["error"]
    files = [name for folder in set(folders) for name in csv_files(folder)]
    assert len(files) == 4, files


def test_a_run_waits_for_another_as_long_as_it_may(gate: Database, tmp_path: Path) -> None:
    project = tiny_project(tmp_path / "p", people=WAITING)
    profile = gate.profile(tmp_path / "profile", lock_timeout="0")
    first = start(project, profile, tmp_path / "out")
    until(lambda: waiters(gate) == 1)
    second = start(project, profile, tmp_path / "out", "--wait", "2m", "--log-format", "json")
    assert second.stderr is not None
    lines = iter(second.stderr.readline, "")
    waiting = next(event for line in lines if (event := json.loads(line))["event"] == "waiting")
    assert f"process {first.pid} on host " in waiting["holder"]
    gate.execute("select pg_advisory_unlock_all()")
    assert first.communicate(timeout=60)[0]
    second.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(list((tmp_path / "out").glob("*.csv"))) == 8


def test_a_wait_that_is_over_exits_4(gate: Database, tmp_path: Path) -> None:
    project = tiny_project(tmp_path / "p", people=WAITING)
    profile = gate.profile(tmp_path / "profile", lock_timeout="0")
    first = start(project, profile, tmp_path / "out")
    until(lambda: waiters(gate) == 1)
    second = start(project, profile, tmp_path / "elsewhere", "--wait", "300ms")
    assert second.wait(60) == 4
    gate.execute("select pg_advisory_unlock_all()")
    assert first.wait(60) == 0
    assert not list((tmp_path / "elsewhere").glob("*.csv"))


def test_a_killed_holder_blocks_nobody(gate: Database, tmp_path: Path) -> None:
    project = tiny_project(tmp_path / "p", people=WAITING)
    profile = gate.profile(tmp_path / "profile", lock_timeout="0")
    killed = start(project, profile, tmp_path / "out")
    until(lambda: waiters(gate) == 1)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert ".tiny.lock" in published(tmp_path / "out")
    # its statement is still running on the server, which notices within 2 s
    second = start(project, profile, tmp_path / "out", "--wait", "30s")
    until(lambda: waiters(gate) == 1 and (tmp_path / "out" / ".tiny.lock").exists())
    gate.execute("select pg_advisory_unlock_all()")
    assert second.wait(60) == 0
    assert len(list((tmp_path / "out").glob("*.csv"))) == 4


def test_other_audiences_and_dry_runs_are_not_locked_out(gate: Database, tmp_path: Path) -> None:
    waiting = tiny_project(tmp_path / "p", people=WAITING)
    profile = gate.profile(tmp_path / "profile", lock_timeout="0")
    first = start(waiting, profile, tmp_path / "out")
    until(lambda: waiters(gate) == 1)
    quick = tiny_project(tmp_path / "q")
    path = quick / "models" / "tiny.yml"
    dry = run_project(quick, gate, tmp_path / "out", is_dry_run=True)
    path.write_text(
        path.read_text().replace("name: tiny", "name: other").replace("file: first", "file: third")
        .replace("file: second", "file: fourth")
    )  # fmt: skip
    other = run_project(quick, gate, tmp_path / "out", audience="other")
    assert (dry.status, other.status) == ("success", "success")
    gate.execute("select pg_advisory_unlock_all()")
    assert first.wait(60) == 0


# The folder's lock


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    with written_to(tmp_path, file_mode=0o600, folder_mode=0o700) as opened:
        yield opened


def test_a_folders_lock_is_for_runs_on_different_servers(folder: Folder, tmp_path: Path) -> None:
    with alone_in(folder, contender(run_id="first")):
        about = json.loads((tmp_path / ".tiny.lock").read_text())
        assert (about["pid"], about["runId"]) == (os.getpid(), "first")
        assert (tmp_path / ".tiny.lock").stat().st_mode & 0o777 == 0o600
        with (
            pytest.raises(LockedError, match=f"process {os.getpid()} on host .*, run first, since"),
            alone_in(folder, contender()),
        ):
            pass
        with alone_in(folder, contender("another")):
            pass
    assert published(tmp_path) == []


def test_a_folders_lock_is_waited_for(folder: Folder, tmp_path: Path) -> None:
    told: list[str] = []
    patient = Contender("p", "tiny", "b", Deadline.after(60), Deadline.after(60), told.append)
    release = threading.Event()

    def hold() -> None:
        with alone_in(folder, contender()):
            release.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    until((tmp_path / ".tiny.lock").exists)
    threading.Timer(0.5, release.set).start()
    with alone_in(folder, patient) as has_waited:
        assert has_waited
    holder.join()
    assert len(told) == 1


def test_many_threads_never_hold_one_folder_together(folder: Folder, tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def hold(number: int) -> None:
        for _ in range(5):
            with alone_in(folder, contender(wait=60)):
                inside.append(number)
                most.append(len(inside))
                inside.remove(number)

    threads = [threading.Thread(target=hold, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 40
    assert set(most) == {1}


def test_a_deadline_ends_waiting(folder: Folder, tmp_path: Path) -> None:
    hurried = Contender("p", "tiny", "b", Deadline.after(0.5), Deadline.after(60), lambda who: None)
    with (
        alone_in(folder, contender()),
        pytest.raises(DeadlinePassed, match=r"deadline of 0.5 s passed while waiting: another run"),
        alone_in(folder, hurried),
    ):
        pass


def test_a_link_in_the_place_of_the_lock_is_refused(folder: Folder, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / ".tiny.lock").symlink_to(victim)
    with pytest.raises(ExportError, match="cannot be locked"), alone_in(folder, contender()):
        pass
    assert victim.read_text() == "mine"


def test_a_lock_file_without_sense_is_nobody(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / ".tiny.lock").write_text("][")
    with alone_in(folder, contender()):
        pass
    assert published(tmp_path) == []


# The database's lock


def test_the_key_is_the_same_everywhere() -> None:
    assert lock_key("push_audiences", "layer3-behavior") == -275281127534266906
    assert lock_key("p", "a") != lock_key("p", "b") != lock_key("q", "b")


def test_the_application_name_says_who_and_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "a-very-long-höst-name." * 5)
    name = contender(run_id="0f1e2d3c-rest").application_name
    assert name.startswith(f"push-audiences 0f1e2d3c {os.getpid()}@a-very-long-h?st-name.")
    assert len(name) == 63


def test_a_former_session_of_the_same_run_is_ended(database: Database) -> None:
    mine = contender(run_id="aaaaaaaa")
    name = mine.application_name
    with open_session(database.target(), application_name=name) as former:
        lock_database(former, mine)
        with open_session(database.target(), application_name=name) as session:
            lock_database(session, mine)
            other = contender(run_id="bbbbbbbb")
            with (
                open_session(database.target(), application_name=other.application_name) as third,
                pytest.raises(LockedError, match=r"run aaaaaaaa\.\.\., server process \d+, since"),
            ):
                lock_database(third, other)


def test_a_run_that_lost_its_session_has_its_lock_again(database: Database, tmp_path: Path) -> None:
    """The client's side is cut, while the server still believes in it."""
    info = database.connection.info
    if not info.host.startswith("/"):
        pytest.skip("the proxy stands before a server's socket")
    with Proxy(f"{info.host}/.s.PGSQL.{info.port}", fault="half", on=b"insert into") as proxy:
        reach = {"host": "127.0.0.1", "port": proxy.port}
        result = run_project(
            tiny_project(tmp_path / "p"),
            database,
            tmp_path / "out",
            target=database.target(**reach),
        )
    assert result.status == "success", result.error
    assert len(result.metadata.attempts) == 2


def test_who_may_not_see_others_is_told_the_server_process(database: Database, role: str) -> None:
    with open_session(database.target()) as holder:
        lock_database(holder, contender())
        reader = database.target(user=role, password="reader secret")
        with (
            open_session(reader) as session,
            pytest.raises(LockedError, match=r"at work: server process \d+; nothing was published"),
        ):
            lock_database(session, contender())


# A standby


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[EmbeddedServer, EmbeddedServer]]:
    """A primary with the golden data and a standby that streams from it."""
    primary = EmbeddedServer(Path(tempfile.mkdtemp(prefix="audiences-primary-")))
    standby = EmbeddedServer(Path(tempfile.mkdtemp(prefix="audiences-standby-")))
    standby.folder.chmod(0o777)
    try:
        primary.start()
        options = {"host": str(primary.socket_folder), "user": "postgres", "dbname": "postgres"}
        primary._run(
            "pg_basebackup", "-h", str(primary.socket_folder), "-U", "postgres", "-D",
            str(standby.data), "-R", "-c", "fast",
        )  # fmt: skip
        standby.start()
        load_schema(**options)
        load_csv_folder(GOLDEN / "source_data", **options)
        with connected(primary) as there, connected(standby) as here:
            end = there.execute("select pg_current_wal_lsn()").fetchone()[0]  # type: ignore[index]
            replayed = f"select pg_last_wal_replay_lsn() >= '{end}'"
            until(lambda: here.execute(replayed).fetchone()[0])  # type: ignore[index,call-overload]
        yield primary, standby
    finally:
        for server in (standby, primary):
            server.stop()
            shutil.rmtree(server.folder)


def connected(server: EmbeddedServer) -> psycopg.Connection:
    return psycopg.connect(server.url("postgres"), autocommit=True)


def target_of(server: EmbeddedServer) -> Target:
    return Target(name="own", type="postgres", url=server.url("postgres"))


def test_a_streaming_standby_gives_the_same_files(
    pair: tuple[EmbeddedServer, EmbeddedServer], tmp_path: Path
) -> None:
    results = [
        run(Settings(ROOT, "layer3-behavior", target_of(one), as_of=AS_OF, output_dir=tmp_path / n))
        for one, n in zip(pair, ("primary", "standby"), strict=True)
    ]
    assert [one.metadata.working_tables for one in results] == ["temp tables", "inlined (standby)"]
    contents = [
        {file.audience_type: file.sha256 for file in one.csv_files if not file.is_test_file}
        for one in results
    ]
    assert len(contents[0]) == 3
    assert contents[0] == contents[1]


def test_on_a_standby_the_lock_is_that_servers_alone(
    pair: tuple[EmbeddedServer, EmbeddedServer],
) -> None:
    primary, standby = map(target_of, pair)
    name = contender().application_name
    with open_session(standby, application_name=name) as session:
        lock_database(session, contender())
        with open_session(standby) as other, pytest.raises(LockedError, match="run 12345678"):
            lock_database(other, contender(run_id="99999999"))
        with open_session(primary) as elsewhere:
            lock_database(elsewhere, contender(run_id="99999999"))


def test_a_standby_that_is_in_the_way_of_its_primary_is_tried_again(
    pair: tuple[EmbeddedServer, EmbeddedServer], tmp_path: Path
) -> None:
    """What vacuum removed on the primary ends a snapshot on the standby: 40001."""
    primary, standby = pair
    with connected(standby) as settling:
        settling.execute("alter system set max_standby_streaming_delay = 0")  # its own file
        settling.execute("select pg_reload_conf()")
    people = "select n as user_id, pg_sleep(1)::text || 'x' as name from generate_series(1, 3) as given (n)"
    project = tiny_project(tmp_path / "p", people=people)

    def disturb() -> None:
        """Once, while the run's snapshot is held on the standby."""
        with connected(primary) as there, connected(standby) as here:
            running = "select count(*) from pg_stat_activity where application_name like 'push-audiences %' and query ilike 'copy%'"
            until(lambda: here.execute(running).fetchone()[0])  # type: ignore[index]
            there.execute("update users set first_name = first_name")
            there.execute("vacuum (freeze) users")

    disturbing = threading.Thread(target=disturb)
    disturbing.start()
    settings = {"target": target_of(standby), "as_of": AS_OF, "output_dir": tmp_path / "out"}
    result = run(Settings(project_dir=project, audience="tiny", **settings))  # type: ignore[arg-type]
    disturbing.join()
    assert result.status == "success", result.error
    assert [one.sqlstate for one in result.metadata.attempts] == ["40001", None]
