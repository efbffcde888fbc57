"""A model over given rows: its inputs become CTEs of typed literals, so no table is needed.

Types are the server's own: of a source table, as it describes it, or as sources.yml declares them
where there is no such table; of a model, as it describes the model over inputs without rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from runner.database.session import Session
from runner.errors import Location, ParameterError, ProjectError, did_you_mean
from runner.project.audience import Audience
from runner.project.nodes import Model, Project, Source, literal, quoted
from runner.project.parameters import CheckedParameters, check_parameters
from runner.project.unit_test import NodeKey, Row, UnitCase
from runner.sql.check import check_select
from runner.sql.render import render
from runner.sql.source_map import MappedSql, joined, written_at

Columns = dict[str, str]
"""Types by column, in order."""
Fixtures = Callable[[Model | Source], MappedSql]
"""The select of an input's rows."""

_REFS = re.compile(r"""ref\(\s*['"](\w+)""")


def node_key(node: Model | Source) -> NodeKey:
    return node.name if isinstance(node, Model) else (node.source_name, node.table)


def node_name(node: Model | Source) -> str:
    """As a case names it in `input:`."""
    if isinstance(node, Model):
        return f"ref('{node.name}')"
    return f"source('{node.source_name}', '{node.table}')"


def model_audience(project: Project, name: str) -> Audience | None:
    """Whose parameters a model reads: the first audience with it, else the first one there is.

    Found in the text of the models, so that a mistake in one model spoils no other's cases.
    """
    for audience in project.audiences.values():
        waiting = [audience.activity_model, *(output.model for output in audience.outputs)]
        found: set[str] = set()
        while waiting:
            found.add(one := waiting.pop())
            refs = _REFS.findall(project.models[one].source_text)
            waiting += [ref for ref in refs if ref in project.models and ref not in found]
        if name in found:
            return audience
    return next(iter(project.audiences.values()), None)


def model_parameters(
    project: Project, name: str, given: Mapping[str, str], as_of: datetime
) -> CheckedParameters:
    """The values of `var()` in a model. Raises `ParameterError`."""
    audience = model_audience(project, name)
    if audience is None:
        return CheckedParameters({}, as_of, None)
    return check_parameters(project, audience, given, as_of)


def case_parameters(project: Project, case: UnitCase, as_of: datetime) -> CheckedParameters:
    """The values of a case. Raises `ProjectError` at the override that is wrong."""
    overrides = case.test.overrides.vars
    given = {name: _text(value) or "" for name, value in overrides.items()}
    try:
        return model_parameters(project, case.test.model, given, case.started_at(as_of))
    except ParameterError as problem:
        misfit = next(
            (name for name in given if re.search(rf"\b{re.escape(name)}\b", problem.what)), None
        )
        below = ("overrides", "vars", misfit) if misfit else ("overrides", "vars")
        raise ProjectError(
            problem.what,
            where=problem.where or case.location_of(*below),
            looked_at=problem.looked_at,
            mend=problem.mend,
        ) from None


def over_fixtures(
    project: Project,
    model: Model,
    parameters: CheckedParameters,
    fixtures: Fixtures,
) -> tuple[MappedSql, MappedSql, list[Model | Source]]:
    """CTEs of a model's inputs, its SQL that reads them, and which inputs these are.

    Raises `ProjectError` at the model's own line.
    """
    names: dict[NodeKey, str] = {}
    read: list[Model | Source] = []

    def relation(node: Model | Source) -> str:
        if node_key(node) not in names:
            read.append(node)
        return names.setdefault(node_key(node), f"__given__{len(names) + 1}")

    rendered = render(project, model, parameters, relation)
    check_select(rendered)
    pieces: list[str | MappedSql] = []
    for node in read:
        pieces += [",\n" if pieces else "with\n", f"{names[node_key(node)]} as (\n"]
        pieces += [fixtures(node), "\n)"]
    return joined(*pieces, "\n"), rendered.sql, read


