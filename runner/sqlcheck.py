"""What can be said of a model's SQL without a server: one select, no writes, no clock of its own.

Works on tokens, so text in strings and comments is never taken for code, and all SQL that
PostgreSQL understands is welcome. The server has the last word: a run's snapshot is read-only.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from runner.errors import ProjectError
from runner.sqltokens import Token, UnclosedError, tokens
from runner.templating import RenderedModel

WRITES = frozenset({"insert", "update", "delete", "merge", "truncate", "into", "create", "drop"})
"""Words that start or hide a write. A column of that name can be quoted."""

CLOCK_WORDS = frozenset(
    {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"}
)
CLOCK_FUNCTIONS = frozenset(
    {"now", "clock_timestamp", "statement_timestamp", "transaction_timestamp", "timeofday"}
)
CLOCK_TEXTS = frozenset({"now", "today", "tomorrow", "yesterday"})
CLOCK_TYPES = frozenset({"date", "time", "timetz", "timestamp", "timestamptz"})


def check_select(rendered: RenderedModel) -> None:
    """Raises `ProjectError` at the model's own line unless its SQL is one harmless select."""
    try:
        found = list(tokens(rendered.sql.text))
    except UnclosedError as problem:
        raise _error(rendered, problem.offset, f"{problem} is not closed", "close it") from None
    if not found or found[0].value not in ("select", "with"):
        offset = found[0].start if found else 0
        raise _error(rendered, offset, "a model is one select", "start it with select or with")
    for token in found:
        _check_token(rendered, token)
    _check_clock(rendered, found)
    _check_text_values(rendered, found)


def _check_token(rendered: RenderedModel, token: Token) -> None:
    if token.kind == "symbol" and token.value == ";":
        raise _error(rendered, token.start, "a model is one statement", "remove the semicolon")
    if token.kind == "word" and token.value in WRITES:
        raise _error(
            rendered,
            token.start,
            f"a model only reads, but this says {token.value}",
            f'write a select; if it is a column\'s name, quote it: "{token.value}"',
        )


def _check_clock(rendered: RenderedModel, found: list[Token]) -> None:
    for token, following in pairwise([*found, Token("symbol", "", 0, 0)]):
        is_call = token.value in CLOCK_FUNCTIONS and following.value == "("
        if token.kind == "word" and (token.value in CLOCK_WORDS or is_call):
            raise _clock_error(rendered, token)
    for token in _clock_texts(found):
        raise _clock_error(rendered, token)


def _clock_texts(found: list[Token]) -> Iterator[Token]:
    """'now' and its like where they are read as a time: 'now'::date, date 'now'."""
    for index, token in enumerate(found):
        if token.kind == "text" and token.value.strip().lower() in CLOCK_TEXTS:
            before = found[index - 1].value if index else ""
            after = [following.value for following in found[index + 1 : index + 3]]
            is_cast = after[:1] == ["::"] and after[-1] in CLOCK_TYPES
            if is_cast or before in CLOCK_TYPES:
                yield token


def _check_text_values(rendered: RenderedModel, found: list[Token]) -> None:
    """A text parameter may only fill text: outside quotes it would be code."""
    texts = [token for token in found if token.kind == "text"]
    for start, end in rendered.sql.text_values:
        if not any(text.start < start and end < text.end for text in texts):
            raise _error(
                rendered,
                start,
                "a text parameter stands outside quotes",
                "write '{{ var('name') }}'",
            )


def _clock_error(rendered: RenderedModel, token: Token) -> ProjectError:
    return _error(
        rendered,
        token.start,
        f"{token.value!r} is the server's clock, not the run's",
        "use '{{ run_started_at }}'::timestamptz",
    )


def _error(rendered: RenderedModel, offset: int, what: str, mend: str) -> ProjectError:
    where = rendered.sql.location_at(offset) or rendered.model.location
    return ProjectError(what, where=where, mend=mend)
