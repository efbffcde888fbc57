"""The `audiences` command: each command parses, and calls one function that anybody can call."""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec

import typer

from runner import __version__
from runner.errors import EXIT_FAILED, AudienceError, UsageError

app = typer.Typer(
    name="audiences",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Turn the marketplace database into push-audience CSV files.",
    epilog="Exit codes: 0 done, 1 failed (nothing published), 2 usage or configuration, "
    "3 partial, 130 and 143 interrupted.",
)

P = ParamSpec("P")

AudienceName = Annotated[str, typer.Argument(metavar="AUDIENCE", help="Its name or an alias.")]
LookbackHours = Annotated[
    str | None, typer.Option("--lookback-hours", metavar="HOURS", help="Fractions are allowed.")
]
CoolingHours = Annotated[
    str | None, typer.Option("--cooling-hours", metavar="HOURS", help="Fractions are allowed.")
]
Var = Annotated[
    list[str] | None,
    typer.Option("--var", metavar="NAME=VALUE", help="Any parameter of the audience; repeatable."),
]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", metavar="INSTANT", help="ISO 8601 with offset. Default: the start."),
]
TargetName = Annotated[
    str | None,
    typer.Option("--target", help="Of profiles.yml. Default: AUDIENCES_TARGET, else the file's."),
]
ProjectDir = Annotated[Path, typer.Option("--project-dir", help="The folder that holds models/.")]
ProfilesDir = Annotated[
    Path | None,
    typer.Option("--profiles-dir", help="The folder of profiles.yml. Default: the project's."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


class Terminated(KeyboardInterrupt):
    """SIGTERM. A KeyboardInterrupt, so the driver cancels the running statement as for Ctrl-C."""


def main() -> None:
    """Entry point of the `audiences` script."""
    signal.signal(signal.SIGTERM, _terminate)
    app()


def _terminate(number: int, _frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)
    raise Terminated


def reported(command: Callable[P, int | None]) -> Callable[P, None]:
    """Turns a command's return value or error into its exit code; errors are one line."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs) or 0
            sys.stdout.flush()
        except AudienceError as problem:
            typer.echo(f"error: {problem}", err=True)
            if kwargs.get("as_json"):
                _print_json({"success": False, "status": "failed", "error": str(problem)})
            code = problem.exit_code
        except Terminated:
            typer.echo("terminated: nothing was published", err=True)
            code = 143
        except KeyboardInterrupt:
            typer.echo("interrupted: nothing was published", err=True)
            code = 130
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = EXIT_FAILED
        raise typer.Exit(code)

    return wrapper


@app.command()
@reported
def run(
    audience: AudienceName,
    lookback_hours: LookbackHours = None,
    cooling_hours: CoolingHours = None,
    var: Var = None,
    as_of: AsOf = None,
    output_dir: Annotated[Path, typer.Option("--output-dir", help="Made if missing.")] = Path(
        ".script-outputs"
    ),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Same work and numbers, no files.")
    ] = False,
    all_or_nothing: Annotated[
        bool, typer.Option("--all-or-nothing", help="If one audience type fails, publish none.")
    ] = False,
    automation_id: Annotated[
        str | None, typer.Option("--automation-id", help="Noted in log, result and manifest.")
    ] = None,
    target: TargetName = None,
    project_dir: ProjectDir = Path(),
    profiles_dir: ProfilesDir = None,
    as_json: AsJson = False,
    log_format: Annotated[
        str, typer.Option("--log-format", metavar="text|json", help="Of the log on stderr.")
    ] = "text",
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only errors.")] = False,
) -> int:
    """Make an audience's CSV files from one snapshot of the database."""
    if log_format not in ("text", "json"):
        raise UsageError(f"--log-format {log_format!r} is unknown", mend="use text or json")
    from runner import demo
    from runner.execution import run as run_audience
    from runner.logs import logging_to_stderr
    from runner.parameters import parse_as_of
    from runner.profiles import load_target
    from runner.settings import Settings

    settings = Settings(
        project_dir=project_dir,
        audience=audience,
        target=load_target(profiles_dir or project_dir, target),
        parameters=_given(lookback_hours, cooling_hours, var),
        as_of=parse_as_of(as_of) if as_of else None,
        output_dir=output_dir,
        is_dry_run=dry_run,
        is_all_or_nothing=all_or_nothing,
        automation_id=automation_id,
    )
    with logging_to_stderr(log_format, is_quiet=quiet):  # type: ignore[arg-type]
        result = run_audience(settings, reach=demo.resolved)
    if as_json:
        _print_json(result.as_json())
    elif not quiet:
        from runner.display import summary

        typer.echo(summary(result, is_demo=settings.target.is_demo))
    return result.exit_code


@app.command("list")
@reported
def list_audiences(project_dir: ProjectDir = Path(), as_json: AsJson = False) -> None:
    """Audiences, their parameters with defaults and bounds, their outputs."""
    from runner.display import audience_json, audience_list
    from runner.project import load_project

    project = load_project(project_dir)
    if as_json:
        _print_json(audience_json(project))
    else:
        typer.echo(audience_list(project))


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
    from runner.parameters import parse_as_of
    from runner.profiles import load_target
    from runner.project import load_project
    from runner.script import psql_script, write_folder

    now = datetime.now(UTC)
    moment = parse_as_of(as_of) if as_of else now
    given = _given(lookback_hours, cooling_hours, var)
    project = load_project(project_dir)
    if model is not None:
        typer.echo(compile_model(project, audience, model, given, moment).text)
        return
    settled = load_target(profiles_dir or project_dir, target, is_offline=True)
    compiled = compile_audience(project, audience, given, moment)
    if to is None:
        typer.echo(psql_script(compiled, settled, now), nl=False)
        return
    for path in write_folder(compiled, settled, now, to):
        typer.echo(str(path))


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
    from runner.profiles import load_target
    from runner.project import load_project

    project = load_project(project_dir)
    with demo.resolved(load_target(profiles_dir or project_dir, target)) as reachable:
        checks = check_target(project, reachable)
    if as_json:
        _print_json(check_json(checks))
    else:
        typer.echo(check_list(checks))
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
            typer.echo("the demo's data was made anew")
            return
        typer.echo(f"psql '{url}'\nrunning until Ctrl-C")
        sys.stdout.flush()
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


def _given(lookback: str | None, cooling: str | None, var: list[str] | None) -> dict[str, str]:
    """Parameters as they were given: the two short options, and --var name=value."""
    short = {"lookback_hours": lookback, "cooling_hours": cooling}
    given = {name: value for name, value in short.items() if value is not None}
    for one in var or []:
        name, sign, value = one.partition("=")
        if not sign or not name:
            raise UsageError(f"--var {one!r} is not NAME=VALUE", mend="write --var name=value")
        if name in given:
            raise UsageError(f"parameter {name} is given twice", mend="give it once")
        given[name] = value
    return given


def _print_json(document: Any) -> None:
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
