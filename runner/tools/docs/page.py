"""Makes the HTML page about the project, its graph and its past runs."""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from runner import __version__
from runner.errors import ExportError, UsageError
from runner.files.document import BrokenManifest, FunnelCount
from runner.files.history import History, read_history
from runner.files.manifest import PastRun
from runner.project.audience import Audience
from runner.project.nodes import Project
from runner.tools.docs.entries import KINDS, Catalogue, anchor, catalogue, plain

FEWEST_COLUMNS = 12
"""A chart has room for at least as many columns, so that a single run does not fill its width."""
COLUMN = 10.0
GAP = 2.0


@dataclass(frozen=True)
class Piece:
    """A rectangle. `kind` is the number of its colour."""

    kind: int
    start: float
    length: float
    title: str


@dataclass(frozen=True)
class Bar:
    """A line of the funnel, with its pieces from left to right."""

    label: str
    total: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Column:
    """A run: its pieces are stacked, `start` counted from the top."""

    left: float
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Columns:
    """Runs side by side, oldest first; `top` is the value at the full height."""

    width: float
    top: int
    columns: tuple[Column, ...]


def funnel_bars(funnel: Sequence[FunnelCount], kinds: Sequence[str]) -> tuple[Bar, ...]:
    """Each step as a share of the largest step, in pieces by kind."""
    top = max((count.total for count in funnel), default=0) or 1
    return tuple(
        Bar(count.label, count.total, _pieces(_parts(count.by_kind, count.total), kinds, top, ""))
        for count in funnel
    )


def size_columns(runs: Sequence[PastRun], kinds: Sequence[str]) -> Columns:
    """Rows of all files of each run, by audience type."""
    parts = [(run, _parts(run.metadata.rows_by_type, run.document.audience_size)) for run in runs]
    return _columns(parts, kinds, "rows")


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
        when = f"{run.metadata.started_at:%Y-%m-%d %H:%M}"
        pieces = _pieces(values, kinds, top or 1, f"{when}: {{}} {unit}")
        stacked = tuple(
            Piece(piece.kind, round(100 - piece.start - piece.length, 2), piece.length, piece.title)
            for piece in pieces
        )
        columns.append(Column(round(index * COLUMN + GAP / 2, 2), stacked))
    return Columns(max(len(parts), FEWEST_COLUMNS) * COLUMN, top, tuple(columns))


def _pieces(
    values: Mapping[str, int], kinds: Sequence[str], top: int, title: str
) -> tuple[Piece, ...]:
    pieces = []
    start = 0.0
    numbers = {kind: kinds.index(kind) if kind in kinds else -1 for kind in values}
    for kind, number in sorted(numbers.items(), key=lambda item: item[1]):
        length = 100 * values[kind] / top
        amount = (title or "{}").format(f"{values[kind]:,}")
        shown = f"{kind}, {amount}" if kind else amount
        pieces.append(Piece(number, round(start, 2), round(length, 2), shown))
        start += length
    return tuple(pieces)


TEMPLATE = "docs_page.html.j2"
ENDINGS = (".html", ".htm")
LISTED_RUNS = 10
NOTHING = "\N{EN DASH}"
NEWEST = 100
"""How many runs are read: the newest, by the times in the names of their manifests."""
CHART_COLOURS = 6


@dataclass(frozen=True)
class AudienceHistory:
    """An audience's past runs, oldest first, and their charts; `kinds` are the audience types by
    colour. `broken` manifests are not shown, and neither are `older` runs, which are counted."""

    audience: Audience
    runs: tuple[PastRun, ...]
    broken: tuple[BrokenManifest, ...]
    older: int
    kinds: tuple[str, ...]
    funnel: tuple[Bar, ...]
    sizes: Columns
    times: Columns

    @property
    def listed(self) -> tuple[PastRun, ...]:
        """The newest first."""
        return self.runs[: -LISTED_RUNS - 1 : -1]


@dataclass(frozen=True)
class Page:
    """The page's text, and what is on it."""

    html: str
    catalogue: Catalogue
    histories: tuple[AudienceHistory, ...]

    @property
    def summary(self) -> str:
        """A line with the number of models, source tables, files and runs, and the page's size."""
        catalogue = self.catalogue
        files = sum(len(audience.outputs) for audience in catalogue.audiences)
        runs = sum(len(history.runs) for history in self.histories)
        kilobytes = len(self.html.encode("utf-8", "replace")) // 1000
        return (
            f"{len(catalogue.models)} models, {len(catalogue.sources)} source tables, "
            f"{files} files, {runs} past runs, {kilobytes} kB"
        )

    @property
    def notes(self) -> list[str]:
        """A line for each manifest that is not shown."""
        lines = [
            f"{_file_name(problem.where)} is skipped: {problem.what}"
            for history in self.histories
            for problem in history.broken
        ]
        return list(dict.fromkeys(lines))  # a folder's problem is that of each audience


