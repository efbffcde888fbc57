"""The one gate through which the driver's errors come: what they mean, without any row's data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import sqlalchemy

from runner.database.refusals import Refusal, refusal_of
from runner.database.suspects import suspects
from runner.errors import ConnectionLost, DatabaseError, Location
from runner.project.secrets import redacted, redacted_quotation
from runner.project.targets import Target
from runner.sql.source_map import MappedSql

TRANSIENT_STATES = ("57P01", "57P02", "57P03", "53300", "40001", "40P01")
"""Shutdown, restart, too many connections, and what a standby does to readers in its way."""


@contextmanager
def translated_errors(
    target: Target, sql: str | MappedSql, where: Location | None, *, is_connecting: bool = False
) -> Iterator[None]:
    """Turns whatever the driver raises into a `DatabaseError` without secrets and row data."""
    try:
        yield
    except sqlalchemy.exc.DBAPIError as problem:
        if not isinstance(problem.orig, psycopg.Error):
            raise
        orig = problem.orig
        raise _translated(target, orig, sql, where, is_connecting=is_connecting) from None
    except psycopg.Error as problem:
        raise _translated(target, problem, sql, where, is_connecting=is_connecting) from None


def _translated(
    target: Target,
    problem: psycopg.Error,
    sql: str | MappedSql,
    where: Location | None,
    *,
    is_connecting: bool,
) -> DatabaseError:
    message, hint = _told(problem)
    lost = is_connecting or _is_lost(problem)
    refusal = refusal_of(message) if lost and not problem.sqlstate else None
    kind = ConnectionLost if lost else DatabaseError
    place, others = _place(sql, problem)
    compiled = _compiled_line(sql, problem)
    looked_at = "; ".join(part for part in (hint, others, compiled) if part)
    return kind(
        redacted_quotation(target, message) if is_connecting else redacted(message),
        sqlstate=problem.sqlstate,
        is_transient=_is_transient(problem, refusal, is_connecting=is_connecting),
        stage=refusal.stage if refusal else None,
        where=place or where or f"target {target.name}",
        looked_at=redacted(looked_at) or None,
        mend=refusal.mend if refusal else _mend(message, problem.sqlstate),
    )


# What is told of rows: nothing

_QUOTING_ROWS = ("21", "22", "23", "44")
_FOREIGN = ("P0", "38", "39", "HV")
_QUOTED = re.compile(
    '((?:parameter|encoding|column|relation|constraint|domain) "[^"]*")|["“„«].*["”“»]', re.DOTALL
)


def _told(problem: psycopg.Error) -> tuple[str, str | None]:
    """Message and hint as they may be shown.

    Errors in data (class 22, 23 ...) quote values of rows, so what they quote is left out, and
    their detail; what functions raise (P0 ...) is written by somebody else, and left out whole.
    """
    diagnosis = problem.diag
    state = problem.sqlstate or ""
    if state.startswith(_FOREIGN):
        message = "a function raised an error; its words may quote rows: see the server's log"
        return f"{message} [SQLSTATE {state}]", None
    message = (diagnosis.message_primary or str(problem)).strip()
    if state.startswith(_QUOTING_ROWS):
        message = _QUOTED.sub(lambda found: found[1] or '"..."', message)
        message = re.sub(": 0x.*", ": ...", message)
    elif diagnosis.message_detail:
        message += f" ({diagnosis.message_detail})"
    hint = f"hint: {diagnosis.message_hint}" if diagnosis.message_hint else None
    return message + (f" [SQLSTATE {state}]" if state else ""), hint


# What passes by itself


def _is_lost(problem: psycopg.Error) -> bool:
    """No session, or none any more: connection errors, shutdown, or an error without SQLSTATE."""
    state = problem.sqlstate
    if state is None:
        return isinstance(problem, psycopg.OperationalError | psycopg.InterfaceError)
    return state.startswith("08") or state in ("57P01", "57P02", "57P03", "25P03", "25P04")


def _is_transient(problem: psycopg.Error, refusal: Refusal | None, *, is_connecting: bool) -> bool:
    """Of a connection that was refused libpq gives no SQLSTATE, so its words decide; one that was
    there and is lost is worth another try."""
    if problem.sqlstate:
        return problem.sqlstate.startswith("08") or problem.sqlstate in TRANSIENT_STATES
    if is_connecting:
        return isinstance(problem, psycopg.errors.ConnectionTimeout) or (
            refusal is not None and refusal.is_transient
        )
    return _is_lost(problem)


def _place(sql: str | MappedSql, problem: psycopg.Error) -> tuple[Location | None, str | None]:
    """Where the analyst wrote what is wrong, and the other places that it may be instead."""
    if isinstance(sql, str):
        return None, None
    position = problem.diag.statement_position
    if position is not None:
        return sql.location_at(int(position) - 1), None
    found = suspects(sql, problem.sqlstate, problem.diag.message_primary or "")
    if not found:
        return None, None
    others = ", ".join(str(place) for place in found[1:6])
    return found[0], f"the server does not say where; it may also be {others}" if others else None


def _compiled_line(sql: str | MappedSql, problem: psycopg.Error) -> str | None:
    position = problem.diag.statement_position
    if position is None or isinstance(sql, str):
        return None
    return f"line {sql.line_at(int(position) - 1)} of the compiled statement"


_MENDS = {
    "42501": "grant the role USAGE on the schema and SELECT on the table",
    "42P01": "compare models/sources.yml with the database: audiences check",
    "42703": "correct the column's name; audiences check compares sources.yml with the database",
    "57014": "the statement took longer than statement_timeout of the target, or was cancelled",
    "55P03": "another session holds a lock; lock_timeout of the target says how long to wait",
    "53100": "the server's disk is full",
}


def _mend(message: str, sqlstate: str | None) -> str | None:
    if "row-level security" in message:
        return (
            "give the role BYPASSRLS, or, if its policies show it every row, set row_security: on "
            "in the target's settings"
        )
    return _MENDS.get(sqlstate or "")
