"""Runs models on the rows that a unit test gives, and compares the result with what it expects."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Literal

from runner.database.session import Session, open_session
from runner.errors import (
    AudienceError,
    ConnectionLost,
    DatabaseError,
    Location,
    ParameterError,
    ProjectError,
    UsageError,
    did_you_mean,
)
from runner.project.audience import Audience
from runner.project.macros import refs_of
from runner.project.nodes import Model, Project, Source, literal, quoted
from runner.project.parameters import CheckedParameters, check_parameters
from runner.project.targets import Target
from runner.project.unit_test import NodeKey, Row, UnitCase, selected
from runner.sql.check import check_select
from runner.sql.render import render
from runner.sql.source_map import MappedSql, joined, written_at

Cells = tuple[str | None, ...]
"""One row: PostgreSQL's own text of each value, None for NULL."""

_BARE_TYPES = ("integer", "bigint", "smallint", "numeric", "boolean", "real", "double precision")


@dataclass(frozen=True)
class Changed:
    """An expected row, and the row that the model made instead."""

    expected: Cells
    made: Cells


@dataclass(frozen=True)
class Differences:
    """How two sets of rows differ. `columns` are pairs of name and type."""

    columns: tuple[tuple[str, str], ...]
    changed: tuple[Changed, ...]
    missing: tuple[Cells, ...]
    extra: tuple[Cells, ...]
    key: tuple[int, ...]
    """The columns, by index, that identify each expected row."""

    def __bool__(self) -> bool:
        return bool(self.changed or self.missing or self.extra)

    def lines(self) -> list[str]:
        """As text: a line for each missing or extra row, and for each changed cell."""
        found: list[str] = []
        for pair in self.changed:
            found.append(f"changed  {self._row(pair.expected, self.key)}")
            for index, (name, kind) in enumerate(self.columns):
                if pair.expected[index] != pair.made[index]:
                    wanted, made = (_shown(row[index], kind) for row in (pair.expected, pair.made))
                    found.append(f"         {name} ({kind}): expected {wanted}, made {made}")
        everything = range(len(self.columns))
        found += [f"missing  {self._row(row, everything)}" for row in self.missing]
        found += [f"extra    {self._row(row, everything)}" for row in self.extra]
        return found

    def as_json(self) -> dict[str, Any]:
        names = [name for name, _ in self.columns]

        def row(cells: Cells) -> dict[str, str | None]:
            return dict(zip(names, cells, strict=True))

        return {
            "types": dict(self.columns),
            "changed": [
                {"expected": row(pair.expected), "made": row(pair.made)} for pair in self.changed
            ],
            "missing": [row(cells) for cells in self.missing],
            "extra": [row(cells) for cells in self.extra],
        }

    def _row(self, cells: Cells, indexes: Sequence[int]) -> str:
        shown = (f"{self.columns[i][0]}={_shown(cells[i], self.columns[i][1])}" for i in indexes)
        return " ".join(shown) if indexes else "(a row without columns)"


def compare(
    columns: Sequence[tuple[str, str]], expected: Sequence[Cells], made: Sequence[Cells]
) -> Differences:
    """Rows are compared as multisets. Those without an equal are paired by key, else by equal
    cells."""
    missing = list((Counter(expected) - Counter(made)).elements())
    extra = list((Counter(made) - Counter(expected)).elements())
    key = _key(expected, len(columns))
    changed: list[Changed] = []
    for row in list(missing):
        partner = _partner(row, extra, key)
        if partner is not None:
            missing.remove(row)
            extra.remove(partner)
            changed.append(Changed(row, partner))
    return Differences(tuple(columns), tuple(changed), tuple(missing), tuple(extra), key)


def _key(expected: Sequence[Cells], width: int) -> tuple[int, ...]:
    """The fewest leading columns that identify each expected row."""
    for count in range(1, width + 1):
        if len({row[:count] for row in expected}) == len(expected):
            return tuple(range(count))
    return tuple(range(width))


def _partner(row: Cells, candidates: Sequence[Cells], key: Sequence[int]) -> Cells | None:
    """The row with the most equal cells: of those with the same key, else of those in which more
    than half of the cells are equal."""
    same_key = [made for made in candidates if all(made[index] == row[index] for index in key)]
    similar = [made for made in candidates if 2 * _equal(made, row) > len(row)]
    return max(same_key or similar, key=lambda made: _equal(made, row), default=None)


def _equal(a: Cells, b: Cells) -> int:
    return sum(left == right for left, right in zip(a, b, strict=True))


def _shown(text: str | None, kind: str) -> str:
    """NULL without quotes, text in quotes, so that '' and blanks can be seen."""
    if text is None:
        return "NULL"
    return text if kind in _BARE_TYPES else repr(text)


Columns = dict[str, str]
"""Types by column, in order."""
Fixtures = Callable[[Model | Source], MappedSql]
"""The select of an input's rows."""


