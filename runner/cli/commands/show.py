"""`audiences show`"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from runner.cli.console import print_data, print_json, print_note, print_text, reported
from runner.cli.options import (
    AsCsv,
    AsJson,
    AsOf,
    CoolingHours,
    LookbackHours,
    ModelName,
    ProfilesDir,
    ProjectDir,
    ReadingAudience,
    RowLimit,
    TargetName,
    Unmask,
    Var,
    filled_or_none,
)
from runner.cli.request import Request
from runner.errors import UsageError

EXAMPLE = "audiences show layer3_candidates --limit 5"


@reported()
def command(
    model: ModelName,
    audience: ReadingAudience = None,
    limit: RowLimit = 20,
    unmask: Unmask = False,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
    where: Annotated[str | None, typer.Option("--where", hidden=True)] = None,
    lookback_hours: LookbackHours = None,
    cooling_hours: CoolingHours = None,
    var: Var = None,
    as_of: AsOf = None,
    target: TargetName = None,
    project_dir: ProjectDir = Path(),
    profiles_dir: ProfilesDir = None,
) -> None:
    """Print the first rows of a model, computed as a run computes them.

    Personal columns are masked.
    """
    from runner.demo import demo
    from runner.tables import csv_table, plain_table, terminal_table
    from runner.tools.show import show

    if where is not None:
        raise UsageError(
            "show has no --where", fix="to follow one user: audiences trace AUDIENCE USER"
        )
    if as_json and as_csv:
        raise UsageError("--json and --csv were both given", fix="give one of them")
    request = Request(project_dir, profiles_dir, target, lookback_hours, cooling_hours, var, as_of)
    shown = show(
        request.project,
        model,
        request.target,
        as_of=request.moment,
        audience=filled_or_none("--audience", audience),
        parameters=request.parameters,
        limit=limit,
        unmask=unmask,
        reach=demo.reach,
    )
    notes = request.mark + "\n".join(shown.notes())
    if as_json:
        print_json(shown.as_json())
    elif as_csv:
        print_data(csv_table(shown.names, shown.rows))
        print_note(notes)
    else:
        table = terminal_table if sys.stdout.isatty() else plain_table
        print_text(f"{notes}\n\n{table(shown.names, shown.rows)}")
