"""`explain`: the plan of every step of a run, and which indexes would make it faster."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from runner.clock import instant
from runner.database.snapshot import Reach, Snapshot, open_snapshot
from runner.project.nodes import Project
from runner.project.targets import Target
from runner.sql.compile import compile_audience
from runner.sql.plan import Step
from runner.sql.source_map import joined
from runner.tools.explain.indexes import Advice, advise
from runner.tools.explain.plans import QueryPlan


@dataclass(frozen=True)
class Explanation:
    """Each step with its plan, the slowest (or costliest) first; then advice, the best first."""

    audience: str
    as_of: datetime
    server: str
    working_tables: str
    is_analyzed: bool
    steps: tuple[tuple[Step, QueryPlan], ...]
    advice: tuple[Advice, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "audience": self.audience,
            "asOf": instant(self.as_of),
            "server": self.server,
            "workingTables": self.working_tables,
            "analyzed": self.is_analyzed,
            "steps": [_step_json(*one) for one in self.steps],
            "advice": [one.as_json() for one in self.advice],
        }


def _step_json(step: Step, plan: QueryPlan) -> dict[str, Any]:
    rows = plan.source
    counted = {
        "milliseconds": plan.milliseconds,
        "rows": rows.rows if rows.is_analyzed else None,
        "buffers": plan.buffers.as_json() if rows.is_analyzed else None,
    }
    return {
        "step": step.label,
        "where": str(step.location),
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
    with reach(target) as reached, open_snapshot(compiled, reached) as snapshot:
        explained = [
            (step, _explained(snapshot, step, analyze=analyze)) for step in snapshot.plan.sent
        ]
        advice = advise(snapshot, [(step.label, plan) for step, plan in explained])
        server = snapshot.session.server()
    explained.sort(key=lambda one: one[1].milliseconds or one[1].cost, reverse=True)
    return Explanation(
        audience=compiled.audience.name,
        as_of=as_of,
        server=f"PostgreSQL {server.version}",
        working_tables=server.working_tables,
        is_analyzed=analyze,
        steps=tuple(explained),
        advice=tuple(advice),
    )


def _explained(snapshot: Snapshot, step: Step, *, analyze: bool) -> QueryPlan:
    """A step's plan. With `analyze` its working table is then as full as in a run."""
    if not analyze or step.kind != "table":
        return _plan(snapshot, step, analyze=analyze)
    if not _has_extension(snapshot, "citus"):
        plan = _plan(snapshot, step, analyze=True)
        snapshot.follow_up(step)
        return plan
    # Citus explains no insert from its own tables, and nothing that was not rolled back
    select = replace(step, kind="probe", sql=snapshot.compiled.select(step.name))
    plan = _plan(snapshot, select, analyze=True)
    snapshot.fill([step.name])
    return plan


def _plan(snapshot: Snapshot, step: Step, *, analyze: bool) -> QueryPlan:
    """EXPLAIN of a step. What it did stays only if it filled a working table."""
    options = "analyze, buffers, verbose, format json" if analyze else "verbose, format json"
    keeps = analyze and step.kind == "table"
    session = snapshot.session
    session.execute("savepoint explained")
    rows = session.rows(joined(f"explain ({options})\n", step.sql), step.location)
    session.execute(f"{'release' if keeps else 'rollback to'} savepoint explained")
    return QueryPlan(rows[0][0][0])


def _has_extension(snapshot: Snapshot, name: str) -> bool:
    found = f"select from pg_catalog.pg_extension where extname = '{name}'"
    return bool(snapshot.session.rows(found))
