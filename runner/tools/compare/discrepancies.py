"""What differs between two sides: as data and as text. Users are counted, named only if asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from runner.files.csv import Style
from runner.tools.compare.sides import Side

Cells = tuple[str, str]
"""One cell in A and in B."""


@dataclass
class FileSide:
    """One side's file of a pair. `columns` are those that are looked at."""

    name: str
    columns: list[str]
    all_columns: list[str]
    style: Style
    rows: int = 0

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "rowCount": self.rows, "columns": self.columns}


@dataclass
class FileDifference:
    """What differs between the files of one name; a side is None where there is no such file.

    `only_a` and `only_b` count users that the whole other side does not have. `extra_a` and
    `extra_b` count rows of users that both sides have, but not as often.
    """

    label: str
    a: FileSide | None
    b: FileSide | None
    columns_only_a: list[str] = field(default_factory=list)
    columns_only_b: list[str] = field(default_factory=list)
    is_column_order_different: bool = False
    common: int = 0
    only_a: int = 0
    only_b: int = 0
    extra_a: int = 0
    extra_b: int = 0
    changed_rows: int = 0
    changed_cells: Counter[str] = field(default_factory=Counter)
    out_of_order: int = 0

    @property
    def is_equal(self) -> bool:
        if self.a is None or self.b is None:
            return False
        has_same_columns = not (
            self.columns_only_a or self.columns_only_b or self.is_column_order_different
        )
        has_same_rows = self.common == self.a.rows == self.b.rows
        return has_same_columns and has_same_rows and not (self.changed_rows or self.out_of_order)

    def notes(self) -> Iterator[str]:
        """How the two files are written differently, which is no difference."""
        if self.a is None or self.b is None:
            return
        a, b = self.a.style, self.b.style
        if a.line_ending != b.line_ending:
            yield f"line ends: {a.line_ending} in A, {b.line_ending} in B"
        is_quoting_different = a.is_header_quoted != b.is_header_quoted
        if is_quoting_different or (self.is_equal and a.quotes != b.quotes):
            yield f"quoting: {a.quotes:,} quotes in A, {b.quotes:,} in B"
        for name, left, right in (
            ("byte order mark", a.has_byte_order_mark, b.has_byte_order_mark),
            ("newline at the end", a.ends_with_newline, b.ends_with_newline),
        ):
            if left != right:
                yield f"{name}: only in {'A' if left else 'B'}"

    def as_json(self) -> dict[str, Any]:
        return {
            "file": self.label,
            "equal": self.is_equal,
            "a": self.a.as_json() if self.a else None,
            "b": self.b.as_json() if self.b else None,
            "columnsOnlyInA": self.columns_only_a,
            "columnsOnlyInB": self.columns_only_b,
            "columnOrderDiffers": self.is_column_order_different,
            "commonRows": self.common,
            "usersOnlyInA": self.only_a,
            "usersOnlyInB": self.only_b,
            "extraRowsInA": self.extra_a,
            "extraRowsInB": self.extra_b,
            "changedRows": self.changed_rows,
            "changedCells": dict(self.changed_cells),
            "rowsOutOfOrder": self.out_of_order,
            "notes": list(self.notes()),
        }


@dataclass(frozen=True)
class Example:
    """One user of a difference: what kind, in which files, which cells."""

    kind: str
    files: tuple[str, ...]
    user: str
    cells: dict[str, Cells] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        cells = {column: {"a": a, "b": b} for column, (a, b) in self.cells.items()}
        return {"kind": self.kind, "files": list(self.files), "user": self.user, "cells": cells}


