"""One pooled session on the database.

Statements are handed to the driver as they are: no parameter style is applied to SQL text, so
`%` and `:word` mean what PostgreSQL says they mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy
from sqlalchemy.pool import QueuePool

from runner.clock import Deadline
from runner.database.connect import check_url, connect, cut_at
from runner.database.errors import translated_errors
from runner.errors import AudienceError, ConnectionLost, DatabaseError, DeadlinePassed, Location
from runner.project.nodes import literal
from runner.project.secrets import hide
from runner.project.targets import Target
from runner.sql.source_map import MappedSql

Buffer = bytes | bytearray | memoryview
"""What the driver hands out: one row of a COPY stream."""


@dataclass(frozen=True)
class Server:
    """What the server says of itself and of us."""

    version: str
    user: str
    database: str
    is_standby: bool
    may_create_temp: bool

    @property
    def can_build(self) -> bool:
        return self.may_create_temp and not self.is_standby

    @property
    def working_tables(self) -> str:
        """How models are held during a run, and why."""
        if self.is_standby:
            return "inlined (standby)"
        return "temp tables" if self.may_create_temp else "inlined (no TEMP privilege)"


class Session:
    """Every statement of a run goes through here, on one connection, in the order given.

    Raises `DatabaseError` with the model's line where the server names a position,
    `ConnectionLost` when there is no session any more, and `DeadlinePassed`.
    """

    def __init__(
        self, connection: sqlalchemy.Connection, target: Target, deadline: Deadline | None = None
    ) -> None:
        self._connection = connection
        self._target = target
        self._deadline = deadline
        self._limits: dict[str, int] = {}

    def execute(self, sql: str | MappedSql, where: Location | None = None) -> int:
        """Run a statement; the number of rows it touched."""
        return self._run(sql, where).rowcount

    def rows(self, sql: str | MappedSql, where: Location | None = None) -> Sequence[Any]:
        """Run a small query and fetch it whole."""
        result = self._run(sql, where)
        with self._errors(sql, where):
            return result.fetchall()

    def table(
        self, sql: str | MappedSql, where: Location | None = None
    ) -> tuple[list[str], Sequence[Any]]:
        """Run a small query: the names of its columns, and its rows."""
        result = self._run(sql, where)
        with self._errors(sql, where):
            return list(result.keys()), result.fetchall()

    def columns(self, sql: str | MappedSql, where: Location | None = None) -> list[tuple[str, int]]:
        """Name and type (its object id) of each column that a query gives."""
        result = self._run(sql, where)
        with translated_errors(self._target, sql, where):
            assert result.cursor is not None
            return [(str(name), int(str(kind))) for name, kind, *_ in result.cursor.description]

    @contextmanager
    def copy(self, sql: MappedSql, where: Location | None = None) -> Iterator[Iterable[Buffer]]:
        """Stream `copy (...) to stdout`: one block for each row, as libpq promises.

        An error while the blocks are used stops the stream on the server.
        """
        driver = self.driver
        with (
            self._errors(sql, where),
            driver.cursor() as cursor,
            cursor.copy(sql.text) as copy,
        ):
            yield _rows(copy, driver.pgconn)

    @contextmanager
    def transaction(self, begin: str, end: str = "commit") -> Iterator[None]:
        """Begin, and end so; on any error roll back. No statement lasts beyond the deadline."""
        self._limit_statements()
        self.execute(begin)
        try:
            yield
        except BaseException:
            self._try_rollback()
            raise
        self.execute(end)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """On an error, only what happened inside is undone."""
        self.execute("savepoint attempt")
        try:
            yield
        except ConnectionLost:
            raise
        except AudienceError as problem:
            if not problem.is_transient:  # then there may be no session, and nothing to keep
                self.execute("rollback to savepoint attempt")
            raise
        self.execute("release savepoint attempt")

    def server(self) -> Server:
        row = self.rows(
            "select current_setting('server_version'), current_user, current_database(), "
            "pg_is_in_recovery(), has_database_privilege(current_database(), 'TEMP')"
        )[0]
        return Server(*row)

    @property
    def driver(self) -> psycopg.Connection[Any]:
        driver = self._connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        return driver

    def settle(self, application_name: str | None) -> None:
        """Set what every session of the target sets."""
        for statement in self._target.session_statements():
            self.execute(statement)
        if application_name:
            self.rows(f"select set_config('application_name', {literal(application_name)}, false)")
        if self._deadline:
            names = ("statement_timeout", "lock_timeout")
            lengths = [f"extract(epoch from current_setting('{one}')::interval)" for one in names]
            found = self.rows(f"select {', '.join(lengths)}")[0]
            self._limits = {
                one: round(seconds * 1000) for one, seconds in zip(names, found, strict=True)
            }

    def _limit_statements(self) -> None:
        """The target's own limits (0: none), or what is left until the deadline."""
        if self._deadline is None:
            return
        self._deadline.check("beginning a transaction")
        left = math.ceil(self._deadline.left * 1000) or 1
        calls = [
            f"set_config('{name}', '{min(limit or left, left)}', false)"
            for name, limit in self._limits.items()
        ]
        self.rows(f"select {', '.join(calls)}")

    @contextmanager
    def _errors(self, sql: str | MappedSql, where: Location | None) -> Iterator[None]:
        try:
            with translated_errors(self._target, sql, where):
                yield
        except DatabaseError as problem:
            # it was cut off, or the server ended the statement just then
            if self._deadline and self._deadline.has_passed:
                raise self._deadline.passed("running a statement") from problem
            raise

    def _run(self, sql: str | MappedSql, where: Location | None) -> sqlalchemy.CursorResult[Any]:
        text = sql.text if isinstance(sql, MappedSql) else sql
        with self._errors(sql, where):
            return self._connection.exec_driver_sql(text, execution_options={"no_parameters": True})

    def _try_rollback(self) -> None:
        """After an error or a signal there may be no session to roll back; the first one counts."""
        if self._connection.invalidated:
            return
        try:
            self.execute("rollback")
        except DatabaseError:
            self._connection.invalidate()


