"""Numbers of past runs as bars: shares of a width or height of 100, for the page to draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runner.files.past_runs import PastCount, PastRun

FEWEST_COLUMNS = 12
"""A chart has room for as many: a single run is no wall."""
COLUMN = 10.0
GAP = 2.0


@dataclass(frozen=True)
class Piece:
    """A rectangle. `kind` numbers its colour."""

    kind: int
    start: float
    length: float
    title: str


@dataclass(frozen=True)
class Bar:
    """A line of the funnel: its pieces follow each other from left to right."""

    label: str
    total: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Column:
    """A run: its pieces stand on each other, `start` counted from the top."""

    left: float
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Columns:
    """Runs side by side, oldest first; `top` is the value of the whole height."""

    width: float
    top: int
    columns: tuple[Column, ...]


def funnel_bars(funnel: Sequence[PastCount], kinds: Sequence[str]) -> tuple[Bar, ...]:
    """Each step as a share of the largest one, in pieces by kind."""
    top = max((count.total for count in funnel), default=0) or 1
    return tuple(
        Bar(count.label, count.total, _pieces(_parts(count.by_kind, count.total), kinds, top, ""))
        for count in funnel
    )


def size_columns(runs: Sequence[PastRun], kinds: Sequence[str]) -> Columns:
    """Rows of all files of each run, by audience type."""
    return _columns([(run, _parts(run.rows_by_type, run.size or 0)) for run in runs], kinds, "rows")


def time_columns(runs: Sequence[PastRun]) -> Columns:
    """Milliseconds of each run."""
    return _columns([(run, {"": run.milliseconds or 0}) for run in runs], (), "ms")


def _parts(by_kind: Mapping[str, int], total: int) -> Mapping[str, int]:
    return by_kind or {"": total}


def _columns(
    parts: Sequence[tuple[PastRun, Mapping[str, int]]], kinds: Sequence[str], unit: str
) -> Columns:
    top = max((sum(values.values()) for _, values in parts), default=0)
    columns = []
    for index, (run, values) in enumerate(parts):
        when = f"{run.started_at:%Y-%m-%d %H:%M}"
        pieces = _pieces(values, kinds, top or 1, f"{when}: {{}} {unit}")
        stood = tuple(
            Piece(one.kind, round(100 - one.start - one.length, 2), one.length, one.title)
            for one in pieces
        )
        columns.append(Column(round(index * COLUMN + GAP / 2, 2), stood))
    return Columns(max(len(parts), FEWEST_COLUMNS) * COLUMN, top, tuple(columns))


def _pieces(
    values: Mapping[str, int], kinds: Sequence[str], top: int, title: str
) -> tuple[Piece, ...]:
    pieces = []
    start = 0.0
    numbers = {kind: kinds.index(kind) if kind in kinds else -1 for kind in values}
    for kind, number in sorted(numbers.items(), key=lambda item: item[1]):
        length = 100 * values[kind] / top
        said = (title or "{}").format(f"{values[kind]:,}")
        shown = f"{kind}, {said}" if kind else said
        pieces.append(Piece(number, round(start, 2), round(length, 2), shown))
        start += length
    return tuple(pieces)
