"""The one gate through which the driver's errors come, and the one place that hides secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, unquote

import psycopg
import sqlalchemy
from psycopg.conninfo import conninfo_to_dict

from runner.errors import ConnectionLost, DatabaseError, Location
from runner.mapped_sql import MappedSql
from runner.profiles import Target
from runner.suspects import suspects


@contextmanager
def translated_errors(
    target: Target, sql: str | MappedSql, where: Location | None
) -> Iterator[None]:
    """Turns whatever the driver raises into a `DatabaseError` without secrets."""
    try:
        yield
    except sqlalchemy.exc.DBAPIError as problem:
        if isinstance(problem.orig, psycopg.Error):
            raise _translated(target, problem.orig, sql, where) from None
        raise
    except psycopg.Error as problem:
        raise _translated(target, problem, sql, where) from None


def _translated(
    target: Target, problem: psycopg.Error, sql: str | MappedSql, where: Location | None
) -> DatabaseError:
    diagnosis = problem.diag
    message = diagnosis.message_primary or str(problem)
    if diagnosis.message_detail and problem.sqlstate != "23505":
        message += f" ({diagnosis.message_detail})"
    if problem.sqlstate:
        message += f" [SQLSTATE {problem.sqlstate}]"
    hint = f"hint: {diagnosis.message_hint}" if diagnosis.message_hint else None
    kind = ConnectionLost if _is_lost(problem) else DatabaseError
    place, others = _place(sql, problem)
    compiled = _compiled_line(sql, problem)
    looked_at = "; ".join(part for part in (hint, others, compiled) if part)
    return kind(
        redacted(target, message.strip()),
        sqlstate=problem.sqlstate,
        where=place or where or f"target {target.name}",
        looked_at=redacted(target, looked_at) or None,
        mend=_mend(message, problem.sqlstate),
    )


def _is_lost(problem: psycopg.Error) -> bool:
    """No session, or none any more: connection errors, shutdown, or an error without SQLSTATE."""
    state = problem.sqlstate
    if state is None:
        return isinstance(problem, psycopg.OperationalError | psycopg.InterfaceError)
    return state.startswith("08") or state in ("57P01", "57P02", "57P03", "25P03", "25P04")


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


_MENDS_BY_STATE = {
    "42501": "grant the role USAGE on the schema and SELECT on the table",
    "42P01": "compare models/sources.yml with the database: audiences check",
    "42703": "correct the column's name; audiences check compares sources.yml with the database",
    "57014": "the statement took longer than statement_timeout of the target, or was cancelled",
    "55P03": "another session holds a lock; lock_timeout of the target says how long to wait",
    "53100": "the server's disk is full",
}
_MENDS_BY_WORDS = {
    "password authentication failed": "correct user or password of the target",
    "no password supplied": "give the target a password",
    "does not exist": "correct the name in the target",
    "onnection refused": "see that the server runs, and that host and port are right",
    "could not translate host name": "correct the host's name in the target",
    "failed to resolve host": "correct the host's name in the target",
    "imeout": "is the host reachable from here? connect_timeout of the target is in seconds",
    "invalid": "correct the target's url; a password in it must be percent-encoded",
}


def _mend(message: str, sqlstate: str | None) -> str | None:
    if "row-level security" in message:
        return (
            "give the role BYPASSRLS, or, if its policies show it every row, set row_security: on "
            "in the target's settings"
        )
    if sqlstate:
        return _MENDS_BY_STATE.get(sqlstate)
    return next((mend for words, mend in _MENDS_BY_WORDS.items() if words in message), None)


def redacted(target: Target, text: str) -> str:
    """`text` without any secret of the target, however it was spelled."""
    for secret in _secrets(target):
        text = text.replace(secret, "********")
    return text


def _secrets(target: Target) -> list[str]:
    """Every text that must not be shown, longest first. Of a URL, all but what names the server:
    libpq quotes any part of one that it cannot read."""
    found = {one.get_secret_value() for one in (*target.hidden, target.password) if one}
    if target.url:
        url = target.url.get_secret_value()
        found |= {url} | {piece for sign in "@:/?&=# " for piece in url.split(sign)}
        found |= set(re.split(r"[@:/?&=#\s'\"]+", url))
    spelled = {form for one in found for form in (one, quote(one, safe=""), unquote(one))}
    if target.url:
        spelled -= _server_names(target.url.get_secret_value())
    return sorted((form for form in spelled if len(form) > 2), key=len, reverse=True)


def _server_names(url: str) -> set[str]:
    """The parts of a URL that say where, not with what right; the scheme and keywords too."""
    try:
        parts = conninfo_to_dict(url.replace("postgresql+psycopg://", "postgresql://", 1))
    except (psycopg.Error, UnicodeError):
        parts = {}
    secret = " ".join(str(parts.pop(key, "")) for key in ("password", "sslpassword", "options"))
    values = {str(value) for value in parts.values()}
    names = values | {piece for value in values for piece in re.split(r"[,/]", value)}
    return {name for name in names if name not in secret} | {
        "postgresql", "postgresql+psycopg", "postgres", *parts,
        "host", "port", "user", "dbname", "password", "sslmode",
    }  # fmt: skip
