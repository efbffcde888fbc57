"""`explain`: the plan of every step of a run, and which indexes would make it faster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from runner.clock import instant
from runner.database.snapshot import Reach, Workspace, opened
from runner.errors import Location
from runner.project.audience import FunnelStep
from runner.project.nodes import Project
from runner.project.targets import Target
from runner.runs.data_tests import by_model, count_all
from runner.sql.compile import CompiledAudience, compile_audience
from runner.sql.data_tests import tests_of
from runner.sql.source_map import MappedSql, joined
from runner.tools.explain.index_advice import Advice, advise, with_verdicts
from runner.tools.explain.plans import Plan


@dataclass(frozen=True)
class Step:
    """One statement of a run; `fills` names the model whose temp table it fills."""

    name: str
    sql: MappedSql
    where: Location
    fills: str | None = None


@dataclass(frozen=True)
class Explanation:
    """Each step with its plan, the slowest (or costliest) first; then advice, the best first."""

    audience: str
    as_of: datetime
    server: str
    working_tables: str
    is_analyzed: bool
    has_hypopg: bool
    steps: tuple[tuple[Step, Plan], ...]
    advice: tuple[Advice, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "audience": self.audience,
            "asOf": instant(self.as_of),
            "server": self.server,
            "workingTables": self.working_tables,
            "analyzed": self.is_analyzed,
            "hypopg": self.has_hypopg,
            "steps": [_step_json(*one) for one in self.steps],
            "advice": [one.as_json() for one in self.advice],
        }


def _step_json(step: Step, plan: Plan) -> dict[str, Any]:
    rows = plan.source
    counted = {
        "milliseconds": plan.milliseconds,
        "rows": rows.rows if rows.is_analyzed else None,
        "buffers": plan.buffers.as_json() if rows.is_analyzed else None,
    }
    return {
        "step": step.name,
        "where": str(step.where),
        "cost": plan.cost,
        "rowsExpected": rows.expected_rows,
        **counted,
        "plan": plan.raw,
    }


def explain(
    project: Project,
    audience: str,
    target: Target,
    *,
    as_of: datetime,
    parameters: Mapping[str, str] | None = None,
    analyze: bool = False,
    reach: Reach = nullcontext,
) -> Explanation:
    """Plans of all steps of a run. Only with `analyze` is anything executed, and no file made.

    Raises `UsageError` before anything is connected to, `DatabaseError` at the model's own line.
    """
    compiled = compile_audience(project, audience, parameters or {}, as_of)
    with reach(target) as reached, opened(compiled, reached) as workspace:
        explained = [
            (step, _explained(workspace, step, analyze=analyze))
            for step in steps(workspace.compiled)
        ]
        advice = advise(workspace, [(step.name, plan) for step, plan in explained])
        has_hypopg = _has_extension(workspace, "hypopg")
        if has_hypopg:
            by_name = {step.name: step for step, _ in explained}
            advice = with_verdicts(
                workspace.session,
                advice,
                lambda name: _plan(workspace, by_name[name], analyze=False),
            )
        server = workspace.session.server()
    explained.sort(key=lambda one: one[1].milliseconds or one[1].cost, reverse=True)
    return Explanation(
        audience=compiled.audience.name,
        as_of=as_of,
        server=f"PostgreSQL {server.version}",
        working_tables=server.working_tables,
        is_analyzed=analyze,
        has_hypopg=has_hypopg,
        steps=tuple(explained),
        advice=tuple(advice),
    )


def steps(compiled: CompiledAudience) -> Iterator[Step]:
    """The statements of a run that read: working tables, counts, data tests, files; in order."""
    models = compiled.project.models
    activity = compiled.audience.activity_model
    if activity not in compiled.tables:
        sql = compiled.count(FunnelStep(label=activity, model=activity))
        yield Step(f"count: {activity}", sql, models[activity].location)
    for name in compiled.tables:
        yield Step(f"table: {name}", compiled.fill(name)[0], models[name].location, fills=name)
    for index, step in enumerate(compiled.audience.funnel):
        where = compiled.project.audience_location(compiled.audience, "funnel", index)
        yield Step(f"count: {step.label}", compiled.count(step), where)
    for tests in by_model(test for test in tests_of(compiled) if test.gates):
        name = f"tests of {tests[0].tested}" if tests[0].tested else f"test {tests[0].name}"
        yield Step(name, count_all(compiled, tests), tests[0].location)
    for output in compiled.audience.outputs:
        where = compiled.output_location(output)
        test_row = compiled.test_row_select(output, compiled.parameters.as_of)
        yield Step(f"file: {output.file}", compiled.export_select(output), where)
        yield Step(f"test file: {output.file}", test_row, where)


def _explained(workspace: Workspace, step: Step, *, analyze: bool) -> Plan:
    """A step's plan. With `analyze` its working table is then as full as in a run."""
    if not analyze or step.fills is None:
        return _plan(workspace, step, analyze=analyze)
    if not _has_extension(workspace, "citus"):
        plan = _plan(workspace, step, analyze=True)
        workspace.follow_up(step.fills)
        return plan
    # Citus explains no insert from its own tables, and nothing that was not rolled back
    select = replace(step, sql=workspace.compiled.select(step.fills))
    plan = _plan(workspace, select, analyze=True)
    workspace.fill([step.fills])
    return plan


def _plan(workspace: Workspace, step: Step, *, analyze: bool) -> Plan:
    """EXPLAIN of a step. What it did stays only if it filled a working table."""
    options = "analyze, buffers, verbose, format json" if analyze else "verbose, format json"
    keeps = analyze and step.sql.text.startswith("insert")
    session = workspace.session
    session.execute("savepoint explained")
    rows = session.rows(joined(f"explain ({options})\n", step.sql), step.where)
    session.execute(f"{'release' if keeps else 'rollback to'} savepoint explained")
    return Plan(rows[0][0][0])


def _has_extension(workspace: Workspace, name: str) -> bool:
    found = f"select from pg_catalog.pg_extension where extname = '{name}'"
    return bool(workspace.session.rows(found))
