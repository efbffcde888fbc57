"""One pooled session on the database.

Statements go to the driver as they are, without parameters, so `%` and `:word` have PostgreSQL's
own meaning. A pool of one makes and keeps the connection.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import psycopg
from sqlalchemy.pool import PoolProxiedConnection, QueuePool

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
Cursor = psycopg.Cursor[Any]


@dataclass(frozen=True)
class Server:
    """What the server reports about itself and this session."""

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


Statement = tuple[str | MappedSql, Location | None]
"""SQL, and where it comes from if the server names no place in it."""


class Session:
    """Every statement of a run goes through here, on one connection, in the order given.

    What needs no answer of its own (savepoints, the begin of a transaction) is sent together with
    the next statement: a round trip costs milliseconds where the server is far away.

    Raises `DatabaseError` with the model's line where the server names a position,
    `ConnectionLost` when there is no session any more, and `DeadlinePassed`.
    """

    def __init__(
        self, connection: PoolProxiedConnection, target: Target, deadline: Deadline | None = None
    ) -> None:
        self._connection = connection
        self._target = target
        self._deadline = deadline
        self._limits: dict[str, int] = {}
        self._unsent: list[str] = []

    def execute(self, sql: str | MappedSql, where: Location | None = None) -> int:
        """Run a statement; the number of rows it touched."""
        return self._run((sql, where)).rowcount

    def execute_together(self, statements: Iterable[Statement]) -> list[int]:
        """Run statements in one round trip; the number of rows that each of them touched.

        Raises the error of the first that fails; those after it are not run.
        """
        return [cursor.rowcount for cursor in self._send(list(statements))]

    def rows(self, sql: str | MappedSql, where: Location | None = None) -> Sequence[Any]:
        """Run a small query and fetch it whole."""
        return self._run((sql, where)).fetchall()

    def table(
        self, sql: str | MappedSql, where: Location | None = None
    ) -> tuple[list[str], Sequence[Any]]:
        """Run a small query: the names of its columns, and its rows."""
        cursor = self._run((sql, where))
        return [name for name, _ in _described(cursor)], cursor.fetchall()

    def columns(self, sql: str | MappedSql, where: Location | None = None) -> list[tuple[str, int]]:
        """Name and type (its object id) of each column that a query gives."""
        return _described(self._run((sql, where)))

    @contextmanager
    def copy(self, sql: MappedSql, where: Location | None = None) -> Iterator[Iterable[Buffer]]:
        """Stream `copy (...) to stdout`: one block for each row, as libpq promises.

        An error while the blocks are used stops the stream on the server.
        """
        driver = self.driver
        self._flush()
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
        self._unsent.append(begin)
        try:
            yield
        except BaseException:
            self._try_rollback()
            raise
        self.execute(end)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """On an error, only what happened inside is undone."""
        self._unsent.append("savepoint attempt")
        try:
            yield
        except ConnectionLost:
            raise
        except AudienceError as problem:
            if not problem.is_transient:  # then there may be no session, and nothing to keep
                self.execute("rollback to savepoint attempt")
            raise
        self._unsent.append("release savepoint attempt")

    def server(self) -> Server:
        row = self.rows(
            "select current_setting('server_version'), current_user, current_database(), "
            "pg_is_in_recovery(), has_database_privilege(current_database(), 'TEMP')"
        )[0]
        return Server(*row)

    @property
    def driver(self) -> psycopg.Connection[Any]:
        driver = self._connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        return driver

    def configure(self, application_name: str | None) -> None:
        """Set what every session of the target sets."""
        settings = self._target.setting_statements()
        if application_name:
            settings.append(f"set application_name to {literal(application_name)}")
        names = ("statement_timeout", "lock_timeout")
        lengths = [f"extract(epoch from current_setting('{name}')::interval)" for name in names]
        self._send([(statement, None) for statement in settings])
        for statement in self._target.own_statements():
            self.execute(statement)
        if self._deadline:
            (found,) = self.rows(f"select {', '.join(lengths)}")
            self._limits = {
                name: round(seconds * 1000) for name, seconds in zip(names, found, strict=True)
            }

    def _limit_statements(self) -> None:
        """The target's own limits (0: none), or what is left until the deadline."""
        if self._deadline is None:
            return
        self._deadline.check("beginning a transaction")
        left = math.ceil(self._deadline.left * 1000) or 1
        self._unsent += [
            f"set {name} to {min(limit or left, left)}" for name, limit in self._limits.items()
        ]

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

    def _run(self, statement: Statement) -> Cursor:
        return self._send([statement])[0]

    def _flush(self) -> None:
        """Send what was left for the next statement."""
        if self._unsent:
            self._send([])

    def _send(self, statements: list[Statement]) -> list[Cursor]:
        """Send all in one round trip: what is unsent, then these. Their cursors, with results.

        The server takes each as one statement, and refuses a second one behind it.
        """
        unsent: list[Statement] = [(sql, None) for sql in self._unsent]
        self._unsent = []
        cursors: list[Cursor] = []
        failing = (*unsent, *statements, ("", None))
        try:
            with self.driver.pipeline():
                for sql, _ in (*unsent, *statements):
                    cursors.append(self.driver.cursor())
                    cursors[-1].execute(sql.text if isinstance(sql, MappedSql) else sql)
        except psycopg.Error as problem:
            answered = next(
                (n for n, cursor in enumerate(cursors) if cursor.pgresult is None), len(cursors)
            )
            with self._errors(*failing[answered]):
                raise problem
        return cursors[len(unsent) :]

    def _try_rollback(self) -> None:
        """After an error or a signal there may be no session to roll back; the first one counts."""
        self._unsent = []
        if not self._connection.is_valid:
            return
        try:
            self.execute("rollback")
        except DatabaseError:
            self._connection.invalidate()


@contextmanager
def open_session(
    target: Target, *, deadline: Deadline | None = None, application_name: str | None = None
) -> Iterator[Session]:
    """Connect, set what every session sets, and close it whatever happens.

    Raises `ProfileError` if the target's URL cannot be read, `ConnectionLost` if the server cannot
    be reached or refuses us, `DeadlinePassed` if that takes too long, `DatabaseError` for a
    setting or session statement that the server refuses.
    """
    hide(target)
    check_url(target)
    # the pool alone: an engine loads the dialects of all drivers and asks the server five questions
    pool = QueuePool(cast(Any, lambda: connect(target, deadline)), pool_size=1, max_overflow=0)
    try:
        with closing(_connected(pool, target, deadline)) as connection:
            session = Session(connection, target, deadline)
            with cut_at(deadline, session.driver):
                session.configure(application_name)
                yield session
    finally:
        pool.dispose()


def _connected(pool: QueuePool, target: Target, deadline: Deadline | None) -> PoolProxiedConnection:
    try:
        with translated_errors(target, "", None, is_connecting=True):
            return pool.connect()
    except DeadlinePassed:
        raise
    except DatabaseError as problem:
        if deadline and deadline.has_passed:
            raise deadline.passed("connecting") from problem
        raise


def _described(cursor: Cursor) -> list[tuple[str, int]]:
    assert cursor.description is not None
    return [(column.name, column.type_code) for column in cursor.description]


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