@dataclass
class Comparison:
    """Two sides, and all that differs. `moved` counts users by the file in A and the file in B;
    `repeated_a` and `repeated_b` count users with more than one row on a side."""

    a: Side
    b: Side
    key: str
    ignored: tuple[str, ...]
    files: list[FileDifference]
    moved: Counter[tuple[str, str]] = field(default_factory=Counter)
    only_a: int = 0
    only_b: int = 0
    repeated_a: int = 0
    repeated_b: int = 0
    examples: list[Example] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        return not self.moved and all(file.is_equal for file in self.files)

    def as_json(self) -> dict[str, Any]:
        return {
            "equal": self.is_equal,
            "a": self._side_json(self.a, [file.a for file in self.files]),
            "b": self._side_json(self.b, [file.b for file in self.files]),
            "key": self.key,
            "ignoredColumns": list(self.ignored),
            "usersOnlyInA": self.only_a,
            "usersOnlyInB": self.only_b,
            "usersMoved": [
                {"from": source, "to": target, "users": count}
                for (source, target), count in self.moved.most_common()
            ],
            "usersRepeatedInA": self.repeated_a,
            "usersRepeatedInB": self.repeated_b,
            "files": [file.as_json() for file in self.files],
            "examples": [example.as_json() for example in self.examples],
        }

    @staticmethod
    def _side_json(side: Side, files: Iterable[FileSide | None]) -> dict[str, Any]:
        rows = sum(file.rows for file in files if file)
        return {"path": str(side.given), "source": side.source, "rowCount": rows}


def comparison_text(comparison: Comparison) -> str:
    """Verdict, sides, a table of files, and a line for each kind of difference."""
    return "\n".join(_lines(comparison))


def _lines(comparison: Comparison) -> Iterator[str]:
    ignored = f" ({', '.join(comparison.ignored)} ignored)" if comparison.ignored else ""
    yield f"{'equal' if comparison.is_equal else 'different'}{ignored}"
    yield f"A        {comparison.a.source}"
    yield f"B        {comparison.b.source}"
    yield ""
    yield from _table(comparison)
    yield ""
    yield from _users(comparison)
    for file in comparison.files:
        yield from _file(file)
    for example in comparison.examples:
        yield _example(example)


HEAD = ("file", "rows A", "rows B", "common", "only A", "only B", "changed", "out of order")


def _table(comparison: Comparison) -> Iterator[str]:
    rows = [
        (
            file.a.rows if file.a else 0,
            file.b.rows if file.b else 0,
            file.common,
            file.only_a,
            file.only_b,
            file.changed_rows,
            file.out_of_order,
        )
        for file in comparison.files
    ]
    labels = [file.label for file in comparison.files]
    if len(rows) > 1:
        total = [sum(column) for column in zip(*rows, strict=True)]
        total[3:5] = comparison.only_a, comparison.only_b
        rows.append(tuple(total))
        labels.append("all")
    lines = [
        HEAD,
        *((label, *(f"{n:,}" for n in row)) for label, row in zip(labels, rows, strict=True)),
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for label, *cells in lines:
        padded = (f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        yield "  ".join([f"{label:<{widths[0]}}", *padded])


def _users(comparison: Comparison) -> Iterator[str]:
    for (source, target), count in comparison.moved.most_common():
        yield f"moved    {count:,} from {source} to {target}"
    for side, count in (("A", comparison.repeated_a), ("B", comparison.repeated_b)):
        if count:
            yield f"repeated {count:,} users have more than one row in {side}"


def _file(file: FileDifference) -> Iterator[str]:
    if file.a is None or file.b is None:
        yield f"file     {file.label} is only in {'B' if file.a is None else 'A'}"
    for side, columns in (("A", file.columns_only_a), ("B", file.columns_only_b)):
        if columns:
            yield f"columns  {file.label}: only in {side}: {', '.join(columns)}"
    if file.is_column_order_different and file.a and file.b:
        yield (
            f"columns  {file.label}: in another order: {', '.join(file.a.columns)} in A, "
            f"{', '.join(file.b.columns)} in B"
        )
    for side, extra in (("A", file.extra_a), ("B", file.extra_b)):
        if extra:
            yield f"extra    {file.label}: {extra:,} rows in {side} of users that both have"
    if file.changed_cells:
        cells = ", ".join(f"{name} {count:,}" for name, count in file.changed_cells.most_common())
        yield f"cells    {file.label}: {cells}"
    if file.out_of_order:
        moved = f"{file.out_of_order:,} of {file.common:,} common rows"
        yield f"order    {file.label}: {moved} stand elsewhere"
    for note in file.notes():
        yield f"note     {file.label}: {note}"


def _example(example: Example) -> str:
    cells = ", ".join(f"{name} {a!r} in A, {b!r} in B" for name, (a, b) in example.cells.items())
    user = example.user if example.user.isprintable() else repr(example.user)
    where = " to ".join(example.files)
    return f"user     {user} {example.kind}: {where}{f': {cells}' if cells else ''}"
