"""SQL text that remembers where each piece was written, through Jinja as well."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from runner.errors import Location, ProjectError
from runner.project.nodes import Macro, Model
from runner.sql.jinja import Place, Written


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
        if mark.location is None or not mark.is_copied:
            return mark.location
        return mark.location.moved(offset - mark.offset)

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


def located(written: Written, model: Model, macros: Iterable[Macro]) -> MappedSql:
    """The SQL that a model's template made, with places in its file and in those of macros."""
    text = written.text.rstrip()
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ProjectError(
            "the SQL contains a character that PostgreSQL cannot read",
            where=model.location,
            fix="look for an escape such as \\0 or \\ud800 in its Jinja",
        )
    files: list[Macro | Model] = [*macros, model]
    texts = {str(file.path): file.source_text for file in files}
    marks = tuple(
        Mark(mark.offset, _location(mark.place, texts), is_copied=mark.is_copied)
        for mark in written.marks
    )
    return MappedSql(text, marks, written.values)


def _location(place: Place, texts: Mapping[str, str]) -> Location | None:
    found: Location | None = None
    for file, offset in reversed(place):
        outer = Location.at_offset(Path(file), texts[file], offset)
        found = replace(outer, macro=found)
    return found
