"""SQL text that remembers, piece by piece, where an analyst wrote it."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from runner.errors import Location


class Mark(NamedTuple):
    """From `offset` of a text on, what stands there was written at `location`; its column goes
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
    """SQL that stands for something in a YAML file."""
    return MappedSql(text, (Mark(0, location),))
