"""Two sides -> what differs, user by user, whatever the order of rows and the size of the sides.

Rows go through SQLite's sorter, which keeps what does not fit its cache in a temporary file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from runner.errors import AudienceError, Location, UsageError, did_you_mean
from runner.files.csv import CsvError, opened
from runner.project.load import load_project
from runner.tools.compare.discrepancies import Comparison, FileDifference, FileSide
from runner.tools.compare.sides import NamedCsv, Side, read_side
from runner.tools.compare.tally import SEPARATOR, Row, Tally

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
            mend="compare runs of one audience",
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
            mend="name the column that tells users apart with --key",
        )
    return FileSide(file.path.name, terms.counted(label, columns), columns, style)


def _check_ignored(terms: Terms, files: list[FileDifference]) -> None:
    sides = [side for file in files for side in (file.a, file.b) if side]
    known = {name for side in sides for name in side.all_columns} - {terms.key}
    for name in terms.ignored - known:
        raise UsageError(
            f"--ignore {name!r}: no file has such a column beside {terms.key}",
            mend=did_you_mean(name, known),
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
            mend="make room in the folder for temporary files, or name another with TMPDIR",
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
