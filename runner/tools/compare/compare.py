"""Compares two runs file by file and user by user, in nearly constant memory."""

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
from runner.tools.compare.differences import (
    Cells,
    ComparedFile,
    Comparison,
    Example,
    FileDifference,
)
from runner.tools.compare.runs import Run, read_run

CACHE_KIB = 32 * 1024
"""Memory of the temporary database. Rows beyond that go into a temporary file."""
SEPARATOR = "\0"
"""Separates the cells of a row. No cell contains it, because `opened` raises for such a file."""

FilePair = tuple[NamedCsv | None, NamedCsv | None]


@dataclass(frozen=True)
class Options:
    """`key` is the column that identifies users, `ignored` are columns that are left out.
    `run_start` names, by label, the columns of test files that contain the run's start."""

    key: str
    ignored: frozenset[str]
    run_start: dict[str, frozenset[str]] = field(default_factory=dict)

    def compared(self, label: str, columns: Iterable[str]) -> list[str]:
        """The columns of a file that are not left out."""
        left_out = self.ignored | self.run_start.get(label, frozenset())
        return [column for column in columns if column not in left_out]


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
    """Compare two runs: folders, manifests or CSV files, as `read_run` reads them.

    Files are paired by their names without the time, rows within them by `key`. `project_dir` is
    read only for test files, to know which of their columns contain the run's start. Up to
    `examples` users of each kind of difference are named.

    Raises `UsageError` and `CsvError` for what cannot be compared.
    """
    runs = [read_run(path, with_test_files=with_test_files) for path in (a, b)]
    run_start = _run_start(project_dir) if with_test_files else {}
    options = Options(key, frozenset(ignored), run_start)
    pairs = _paired(*runs)
    files = [_file_difference(label, pair, options) for label, pair in pairs.items()]
    _check_ignored(options, files)
    comparison = Comparison(runs[0], runs[1], key, tuple(sorted(options.ignored)), files)
    columns = [_common_columns(file, options) for file in files]
    with _temporary_database() as database:
        for index, (file, pair) in enumerate(zip(files, pairs.values(), strict=True)):
            for side, (path, compared) in enumerate(zip(pair, (file.a, file.b), strict=True)):
                if path and compared:
                    rows = _rows(path, compared, key, columns[index], side=side, file=index)
                    database.executemany("insert into row values (?, ?, ?, ?, ?, ?)", rows)
        _RowComparison(comparison, columns, examples).compare(_sorted_rows(database))
    return comparison


def _run_start(project_dir: Path) -> dict[str, frozenset[str]]:
    audiences = load_project(project_dir).audiences.values()
    return {
        output.labels[True]: frozenset(audience.test_row.run_start)
        for audience in audiences
        for output in audience.outputs
    }


# Files


def _paired(a: Run, b: Run) -> dict[str, FilePair]:
    """Files by label. Two single files are a pair whatever their names."""
    if a.is_single_file and b.is_single_file:
        ((label, file),), (other,) = a.files.items(), b.files.values()
        return {label: (file, other)}
    labels = {*a.files, *b.files}
    if a.is_single_file or b.is_single_file:
        labels = set(a.files if a.is_single_file else b.files)
    pairs = {label: (a.files.get(label), b.files.get(label)) for label in sorted(labels)}
    if not any(left and right for left, right in pairs.values()):
        raise UsageError(
            "the two sides have no file in common",
            looked_at=f"A: {', '.join(sorted(a.files))}; B: {', '.join(sorted(b.files))}",
            fix="compare two runs of the same audience",
        )
    return pairs


def _file_difference(label: str, pair: FilePair, options: Options) -> FileDifference:
    a, b = (_compared_file(file, label, options) if file else None for file in pair)
    difference = FileDifference(label, a, b)
    if a and b:
        difference.columns_only_a = [name for name in a.columns if name not in b.columns]
        difference.columns_only_b = [name for name in b.columns if name not in a.columns]
        common_a = [name for name in a.columns if name in b.columns]
        common_b = [name for name in b.columns if name in a.columns]
        difference.is_column_order_different = common_a != common_b
    return difference


def _compared_file(file: NamedCsv, label: str, options: Options) -> ComparedFile:
    with opened(file.path) as records:
        columns, style = records.columns, records.style
    if options.key not in columns:
        raise CsvError(
            f"there is no column {options.key!r}",
            where=Location(file.path, 1),
            looked_at=f"columns: {', '.join(columns)}",
            fix="name the column that identifies users with --key",
        )
    return ComparedFile(file.path.name, options.compared(label, columns), columns, style)


def _check_ignored(options: Options, files: list[FileDifference]) -> None:
    compared = [run_file for file in files for run_file in (file.a, file.b) if run_file]
    known = {name for file in compared for name in file.all_columns} - {options.key}
    for name in options.ignored - known:
        raise UsageError(
            f"--ignore {name!r}: no file has this column, or it is the key",
            fix=did_you_mean(name, known),
        )


def _common_columns(file: FileDifference, options: Options) -> list[str]:
    """The columns whose cells are compared."""
    if not (file.a and file.b):
        return []
    return [name for name in file.a.columns if name in file.b.columns and name != options.key]


# Rows


class Row(NamedTuple):
    """A row of a CSV file as it is sorted. `side` is 0 for A and 1 for B, `file` is the index of
    the pair of files, `position` that of the row in its file."""

    is_test: int
    user: str
    side: int
    file: int
    position: int
    cells: str


USER_OF = itemgetter(0, 1)


