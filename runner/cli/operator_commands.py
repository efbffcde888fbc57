"""The commands of whoever schedules runs: each parses, and calls one function anybody can call."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runner.cli.console import reported, say, say_json
from runner.cli.options import (
    DEFAULT_FOLDER,
    AcceptSize,
    AllOrNothing,
    AsJson,
    AsOf,
    AudienceName,
    AutomationId,
    CoolingHours,
    DeadlineLength,
    DryRun,
    Ignore,
    KeepRuns,
    KeyColumn,
    LogFormatName,
    LookbackHours,
    OutputDir,
    ProfilesDir,
    ProjectDir,
    Quiet,
    ShowUsers,
    TargetName,
    TestFiles,
    Var,
    Wait,
    filled,
    given_parameters,
    seconds,
)
from runner.errors import EXIT_DONE, EXIT_FAILED

if TYPE_CHECKING:
    from runner.cli.logs import LogFormat
    from runner.runs.settings import Settings


@reported
def run(
    audience: AudienceName,
    lookback_hours: LookbackHours = None,
    cooling_hours: CoolingHours = None,
    var: Var = None,
    as_of: AsOf = None,
    output_dir: OutputDir = DEFAULT_FOLDER,
    dry_run: DryRun = False,
    all_or_nothing: AllOrNothing = False,
    deadline: DeadlineLength = None,
    wait: Wait = None,
    automation_id: AutomationId = None,
    keep_runs: KeepRuns = None,
    accept_size: AcceptSize = None,
    target: TargetName = None,
    project_dir: ProjectDir = Path(),
    profiles_dir: ProfilesDir = None,
    as_json: AsJson = False,
    log_format: LogFormatName = "text",
    quiet: Quiet = False,
) -> int:
    """Make an audience's CSV files from one snapshot of the database."""
    from runner.clock import parse_as_of
    from runner.project.targets import load_target
    from runner.runs.settings import Settings, chosen_engine

    settings = Settings(
        project_dir=project_dir,
        audience=audience,
        target=load_target(profiles_dir or project_dir, target),
        parameters=given_parameters(lookback_hours, cooling_hours, var),
        as_of=parse_as_of(as_of) if as_of is not None else None,
        output_dir=Path(filled("--output-dir", output_dir)),
        is_dry_run=dry_run,
        is_all_or_nothing=all_or_nothing,
        automation_id=filled("--automation-id", automation_id)
        if automation_id is not None
        else None,
        keep_runs=keep_runs,
        accepted_size=filled("--accept-size", accept_size) if accept_size is not None else None,
        deadline_seconds=None if deadline is None else seconds("--deadline", deadline),
        wait_seconds=0 if wait is None else seconds("--wait", wait),
        engine=chosen_engine(os.environ),
    )
    return _run(settings, as_json=as_json, log_format=log_format, quiet=quiet)


def _run(settings: Settings, *, as_json: bool, log_format: LogFormat, quiet: bool) -> int:
    from runner.cli.display import summary
    from runner.cli.logs import logging_to_stderr
    from runner.demo import demo
    from runner.runs.phases import run as run_audience
    from runner.runs.signals import uninterrupted

    with logging_to_stderr(log_format, is_quiet=quiet):
        result = run_audience(settings, reach=demo.resolved)
    with uninterrupted():
        if as_json:
            say_json(result.as_json())
        elif not quiet:
            say(summary(result, is_demo=settings.target.is_demo))
    return result.exit_code


@reported
def check(
    target: TargetName = None,
    project_dir: ProjectDir = Path(),
    profiles_dir: ProfilesDir = None,
    as_json: AsJson = False,
) -> int:
    """Connection, server, rights, source tables and columns: ok, or what to mend."""
    from runner.cli.display import check_json, check_list
    from runner.demo import demo
    from runner.project.load import load_project
    from runner.project.targets import load_target
    from runner.tools.check import check_target

    project = load_project(project_dir)
    with demo.resolved(load_target(profiles_dir or project_dir, target)) as reachable:
        checks = check_target(project, reachable)
    if as_json:
        say_json(check_json(checks))
    else:
        say(check_list(checks))
    return 0 if all(check.is_ok for check in checks) else EXIT_FAILED


@reported
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="A run: folder, manifest or CSV file.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="The run to hold against it.")],
    ignore: Ignore = None,
    key: KeyColumn = "user_id",
    test_files: TestFiles = False,
    show_users: ShowUsers = 0,
    project_dir: ProjectDir = Path(),
    as_json: AsJson = False,
) -> int:
    """What differs between two runs, user by user: exit code 0 equal, 1 different."""
    from runner.tools.compare.compare import compare as compare_sides
    from runner.tools.compare.discrepancies import comparison_text

    comparison = compare_sides(
        a,
        b,
        key=key,
        ignored=ignore or (),
        with_test_files=test_files,
        project_dir=project_dir,
        examples=show_users,
    )
    if as_json:
        say_json(comparison.as_json())
    else:
        say(comparison_text(comparison))
    return EXIT_DONE if comparison.is_equal else EXIT_FAILED


@reported
def demo_command(
    reset: Annotated[bool, typer.Option("--reset", help="Make its data anew, and end.")] = False,
) -> None:
    """Run the demo database and print its URL until Ctrl-C, or make its data anew."""
    from runner.demo import demo

    with demo.running(reset=reset) as url:
        if reset:
            say("the demo's data was made anew")
            return
        say(f"psql '{url}'\nrunning until Ctrl-C")
        try:
            signal.pause()
        except KeyboardInterrupt:
            typer.echo("stopped", err=True)
