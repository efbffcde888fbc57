"""What the docs page tells, as values, and what each part of it is called in a link."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from runner.project.audience import Audience, Output
from runner.project.nodes import Model, Source
from runner.tools.docs.drawing import Drawing, NodeKind
from runner.tools.docs.lineage import Origin

KINDS: dict[NodeKind, str] = {
    "source": "source table",
    "table": "temp table, built once a run",
    "inlined": "inlined into its readers",
    "unused": "read by no audience",
    "file": "file",
}


@dataclass(frozen=True)
class Link:
    """A name, and the section of the page that tells about it."""

    name: str
    anchor: str


@dataclass(frozen=True)
class ColumnEntry:
    """A column, described or not. `origin` is None where lineage does not apply."""

    name: str
    description: str
    data_type: str | None
    is_personal: bool
    tests: tuple[str, ...]
    origin: Origin | None


@dataclass(frozen=True)
class OutputEntry:
    """A file of an audience. `columns` are the file's, in its order."""

    output: Output
    anchor: str
    model: Link
    columns: tuple[ColumnEntry, ...]


@dataclass(frozen=True)
class AudienceEntry:
    audience: Audience
    anchor: str
    outputs: tuple[OutputEntry, ...]


@dataclass(frozen=True)
class Fixture:
    """Rows that a unit case gives or expects; `text` instead where they are written as text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text: str | None = None


@dataclass(frozen=True)
class UnitCase:
    """A unit test. `settings` are the parameters and the run's start that it overrides."""

    name: str
    description: str
    settings: tuple[tuple[str, str], ...]
    fixtures: tuple[Fixture, ...]


@dataclass(frozen=True)
class ModelEntry:
    """A model. `compiled` are pairs of SQL and the audiences that run it so."""

    model: Model
    anchor: str
    kind: NodeKind
    grain: str
    description: str
    columns: tuple[ColumnEntry, ...]
    singular_tests: tuple[Model, ...]
    unit_cases: tuple[UnitCase, ...]
    reads: tuple[Link, ...]
    read_by: tuple[Link, ...]
    compiled: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class SourceEntry:
    source: Source
    anchor: str
    description: str
    columns: tuple[ColumnEntry, ...]
    read_by: tuple[Link, ...]


@dataclass(frozen=True)
class Catalogue:
    """All of it; models upstream first."""

    audiences: tuple[AudienceEntry, ...]
    models: tuple[ModelEntry, ...]
    sources: tuple[SourceEntry, ...]
    drawing: Drawing


def anchor_of(read: Model | Source) -> str:
    """Of the section that tells about it."""
    if isinstance(read, Model):
        return anchor("model", read.name)
    return anchor("source", read.source_name, read.table)


def anchor(*parts: str) -> str:
    """An element's id that is its own link, whatever characters the parts hold."""
    return ".".join(quote(part, safe="").replace(".", "%2E") for part in parts)
