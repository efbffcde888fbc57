"""SQL text that remembers where each piece was written, through Jinja as well."""

from __future__ import annotations

import re
import threading
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from jinja2 import Environment
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream

from runner.errors import Location, ProjectError
from runner.project.nodes import Model


class Mark(NamedTuple):
    """From `offset` of a text on, the text was written at `location`; its column goes
    on with the text if it was copied. Without a location the runner itself wrote it."""

    offset: int
    location: Location | None
    is_copied: bool = False


@dataclass(frozen=True)
class MappedSql:
    """SQL text and where each stretch of it was written.

    `marks` ascend; `text_values` are the spans that text parameters filled.
    """

    text: str
    marks: tuple[Mark, ...] = field(default=(), repr=False)
    text_values: tuple[tuple[int, int], ...] = field(default=(), repr=False)

    def location_at(self, offset: int) -> Location | None:
        """Where the character at `offset` (from 0) was written; None if the runner wrote it."""
        index = bisect_right(self.marks, offset, key=lambda mark: mark.offset) - 1
        if index < 0:
            return None
        mark = self.marks[index]
        if mark.location is None or mark.location.column is None or not mark.is_copied:
            return mark.location
        return replace(mark.location, column=mark.location.column + offset - mark.offset)

    def line_at(self, offset: int) -> int:
        """The line of this text itself, from 1, that holds the character at `offset`."""
        return self.text.count("\n", 0, offset) + 1


def joined(*pieces: str | MappedSql) -> MappedSql:
    """One text of all pieces, each keeping its locations. Plain strings have none."""
    texts: list[str] = []
    marks: list[Mark] = []
    length = 0
    for piece in pieces:
        mapped = piece if isinstance(piece, MappedSql) else MappedSql(piece)
        marks.append(Mark(length, None))
        marks += [mark._replace(offset=length + mark.offset) for mark in mapped.marks]
        texts.append(mapped.text)
        length += len(mapped.text)
    return MappedSql("".join(texts), tuple(marks))


def written_at(location: Location, text: str) -> MappedSql:
    """SQL made from something in a YAML file."""
    return MappedSql(text, (Mark(0, location),))


_TAG = re.compile("\0(\\d+)(t|e)\0|[\1\2]")
"""`t` is text, whose columns go on as they are; `e` an expression, which has one place."""
BODY_OF_VALUE = ("\1", "\2")


class TagPlaces(Extension):
    """Tags each line of a template's text, and each expression, with its offset in the source."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._read = threading.local()

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Jinja's tokens know no columns: find where each text and expression begins."""
        found: list[int] = []
        position = 0
        for _, kind, value in self.environment.lexer.tokeniter(source, name, filename):
            start = source.find(value, position)
            position = start + len(value)
            if kind in ("data", "variable_begin"):
                found.append(start)
        self._read.places = found
        return source

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        return self._tagged(stream, iter(self._read.places))

    def _tagged(self, stream: TokenStream, places: Iterator[int]) -> Iterator[Token]:
        for token in stream:
            if token.type == "data":
                yield Token(token.lineno, "data", _tagged_lines(token.value, next(places)))
                continue
            if token.type == "variable_begin":
                yield Token(token.lineno, "data", f"\0{next(places)}e\0")
            yield token


def _tagged_lines(text: str, place: int) -> str:
    tagged = []
    for line in text.splitlines(keepends=True):
        tagged.append(f"\0{place}t\0{line}")
        place += len(line)
    return "".join(tagged)


def untagged(tagged: str, model: Model) -> MappedSql:
    pieces: list[str] = []
    marks: list[Mark] = []
    starts: list[int] = []
    spans: list[tuple[int, int]] = []
    length = position = 0
    for tag in _TAG.finditer(tagged):
        pieces.append(tagged[position : tag.start()])
        length += tag.start() - position
        position = tag.end()
        if tag.group(1):
            place = model.location_at(int(tag.group(1)))
            marks.append(Mark(length, place, is_copied=tag.group(2) == "t"))
        elif tag.group() == BODY_OF_VALUE[0]:
            starts.append(length)
        else:
            spans.append((starts.pop(), length))
    pieces.append(tagged[position:])
    text = "".join(pieces).rstrip()
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ProjectError(
            "the SQL contains a character that PostgreSQL cannot read",
            where=model.location,
            fix="look for an escape such as \\0 or \\ud800 in its Jinja",
        )
    return MappedSql(text, tuple(marks), tuple(spans))
