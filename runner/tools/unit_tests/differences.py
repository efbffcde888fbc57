"""What a model made against what a case expects: as few differences as tell it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Cells = tuple[str | None, ...]
"""One row: PostgreSQL's own text of each value, None for NULL."""

_BARE_TYPES = ("integer", "bigint", "smallint", "numeric", "boolean", "real", "double precision")


@dataclass(frozen=True)
class Changed:
    """An expected row, and the made one that stands in its place."""

    expected: Cells
    made: Cells


@dataclass(frozen=True)
class Differences:
    """How two sets of rows differ. `columns` are pairs of name and type."""

    columns: tuple[tuple[str, str], ...]
    changed: tuple[Changed, ...]
    missing: tuple[Cells, ...]
    extra: tuple[Cells, ...]
    key: tuple[int, ...]
    """The columns, by index, that tell expected rows apart."""

    def __bool__(self) -> bool:
        return bool(self.changed or self.missing or self.extra)

    def lines(self) -> list[str]:
        """For people: a line for each row that is missing or extra, one for each changed cell."""
        found: list[str] = []
        for one in self.changed:
            found.append(f"changed  {self._row(one.expected, self.key)}")
            for index, (name, kind) in enumerate(self.columns):
                if one.expected[index] != one.made[index]:
                    wanted, made = (_shown(row[index], kind) for row in (one.expected, one.made))
                    found.append(f"         {name} ({kind}): expected {wanted}, made {made}")
        everything = range(len(self.columns))
        found += [f"missing  {self._row(row, everything)}" for row in self.missing]
        found += [f"extra    {self._row(row, everything)}" for row in self.extra]
        return found

    def as_json(self) -> dict[str, Any]:
        names = [name for name, _ in self.columns]

        def row(cells: Cells) -> dict[str, str | None]:
            return dict(zip(names, cells, strict=True))

        return {
            "types": dict(self.columns),
            "changed": [
                {"expected": row(one.expected), "made": row(one.made)} for one in self.changed
            ],
            "missing": [row(cells) for cells in self.missing],
            "extra": [row(cells) for cells in self.extra],
        }

    def _row(self, cells: Cells, indexes: Sequence[int]) -> str:
        shown = (f"{self.columns[i][0]}={_shown(cells[i], self.columns[i][1])}" for i in indexes)
        return " ".join(shown) if indexes else "(a row without columns)"


def compare(
    columns: Sequence[tuple[str, str]], expected: Sequence[Cells], made: Sequence[Cells]
) -> Differences:
    """Rows are compared as multisets; what is left is paired by key, else by likeness."""
    missing = list((Counter(expected) - Counter(made)).elements())
    extra = list((Counter(made) - Counter(expected)).elements())
    key = _key(expected, len(columns))
    changed: list[Changed] = []
    for row in list(missing):
        partner = _partner(row, extra, key)
        if partner is not None:
            missing.remove(row)
            extra.remove(partner)
            changed.append(Changed(row, partner))
    return Differences(tuple(columns), tuple(changed), tuple(missing), tuple(extra), key)


def _key(expected: Sequence[Cells], width: int) -> tuple[int, ...]:
    """The fewest leading columns that tell the expected rows apart."""
    for count in range(1, width + 1):
        if len({row[:count] for row in expected}) == len(expected):
            return tuple(range(count))
    return tuple(range(width))


def _partner(row: Cells, candidates: Sequence[Cells], key: Sequence[int]) -> Cells | None:
    """The made row of the same key, the most alike of several."""
    same_key = [one for one in candidates if all(one[index] == row[index] for index in key)]
    alike = [one for one in candidates if 2 * _equal(one, row) > len(row)]
    return max(same_key or alike, key=lambda one: _equal(one, row), default=None)


def _equal(one: Cells, other: Cells) -> int:
    return sum(left == right for left, right in zip(one, other, strict=True))


def _shown(text: str | None, kind: str) -> str:
    """NULL bare, text in quotes, so that '' and blanks can be seen."""
    if text is None:
        return "NULL"
    return text if kind in _BARE_TYPES else repr(text)