def node_key(node: Model | Source) -> NodeKey:
    return node.name if isinstance(node, Model) else (node.source_name, node.table)


def node_name(node: Model | Source) -> str:
    """The name that a case writes in `input:`."""
    if isinstance(node, Model):
        return f"ref('{node.name}')"
    return f"source('{node.source_name}', '{node.table}')"


def model_audience(project: Project, name: str) -> Audience | None:
    """The audience whose parameters a model reads: the first that uses the model, else the first
    of the project.

    References are read from the models' text, so that a mistake in a model does not make the cases
    of other models fail.
    """
    for audience in project.audiences.values():
        waiting = [audience.activity_model] if audience.activity_model else []
        waiting += [output.model for output in audience.outputs]
        found: set[str] = set()
        while waiting:
            found.add(model := waiting.pop())
            refs = refs_of(project.models[model], project.macros)
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
    return check_parameters(project, audience, given, as_of, with_examples=True)


def case_parameters(project: Project, case: UnitCase, as_of: datetime) -> CheckedParameters:
    """The values of a case. Raises `ProjectError` at the override that is wrong."""
    overrides = case.test.overrides.vars
    given = {name: _text(value) or "" for name, value in overrides.items()}
    try:
        return model_parameters(project, case.test.model, given, case.started_at(as_of))
    except ParameterError as problem:
        wrong = next(
            (name for name in given if re.search(rf"\b{re.escape(name)}\b", problem.what)), None
        )
        below = ("overrides", "vars", wrong) if wrong else ("overrides", "vars")
        raise ProjectError(
            problem.what,
            where=problem.where or case.location_of(*below),
            looked_at=problem.looked_at,
            fix=problem.fix,
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
    """Names and types of the columns of models and source tables, read from the server once."""

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
                fix="change one of them so that it reads none of the others",
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
            # with null, not -1, bpchar is shown as "character", which in a cast means one character
            found = self.session.rows(
                "select oid::int8 as oid, format_type(oid, -1) as name from pg_type "
                f"where oid in ({listed})"
            )
            self._types |= dict(found)

    def _of_source(self, source: Source) -> Columns:
        found = self.session.rows(
            "select attname as name, format_type(atttypid, -1) as kind from pg_attribute "
            f"where attrelid = to_regclass({literal(source.relation)}) "
            "and attnum > 0 and not attisdropped"
        )
        on_server = dict(found)
        columns = {name: on_server.get(name, declared) for name, declared in source.columns}
        for name, kind in columns.items():
            if kind is None:
                raise ProjectError(
                    f"the type of {source.source_name}.{source.table}.{name} is not known: the "
                    "server has no such column, and none is declared",
                    where=source.location,
                    fix="add its data_type",
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
                    fix=did_you_mean(given.input, known.values()),
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
                f"{owner} has no column {name!r}", where=where, fix=did_you_mean(name, columns)
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


BAD_VALUES = ("22", "23")
"""Classes of SQLSTATE: a value is not valid for its type or domain."""


@dataclass(frozen=True)
class CaseResult:
    """The result of a case: `error` is why it could not run, `differences` how its rows differ."""

    case: UnitCase
    status: Literal["pass", "fail", "error"]
    milliseconds: float
    differences: Differences | None = None
    error: AudienceError | None = None

    def as_json(self) -> dict[str, Any]:
        where = self.case.location
        return {
            "model": self.case.test.model,
            "case": self.case.test.name,
            "file": str(where.path),
            "line": where.line,
            "status": self.status,
            "milliseconds": round(self.milliseconds, 1),
            "differences": self.differences.as_json() if self.differences else None,
            "error": str(self.error) if self.error else None,
        }

    def lines(self) -> list[str]:
        """Where the case is written, its error, and how its model's rows differ."""
        about = []
        if self.error:
            about += [str(self.error), *(self.error.excerpt() or "").splitlines()]
        if self.differences:
            about += self.differences.lines()
        head = f"{self.status:5} {self.case.name}  {self.case.location}"
        return [head, *(f"      {line}" for line in about)]


@dataclass(frozen=True)
class CaseSession:
    """Runs cases in a database session, and keeps the column types that the server reported."""

    project: Project
    session: Session
    catalog: Catalog
    as_of: datetime

    def run(self, case: UnitCase) -> CaseResult:
        """Run a case. An error in the model, or of the server, is part of the result.

        Raises `ProjectError` if the case itself is wrong, `ConnectionLost` if the connection is
        lost.
        """
        start = time.perf_counter()
        try:
            differences = self.differences(case, self.project.models[case.test.model])
        except DatabaseError as problem:
            if isinstance(problem, ConnectionLost):
                raise
            return CaseResult(case, "error", _since(start), error=problem)
        status: Literal["pass", "fail"] = "fail" if differences else "pass"
        return CaseResult(case, status, _since(start), differences)

    def differences(self, case: UnitCase, model: Model) -> Differences:
        """How the rows that `model` makes differ from the expected rows of the case.

        `model` may be a changed version of the case's model.
        """
        parameters = case_parameters(self.project, case, self.as_of)
        fixtures = CaseFixtures(case, self.catalog)
        ctes, body, read = over_fixtures(self.project, model, parameters, fixtures.select)
        fixtures.check_inputs(model, read)
        columns = self._compared(case, model)
        sql = joined(ctes, _made(columns, body), *_expected(case, columns))
        with _value_errors_of(case):
            rows = self.session.rows(sql, model.location)
        return compare(tuple(columns.items()), _part(rows, "e"), _part(rows, "m"))

    def _compared(self, case: UnitCase, model: Model) -> Columns:
        """The columns that the expected rows name; all of the model's if no rows are expected."""
        columns = self.catalog.columns(self.project.models[model.name])
        for number, row in enumerate(case.test.expect.rows):
            where = case.row_location(("expect",), number)
            check_columns(row, columns, model.name, where)
        named = case.test.expect.rows[0] if case.test.expect.rows else columns
        return {name: columns[name] for name in named}


@contextmanager
def open_case_session(project: Project, target: Target) -> Iterator[CaseSession]:
    """Open a session on the target, in which statements are read-only by the session's default."""
    now = datetime.now(UTC)
    with open_session(target) as session:
        yield CaseSession(project, session, Catalog(project, session, now), now)


def run_unit_tests(
    project: Project, target: Target, select: Iterable[str] = ()
) -> list[CaseResult]:
    """Run the cases whose model, name or `model::name` is selected, by default all.

    Raises `UsageError` for a name that no case and no model has, `ProjectError` at a case that is
    wrong.
    """
    cases = chosen_cases(project, select)
    with open_case_session(project, target) as session:
        return [session.run(case) for case in cases]


def results_json(results: Sequence[CaseResult]) -> dict[str, Any]:
    counts = Counter(result.status for result in results)
    return {
        "success": counts["pass"] == len(results),
        "counts": {status: counts[status] for status in ("pass", "fail", "error")},
        "executionTimeMs": round(sum(result.milliseconds for result in results)),
        "cases": [result.as_json() for result in results],
    }


def chosen_cases(project: Project, select: Iterable[str]) -> list[UnitCase]:
    """The selected cases, by default all.

    Raises `UsageError` for a name that is neither a case nor a model with cases.
    """
    wanted = list(select)
    for name in wanted:
        _check_choice(project, name)
    found = list(selected(project.unit_cases, wanted))
    if not found:
        raise UsageError("the project has no unit tests", fix="write unit_tests: in a model's YAML")
    return found


def _check_choice(project: Project, name: str) -> None:
    if any(selected(project.unit_cases, [name])):
        return
    if name in project.models:
        raise UsageError(f"model {name} has no unit test", fix="write one below unit_tests:")
    models = {case.test.model for case in project.unit_cases}
    names = models | {case.test.name for case in project.unit_cases}
    fix = did_you_mean(name.split("::")[-1], names)
    if not fix.startswith("did"):
        fix = f"models with cases: {', '.join(sorted(models))}"
    raise UsageError(f"there is no model or case {name!r}", fix=fix)


def _made(columns: Columns, body: MappedSql) -> MappedSql:
    cells = "".join(f", {_as_text(quoted(name), kind)}" for name, kind in columns.items())
    return joined(f"select 'm'{cells} from (\n", body, "\n) as made")


def _expected(case: UnitCase, columns: Columns) -> Iterator[MappedSql]:
    for number, row in enumerate(case.test.expect.rows):
        cells = "".join(
            f", {_as_text(typed(row[name], kind), kind)}" for name, kind in columns.items()
        )
        yield MappedSql("\nunion all\n")
        yield written_at(case.row_location(("expect",), number), f"select 'e'{cells}")


def _as_text(expression: str, kind: str) -> str:
    return f"trim_scale({expression})::text" if kind == "numeric" else f"({expression})::text"


def _part(rows: Iterable[Any], part: str) -> list[Cells]:
    return [tuple(row[1:]) for row in rows if row[0] == part]


@contextmanager
def _value_errors_of(case: UnitCase) -> Iterator[None]:
    """Raises `ProjectError` at the line of a value in the case that the server rejects."""
    try:
        yield
    except DatabaseError as problem:
        where = problem.where
        is_in_case = isinstance(where, Location) and where.path == case.location.path
        if is_in_case and (problem.sqlstate or "").startswith(BAD_VALUES):
            raise ProjectError(
                problem.what, where=where, fix="give a value of the column's type, or null"
            ) from None
        raise


def _since(start: float) -> float:
    return (time.perf_counter() - start) * 1000