def docs_page(project: Project, manifests: Path, moment: datetime) -> Page:
    """The page for a project, with the runs that left a manifest in a folder.

    SQL is compiled with default parameters as of `moment`. Raises `ProjectError` or
    `ParameterError` for models that `compile` does not accept.
    """
    contents = catalogue(project, moment)
    histories = tuple(
        _history(audience, _past(manifests, audience.name))
        for audience in project.audiences.values()
    )
    html = _rendered(
        catalogue=contents, histories=histories, moment=moment, models_hash=project.models_hash
    )
    return Page(html, contents, histories)


def check_target(path: Path) -> None:
    """Raises `UsageError` for a file that is not an HTML file, so that the page replaces none."""
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(
            "the page is written only to a file whose name ends in .html or .htm",
            where=str(path),
            fix="name a file that ends in .html with --to",
        )


def write_page(html: str, path: Path) -> None:
    """Write the page into a temporary file and rename that to `path`; missing folders are made.

    Raises `UsageError` if `path` does not end as an HTML file does, `ExportError` if the page
    cannot be written: then the earlier page is unchanged.
    """
    check_target(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, html.encode("utf-8", "replace"))
    except (FileExistsError, NotADirectoryError):
        raise ExportError(
            "cannot be written: its folder is a file",
            where=str(path),
            fix="choose another file with --to",
        ) from None
    except OSError as problem:
        raise ExportError(
            f"cannot be written: {problem.strerror or problem}",
            where=str(path),
            fix="choose another file with --to",
        ) from None


def _replace(path: Path, content: bytes) -> None:
    descriptor, staged = tempfile.mkstemp(dir=path.parent, prefix=".docs-", suffix=".tmp")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o666 & ~_umask())
        Path(staged).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(staged).unlink()
        raise


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _past(folder: Path, audience: str) -> History:
    """The past runs in a folder. If it cannot be read, the page is made without runs, and a note
    gives the reason."""
    try:
        return read_history(Path(os.path.realpath(folder)), audience, NEWEST)
    except UsageError as problem:
        return History([], [BrokenManifest(problem.what, where=str(folder))])


def _history(audience: Audience, past: History) -> AudienceHistory:
    runs = tuple(sorted(past.runs, key=lambda run: run.metadata.started_at))
    kinds = dict.fromkeys(output.audience_type for output in audience.outputs)
    for run in runs:
        kinds |= dict.fromkeys(run.metadata.rows_by_type)
    known = tuple(kinds)
    return AudienceHistory(
        audience,
        runs,
        tuple(past.broken),
        past.older,
        known,
        funnel_bars(runs[-1].metadata.funnel if runs else (), known),
        size_columns(runs, known),
        time_columns(runs),
    )


def _rendered(**values: object) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"source_sql": _source_sql, "compiled_sql": _compiled_sql}
    environment.filters |= {"prose": _prose, "minute": _minute, "duration": _duration}
    environment.filters |= {"plain": plain, "size": _size, "file_name": _file_name}
    environment.filters |= {
        "model_anchor": lambda name: anchor("model", name),
        "source_anchor": lambda column: anchor("source", column.source_name, column.table),
    }
    style = (folder / "docs_page.css").read_text(encoding="utf-8")
    script = (folder / "docs_page.js").read_text(encoding="utf-8")
    return (
        environment.get_template(TEMPLATE)
        .render(
            values,
            style=_Trusted(style),
            script=_Trusted(script),
            style_hash=_hash(style),
            script_hash=_hash(script),
            version=__version__,
            kinds=KINDS,
            colours=CHART_COLOURS,
        )
        .lstrip()
    )


class _Trusted(str):
    """Text that this package made, which Jinja does not escape."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _source_sql(text: str) -> _Trusted:
    from pygments.lexers.templates import SqlJinjaLexer

    return _highlighted(text, SqlJinjaLexer)


def _compiled_sql(text: str) -> _Trusted:
    from pygments.lexers.sql import PostgresLexer

    return _highlighted(text, PostgresLexer)


def _highlighted(text: str, lexer: Any) -> _Trusted:
    """SQL as spans with pygments' classes; it escapes the text itself."""
    from pygments import highlight
    from pygments.formatters.html import HtmlFormatter

    return _Trusted(
        highlight(text, lexer(stripnl=False, ensurenl=False), HtmlFormatter(nowrap=True))
    )


def _prose(text: str) -> str:
    return " ".join(text.split())


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _size(run: PastRun) -> str:
    """A run that has not ended has no size yet."""
    return NOTHING if run.is_unfinished else f"{run.document.audience_size:,}"


def _file_name(where: object) -> str:
    return Path(str(where)).name


def _duration(milliseconds: int | None) -> str:
    if milliseconds is None:
        return "not known"
    return f"{milliseconds / 1000:,.2f} s" if milliseconds < 60_000 else _minutes(milliseconds)


def _minutes(milliseconds: int) -> str:
    return f"{milliseconds // 60_000:,} min {milliseconds % 60_000 // 1000} s"
