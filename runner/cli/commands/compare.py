"""`audiences compare`"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from runner.cli.console import print_json, print_text, reported
from runner.cli.options import (
    AsJson,
    Ignore,
    KeyColumn,
    ProjectDir,
    RunA,
    RunB,
    ShowUsers,
    TestFiles,
)
from runner.errors import EXIT_DONE, EXIT_FAILED

if TYPE_CHECKING:
    from runner.tools.compare.differences import Comparison, Example, FileDifference

EXAMPLE = "audiences compare out/before out/after --show-users 3"


@reported()
def command(
    a: RunA,
    b: RunB,
    ignore: Ignore = None,
    key: KeyColumn = "user_id",
    test_files: TestFiles = False,
    show_users: ShowUsers = 0,
    project_dir: ProjectDir = Path(),
    as_json: AsJson = False,
) -> int:
    """Compare two runs user by user, and print what differs.

    The exit code is 0 if they are equal, and 1 if they differ. It needs no database.
    """
    from runner.tools.compare.compare import compare

    comparison = compare(
        a,
        b,
        key=key,
        ignored=ignore or (),
        with_test_files=test_files,
        project_dir=project_dir,
        examples=show_users,
    )
    if as_json:
        print_json(comparison.as_json())
    else:
        print_text(comparison_text(comparison))
    return EXIT_DONE if comparison.is_equal else EXIT_FAILED


def comparison_text(comparison: Comparison) -> str:
    return "\n".join(_lines(comparison))


def _lines(comparison: Comparison) -> Iterator[str]:
    """The result, both runs, a table of files, and a line for each kind of difference."""
    ignored = f" ({', '.join(comparison.ignored)} ignored)" if comparison.ignored else ""
    yield f"{'equal' if comparison.is_equal else 'different'}{ignored}"
    yield f"A        {comparison.a.source}"
    yield f"B        {comparison.b.source}"
    yield ""
    yield _table(comparison)
    yield ""
    yield from _users(comparison)
    for file in comparison.files:
        yield from _file(file)
    for example in comparison.examples:
        yield _example(example)


HEAD = ("file", "rows A", "rows B", "common", "only A", "only B", "changed", "out of order")


def _table(comparison: Comparison) -> str:
    from runner.tables import list_table

    counts = [
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
    if len(counts) > 1:
        total = [sum(column) for column in zip(*counts, strict=True)]
        total[3:5] = comparison.only_a, comparison.only_b
        counts.append(tuple(total))
        labels.append("all")
    rows = [
        (label, *(f"{count:,}" for count in row)) for label, row in zip(labels, counts, strict=True)
    ]
    return list_table(HEAD, rows)


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
        yield f"order    {file.label}: {moved} are in another place"
    for note in file.notes():
        yield f"note     {file.label}: {note}"


def _example(example: Example) -> str:
    cells = ", ".join(f"{name} {a!r} in A, {b!r} in B" for name, (a, b) in example.cells.items())
    user = example.user if example.user.isprintable() else repr(example.user)
    where = " to ".join(example.files)
    return f"user     {user} {example.kind}: {where}{f': {cells}' if cells else ''}"
