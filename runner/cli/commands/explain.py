"""`audiences explain`"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runner.cli.console import print_json, print_text, reported
from runner.cli.options import (
    AsJson,
    AsOf,
    AudienceName,
    CoolingHours,
    LookbackHours,
    ProfilesDir,
    ProjectDir,
    TargetName,
    Var,
)
from runner.cli.request import Request
from runner.clock import instant

if TYPE_CHECKING:
    from runner.tools.explain.explain import Explanation

EXAMPLE = "audiences explain layer3-behavior --analyze"


@reported()
def command(
    audience: AudienceName,
    analyze: Annotated[
        bool,
        typer.Option(
            "--analyze",
            help="Execute the steps, and print their times and rows beside the planner's guesses. "
            "No file is written. Default: execute nothing.",
        ),
    ] = False,
    lookback_hours: LookbackHours = None,
    cooling_hours: CoolingHours = None,
    var: Var = None,
    as_of: AsOf = None,
    target: TargetName = None,
    project_dir: ProjectDir = Path(),
    profiles_dir: ProfilesDir = None,
    as_json: AsJson = False,
) -> None:
    """Print the query plan of each step of a run, and the indexes that would make it faster."""
    from runner.demo import demo
    from runner.tools.explain.explain import explain

    request = Request(project_dir, profiles_dir, target, lookback_hours, cooling_hours, var, as_of)
    explanation = explain(
        request.project,
        audience,
        request.target,
        as_of=request.moment,
        parameters=request.parameters,
        analyze=analyze,
        reach=demo.reach,
    )
    if as_json:
        print_json(explanation.as_json())
    else:
        print_text("\n".join(_lines(explanation, request.mark)))


def _lines(explanation: Explanation, mark: str) -> Iterator[str]:
    how = "executed" if explanation.is_analyzed else "nothing was executed"
    yield (
        f"{mark}{explanation.audience}, as of "
        f"{instant(explanation.as_of)}: {len(explanation.steps)} steps, {how}; "
        f"{explanation.server}, {explanation.working_tables}"
    )
    if not explanation.is_analyzed:
        yield (
            "Working tables are empty here: what is expected of steps that read one is the "
            "planner's guess. --analyze executes the steps, without making files."
        )
    yield ""
    yield _steps_table(explanation)
    for step, plan in explanation.steps:
        yield f"\n{step.label}  ({step.location})"
        yield from (f"   {line}" for line in plan.lines())
    yield ""
    yield from _advice(explanation)


def _steps_table(explanation: Explanation) -> str:
    from runner.tables import plain_table

    if not explanation.is_analyzed:
        rows = [
            (f"{plan.cost:,.0f}", f"{plan.source.expected_rows:,.0f}", step.label)
            for step, plan in explanation.steps
        ]
        return plain_table(("cost", "expected rows", "step"), rows)
    counted = [
        (
            f"{plan.milliseconds:,.1f}",
            f"{plan.source.rows:,.0f}",
            f"{plan.source.expected_rows:,.0f}",
            *(f"{blocks:,}" for blocks in plan.buffers.as_json().values()),
            step.label,
        )
        for step, plan in explanation.steps
    ]
    head = ("ms", "rows", "expected", "buffers hit", "read", "spilled", "step")
    return plain_table(head, counted)


def _advice(explanation: Explanation) -> Iterator[str]:
    if not explanation.advice:
        yield "No index is advised: no step reads much of a big source table to find little."
        return
    yield "Indexes that would spare these steps a scan of a whole source table:"
    for one in explanation.advice:
        yield one.index.statement
        for use in one.uses:
            time = f", {use.milliseconds:,.1f} ms" if use.milliseconds is not None else ""
            yield f"   {use.step}: {use.rows:,.0f} of {use.table_rows:,.0f} rows{time}"
