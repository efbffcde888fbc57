"""Rows of text as a table, as records, as CSV. NULL is None, and never looks like ''."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

Cell = str | None
Row = Sequence[Cell]

WIDEST = 1_000_000


def plain_table(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """Rows of data in aligned columns, one line for each row, however wide."""
    shown = [[_shown(cell) for cell in row] for row in rows]
    return _aligned(list(map(_printable, columns)), shown, rows, is_ruled=True)


def list_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Words and counts of ours in aligned columns; an empty cell stays empty."""
    return _aligned(columns, [list(map(_printable, row)) for row in rows], rows, is_ruled=False)


def _aligned(
    columns: Sequence[str], shown: list[list[str]], rows: Sequence[Row], *, is_ruled: bool
) -> str:
    lines = [list(columns), *shown]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    numeric = [_is_numeric([row[n] for row in rows]) for n in range(len(columns))]
    if is_ruled:
        lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(
            _padded(cell, width, is_right=is_right)
            for cell, width, is_right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    )


def terminal_table(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """A table if it fits into the terminal's width, else a block of lines for each row."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for index, column in enumerate(columns):
        is_numeric = _is_numeric([row[index] for row in rows])
        justify: Literal["right", "left"] = "right" if is_numeric else "left"
        table.add_column(Text(_printable(column)), no_wrap=True, justify=justify)
    for row in rows:
        table.add_row(*(Text(_shown(cell), style="dim" if cell is None else "") for cell in row))
    console = Console()
    widest = console.options.update(width=WIDEST)
    if console.measure(table, options=widest).maximum > console.width:
        return "\n".join(_records(columns, rows))
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip("\n")


def _records(columns: Sequence[str], rows: Sequence[Row]) -> Iterator[str]:
    names = list(map(_printable, columns))
    longest = max(map(cell_len, names), default=0)
    for number, row in enumerate(rows, 1):
        yield f"-- row {number}"
        for name, cell in zip(names, row, strict=True):
            yield f"{_padded(name, longest)}  {_shown(cell)}"


def csv_table(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """RFC 4180, with LF; as PostgreSQL has it, NULL is nothing and '' is a pair of quotes."""
    return "\n".join(",".join(map(_csv_cell, row)) for row in [columns, *rows])


def _csv_cell(cell: Cell) -> str:
    if cell is None:
        return ""
    needs_quotes = cell == "" or any(character in cell for character in ',"\r\n')
    return '"' + cell.replace('"', '""') + '"' if needs_quotes else cell


def _padded(text: str, width: int, *, is_right: bool = False) -> str:
    pad = " " * (width - cell_len(text))
    return pad + text if is_right else text + pad


def _is_numeric(cells: Sequence[Cell]) -> bool:
    """Whether a column reads better flush right."""
    given = [cell for cell in cells if cell]
    return bool(given) and all(re.fullmatch(r"-?[\d,]+(\.\d+)?", cell) for cell in given)


def _shown(cell: Cell) -> str:
    """A text in quotes where it would be taken for something else or not be seen."""
    if cell is None:
        return "NULL"
    text = _printable(cell)
    return f"'{text}'" if cell in ("", "NULL") or cell != cell.strip() else text


def _printable(text: str) -> str:
    """Nothing that ends a line or speaks to the terminal."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )
