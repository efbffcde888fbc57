"""Cases of models, run on a real PostgreSQL that needs no table."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from runner.database.session import Session, open_session
from runner.errors import (
    AudienceError,
    ConnectionLost,
    DatabaseError,
    Location,
    ProjectError,
    UsageError,
    did_you_mean,
)
from runner.project.nodes import Model, Project, quoted
from runner.project.targets import Target
from runner.project.unit_test import UnitCase, selected
from runner.sql.source_map import MappedSql, joined, written_at
from runner.tools.unit_tests.differences import Cells, Differences, compare
from runner.tools.unit_tests.fixtures import (
    CaseFixtures,
    Catalog,
    Columns,
    case_parameters,
    check_columns,
    over_fixtures,
    typed,
)

BAD_VALUES = ("22", "23")
"""Classes of SQLSTATE: a value that its type or domain does not take."""


@dataclass(frozen=True)
class CaseResult:
    """One case: `error` says why it could not be run, `differences` what it made otherwise."""

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


@dataclass(frozen=True)
class Bench:
    """Where cases run: one session, and what it has said about types."""

    project: Project
    session: Session
    catalog: Catalog
    as_of: datetime

    def run(self, case: UnitCase) -> CaseResult:
        """Run a case. What is wrong in the model or on the server is its result.

        Raises `ProjectError` if the case itself is wrong, `ConnectionLost` without a server.
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
        """What `model`, which may be a changed one, makes otherwise than the case expects."""
        parameters = case_parameters(self.project, case, self.as_of)
        fixtures = CaseFixtures(case, self.catalog)
        ctes, body, read = over_fixtures(self.project, model, parameters, fixtures.select)
        fixtures.check_inputs(model, read)
        columns = self._compared(case, model)
        sql = joined(ctes, _made(columns, body), *_expected(case, columns))
        with _bad_values_named(case):
            rows = self.session.rows(sql, model.location)
        return compare(tuple(columns.items()), _part(rows, "e"), _part(rows, "m"))

    def _compared(self, case: UnitCase, model: Model) -> Columns:
        """The columns that the case's expected rows name, without rows all of the model's."""
        columns = self.catalog.columns(self.project.models[model.name])
        for number, row in enumerate(case.test.expect.rows):
            where = case.row_location(("expect",), number)
            check_columns(row, columns, model.name, where)
        named = case.test.expect.rows[0] if case.test.expect.rows else columns
        return {name: columns[name] for name in named}


@contextmanager
def opened_bench(project: Project, target: Target) -> Iterator[Bench]:
    """A session on the target, in which every statement is read-only (the session's default)."""
    now = datetime.now(UTC)
    with open_session(target) as session:
        yield Bench(project, session, Catalog(project, session, now), now)


def run_unit_tests(
    project: Project, target: Target, select: Iterable[str] = ()
) -> list[CaseResult]:
    """Run the cases whose model, name or `model::name` is selected, by default all.

    Raises `UsageError` if there is none of that name, `ProjectError` at a case that is wrong.
    """
    cases = chosen_cases(project, select)
    with opened_bench(project, target) as bench:
        return [bench.run(case) for case in cases]


def chosen_cases(project: Project, select: Iterable[str]) -> list[UnitCase]:
    """Raises `UsageError` for a name that is no case's and no model's with cases."""
    wanted = list(select)
    for name in wanted:
        _check_choice(project, name)
    found = list(selected(project.unit_cases, wanted))
    if not found:
        raise UsageError("there are no unit tests here", mend="write unit_tests: in a model's YAML")
    return found


def _check_choice(project: Project, name: str) -> None:
    if any(selected(project.unit_cases, [name])):
        return
    if name in project.models:
        raise UsageError(f"model {name} has no unit test", mend="write one below unit_tests:")
    models = {case.test.model for case in project.unit_cases}
    names = models | {case.test.name for case in project.unit_cases}
    mend = did_you_mean(name.split("::")[-1], names)
    if not mend.startswith("did"):
        mend = f"models with cases: {', '.join(sorted(models))}"
    raise UsageError(f"there is no model or case {name!r}", mend=mend)


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
def _bad_values_named(case: UnitCase) -> Iterator[None]:
    """A server's complaint about a value in the case is the case's mistake, not the run's."""
    try:
        yield
    except DatabaseError as problem:
        where = problem.where
        is_ours = isinstance(where, Location) and where.path == case.location.path
        if is_ours and (problem.sqlstate or "").startswith(BAD_VALUES):
            raise ProjectError(
                problem.what, where=where, mend="give a value of the column's type, or null"
            ) from None
        raise


def _since(start: float) -> float:
    return (time.perf_counter() - start) * 1000
