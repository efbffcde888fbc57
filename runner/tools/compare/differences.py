"""What differs between two runs. Users are counted, and named only on request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from runner.files.csv import Style
from runner.tools.compare.runs import Run

Cells = tuple[str, str]
"""The values of a cell in A and in B."""


@dataclass
class ComparedFile:
    """A CSV file of A or B. `columns` are those that are compared."""

    name: str
    columns: list[str]
    all_columns: list[str]
    style: Style
    rows: int = 0

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "rowCount": self.rows, "columns": self.columns}


@dataclass
class FileDifference:
    """What differs between two files of the same name; `a` or `b` is None if there is no such file.

    `only_a` and `only_b` count users whom the other run has in no file. `extra_a` and `extra_b`
    count the rows that a run has more of users whom both runs have.
    """

    label: str
    a: ComparedFile | None
    b: ComparedFile | None
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
        """How the two files are written differently, which does not make them different."""
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
    """A user whose rows differ, with the kind of difference, the files and the changed cells."""

    kind: str
    files: tuple[str, ...]
    user: str
    cells: dict[str, Cells] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        cells = {column: {"a": a, "b": b} for column, (a, b) in self.cells.items()}
        return {"kind": self.kind, "files": list(self.files), "user": self.user, "cells": cells}


@dataclass
class Comparison:
    """Two runs, and how they differ. `moved` counts users by the file in A and the file in B;
    `repeated_a` and `repeated_b` count users with more than one row in a run."""

    a: Run
    b: Run
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
            "a": self._run_json(self.a, [file.a for file in self.files]),
            "b": self._run_json(self.b, [file.b for file in self.files]),
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
    def _run_json(run: Run, files: Iterable[ComparedFile | None]) -> dict[str, Any]:
        rows = sum(file.rows for file in files if file)
        return {"path": str(run.given), "source": run.source, "rowCount": rows}