@contextmanager
def open_session(
    target: Target, *, deadline: Deadline | None = None, application_name: str | None = None
) -> Iterator[Session]:
    """Connect, settle the session, and close it whatever happens.

    Raises `ProfileError` if the target's URL cannot be read, `ConnectionLost` if the server cannot
    be reached or refuses us, `DeadlinePassed` if that takes too long, `DatabaseError` for a
    setting or session statement that the server refuses.
    """
    hide(target)
    check_url(target)
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect(target, deadline),
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        pool_pre_ping=True,
        isolation_level="AUTOCOMMIT",
    )
    try:
        with _connected(engine, target, deadline) as connection:
            session = Session(connection, target, deadline)
            with cut_at(deadline, session.driver):
                session.settle(application_name)
                yield session
    finally:
        engine.dispose()


def _connected(
    engine: sqlalchemy.Engine, target: Target, deadline: Deadline | None
) -> sqlalchemy.Connection:
    try:
        with translated_errors(target, "", None, is_connecting=True):
            return engine.connect()
    except DeadlinePassed:
        raise
    except DatabaseError as problem:
        if deadline and deadline.has_passed:
            raise deadline.passed("connecting") from problem
        raise


def _rows(copy: psycopg.Copy, connection: psycopg.pq.abc.PGconn) -> Iterator[Buffer]:
    """The driver's own blocks, but without its machinery for those that libpq already holds.

    The driver waits for the server, in a way that signals can interrupt. Measured with 1M rows:
    a tenth less time than by the driver alone.
    """
    while block := copy.read():
        yield block
        while (held := connection.get_copy_data(1))[0] > 0:
            yield held[1]
        if held[0] < 0:
            _finish(connection)
            return


def _finish(connection: psycopg.pq.abc.PGconn) -> None:
    """Take the outcome of a COPY whose last row was read. Raises what the server says."""
    # all of them, or the session stays busy
    for result in list(iter(connection.get_result, None)):
        if result.status != psycopg.pq.ExecStatus.COMMAND_OK:
            raise psycopg.errors.error_from_result(result)