@contextmanager
def _temporary_database() -> Iterator[sqlite3.Connection]:
    """SQLite deletes it when it is closed. Raises `AudienceError` if there is no space for it."""
    try:
        with closing(sqlite3.connect("", isolation_level=None)) as database:
            database.execute(f"pragma cache_size = -{CACHE_KIB}")
            database.execute("pragma journal_mode = off")
            database.execute("begin")
            database.execute("create table row (is_test, user, side, file, position, cells)")
            yield database
    except sqlite3.Error as problem:
        raise AudienceError(
            f"the rows cannot be sorted in a temporary file: {problem}",
            fix="make room in the folder for temporary files, or name another with TMPDIR",
        ) from None


def _rows(
    named: NamedCsv, compared: ComparedFile, key: str, columns: list[str], *, side: int, file: int
) -> Iterator[tuple[int, str, int, int, int, str]]:
    """A file's rows with the fields of `Row`. They are counted in `compared`."""
    with opened(named.path) as records:
        key_index = records.columns.index(key)
        indexes = [records.columns.index(name) for name in columns]
        is_test = int(named.is_test)
        for position, row in enumerate(records):
            cells = SEPARATOR.join([row[index] for index in indexes])
            yield is_test, row[key_index], side, file, position, cells
            compared.rows += 1


def _sorted_rows(database: sqlite3.Connection) -> Iterator[Row]:
    order = "order by is_test, user, side, file, position"
    return map(Row._make, database.execute(f"select * from row {order}"))


class _RowComparison:
    """Compares the rows user by user, and counts the differences.

    The pairing is not done in SQL: numbering each user's rows takes another sort, and half as much
    CPU again as these few lines of Python.
    """

    def __init__(self, comparison: Comparison, columns: list[list[str]], examples: int) -> None:
        self._comparison = comparison
        self._files = comparison.files
        self._columns = columns
        self._limit = examples
        self._example_counts: Counter[tuple[str | int, ...]] = Counter()
        sizes = [file.a.rows if file.a and file.b else 0 for file in self._files]
        # for each file, the position in B of each row of A, -1 for a row that B does not have
        self._positions = [array("q", [-1]) * size for size in sizes]

    def compare(self, rows: Iterable[Row]) -> None:
        """`rows` are those of both runs, sorted by user, then side, file and position."""
        for _, rows_of_user in groupby(rows, key=USER_OF):
            a: list[Row] = []
            b: list[Row] = []
            for row in rows_of_user:
                (b if row.side else a).append(row)
            self._compare_user(a, b)
        for file, positions in zip(self._files, self._positions, strict=True):
            file.out_of_order = out_of_order(positions)

    def _compare_user(self, a: list[Row], b: list[Row]) -> None:
        if not (a or b)[0].is_test:  # every test file has the same test user
            self._comparison.repeated_a += len(a) > 1
            self._comparison.repeated_b += len(b) > 1
        if not b:
            self._comparison.only_a += 1
            for index in {row.file for row in a}:
                self._files[index].only_a += 1
                self._add_example("only in A", [index], a[0].user)
        elif not a:
            self._comparison.only_b += 1
            for index in {row.file for row in b}:
                self._files[index].only_b += 1
                self._add_example("only in B", [index], b[0].user)
        else:
            self._compare_files(*self._compare_common(a, b))

    def _compare_common(self, a: list[Row], b: list[Row]) -> tuple[list[Row], list[Row]]:
        """Compare a user's n-th row in each file of A with the n-th row in that file of B.

        Returns the rows without a partner.
        """
        partners: dict[int, deque[Row]] = defaultdict(deque)
        for row in b:
            partners[row.file].append(row)
        unpaired_a = []
        for row in a:
            if not partners[row.file]:
                unpaired_a.append(row)
                continue
            partner = partners[row.file].popleft()
            self._positions[row.file][row.position] = partner.position
            self._files[row.file].common += 1
            if row.cells != partner.cells:
                self._count_changed(row, partner)
        return unpaired_a, [row for rows in partners.values() for row in rows]

    def _count_changed(self, a: Row, b: Row) -> None:
        pairs = zip(a.cells.split(SEPARATOR), b.cells.split(SEPARATOR), strict=True)
        by_column = zip(self._columns[a.file], pairs, strict=True)
        cells = {name: pair for name, pair in by_column if pair[0] != pair[1]}
        self._files[a.file].changed_rows += 1
        self._files[a.file].changed_cells.update(cells.keys())
        self._add_example("changed", [a.file], a.user, cells)

    def _compare_files(self, a: list[Row], b: list[Row]) -> None:
        """Count a user's unpaired rows: a row of A and a row of B are a row that has moved, any
        other row is extra."""
        for row, partner in zip(a, b, strict=False):
            labels = (self._files[row.file].label, self._files[partner.file].label)
            self._comparison.moved[labels] += 1
            self._add_example("moved", [row.file, partner.file], row.user)
        for row in a[len(b) :]:
            self._files[row.file].extra_a += 1
            self._add_example("extra row in A", [row.file], row.user)
        for row in b[len(a) :]:
            self._files[row.file].extra_b += 1
            self._add_example("extra row in B", [row.file], row.user)

    def _add_example(
        self, kind: str, files: list[int], user: str, cells: dict[str, Cells] | None = None
    ) -> None:
        if self._example_counts[(kind, *files)] < self._limit:
            self._example_counts[(kind, *files)] += 1
            labels = tuple(self._files[index].label for index in files)
            self._comparison.examples.append(Example(kind, labels, user, cells or {}))


def out_of_order(positions: Iterable[int]) -> int:
    """The fewest rows that must be moved to put the rest in order; -1 stands for a row that B does
    not have.

    All but the longest increasing subsequence, whose length is found by patience sorting.
    """
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
