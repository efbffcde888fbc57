"""`audiences compile`"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from runner.cli.console import print_data, print_text, reported
from runner.cli.options import (
    AsOf,
    AudienceName,
    CoolingHours,
    LookbackHours,
    OneModel,
    ProfilesDir,
    ProjectDir,
    TargetName,
    Var,
)
from runner.cli.request import Request

EXAMPLE = "audiences compile layer3-behavior --model layer3_candidates"


@reported()
def command(
    audience: AudienceName,
    model: OneModel = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="FOLDER",
            help="Write the script, and each model as a file, into this folder. Default: print "
            "the script.",
        ),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(
            "--test",
            metavar="NAME",
            help="Print only the select that finds the rows that fail this data test. Default: the "
            "whole run.",
        ),
    ] = None,
    lookback_hours: LookbackHours = None,
    cooling_hours: CoolingHours = None,
    var: Var = None,
    as_of: AsOf = None,
    target: TargetName = None,
    project_dir: ProjectDir = Path(),
    profiles_dir: ProfilesDir = None,
) -> None:
    """Print the SQL of a run as a psql script that writes the same files.

    It needs no database, and none of the target's secrets.
    """
    from runner.sql.compile import compile_audience, compile_model
    from runner.sql.data_tests import compile_test
    from runner.sql.plan import Plan
    from runner.sql.psql_script import psql_script, write_folder

    now = datetime.now(UTC)
    request = Request(project_dir, profiles_dir, target, lookback_hours, cooling_hours, var, as_of)
    moment, parameters = request.as_of or now, request.parameters
    if model is not None:
        print_data(compile_model(request.project, audience, model, parameters, moment).text)
        return
    compiled = compile_audience(request.project, audience, parameters, moment)
    if test is not None:
        print_data(compile_test(compiled, test).text)
    elif to is None:
        print_data(psql_script(Plan(compiled, now), request.offline_target).rstrip("\n"))
    else:
        paths = write_folder(Plan(compiled, now), request.offline_target, to)
        print_text("\n".join(map(str, paths)), is_product=False)
