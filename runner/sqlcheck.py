"""What can be said of a model's SQL without a server: one select, no writes, no clock of its own.

Works on the tokens that sqlglot's PostgreSQL dialect sees, so text in strings and comments is
never taken for code, and SQL that sqlglot cannot parse but PostgreSQL can is still welcome.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from runner.errors import ProjectError
from runner.templating import RenderedModel

if TYPE_CHECKING:
    from sqlglot.tokens import Token

WRITES = frozenset({"insert", "update", "delete", "merge", "truncate", "into", "create", "drop"})
"""Words that start or hide a write. Unquoted they are no column names here."""

CLOCK_WORDS = frozenset(
    {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"}
)
CLOCK_FUNCTIONS = frozenset(
    {"now", "clock_timestamp", "statement_timestamp", "transaction_timestamp", "timeofday"}
)
CLOCK_TEXTS = frozenset({"now", "today", "tomorrow", "yesterday"})
CLOCK_TYPES = frozenset({"date", "time", "timetz", "timestamp", "timestamptz"})

_STRINGS = frozenset({"STRING", "HEREDOC_STRING", "BYTE_STRING", "UNICODE_STRING", "NATIONAL_STRING"})


def check_select(rendered: RenderedModel) -> None:
    """Raises `ProjectError` at the model's own line unless its SQL is one harmless select."""
    tokens = _tokens(rendered)
    if not tokens or tokens[0].text.lower() not in ("select", "with"):
        offset = tokens[0].start if tokens else 0
        raise _error(rendered, offset, "a model is one select", "start it with select or with")
    for token in tokens:
        _check_token(rendered, token)
    for offset in _clock_texts(tokens):
        raise _clock_error(rendered, offset, "a date word")
    for token, following in pairwise(tokens):
        if following.text == "(" and _word(token) in CLOCK_FUNCTIONS:
            raise _clock_error(rendered, token.start, f"{token.text}()")
    _check_text_values(rendered, tokens)


def _tokens(rendered: RenderedModel) -> list[Token]:
    from sqlglot.dialects.postgres import Postgres
    from sqlglot.errors import TokenError

    try:
        return list(Postgres().tokenize(rendered.sql.text))
    except TokenError:
        raise _error(
            rendered, 0, "a quote, comment or dollar quote is not closed", "close it"
        ) from None


def _word(token: Token) -> str:
    """The token as a bare word; '' for text and quoted names."""
    is_quoted = token.token_type.name in _STRINGS or token.token_type.name == "IDENTIFIER"
    return "" if is_quoted else token.text.lower()


def _check_token(rendered: RenderedModel, token: Token) -> None:
    word = _word(token)
    if word == ";":
        raise _error(rendered, token.start, "a model is one statement", "remove the semicolon")
    if word in WRITES:
        raise _error(
            rendered,
            token.start,
            f"a model only reads, but this says {word}",
            f'write a select; if it is a column\'s name, quote it: "{word}"',
        )
    if word in CLOCK_WORDS:
        raise _clock_error(rendered, token.start, word)


def _clock_texts(tokens: list[Token]) -> Iterator[int]:
    """Offsets of 'now' and its like where they are read as a date: 'now'::date, date 'now'."""
    padded = [None, *tokens, None, None]
    for before, token, after, then in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        if token is None or token.token_type.name not in _STRINGS:
            continue
        if token.text.strip().lower() not in CLOCK_TEXTS:
            continue
        is_cast = after is not None and then is not None and after.text == "::"
        if is_cast and then is not None and then.text.lower() in CLOCK_TYPES:
            yield token.start
        elif before is not None and before.text.lower() in CLOCK_TYPES:
            yield token.start


def _check_text_values(rendered: RenderedModel, tokens: list[Token]) -> None:
    """A text parameter may only fill text: outside quotes it would be code."""
    strings = [(t.start, t.end) for t in tokens if t.token_type.name in _STRINGS]
    for start, end in rendered.sql.text_values:
        if not any(first < start and end <= last for first, last in strings):
            raise _error(
                rendered,
                start,
                "a text parameter stands outside quotes",
                "write '{{ var('name') }}'",
            )


def _clock_error(rendered: RenderedModel, offset: int, what: str) -> ProjectError:
    return _error(
        rendered,
        offset,
        f"{what} is the server's clock, not the run's",
        "use '{{ run_started_at }}'::timestamptz",
    )


def _error(rendered: RenderedModel, offset: int, what: str, mend: str) -> ProjectError:
    where = rendered.sql.location_at(offset) or rendered.model.location
    return ProjectError(what, where=where, mend=mend)
