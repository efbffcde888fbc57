"""The `audiences` command: each command parses, and calls one function that anybody can call."""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, ParamSpec

import typer

from runner import __version__
from runner.errors import EXIT_FAILED, AudienceError
from runner.options import (
    AllOrNothing,
    AsJson,
    AsOf,
    AudienceName,
    AutomationId,
    CoolingHours,
    DryRun,
    LogFormatName,
    LookbackHours,
    OutputDir,
    ProfilesDir,
    ProjectDir,
    Quiet,
    TargetName,
    Var,
    filled,
    given_parameters,
)

if TYPE_CHECKING:
    from runner.logs import LogFormat
    from runner.settings import Settings

app = typer.Typer(
    name="audiences",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Turn the marketplace database into push-audience CSV files.",
    epilog="Exit codes: 0 done, 1 failed (nothing published), 2 usage or configuration, "
    "3 partial, 130, 143 and 129 interrupted.",
)

P = ParamSpec("P")


class Terminated(SystemExit):
    """SIGTERM or SIGHUP. For a SystemExit the driver cancels the running statement."""


def main() -> None:
    """Entry point of the `audiences` script."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    app()


def _terminate(number: int, _frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)
    raise Terminated(128 + number)


def reported(command: Callable[P, int | None]) -> Callable[P, None]:
    """Turns a command's return value or error into its exit code; errors are one line."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs) or 0
        except AudienceError as problem:
            _tell_error(command.__name__, str(problem), kwargs)
            code = problem.exit_code
        except (KeyboardInterrupt, Terminated) as problem:
            is_ours = isinstance(problem, Terminated)
            code = int(problem.code or EXIT_FAILED) if isinstance(problem, Terminated) else 130
            what = ["terminated" if is_ours else "interrupted"]
            what += getattr(problem, "__notes__", [])
            _tell_error(command.__name__, ": ".join(what), kwargs)
        raise typer.Exit(code)

    return wrapper


def _tell_error(command: str, message: str, options: Mapping[str, object]) -> None:
    """One line on stderr in the log's format, and with --json a document of the usual shape."""
    if options.get("log_format") == "json":
        from runner.logs import error_line

        typer.echo(error_line(message), err=True)
    else:
        typer.echo(f"error: {message}", err=True)
    if options.get("as_json"):
        from runner.results import RunResult

        if command == "check":
            _say_json({"valid": False, "errors": [message], "checks": []})
        else:
            _say_json(RunResult("failed", error=message).as_json())


@app.command()
@reported
def run(
    audience: AudienceName,
    lookback_hours: LookbackHours = None,
    cooling_hours: CoolingHours = None,
    var: Var = None,
    as_of: AsOf = None,
    output_dir: OutputDir = ".script-outputs",
    dry_run: DryRun = False,
    all_or_nothing: AllOrNothing = False,
    automation_id: AutomationId = None,
    target: TargetName = None,
    project_dir: ProjectDir = Path(),
    profiles_dir: ProfilesDir = None,
    as_json: AsJson = False,
    log_format: LogFormatName = "text",
    quiet: Quiet = False,
) -> int:
    """Make an audience's CSV files from one snapshot of the database."""
    from runner.parameters import parse_as_of
    from runner.profiles import load_target
    from runner.settings import Settings

    settings = Settings(
        project_dir=project_dir,
        audience=audience,
        target=load_target(profiles_dir or project_dir, target),
        parameters=given_parameters(lookback_hours, cooling_hours, var),
        as_of=parse_as_of(as_of) if as_of is not None else None,
        output_dir=Path(filled("--output-dir", output_dir)),
        is_dry_run=dry_run,
        is_all_or_nothing=all_or_nothing,
        automation_id=automation_id and filled("--automation-id", automation_id),
    )
    return _run(settings, as_json=as_json, log_format=log_format, quiet=quiet)


def _run(settings: Settings, *, as_json: bool, log_format: LogFormat, quiet: bool) -> int:
    from runner import demo
    from runner.display import summary
    from runner.execution import run as run_audience
    from runner.export import uninterrupted
    from runner.logs import logging_to_stderr

    with logging_to_stderr(log_format, is_quiet=quiet):
        result = run_audience(settings, reach=demo.resolved)
    with uninterrupted():
        if as_json:
            _say_json(result.as_json())
        elif not quiet:
            _say(summary(result, is_demo=settings.target.is_demo))
    return result.exit_code


@app.command("list")
@reported
def list_audiences(project_dir: ProjectDir = Path(), as_json: AsJson = False) -> None:
    """Audiences, their parameters with defaults and bounds, their outputs."""
    from runner.display import audience_json, audience_list
    from runner.loading import load_project

    project = load_project(project_dir)
    if as_json:
        _say_json(audience_json(project))
    else:
        _say(audience_list(project))


@app.command("compile")
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
    from runner.loading import load_project
    from runner.parameters import parse_as_of
    from runner.profiles import load_target
    from runner.script import psql_script, write_folder

    now = datetime.now(UTC)
    moment = parse_as_of(as_of) if as_of is not None else now
    given = given_parameters(lookback_hours, cooling_hours, var)
    project = load_project(project_dir)
    if model is not None:
        _say(compile_model(project, audience, model, given, moment).text)
        return
    settled = load_target(profiles_dir or project_dir, target, is_offline=True)
    compiled = compile_audience(project, audience, given, moment)
    if to is None:
        _say(psql_script(compiled, settled, now).rstrip("\n"))
        return
    for path in write_folder(compiled, settled, now, to):
        _say(str(path))


@app.command()
@reported
def check(
    target: TargetName = None,
    project_dir: ProjectDir = Path(),
    profiles_dir: ProfilesDir = None,
    as_json: AsJson = False,
) -> int:
    """Connection, server, rights, source tables and columns: ok, or what to mend."""
    from runner import demo
    from runner.checks import check_target
    from runner.display import check_json, check_list
    from runner.loading import load_project
    from runner.profiles import load_target

    project = load_project(project_dir)
    with demo.resolved(load_target(profiles_dir or project_dir, target)) as reachable:
        checks = check_target(project, reachable)
    if as_json:
        _say_json(check_json(checks))
    else:
        _say(check_list(checks))
    return 0 if all(check.is_ok for check in checks) else EXIT_FAILED


@app.command("demo")
@reported
def demo_command(
    reset: Annotated[bool, typer.Option("--reset", help="Make its data anew, and end.")] = False,
) -> None:
    """Run the demo database and print its URL until Ctrl-C, or make its data anew."""
    from runner import demo

    with demo.running(reset=reset) as url:
        if reset:
            _say("the demo's data was made anew")
            return
        _say(f"psql '{url}'\nrunning until Ctrl-C")
        try:
            signal.pause()
        except KeyboardInterrupt:
            typer.echo("stopped", err=True)


@app.callback(invoke_without_command=True)
def top(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Turn the marketplace database into push-audience CSV files."""
    if version:
        typer.echo(f"push-audiences {__version__}")
        raise typer.Exit


def _say_json(document: Any) -> None:
    _say(json.dumps(document, indent=2, ensure_ascii=False))


def _say(text: str) -> None:
    """Print on stdout. Whoever closed it, or let it fill, does not change what was done."""
    try:
        typer.echo(text)
        sys.stdout.flush()
    except OSError as problem:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(problem, BrokenPipeError):
            typer.echo(f"stdout cannot be written to: {problem.strerror}", err=True)
