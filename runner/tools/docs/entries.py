"""What the page shows of each model, source and audience."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from runner.project.audience import Audience, Output
from runner.project.nodes import Model, Project, Source
from runner.project.properties import (
    AcceptedValuesTest,
    Column,
    CustomTest,
    NamedTest,
    RelationshipsTest,
)
from runner.sql.compile import CompiledAudience, compile_audience
from runner.sql.data_tests import tests_of
from runner.tools.docs.graph import (
    UNKNOWN,
    Drawing,
    Node,
    NodeKind,
    Origin,
    Origins,
    column_origins,
    drawn,
    reads_of,
)

KINDS: dict[NodeKind, str] = {
    "source": "source table",
    "table": "temp table, built once a run",
    "inlined": "inlined into its readers",
    "unused": "read by no audience",
    "file": "file",
}


@dataclass(frozen=True)
class Link:
    """A name, and the section of the page about it."""

    name: str
    anchor: str


@dataclass(frozen=True)
class ColumnEntry:
    """A column, whether the YAML describes it or not. `origin` is None if it has no lineage."""

    name: str
    description: str
    data_type: str | None
    is_personal: bool
    tests: tuple[str, ...]
    origin: Origin | None


@dataclass(frozen=True)
class OutputEntry:
    """A file of an audience, with its columns in their order."""

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
    """Rows that a unit test gives or expects; `text` if the YAML writes them as text."""

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
    """A model. `compiled` are pairs of SQL text and the audiences for which the model has it."""

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
    """Everything on the page. A model comes after the models that it reads."""

    audiences: tuple[AudienceEntry, ...]
    models: tuple[ModelEntry, ...]
    sources: tuple[SourceEntry, ...]
    drawing: Drawing


def anchor_of(read: Model | Source) -> str:
    """The anchor of the section about a model or source."""
    if isinstance(read, Model):
        return anchor("model", read.name)
    return anchor("source", read.source_name, read.table)


def anchor(*parts: str) -> str:
    """An element's id that links can contain unchanged, whatever characters the parts contain."""
    return ".".join(quote(part, safe="").replace(".", "%2E") for part in parts)


def grain(source_text: str) -> str:
    """The comment at the start of a model."""
    lines = []
    for line in source_text.lstrip().splitlines():
        if not line.startswith("--"):
            break
        lines.append(line.removeprefix("--").strip())
    return " ".join(lines)


def column_entry(name: str, column: Column | None, origin: Origin | None) -> ColumnEntry:
    """A column with its description, if it has one."""
    if column is None:
        return ColumnEntry(name, "", None, False, (), origin)
    return ColumnEntry(
        name,
        column.description.strip(),
        column.data_type,
        column.config.meta.personal,
        tuple(map(_test_words, column.data_tests)),
        origin,
    )


def _test_words(test: NamedTest) -> str:
    """A short description of a data test, with its `where` and its severity."""
    body = test.body
    words = test.kind.replace("_", " ")
    if isinstance(body, AcceptedValuesTest):
        words = f"one of {', '.join(map(str, body.arguments.values))}"
    elif isinstance(body, RelationshipsTest):
        words = f"is a {body.arguments.field} of {body.arguments.to}"
    elif isinstance(body, CustomTest) and body.arguments:
        given = ", ".join(f"{name}: {value}" for name, value in body.arguments.items())
        words += f" ({given})"
    words += f" where {body.config.where}" if body.config.where else ""
    return words + (" (warns)" if body.config.severity == "warn" else "")


def source_description(project: Project, source: Source) -> tuple[str, tuple[ColumnEntry, ...]]:
    """A source table's description and columns in the YAML."""
    for document in project.documents:
        for definition in (document.data or {}).get("sources") or []:
            for table in definition["tables"]:
                if (definition["name"], table["name"]) == (source.source_name, source.table):
                    columns = [Column.model_validate(column) for column in table["columns"]]
                    return table.get("description", ""), tuple(
                        column_entry(column.name, column, None) for column in columns
                    )
    raise KeyError(source.table)


def unit_cases(project: Project, model: str) -> Iterator[UnitCase]:
    """The `unit_tests` of a model in the YAML."""
    for document in project.documents:
        for case in (document.data or {}).get("unit_tests") or []:
            if case["model"] == model:
                yield _unit_case(case)


def _unit_case(case: Mapping[str, Any]) -> UnitCase:
    overrides = case.get("overrides") or {}
    settings = [*(overrides.get("vars") or {}).items(), *(overrides.get("macros") or {}).items()]
    fixtures = [_fixture(f"Given {given['input']}", given) for given in case.get("given") or []]
    return UnitCase(
        case["name"],
        case.get("description") or "",
        tuple((name, plain(value)) for name, value in settings),
        (*fixtures, _fixture("Expected", case.get("expect") or {})),
    )


def _fixture(title: str, given: Mapping[str, Any]) -> Fixture:
    rows = given.get("rows") or []
    if isinstance(rows, str):
        return Fixture(title, (), (), rows)
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    cells = tuple(
        tuple(plain(row[name]) if name in row else "" for name in columns) for row in rows
    )
    return Fixture(title, columns, cells)


