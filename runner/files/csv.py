"""CSV files as records: strict, with file and line for what is broken.

Whatever the quoting and the line ends, the same cells are the same records; how a file was
written is noted beside them.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from runner.errors import EXIT_USAGE, AudienceError, Location

BLOCK_BYTES = 1 << 20
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LINE_ENDINGS = {b"\r\n": "CRLF", b"\n": "LF", b"\r": "CR"}


class CsvError(AudienceError):
    """A CSV file cannot be read, or is broken. What was asked to read it gave it as input."""

    exit_code = EXIT_USAGE


@dataclass(frozen=True)
class Style:
    """How a file is written: none of it is part of its records."""

    line_ending: str
    is_header_quoted: bool
    has_byte_order_mark: bool
    ends_with_newline: bool
    quotes: int


class Records:
    """One CSV file, read once: `columns` at first, then its rows, cell by cell, by iterating.

    Blank lines are passed over. Raises `CsvError` where the file is no CSV: a row longer or
    shorter than the header, a quote that does not end, bytes that are not UTF-8, a NUL.
    """

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path = path
        self.style = _style_of(path, file)
        file.seek(0)
        # line ends stay as they are: within quotes they are content
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        self._reader = csv.reader(text, strict=True)
        self.columns = next(self._rows(None), [])
        twice = [name for name in self.columns if self.columns.count(name) > 1]
        if twice:
            raise _broken(path, 1, f"column {twice[0]!r} is there twice")
        if not self.columns:
            raise _broken(path, None, "this file is empty: it has not even a header")

    def __iter__(self) -> Iterator[list[str]]:
        return self._rows(len(self.columns))

    def _rows(self, width: int | None) -> Iterator[list[str]]:
        reader = self._reader
        line = reader.line_num
        try:
            for row in reader:
                if len(row) != width and row and width is not None:
                    what = f"this row has {_cells(len(row))} and the header {_cells(width)}"
                    raise _broken(self.path, line + 1, what)
                if row:
                    yield row
                line = reader.line_num
        except csv.Error as problem:
            raise _broken(self.path, line + 1, f"this is not CSV: {problem}") from None
        except UnicodeDecodeError as problem:
            number = _line_that(self.path, lambda line: not _is_utf8(line))
            raise _broken(self.path, number, f"this is not UTF-8: {problem.reason}") from None


def _style_of(path: Path, file: IO[bytes]) -> Style:
    start = file.read(BLOCK_BYTES)
    last, quotes, block = b"", 0, start
    while block:
        if b"\0" in block:
            number = _line_that(path, lambda line: b"\0" in line)
            raise _broken(path, number, "there is a NUL here: no CSV in UTF-8")
        quotes += block.count(b'"')
        last, block = block, file.read(BLOCK_BYTES)
    ending = re.search(rb"\r?\n|\r", start)
    return Style(
        line_ending=LINE_ENDINGS[ending[0]] if ending else "none",
        is_header_quoted=start.removeprefix(BYTE_ORDER_MARK).startswith(b'"'),
        has_byte_order_mark=start.startswith(BYTE_ORDER_MARK),
        ends_with_newline=last.endswith((b"\n", b"\r")),
        quotes=quotes,
    )


def _line_that(path: Path, is_wrong: Callable[[bytes], bool]) -> int | None:
    with open(path, "rb") as file:
        return next((number for number, line in enumerate(file, 1) if is_wrong(line)), None)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _broken(path: Path, line: int | None, what: str) -> CsvError:
    return CsvError(what, where=Location(path, line), fix="see to the file")


@contextmanager
def opened(path: Path) -> Iterator[Records]:
    """A CSV file to read. Raises `CsvError` if it cannot be opened or has no header."""
    try:
        with open(path, "rb") as file:
            yield Records(path, file)
    except OSError as problem:
        raise CsvError(
            f"cannot be read: {problem.strerror}", where=Location(path), fix="see to the file"
        ) from None


def _cells(count: int) -> str:
    return f"{count} cell{'' if count == 1 else 's'}"
