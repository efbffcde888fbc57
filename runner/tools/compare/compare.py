"""Compares two runs file by file and user by user, in constant memory."""

from __future__ import annotations

import sqlite3
from array import array
from bisect import bisect_left
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from runner.errors import AudienceError, Location, UsageError, did_you_mean
from runner.files.csv import CsvError, opened
from runner.files.names import NamedCsv
from runner.project.load import load_project
from runner.tools.compare.discrepancies import Cells, Comparison, Example, FileDifference, FileSide
from runner.tools.compare.sides import Side, read_side

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
    """The fewest rows that must be moved to put the rest in order; -1 is no row."""
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


CACHE_KIB = 32 * 1024
FilePair = tuple[NamedCsv | None, NamedCsv | None]


@dataclass(frozen=True)
class Terms:
    """What is looked at: rows by `key`, all columns but the ignored ones; `run_start` names, by
    label, the columns of test files that hold the moment of the run."""

    key: str
    ignored: frozenset[str]
    run_start: dict[str, frozenset[str]] = field(default_factory=dict)

    def counted(self, label: str, columns: Iterable[str]) -> list[str]:
        passed_over = self.ignored | self.run_start.get(label, frozenset())
        return [column for column in columns if column not in passed_over]


def compare(
    a: Path,
    b: Path,
    *,
    key: str = "user_id",
    ignored: Iterable[str] = (),
    with_test_files: bool = False,
    project_dir: Path = Path(),
    examples: int = 0,
) -> Comparison:
    """Compare two runs, folders, manifests or CSV files; see `sides` for what a path means.

    Rows are paired by `key` within files of the same name but for the time. `project_dir` is
    read only for test files, to know which of their columns hold the run's start. Up to
    `examples` users of each kind of difference are named.

    Raises `UsageError` and `CsvError` for what cannot be compared.
    """
    sides = [read_side(path, with_test_files=with_test_files) for path in (a, b)]
    run_start = _run_start(project_dir) if with_test_files else {}
    terms = Terms(key, frozenset(ignored), run_start)
    pairs = _pairs(*sides)
    files = [_file_difference(label, pair, terms) for label, pair in pairs.items()]
    _check_ignored(terms, files)
    comparison = Comparison(sides[0], sides[1], key, tuple(sorted(terms.ignored)), files)
    columns = [_common(file, terms) for file in files]
    with _store() as store:
        for index, (file, pair) in enumerate(zip(files, pairs.values(), strict=True)):
            for side, (path, noted) in enumerate(zip(pair, (file.a, file.b), strict=True)):
                if path and noted:
                    rows = _rows(path, noted, key, columns[index], side=side, index=index)
                    store.executemany("insert into record values (?, ?, ?, ?, ?, ?)", rows)
        Tally(comparison, columns, examples).count(_sorted_rows(store))
    return comparison


def _run_start(project_dir: Path) -> dict[str, frozenset[str]]:
    audiences = load_project(project_dir).audiences.values()
    return {
        output.labels[True]: frozenset(audience.test_row.run_start)
        for audience in audiences
        for output in audience.outputs
    }


def _pairs(a: Side, b: Side) -> dict[str, FilePair]:
    """Files by label. Two single files are a pair whatever their names."""
    if a.is_single and b.is_single:
        (label, file), (other,) = next(iter(a.files.items())), b.files.values()
        return {label: (file, other)}
    wanted = a.files if a.is_single else b.files if b.is_single else {**a.files, **b.files}
    pairs = {label: (a.files.get(label), b.files.get(label)) for label in sorted(wanted)}
    if not any(left and right for left, right in pairs.values()):
        raise UsageError(
            "the two sides have no file in common",
            looked_at=f"A: {', '.join(sorted(a.files))}; B: {', '.join(sorted(b.files))}",
            fix="compare runs of one audience",
        )
    return pairs


def _file_difference(label: str, pair: FilePair, terms: Terms) -> FileDifference:
    a, b = (_file_side(file, label, terms) if file else None for file in pair)
    difference = FileDifference(label, a, b)
    if a and b:
        difference.columns_only_a = [name for name in a.columns if name not in b.columns]
        difference.columns_only_b = [name for name in b.columns if name not in a.columns]
        orders = [
            [name for name in one.columns if name in other.columns]
            for one, other in ((a, b), (b, a))
        ]
        difference.is_column_order_different = orders[0] != orders[1]
    return difference


def _file_side(file: NamedCsv, label: str, terms: Terms) -> FileSide:
    with opened(file.path) as records:
        columns, style = records.columns, records.style
    if terms.key not in columns:
        raise CsvError(
            f"there is no column {terms.key!r}",
            where=Location(file.path, 1),
            looked_at=f"columns: {', '.join(columns)}",
            fix="name the column that identifies users with --key",
        )
    return FileSide(file.path.name, terms.counted(label, columns), columns, style)


def _check_ignored(terms: Terms, files: list[FileDifference]) -> None:
    sides = [side for file in files for side in (file.a, file.b) if side]
    known = {name for side in sides for name in side.all_columns} - {terms.key}
    for name in terms.ignored - known:
        raise UsageError(
            f"--ignore {name!r}: no file has this column, or it is the key",
            fix=did_you_mean(name, known),
        )


def _common(file: FileDifference, terms: Terms) -> list[str]:
    """The columns whose cells are compared."""
    if not (file.a and file.b):
        return []
    return [name for name in file.a.columns if name in file.b.columns and name != terms.key]


@contextmanager
def _store() -> Iterator[sqlite3.Connection]:
    """A database that is gone when it is closed. Raises `AudienceError` if it finds no room."""
    try:
        with closing(sqlite3.connect("", isolation_level=None)) as store:
            store.execute(f"pragma cache_size = -{CACHE_KIB}")
            store.execute("pragma journal_mode = off")
            store.execute("begin")
            store.execute("create table record (is_test, user, side, file, position, cells)")
            yield store
    except sqlite3.Error as problem:
        raise AudienceError(
            f"the rows cannot be sorted in a temporary file: {problem}",
            fix="make room in the folder for temporary files, or name another with TMPDIR",
        ) from None


def _rows(
    file: NamedCsv, noted: FileSide, key: str, compared: list[str], *, side: int, index: int
) -> Iterator[tuple[int, str, int, int, int, str]]:
    """A file's records as `Row` has them. How many there are is noted at the end."""
    with opened(file.path) as records:
        at = records.columns.index(key)
        places = [records.columns.index(name) for name in compared]
        is_test = int(file.is_test)
        for position, row in enumerate(records):
            cells = SEPARATOR.join([row[place] for place in places])
            yield is_test, row[at], side, index, position, cells
            noted.rows += 1


def _sorted_rows(store: sqlite3.Connection) -> Iterator[Row]:
    order = "order by is_test, user, side, file, position"
    return map(Row._make, store.execute(f"select * from record {order}"))
