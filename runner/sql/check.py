"""What can be checked in a model's SQL without a server: one select, no writes, no clock.

Works on tokens, so text in strings and comments is never taken for code, and all SQL that
PostgreSQL understands is welcome. The server has the last word: a run's snapshot is read-only.
"""

from __future__ import annotations

from runner.errors import ProjectError
from runner.sql.render import RenderedModel
from runner.sql.tokens import Token, UnclosedError, tokens

WRITES = frozenset({"insert", "update", "delete", "merge", "truncate", "into", "create", "drop"})
"""Words that start or hide a write. A column of that name can be quoted."""

CLOCK_WORDS = frozenset(
    {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"}
)
CLOCK_FUNCTIONS = frozenset(
    {"now", "clock_timestamp", "statement_timestamp", "transaction_timestamp", "timeofday"}
)
CLOCK_TEXTS = frozenset({"now", "today", "tomorrow", "yesterday"})
"""Texts that PostgreSQL reads as its own time wherever they are cast, so no model may hold them."""


def check_select(rendered: RenderedModel) -> None:
    """Raises `ProjectError` at the model's own line unless its SQL is one harmless select."""
    found = _tokens(rendered)
    if not found or found[0].value not in ("select", "with"):
        offset = found[0].start if found else 0
        raise _error(rendered, offset, "this is not one select", "start it with select or with")
    _check_all(rendered, found)


def check_condition(rendered: RenderedModel) -> None:
    """Raises `ProjectError` unless a data test's `where` only reads."""
    _check_all(rendered, _tokens(rendered))


def _tokens(rendered: RenderedModel) -> list[Token]:
    try:
        return list(tokens(rendered.sql.text))
    except UnclosedError as problem:
        raise _error(rendered, problem.offset, f"{problem} is not closed", "close it") from None


def _check_all(rendered: RenderedModel, found: list[Token]) -> None:
    for token in found:
        _check_token(rendered, token)
    _check_clock(rendered, found)
    _check_text_values(rendered, found)


def _check_token(rendered: RenderedModel, token: Token) -> None:
    if token.kind == "symbol" and token.value == ";":
        raise _error(
            rendered, token.start, "this is more than one statement", "remove the semicolon"
        )
    if token.kind == "word" and token.value in WRITES:
        raise _error(
            rendered,
            token.start,
            f"models and tests may only read, but this contains {token.value}",
            f'write a select; if it is a column\'s name, quote it: "{token.value}"',
        )


def _check_clock(rendered: RenderedModel, found: list[Token]) -> None:
    for index, token in enumerate(found):
        words = token.value.split()
        is_call = [after.value for after in found[index + 1 : index + 2]] == ["("]
        is_clock = (
            (token.kind == "word" and token.value in CLOCK_WORDS)
            or (token.kind == "text" and words[:1] and words[0].lower() in CLOCK_TEXTS)
            or (is_call and token.value.strip('"') in CLOCK_FUNCTIONS)
            or (is_call and token.value == "age" and _has_one_argument(found[index + 2 :]))
        )
        if is_clock:
            raise _error(
                rendered,
                token.start,
                f"{token.value!r} is the server's clock, not the run's",
                "use '{{ run_started_at }}'::timestamptz",
            )


def _has_one_argument(inside: list[Token]) -> bool:
    """Whether the parentheses that were just opened close without a comma of their own."""
    depth = 1
    for token in inside:
        depth += (token.value in ("(", "[")) - (token.value in (")", "]"))
        if token.value == "," and depth == 1:
            return False
        if depth == 0:
            break
    return True


def _check_text_values(rendered: RenderedModel, found: list[Token]) -> None:
    """A text parameter may only fill text: outside quotes it would be code."""
    texts = [token for token in found if token.kind == "text"]
    for start, end in rendered.sql.text_values:
        if not any(text.start < start and end < text.end for text in texts):
            raise _error(
                rendered,
                start,
                "a text parameter must be inside quotes",
                "write '{{ var('name') }}'",
            )


def _error(rendered: RenderedModel, offset: int, what: str, fix: str) -> ProjectError:
    where = rendered.sql.location_at(offset) or rendered.model.location
    return ProjectError(what, where=where, fix=fix)
