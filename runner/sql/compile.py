"""Project + parameters -> an audience whose models are rendered, checked and in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from runner.errors import Location, UsageError, did_you_mean
from runner.project.audience import Audience, Output
from runner.project.nodes import Model, Project, Source
from runner.project.parameters import CheckedParameters, check_parameters
from runner.sql.check import check_select
from runner.sql.graph import Graph, build_graph
from runner.sql.render import RenderedModel, render
from runner.sql.source_map import MappedSql, joined


@dataclass(frozen=True)
class CompiledAudience:
    """One audience with checked parameters. `can_build` is false where no temp table may be.

    `is_shared`: its models are in one list of CTEs before whatever reads them, so that a select of
    their rows does not bring them along.
    """

    project: Project
    audience: Audience
    parameters: CheckedParameters
    graph: Graph
    can_build: bool = True
    is_shared: bool = False

    @cached_property
    def tables(self) -> tuple[str, ...]:
        """The models to build, upstream first."""
        wanted = self.graph.tables if self.can_build else frozenset()
        return tuple(name for name in self.graph.models if name in wanted)

    def types_needing(self, name: str) -> frozenset[str]:
        """The audience types whose file depends on a model."""
        return frozenset(
            output.audience_type
            for output in self.audience.outputs
            if name in self.graph.upstream(output.model)
        )

    def output_location(self, output: Output) -> Location:
        """Where the YAML declares an output."""
        index = self.audience.outputs.index(output)
        return self.project.audience_location(self.audience, "outputs", index)

    def columns_location(self, output: Output) -> Location:
        """Where the columns of its model are described, else where the output is declared."""
        properties = self.project.models[output.model].properties
        if properties is None or not properties.columns:
            return self.output_location(output)
        return self.project.properties_location(output.model, "columns")

    def select(self, name: str, conditions: Mapping[str, str] | None = None) -> MappedSql:
        """One model's rows: its SQL behind the models inlined into it. Of the inlined ones that
        `conditions` names, only rows that meet their condition are read.

        A model that would be a temp table, but may not be one here, is computed once for the
        statement. All others are `not materialized`: a CTE named twice would be computed whole,
        without indexes and without the filters of its reader.
        """
        refs = self.graph.models[name].refs
        return self.query(self._model(name), self._sql[name], refs, conditions)

    def query(
        self,
        model: Model,
        sql: MappedSql,
        refs: Iterable[str],
        conditions: Mapping[str, str] | None = None,
    ) -> MappedSql:
        """The select of a model or singular test behind the models that are inlined into it."""
        upstream = self.graph.inlined_for(refs, self.tables)
        if not upstream or self.is_shared:
            return sql
        ctes = self._ctes(upstream, conditions)
        # not one more CTE: PostgreSQL would keep a copy of all its rows
        return joined(ctes, "\n\nselect * from (\n\n", sql, f"\n\n) as {model.cte_name}")

    def all_ctes(self) -> MappedSql:
        """Every model as a CTE, for one statement in which many selects read them."""
        return self._ctes(self.graph.models)

    def _ctes(self, names: Iterable[str], conditions: Mapping[str, str] | None = None) -> MappedSql:
        pieces: list[str | MappedSql] = []
        for name in names:
            how = "materialized" if name in self.graph.tables else "not materialized"
            pieces.append(",\n\n" if pieces else "with\n\n")
            pieces += [f"{self._model(name).cte_name} as {how} (\n\n"]
            pieces += [self._narrowed(name, conditions), "\n\n)"]
        return joined(*pieces)

    def relation(self, read: Model | Source) -> str:
        """How SQL of this run names a model or source: its temp table, its CTE, its own name."""
        if isinstance(read, Model) and read.name in self.tables:
            return read.temp_relation
        return _inlined_relation(read)

    def _narrowed(self, name: str, conditions: Mapping[str, str] | None) -> MappedSql:
        if conditions is None or name not in conditions:
            return self._sql[name]
        head, tail = "select * from (\n", f"\n) as narrowed\nwhere {conditions[name]}"
        return joined(head, self._sql[name], tail)

    def rows_of(self, name: str) -> MappedSql:
        """A select of a model's rows, from its temp table if it is built."""
        if name in self.tables:
            return MappedSql(f"select * from {self._model(name).temp_relation}")
        if self.is_shared:
            return MappedSql(f"select * from {self._model(name).cte_name}")
        return joined("\n", self.select(name), "\n")

    @cached_property
    def _sql(self) -> dict[str, MappedSql]:
        """Each model's own SQL, its refs pointing to temp tables and CTEs."""

        return {
            name: render(self.project, draft.model, self.parameters, self.relation).sql
            for name, draft in self.graph.models.items()
        }

    def _model(self, name: str) -> Model:
        return self.project.models[name]


def compile_audience(
    project: Project,
    name: str,
    given: Mapping[str, str],
    as_of: datetime,
    *,
    also: str | None = None,
    with_examples: bool = False,
) -> CompiledAudience:
    """Check parameters and models, and put the models in order; `also` is one more to read.

    `with_examples` is for what runs nothing: required parameters need not be given.

    Raises `ParameterError` or `ProjectError` for whatever can be known without a server.
    """
    audience = project.audience(name)
    parameters = check_parameters(project, audience, given, as_of, with_examples=with_examples)
    readers = [audience.activity_model] if audience.activity_model else []
    readers += [step.model for step in audience.funnel]
    # a final model is read for its file and for its test file
    readers += [output.model for output in audience.outputs for _ in range(2)]
    readers += [also] if also else []
    return CompiledAudience(project, audience, parameters, _graph(project, parameters, readers))


def compile_model(
    project: Project, audience_name: str, model_name: str, given: Mapping[str, str], as_of: datetime
) -> MappedSql:
    """One model of an audience as a stand-alone select, everything upstream inlined."""
    compiled = compile_audience(project, audience_name, given, as_of)
    if model_name not in compiled.graph.models:
        raise UsageError(
            f"audience {compiled.audience.name} has no model {model_name!r}",
            fix=did_you_mean(model_name, compiled.graph.models),
        )
    return inlined(compiled).select(model_name)


def inlined(compiled: CompiledAudience) -> CompiledAudience:
    """The same audience for a server where no temp table may be built."""
    return CompiledAudience(
        compiled.project,
        compiled.audience,
        compiled.parameters,
        compiled.graph,
        can_build=False,
    )


def _graph(project: Project, parameters: CheckedParameters, readers: list[str]) -> Graph:
    drafts: dict[str, RenderedModel] = {}

    def draft(name: str) -> RenderedModel:
        if name not in drafts:
            model = project.models[name]
            drafts[name] = render(project, model, parameters, _inlined_relation)
            check_select(drafts[name])
        return drafts[name]

    return build_graph([project.models[name] for name in readers], draft)


def _inlined_relation(read: Model | Source) -> str:
    return read.relation if isinstance(read, Source) else read.cte_name