def plain(value: object) -> str:
    """A value as YAML writes it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def catalogue(project: Project, moment: datetime) -> Catalogue:
    """Everything on the docs page, compiled with default parameters, and with their examples where
    they are required, as of `moment`.

    Raises `ProjectError` or `ParameterError` for models that `compile` does not accept.
    """
    return _CatalogueBuilder(project, moment).catalogue()


class _CatalogueBuilder:
    """Builds the catalogue. `reads` are the inputs of each model, by anchor, for all audiences."""

    def __init__(self, project: Project, moment: datetime) -> None:
        self.project = project
        self.compiled = [
            compile_audience(project, name, {}, moment, with_examples=True)
            for name in project.audiences
        ]
        self.reads: dict[str, dict[str, Model | Source]] = {}
        self.origins: dict[str, list[Origins]] = {}
        self.singular_tests: dict[str, dict[str, Model]] = {}
        for compiled in self.compiled:
            self.note_tests(compiled)
            for name, origins in column_origins(compiled).items():
                self.origins.setdefault(name, []).append(origins)
                found = {anchor_of(read): read for read in reads_of(compiled, name)}
                self.reads.setdefault(name, {}).update(found)
        self.unused = [name for name in project.models if name not in self.reads]

    def note_tests(self, compiled: CompiledAudience) -> None:
        for test in tests_of(compiled):
            if singular := self.project.singular_tests.get(test.name):
                for name in test.reads:
                    self.singular_tests.setdefault(name, {})[test.name] = singular

    def catalogue(self) -> Catalogue:
        audiences = tuple(self.audience(compiled) for compiled in self.compiled)
        models = tuple(self.model(name) for name in (*self.reads, *self.unused))
        sources = tuple(map(self.source, self.project.sources.values()))
        return Catalogue(audiences, models, sources, self.drawing(audiences, models, sources))

    def audience(self, compiled: CompiledAudience) -> AudienceEntry:
        audience = compiled.audience
        outputs = tuple(self.output(audience, output) for output in audience.outputs)
        return AudienceEntry(audience, anchor("audience", audience.name), outputs)

    def output(self, audience: Audience, output: Output) -> OutputEntry:
        columns = {column.name: column for column in self.columns(output.model)}
        entries = tuple(
            columns.get(name) or ColumnEntry(name, "", None, False, (), UNKNOWN)
            for name in output.columns
        )
        model = self.link(self.project.models[output.model])
        return OutputEntry(output, anchor("file", audience.name, output.file), model, entries)

    def model(self, name: str) -> ModelEntry:
        model = self.project.models[name]
        return ModelEntry(
            model=model,
            anchor=anchor_of(model),
            kind=self.kind(name),
            grain=grain(model.source_text),
            description=model.properties.description.strip() if model.properties else "",
            columns=self.columns(name),
            singular_tests=tuple(self.singular_tests.get(name, {}).values()),
            unit_cases=tuple(unit_cases(self.project, name)),
            reads=tuple(map(self.link, self.reads.get(name, {}).values())),
            read_by=self.read_by(anchor_of(model)),
            compiled=self.texts(name),
        )

    def kind(self, name: str) -> NodeKind:
        if name in self.unused:
            return "unused"
        return "table" if any(name in compiled.tables for compiled in self.compiled) else "inlined"

    def columns(self, name: str) -> tuple[ColumnEntry, ...]:
        """The described columns, then those that only the SQL has."""
        properties = self.project.models[name].properties
        described = {column.name: column for column in properties.columns} if properties else {}
        variants = self.origins.get(name, [])
        names = dict.fromkeys([*described, *(column for origins in variants for column in origins)])
        return tuple(
            column_entry(
                column,
                described.get(column),
                Origin.of_all(origins.get(column, UNKNOWN) for origins in variants)
                if variants
                else None,
            )
            for column in names
        )

    def texts(self, name: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        found: dict[str, tuple[str, ...]] = {}
        for compiled in self.compiled:
            if name in compiled.graph.models:
                text = compiled.select(name).text
                found[text] = (*found.get(text, ()), compiled.audience.name)
        return tuple(found.items())

    def source(self, source: Source) -> SourceEntry:
        description, columns = source_description(self.project, source)
        return SourceEntry(
            source, anchor_of(source), description, columns, self.read_by(anchor_of(source))
        )

    def link(self, read: Model | Source) -> Link:
        return Link(
            read.name if isinstance(read, Model) else f"{read.source_name}.{read.table}",
            anchor_of(read),
        )

    def read_by(self, anchor: str) -> tuple[Link, ...]:
        return tuple(
            self.link(self.project.models[name])
            for name, reads in self.reads.items()
            if anchor in reads
        )

    def drawing(
        self,
        audiences: Iterable[AudienceEntry],
        models: Iterable[ModelEntry],
        sources: Iterable[SourceEntry],
    ) -> Drawing:
        nodes = [_node(entry.source.table, "source", entry.anchor) for entry in sources]
        nodes += [_node(entry.model.name, entry.kind, entry.anchor) for entry in models]
        edges = [
            (read, anchor_of(self.project.models[name]))
            for name, reads in self.reads.items()
            for read in reads
        ]
        for audience in audiences:
            for file in audience.outputs:
                nodes.append(_node(f"{file.output.file}.csv", "file", file.anchor))
                edges.append((file.model.anchor, file.anchor))
        return drawn(nodes, edges)


def _node(label: str, kind: NodeKind, anchor: str) -> Node:
    return Node(anchor, label, kind, anchor, f"{label}: {KINDS[kind]}")
