"""The one place for errors of the driver and the server: what they mean, and where in models/ they
come from, without row data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import psycopg

from runner.errors import ConnectionLost, DatabaseError, Location
from runner.project.secrets import redacted, redacted_quotation
from runner.project.targets import Target
from runner.sql.source_map import MappedSql
from runner.sql.tokens import Token, UnclosedError, tokens


@dataclass(frozen=True)
class Refusal:
    """How far a connection came, how to fix it, and whether it is worth another try."""

    stage: str
    fix: str
    is_transient: bool = False


_NAME = Refusal("name resolution", "correct the host's name in the target")
_DOWN = Refusal(
    "TCP", "check that the server is running, and that host and port are correct", is_transient=True
)
_SILENT = Refusal(
    "TCP",
    "check that the host can be reached from here; connect_timeout sets the seconds to wait",
    is_transient=True,
)
_BROKEN = Refusal(
    "TCP", "check the server, and any proxy or firewall in between", is_transient=True
)
_WRONG_ROOT = Refusal(
    "TLS", "set sslrootcert to the certificate that signed the server's, or to system"
)
_WRONG_HOST = Refusal("TLS", "set host to the name that is in the server's certificate")
_TLS = Refusal("TLS", "correct sslmode and the certificates of the target")
_BUSY = Refusal(
    "database",
    "the server accepts no connections at the moment: try again later",
    is_transient=True,
)
_REFUSALS = {
    "certificate verify failed": _WRONG_ROOT,
    "root certificate file": _WRONG_ROOT,
    "server certificate for": _WRONG_HOST,
    "does not support SSL": Refusal("TLS", "turn TLS on at the server, or correct sslmode"),
    "pg_hba.conf": Refusal(
        "authentication",
        "allow this host, user and database in pg_hba.conf, or use TLS if the server requires it",
    ),
    "password authentication failed": Refusal(
        "authentication", "correct user or password of the target"
    ),
    "no password supplied": Refusal("authentication", "give the target a password"),
    "not permitted to log in": Refusal("authentication", "grant the role LOGIN"),
    "permission denied for database": Refusal(
        "permission", "grant the role CONNECT on the database"
    ),
    "the database system is": _BUSY,
    "too many c": _BUSY,
    "connection slots are reserved": _BUSY,
    "failed to resolve host": _NAME,
    "could not translate host name": _NAME,
    "onnection refused": _DOWN,
    "No such file or directory": _DOWN,
    "timeout expired": _SILENT,
    "No route to host": _SILENT,
    "unreachable": _SILENT,
    "onnection timed out": _SILENT,
    "closed the connection unexpectedly": _BROKEN,
    "onnection reset": _BROKEN,
    "Broken pipe": _BROKEN,
    "could not receive data from server": _BROKEN,
    "SYSCALL error": _BROKEN,
    "unexpected eof": _BROKEN,
    "SSL": _TLS,
    "ssl": _TLS,
    "certificate": _TLS,
    "private key": _TLS,
    "authentication": Refusal("authentication", "correct user or password of the target"),
    'role "': Refusal("authentication", "correct the user of the target"),
    'database "': Refusal("database", "correct the database's name in the target"),
    "invalid": Refusal(
        "target", "correct the target's url; a password in it must be percent-encoded"
    ),
}
"""In the order in which they are looked for: words of libpq and of the server, in English."""


def refusal_of(message: str) -> Refusal | None:
    """What a message of a connection that was not made, or is lost, means, if it is known."""
    return next((found for words, found in _REFUSALS.items() if words in message), None)


DIVISION = "22012"
CASTS = frozenset({"22P02", "22007", "22008", "22003", "22023", "22001"})
"""Invalid text, datetime or parameter, out of range, too long: what casts raise."""
SUBQUERY_ROWS = "21000"

_DIVIDING = frozenset({"/", "%", "mod", "div"})


def suspects(sql: MappedSql, sqlstate: str | None, message: str) -> list[Location]:
    """Places in the analyst's own text that can have raised it, in order; [] if none is known.

    `message` narrows casts to those of the type that it names.
    """
    try:
        found = list(tokens(sql.text))
    except UnclosedError:
        return []
    places = (sql.location_at(offset) for offset in _offsets(found, sqlstate, message))
    return list(dict.fromkeys(place for place in places if place is not None))


def _offsets(found: list[Token], sqlstate: str | None, message: str) -> Iterator[int]:
    for token, following in pairwise([*found, None]):
        assert token is not None
        after = following.value if following else ""
        is_suspect = (
            (sqlstate == DIVISION and token.value in _DIVIDING and token.kind != "text")
            or (sqlstate in CASTS and token.value == "::" and _is_named(after, message))
            or (sqlstate in CASTS and token.kind == "word" and token.value == "cast")
            or (sqlstate == SUBQUERY_ROWS and token.value == "(" and after == "select")
        )
        if is_suspect:
            yield token.start


_SPELLINGS = {
    "int": "integer", "int4": "integer", "int8": "bigint", "int2": "smallint", "bool": "boolean",
    "timestamptz": "timestamp", "decimal": "numeric", "float8": "double", "float": "double",
    "float4": "real", "varchar": "character",
}  # fmt: skip


def _is_named(type_name: str, message: str) -> bool:
    """Whether the message is about this type, or about no type that we know of."""
    spelled = _SPELLINGS.get(type_name, type_name)
    known = {*_SPELLINGS.values(), "uuid", "date", "json", "jsonb", "interval", "time"}
    return spelled in message.split('"')[0] or not any(one in message for one in known)


TRANSIENT_STATES = ("57P01", "57P02", "57P03", "53300", "40001", "40P01")
"""Shutdown, restart, too many connections, and what a standby does to readers in its way."""


@contextmanager
def translated_errors(
    target: Target, sql: str | MappedSql, where: Location | None, *, is_connecting: bool = False
) -> Iterator[None]:
    """Turns whatever the driver raises into a `DatabaseError` without secrets and row data."""
    try:
        yield
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
        fix=refusal.fix if refusal else _fix(message, problem.sqlstate),
    )


# What is shown of rows: nothing

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
        message = (
            "a function raised an error; its text may quote rows, so it is only in the server's log"
        )
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
    return found[
        0
    ], f"the server does not report where; it may also be {others}" if others else None


def _compiled_line(sql: str | MappedSql, problem: psycopg.Error) -> str | None:
    position = problem.diag.statement_position
    if position is None or isinstance(sql, str):
        return None
    return f"line {sql.line_at(int(position) - 1)} of the compiled statement"


_FIXES = {
    "42501": "grant the role USAGE on the schema and SELECT on the table",
    "42P01": "run audiences check: it compares sources.yml with the database",
    "42703": "correct the column's name; audiences check compares sources.yml with the database",
    "57014": "the statement took longer than statement_timeout of the target, or was cancelled",
    "55P03": "another session holds a lock; lock_timeout of the target sets how long to wait",
    "53100": "the server's disk is full",
}


def _fix(message: str, sqlstate: str | None) -> str | None:
    if "row-level security" in message:
        return (
            "give the role BYPASSRLS, or, if its policies show it every row, set row_security: on "
            "in the target's settings"
        )
    return _FIXES.get(sqlstate or "")
