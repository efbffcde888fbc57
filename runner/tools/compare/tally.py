"""What differs, counted user by user."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from runner.tools.compare.discrepancies import Cells, Comparison, Example

SEPARATOR = "\0"
"""Between cells: no cell holds one, `csv_records` refuses them."""


class Row(NamedTuple):
    """A record as it is sorted: `side` 0 is A and 1 is B, `file` counts the files of both."""

    is_test: int
    user: str
    side: int
    file: int
    position: int
    cells: str


USER_OF = itemgetter(0, 1)


class Tally:
    """Counts, user by user. `order` holds, for each file and row of A, its position in B."""

    def __init__(self, comparison: Comparison, columns: list[list[str]], examples: int) -> None:
        self._comparison = comparison
        self._files = comparison.files
        self._columns = columns
        self._limit = examples
        self._named: Counter[tuple[str, ...]] = Counter()
        sizes = [file.a.rows if file.a and file.b else 0 for file in self._files]
        self._order = [array("q", [-1]) * size for size in sizes]

    def count(self, rows: Iterable[Row]) -> None:
        for _, group in groupby(rows, key=USER_OF):
            a: list[Row] = []
            b: list[Row] = []
            for row in group:
                (b if row.side else a).append(row)
            self._count_user(a, b)
        for file, order in zip(self._files, self._order, strict=True):
            file.out_of_order = out_of_order(order)

    def _count_user(self, a: list[Row], b: list[Row]) -> None:
        if not (a or b)[0].is_test:  # one test user is in every test file
            self._comparison.repeated_a += len(a) > 1
            self._comparison.repeated_b += len(b) > 1
        if not b:
            self._comparison.only_a += 1
            self._only("only in A", a)
        elif not a:
            self._comparison.only_b += 1
            self._only("only in B", b)
        else:
            left_a, left_b = self._pair(a, b)
            if left_a or left_b:
                self._rest(left_a, left_b)

    def _only(self, kind: str, rows: list[Row]) -> None:
        for index in {row.file for row in rows}:
            if kind == "only in A":
                self._files[index].only_a += 1
            else:
                self._files[index].only_b += 1
            self._name(kind, (self._files[index].label,), rows[0].user)

    def _pair(self, a: list[Row], b: list[Row]) -> tuple[list[Row], list[Row]]:
        """Compare the n-th row in a file of A with the n-th in B's; what has no partner is left."""
        waiting: dict[int, deque[Row]] = defaultdict(deque)
        for row in b:
            waiting[row.file].append(row)
        left_a = []
        for row in a:
            if not waiting[row.file]:
                left_a.append(row)
                continue
            partner = waiting[row.file].popleft()
            self._order[row.file][row.position] = partner.position
            self._files[row.file].common += 1
            if row.cells != partner.cells:
                self._changed(row, partner)
        return left_a, [row for rows in waiting.values() for row in rows]

    def _changed(self, a: Row, b: Row) -> None:
        file = self._files[a.file]
        pairs = zip(a.cells.split(SEPARATOR), b.cells.split(SEPARATOR), strict=True)
        named = zip(self._columns[a.file], pairs, strict=True)
        cells = {name: pair for name, pair in named if pair[0] != pair[1]}
        file.changed_rows += 1
        file.changed_cells.update(cells.keys())
        self._name("changed", (file.label,), a.user, cells)

    def _rest(self, a: list[Row], b: list[Row]) -> None:
        """A row left on each side has moved; one left alone is one too many."""
        for source, target in zip(a, b, strict=False):
            labels = (self._files[source.file].label, self._files[target.file].label)
            self._comparison.moved[labels] += 1
            self._name("moved", labels, source.user)
        for row in a[len(b) :]:
            self._files[row.file].extra_a += 1
            self._name("extra row in A", (self._files[row.file].label,), row.user)
        for row in b[len(a) :]:
            self._files[row.file].extra_b += 1
            self._name("extra row in B", (self._files[row.file].label,), row.user)

    def _name(
        self,
        kind: str,
        files: tuple[str, ...],
        user: str,
        cells: dict[str, Cells] | None = None,
    ) -> None:
        if self._named[(kind, *files)] < self._limit:
            self._named[(kind, *files)] += 1
            self._comparison.examples.append(Example(kind, files, user, cells or {}))


def out_of_order(positions: Iterable[int]) -> int:
    """The fewest rows that must be moved to put the rest in order; -1 stands for no row."""
    tails = array("q")
    count = 0
    for position in positions:
        if position < 0:
            continue
        count += 1
        if not tails or position > tails[-1]:
            tails.append(position)
        else:
            tails[bisect_left(tails, position)] = position
    return count - len(tails)
