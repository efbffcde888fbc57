"""Where an error of the server may have come from when the server does not say where.

PostgreSQL gives a position for what it finds wrong while it reads a statement, and none for what
goes wrong with a row: a division, a cast, a number out of range. The SQL then tells which pieces
can have done it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from runner.errors import Location
from runner.sql.source_map import MappedSql
from runner.sql.tokens import Token, UnclosedError, tokens

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