@dataclass
class Catalog:
    """Names and types of the columns of models and source tables, each asked for once."""

    project: Project
    session: Session
    as_of: datetime
    _known: dict[NodeKey, Columns] = field(default_factory=dict)
    _asking: list[str] = field(default_factory=list)
    _types: dict[int, str] = field(default_factory=dict)

    def columns(self, node: Model | Source) -> Columns:
        """Raises `DatabaseError` or `ProjectError` at the line that the server cannot describe."""
        key = node_key(node)
        if key not in self._known:
            found = self._of_model(node) if isinstance(node, Model) else self._of_source(node)
            self._known[key] = found
        return self._known[key]

    def empty(self, node: Model | Source) -> MappedSql:
        """A select of no row."""
        columns = self.columns(node).items()
        nulls = ", ".join(f"null::{kind} as {quoted(name)}" for name, kind in columns)
        return written_at(node.location, f"select {nulls} where false")

    def _of_model(self, model: Model) -> Columns:
        if model.name in self._asking:
            circle = " -> ".join([*self._asking, model.name])
            raise ProjectError(
                f"models read each other in a circle: {circle}",
                where=model.location,
                mend="let one of them read something else",
            )
        self._asking.append(model.name)
        try:
            return self._described(model)
        finally:
            self._asking.pop()

    def _described(self, model: Model) -> Columns:
        parameters = model_parameters(self.project, model.name, {}, self.as_of)
        ctes, body, _ = over_fixtures(self.project, model, parameters, self.empty)
        described = joined(ctes, "select * from (\n", body, "\n) as described\nlimit 0")
        columns = self.session.columns(described, model.location)
        self._learn_types([oid for _, oid in columns])
        return {name: self._types[oid] for name, oid in columns}

    def _learn_types(self, oids: Sequence[int]) -> None:
        new = sorted(set(oids) - self._types.keys())
        if new:
            listed = ", ".join(map(str, new))
            # -1, not null: to the latter "character" means one character
            found = self.session.rows(
                "select oid::int8 as oid, format_type(oid, -1) as name from pg_type "
                f"where oid in ({listed})"
            )
            self._types |= {row.oid: row.name for row in found}

    def _of_source(self, source: Source) -> Columns:
        found = self.session.rows(
            "select attname as name, format_type(atttypid, -1) as kind from pg_attribute "
            f"where attrelid = to_regclass({literal(source.relation)}) "
            "and attnum > 0 and not attisdropped"
        )
        on_server = {row.name: row.kind for row in found}
        columns = {name: on_server.get(name, declared) for name, declared in source.columns}
        for name, kind in columns.items():
            if kind is None:
                raise ProjectError(
                    f"the type of {source.source_name}.{source.table}.{name} is not known: the "
                    "server has no such column, and none is declared",
                    where=source.location,
                    mend="add its data_type",
                )
        return {name: kind for name, kind in columns.items() if kind is not None}


@dataclass(frozen=True)
class CaseFixtures:
    """A case's given rows as SQL, each value marked with the line of its row."""

    case: UnitCase
    catalog: Catalog

    def select(self, node: Model | Source) -> MappedSql:
        """The rows of an input; none if the case gives none. Columns not named are NULL.

        Raises `ProjectError` at a row that names a column that the input does not have.
        """
        for index, given in enumerate(self.case.test.given):
            if given.key == node_key(node) and given.rows:
                return self._values(node, ("given", index), given.rows)
        return self.catalog.empty(node)

    def check_inputs(self, model: Model, read: Sequence[Model | Source]) -> None:
        """Raises `ProjectError` for a given input that the model does not read."""
        known = {node_key(node): node_name(node) for node in read}
        for index, given in enumerate(self.case.test.given):
            if given.key not in known:
                raise ProjectError(
                    f"{model.name} does not read {given.input}",
                    where=self.case.location_of("given", index, "input"),
                    mend=did_you_mean(given.input, known.values()),
                )

    def _values(
        self, node: Model | Source, at: tuple[str | int, ...], rows: Sequence[Row]
    ) -> MappedSql:
        columns = self.catalog.columns(node)
        names = ", ".join(map(quoted, columns))
        pieces: list[str | MappedSql] = []
        for number, row in enumerate(rows):
            where = self.case.row_location(at, number)
            check_columns(row, columns, node_name(node), where)
            values = ", ".join(typed(row.get(name), kind) for name, kind in columns.items())
            pieces += [",\n" if pieces else "", written_at(where, f"({values})")]
        return joined("select * from (values\n", *pieces, f"\n) as given ({names})")


def check_columns(row: Row, columns: Columns, owner: str, where: Location) -> None:
    """Raises `ProjectError` for a column that the owner of the row does not have."""
    for name in row:
        if name not in columns:
            raise ProjectError(
                f"{owner} has no column {name!r}", where=where, mend=did_you_mean(name, columns)
            )


def typed(value: Any, kind: str) -> str:
    """A value from YAML as a literal of a type."""
    text = _text(value)
    return f"{'null' if text is None else literal(text)}::{kind}"


def _text(value: Any) -> str | None:
    """A value from YAML as PostgreSQL reads it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, date):
        return value.isoformat()
    return None if value is None else str(value)
