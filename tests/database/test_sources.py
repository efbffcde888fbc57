"""A source table that somebody reloads during a run is never read as empty."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runner.database.session import Session, open_session
from runner.database.sources import find_sources
from runner.errors import DatabaseError
from runner.project.load import load_project
from runner.sql.plan import SNAPSHOT
from tests.support import Database, run_project, tiny_project

PEOPLE = (
    "select visitors.id as user_id, visitors.name from {{ source('app', 'visitors') }} as visitors"
)
SOURCES = """
sources:
  - name: app
    schema: public
    tables: [{name: visitors, columns: [{name: id}, {name: name}]}]
"""


@pytest.fixture
def project(database: Database, tmp_path: Path) -> Path:
    database.execute("create table visitors (id int primary key, name text)")
    database.execute("insert into visitors select n, 'x' from generate_series(1, 3) as g (n)")
    folder = tiny_project(tmp_path / "p", people=PEOPLE)
    (folder / "models" / "sources.yml").write_text(SOURCES)
    return folder


def reload(database: Database) -> None:
    """What a nightly copy does. It gives up where somebody holds the table."""
    reach = database.target().connection_parameters()
    with psycopg.connect(**reach) as copy, copy.cursor() as cursor:
        try:
            cursor.execute("set lock_timeout to '50ms'")
            cursor.execute("truncate visitors")
            cursor.execute("insert into visitors select n, 'x' from generate_series(1, 3) as g (n)")
        except psycopg.errors.LockNotAvailable:
            copy.rollback()


@contextmanager
def before_round_trip(
    monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[], None]
) -> Iterator[list[int]]:
    """Do something once, before one round trip of the session; how many there were."""
    made = [0]
    send = Session._send

    def counted(session: Session, statements: Any) -> Any:
        made[0] += 1
        if made[0] == number:
            act()
        return send(session, statements)

    with monkeypatch.context() as patched:
        patched.setattr(Session, "_send", counted)
        yield made


def round_trips(project: Path, database: Database, out: Path, monkeypatch: Any) -> int:
    with before_round_trip(monkeypatch, 0, lambda: None) as made:
        run_project(project, database, out)
    return made[0]


def test_a_reload_before_any_round_trip_of_a_run_loses_no_row(
    project: Path, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips = round_trips(project, database, tmp_path / "first", monkeypatch)
    before = run_project(project, database, tmp_path / "before").metadata.rows_by_type
    assert sum(before.values()) > 0
    for number in range(1, trips + 1):
        with before_round_trip(monkeypatch, number, lambda: reload(database)):
            result = run_project(project, database, tmp_path / str(number))
        assert (result.status, result.metadata.rows_by_type) == ("success", before), number


def test_a_reload_of_a_table_that_cannot_be_locked_is_noticed_and_passes_by_itself(
    project: Path, database: Database, role: str
) -> None:
    database.execute(f"grant select (id, name) on visitors to {role}")
    target = database.target(user=role, password="reader secret")
    visitors = load_project(project).sources["app", "visitors"]
    with open_session(target) as session:
        sources = find_sources(session, [visitors])
        assert (sources.locked, sources.unlocked) == ((), (visitors.relation,))
        with session.transaction(SNAPSHOT, end="rollback"):
            sources.lock(session)
            session.rows("select 1")  # takes the snapshot
            sources.check(session)
            reload(database)
            assert session.rows(f"select count(id) from {visitors.relation}")[0][0] == 0
            with pytest.raises(DatabaseError, match="was truncated or rewritten") as caught:
                sources.check(session)
    assert caught.value.is_transient


def test_a_reload_of_what_a_view_reads_loses_no_row(
    project: Path, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.execute("create view seen as select id, name from visitors")
    sources = project / "models" / "sources.yml"
    sources.write_text(SOURCES.replace("name: visitors,", "name: seen,"))
    (project / "models" / "people.sql").write_text(PEOPLE.replace("'visitors'", "'seen'"))
    trips = round_trips(project, database, tmp_path / "first", monkeypatch)
    before = run_project(project, database, tmp_path / "before").metadata.rows_by_type
    for number in range(1, trips + 1):
        with before_round_trip(monkeypatch, number, lambda: reload(database)):
            result = run_project(project, database, tmp_path / str(number))
        assert (result.status, result.metadata.rows_by_type) == ("success", before), number
