"""SQL text -> tokens, by PostgreSQL's own lexical rules (its manual, chapter 4.1).

Just enough to know what is code and what is text, comment or quoted name. A full SQL library
would do this too, for a tenth of a run's start-up time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

Kind = Literal["word", "name", "text", "number", "symbol"]

_TOKEN = re.compile(
    r"""
      (?P<space>   [ \t\n\r\f\v]+ | --[^\n\r]* )
    | (?P<comment> /\* )
    | (?P<text>    [eE]'(?:[^'\\]|\\.|''|'[ \t\f\v]*[\n\r][ \t\n\r\f\v]*')*'
                 | (?:[bBxXnN]|[uU]&)?'(?:[^']|'')*' )
    | (?P<name>    (?:[uU]&)?"(?:[^"]|"")+" )
    | (?P<dollar>  \$(?:[a-zA-Z_\x80-\U0010ffff][a-zA-Z_0-9\x80-\U0010ffff]*)?\$ )
    | (?P<word>    [a-zA-Z_\x80-\U0010ffff][a-zA-Z_0-9$\x80-\U0010ffff]* )
    | (?P<number>  [0-9][a-zA-Z_0-9.]* )
    | (?P<open>    ['"] )
    | (?P<symbol>  :: | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")


class Token(NamedTuple):
    """A piece of code: a `word` in lower case as PostgreSQL folds it, a `text` without its quotes,
    anything else unchanged; offsets into the SQL."""

    kind: Kind
    value: str
    start: int
    end: int


class UnclosedError(ValueError):
    """A quote or comment that starts at `offset` does not end."""

    def __init__(self, what: str, offset: int) -> None:
        super().__init__(what)
        self.offset = offset


def tokens(sql: str) -> Iterator[Token]:
    """All tokens but white space and comments. Raises `UnclosedError`."""
    position = 0
    while match := _TOKEN.match(sql, position):
        start, position = match.span()
        match match.lastgroup:
            case "space":
                pass
            case "comment":
                position = _comment_end(sql, start)
            case "open":
                raise UnclosedError("a quote", start)
            case "dollar":
                position = _dollar_end(sql, match.group(), start)
                body = sql[match.end() : position - len(match.group())]
                yield Token("text", body, start, position)
            case "word":
                yield Token("word", match.group().lower(), start, position)
            case "text" | "name" | "number" | "symbol" as kind:
                value = match.group()
                if kind == "text":
                    value = value[value.index("'") + 1 : -1]
                yield Token(kind, value, start, position)


def _comment_end(sql: str, start: int) -> int:
    """Where a block comment ends; they nest."""
    depth = 0
    for edge in _COMMENT_EDGE.finditer(sql, start):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    raise UnclosedError("a comment", start)


def _dollar_end(sql: str, tag: str, start: int) -> int:
    end = sql.find(tag, start + len(tag))
    if end < 0:
        raise UnclosedError(f"a text in {tag}", start)
    return end + len(tag)
