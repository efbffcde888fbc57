"""The commands of whoever edits the SQL: each parses, and calls one function anybody can call."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from runner.console import reported, say, say_json
from runner.errors import EXIT_FAILED
from runner.options import (
    AsJson,
    AsOf,
    AudienceName,
    CoolingHours,
    LookbackHours,
    OutputDir,
    ProfilesDir,
    ProjectDir,
    Select,
    ShowRows,
    TargetName,
    Var,
    filled,
    given_parameters,
)


@reported
def list_audiences(project_dir: ProjectDir = Path(), as_json: AsJson = False) -> None:
    """Audiences, their parameters with defaults and bounds, their outputs."""
    from runner.display import audience_json, audience_list
    from runner.loading import load_project

    project = load_project(project_dir)
    if as_json:
        say_json(audience_json(project))
    else:
        say(audience_list(project))


@reported
def compile_command(
    audience: AudienceName,
    model: Annotated[
        str | None, typer.Option("--model", help="Only this model, as one stand-alone select.")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FOLDER", help="Write there the script and each model."),
    ] = None,
    test: Annotated[
        str | None, typer.Option("--test", help="Only the select of the rows that fail this test.")
    ] = None,
    lookback_hours: LookbackHours = None,
    cooling_hours: CoolingHours = None,
    var: Var = None,
    as_of: AsOf = None,
    target: TargetName = None,
    project_dir: ProjectDir = Path(),
    profiles_dir: ProfilesDir = None,
) -> None:
    """Print a run as a psql script that makes the same files. Needs no database."""
    from runner.compiler import compile_audience, compile_model
    from runner.data_tests import compile_test
    from runner.loading import load_project
    from runner.parameters import parse_as_of
    from runner.profiles import load_target
    from runner.script import psql_script, write_folder

    now = datetime.now(UTC)
    moment = parse_as_of(as_of) if as_of is not None else now
    given = given_parameters(lookback_hours, cooling_hours, var)
    project = load_project(project_dir)
    if model is not None:
        say(compile_model(project, audience, model, given, moment).text)
        return
    if test is not None:
        compiled = compile_audience(project, audience, given, moment)
        say(compile_test(compiled, test).text)
        return
    settled = load_target(profiles_dir or project_dir, target, is_offline=True)
    compiled = compile_audience(project, audience, given, moment)
    if to is None:
        say(psql_script(compiled, settled, now).rstrip("\n"))
        return
    for path in write_folder(compiled, settled, now, to):
        say(str(path))


@reported
def test_command(
    audience: AudienceName,
    select: Select = None,
    show_rows: ShowRows = False,
    lookback_hours: LookbackHours = None,
    cooling_hours: CoolingHours = None,
    var: Var = None,
    as_of: AsOf = None,
    target: TargetName = None,
    project_dir: ProjectDir = Path(),
    profiles_dir: ProfilesDir = None,
    as_json: AsJson = False,
) -> int:
    """Run the data tests of an audience's models without making files."""
    from runner import demo
    from runner.compiler import compile_audience
    from runner.display import report_json, test_report
    from runner.loading import load_project
    from runner.parameters import parse_as_of
    from runner.profiles import load_target
    from runner.testing import run_data_tests

    moment = parse_as_of(as_of) if as_of is not None else datetime.now(UTC)
    given = given_parameters(lookback_hours, cooling_hours, var)
    compiled = compile_audience(load_project(project_dir), audience, given, moment)
    with demo.resolved(load_target(profiles_dir or project_dir, target)) as reachable:
        report = run_data_tests(compiled, reachable, select or (), shows_rows=show_rows)
    if as_json:
        say_json(report_json(report))
    else:
        say(test_report(report))
    return 0 if report.success else EXIT_FAILED


@reported
def docs(
    to: Annotated[
        str, typer.Option("--to", metavar="FILE", help="The page; its folder is made if missing.")
    ] = "target/audiences.html",
    output_dir: OutputDir = ".script-outputs",
    project_dir: ProjectDir = Path(),
) -> None:
    """Write one HTML page about models, columns and past runs. Needs no database."""
    from runner.docs_page import check_target, docs_page, write_page
    from runner.loading import load_project

    target = Path(filled("--to", to))
    check_target(target)
    manifests = Path(filled("--output-dir", output_dir))
    page = docs_page(load_project(project_dir), manifests, datetime.now(UTC).replace(microsecond=0))
    write_page(page.html, target)
    for note in page.notes:
        typer.echo(f"note: {note}", err=True)
    say(f"{target}: {page.summary}")
