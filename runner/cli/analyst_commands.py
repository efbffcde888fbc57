"""The commands of whoever edits the SQL: each parses, and calls one function anybody can call."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runner.cli.console import reported, say, say_json
from runner.cli.options import (
    AsJson,
    AsOf,
    AudienceName,
    CoolingHours,
    LookbackHours,
    Mutate,
    OneModel,
    ProfilesDir,
    ProjectDir,
    Select,
    ShowRows,
    TargetName,
    Unit,
    Var,
    check_test_options,
    given_parameters,
)
from runner.errors import EXIT_DONE, EXIT_FAILED

if TYPE_CHECKING:
    from runner.project.nodes import Project
    from runner.project.targets import Target
    from runner.sql.compile import CompiledAudience


@reported
def list_audiences(project_dir: ProjectDir = Path(), as_json: AsJson = False) -> None:
    """Audiences, their parameters with defaults and bounds, their outputs."""
    from runner.cli.display import audience_json, audience_list
    from runner.project.load import load_project

    project = load_project(project_dir)
    if as_json:
        say_json(audience_json(project))
    else:
        say(audience_list(project))


@reported
def compile_command(
    audience: AudienceName,
    model: OneModel = None,
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
    from runner.clock import parse_as_of
    from runner.project.load import load_project
    from runner.project.targets import load_target
    from runner.sql.compile import compile_audience, compile_model
    from runner.sql.data_tests import compile_test
    from runner.sql.plan import Plan
    from runner.sql.psql_script import psql_script, write_folder

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
    plan = Plan(compiled, now)
    if to is None:
        say(psql_script(plan, settled).rstrip("\n"))
        return
    for path in write_folder(plan, settled, to):
        say(str(path))


@reported
def test_command(
    audience: Annotated[
        str | None, typer.Argument(metavar="[AUDIENCE]", help="Whose data tests; not with --unit.")
    ] = None,
    unit: Unit = False,
    mutate: Mutate = False,
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
    """Run an audience's data tests without making files, or with --unit models' unit tests."""
    from runner.project.load import load_project
    from runner.project.targets import load_target

    given = given_parameters(lookback_hours, cooling_hours, var)
    check_test_options(audience, given, as_of, unit=unit, mutate=mutate, show_rows=show_rows)
    project = load_project(project_dir)
    settled = load_target(profiles_dir or project_dir, target)
    if audience is None:
        judge = _check_mutations if mutate else _run_cases
        return judge(project, settled, select or [], as_json=as_json)
    from runner.clock import parse_as_of
    from runner.sql.compile import compile_audience

    moment = parse_as_of(as_of) if as_of is not None else datetime.now(UTC)
    compiled = compile_audience(project, audience, given, moment)
    return _run_data_tests(compiled, settled, select or [], show_rows=show_rows, as_json=as_json)


def _run_data_tests(
    compiled: CompiledAudience,
    target: Target,
    select: list[str],
    *,
    show_rows: bool,
    as_json: bool,
) -> int:
    from runner.cli.display import report_json, test_report
    from runner.demo import demo
    from runner.runs.data_tests import run_data_tests

    with demo.resolved(target) as reachable:
        report = run_data_tests(compiled, reachable, select, shows_rows=show_rows)
    if as_json:
        say_json(report_json(report))
    else:
        say(test_report(report))
    return EXIT_DONE if report.success else EXIT_FAILED


def _run_cases(project: Project, target: Target, select: list[str], *, as_json: bool) -> int:
    from runner.demo import demo
    from runner.tools.unit_tests.unit_reports import unit_json, unit_text
    from runner.tools.unit_tests.unit_tests import chosen_cases, run_unit_tests

    chosen_cases(project, select)
    with demo.resolved(target, is_empty=True) as reachable:
        results = run_unit_tests(project, reachable, select)
    if as_json:
        say_json(unit_json(results))
    else:
        say(unit_text(results))
    return EXIT_DONE if all(one.status == "pass" for one in results) else EXIT_FAILED


def _check_mutations(project: Project, target: Target, select: list[str], *, as_json: bool) -> int:
    from runner.demo import demo
    from runner.tools.unit_tests.mutations import check_mutations
    from runner.tools.unit_tests.unit_reports import has_gap, mutation_json, mutation_text
    from runner.tools.unit_tests.unit_tests import chosen_cases, opened_bench

    chosen_cases(project, select)
    with demo.resolved(target, is_empty=True) as reachable, opened_bench(project, reachable) as on:
        mutants = check_mutations(on, select, lambda line: typer.echo(line, err=True))
    if as_json:
        say_json(mutation_json(mutants))
    else:
        say(mutation_text(mutants))
    return EXIT_FAILED if has_gap(mutants) else EXIT_DONE
