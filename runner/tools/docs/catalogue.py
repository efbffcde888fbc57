"""A project and its audiences, read for the docs page; needs no database."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from runner.project.audience import Audience, Output
from runner.project.nodes import Model, Project, Source
from runner.sql.compile import CompiledAudience, compile_audience
from runner.sql.data_tests import tests_of
from runner.tools.docs.drawing import Drawing, Node, NodeKind, drawn
from runner.tools.docs.entries import (
    KINDS,
    AudienceEntry,
    Catalogue,
    ColumnEntry,
    Link,
    ModelEntry,
    OutputEntry,
    SourceEntry,
    anchor,
    anchor_of,
)
from runner.tools.docs.lineage import UNKNOWN, Origin, Origins, column_origins, reads_of
from runner.tools.docs.wording import column_entry, grain, source_words, unit_cases


def catalogue(project: Project, moment: datetime) -> Catalogue:
    """Everything the docs page tells, compiled with default parameters as of `moment`.

    Raises `ProjectError` or `ParameterError` for whatever `compile` would refuse.
    """
    return _Reading(project, moment).catalogue()


class _Reading:
    """A project that is being read: what each model reads, for all audiences."""

    def __init__(self, project: Project, moment: datetime) -> None:
        self.project = project
        self.compiled = [compile_audience(project, name, {}, moment) for name in project.audiences]
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
        columns = {one.name: one for one in self.columns(output.model)}
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
        return "table" if any(name in one.tables for one in self.compiled) else "inlined"

    def columns(self, name: str) -> tuple[ColumnEntry, ...]:
        """The described columns, then those that only the SQL has."""
        properties = self.project.models[name].properties
        described = {one.name: one for one in properties.columns} if properties else {}
        variants = self.origins.get(name, [])
        names = dict.fromkeys([*described, *(column for one in variants for column in one)])
        return tuple(
            column_entry(
                column,
                described.get(column),
                Origin.of_all(one.get(column, UNKNOWN) for one in variants) if variants else None,
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
        description, columns = source_words(self.project, source)
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
        nodes = [_node(one.source.table, "source", one.anchor) for one in sources]
        nodes += [_node(one.model.name, one.kind, one.anchor) for one in models]
        edges = [
            (read, anchor_of(self.project.models[name]))
            for name, reads in self.reads.items()
            for read in reads
        ]
        for audience in audiences:
            for entry in audience.outputs:
                nodes.append(_node(f"{entry.output.file}.csv", "file", entry.anchor))
                edges.append((entry.model.anchor, entry.anchor))
        return drawn(nodes, edges)


def _node(label: str, kind: NodeKind, anchor: str) -> Node:
    return Node(anchor, label, kind, anchor, f"{label}: {KINDS[kind]}")
