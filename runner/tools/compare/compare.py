"""Compares two runs file by file and user by user, in nearly constant memory."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from runner.errors import Location, UsageError, did_you_mean
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
from runner.tools.compare.rows import PairedRows, RowDifference, paired_rows
from runner.tools.compare.runs import Run, read_run

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
    with paired_rows(_rows(files, pairs.values(), key, columns)) as rows:
        _count(comparison, columns, rows)
        found = rows.examples(examples)
        comparison.examples = [_example(difference, files, columns) for difference in found]
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


def _rows(
    files: list[FileDifference], pairs: Iterable[FilePair], key: str, columns: list[list[str]]
) -> Iterator[tuple[int, str, int, int, int, str]]:
    """The rows of both runs, as `paired_rows` takes them. They are counted in `ComparedFile`."""
    for index, (file, pair) in enumerate(zip(files, pairs, strict=True)):
        for side, (named, compared) in enumerate(zip(pair, (file.a, file.b), strict=True)):
            if not (named and compared):
                continue
            with opened(named.path) as records:
                key_index = records.columns.index(key)
                indexes = [records.columns.index(name) for name in columns[index]]
                is_test = int(named.is_test)
                for position, row in enumerate(records):
                    cells = SEPARATOR.join([row[index] for index in indexes])
                    yield is_test, row[key_index], index, side, position, cells
                    compared.rows += 1


def _count(comparison: Comparison, columns: list[list[str]], rows: PairedRows) -> None:
    """Count the differences between the rows of each user."""
    users = rows.users()
    comparison.only_a, comparison.only_b, comparison.repeated_a, comparison.repeated_b = users
    for index, file in enumerate(comparison.files):
        file.common = rows.common(index)
        file.out_of_order = out_of_order(rows.positions(index))
        for cells in rows.changed_cells(index):
            file.changed_cells.update(_changed_cells(columns[index], *cells).keys())
    for kind, index, other_index, count in rows.differences():
        file = comparison.files[index]
        if other_index is not None:
            comparison.moved[(file.label, comparison.files[other_index].label)] = count
        elif kind == "changed":
            file.changed_rows = count
        elif kind == "only in A":
            file.only_a = count
        elif kind == "only in B":
            file.only_b = count
        elif kind == "extra row in A":
            file.extra_a = count
        else:
            file.extra_b = count


def _changed_cells(columns: list[str], a: str, b: str) -> dict[str, Cells]:
    pairs = zip(a.split(SEPARATOR), b.split(SEPARATOR), strict=True)
    by_column = zip(columns, pairs, strict=True)
    return {name: pair for name, pair in by_column if pair[0] != pair[1]}


def _example(
    difference: RowDifference, files: list[FileDifference], columns: list[list[str]]
) -> Example:
    kind, user, index, other_index, a, b = difference
    labels = [files[index].label]
    if other_index is not None:
        labels.append(files[other_index].label)
    cells = {} if a is None or b is None else _changed_cells(columns[index], a, b)
    return Example(kind, tuple(labels), user, cells)


def out_of_order(positions: Iterable[int]) -> int:
    """The fewest rows that must be moved to put the rest in order.

    All but the longest increasing subsequence, whose length is found by patience sorting.
    """
    tails = array("q")
    count = 0
    for position in positions:
        count += 1
        if not tails or position > tails[-1]:
            tails.append(position)
        else:
            tails[bisect_left(tails, position)] = position
    return count - len(tails)
