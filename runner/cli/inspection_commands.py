"""The commands that look into models and plans: each parses, and calls one function anybody can
call."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from runner.cli.console import reported, say, say_json
from runner.cli.options import (
    DEFAULT_FOLDER,
    AsJson,
    AsOf,
    AudienceName,
    AudienceOption,
    CoolingHours,
    LookbackHours,
    ModelName,
    OutputDir,
    ProfilesDir,
    ProjectDir,
    TargetName,
    Unmask,
    Var,
    filled,
    given_parameters,
)
from runner.errors import UsageError

if TYPE_CHECKING:
    from runner.tools.show import Preview


@reported
def show(
    model: ModelName,
    audience: AudienceOption = None,
    limit: Annotated[int, typer.Option("--limit", help="How many rows at most.")] = 20,
    unmask: Unmask = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV on stdout, notes on stderr.")] = False,
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
    """The first rows of a model, made as a run makes them. Personal columns are masked."""
    from runner.clock import parse_as_of
    from runner.demo import demo
    from runner.project.load import load_project
    from runner.project.targets import load_target
    from runner.tools.show import preview

    if where is not None:
        raise UsageError(
            "show has no --where", mend="to follow one user: audiences trace AUDIENCE USER_ID"
        )
    if as_json and as_csv:
        raise UsageError("--json and --csv were both given", mend="give one")
    settled = load_target(profiles_dir or project_dir, target)
    shown = preview(
        load_project(project_dir),
        model,
        settled,
        as_of=parse_as_of(as_of) if as_of is not None else datetime.now(UTC),
        audience=audience if audience is None else filled("--audience", audience),
        parameters=given_parameters(lookback_hours, cooling_hours, var),
        limit=limit,
        unmask=unmask,
        reach=demo.resolved,
    )
    form: Literal["json", "csv", "table"] = "json" if as_json else "csv" if as_csv else "table"
    _say_preview(shown, form, is_demo=settled.is_demo)


def _say_preview(shown: Preview, form: Literal["json", "csv", "table"], *, is_demo: bool) -> None:
    from runner import tables

    notes = [f"{'DEMO data, not your users. ' if is_demo else ''}{shown.notes()[0]}"]
    notes += shown.notes()[1:]
    if form == "json":
        say_json(shown.as_json())
    elif form == "csv":
        say(tables.csv_table(shown.names, shown.rows))
        typer.echo("\n".join(notes), err=True)
    else:
        table = tables.terminal_table if sys.stdout.isatty() else tables.plain_table
        say("\n".join([*notes, "", table(shown.names, shown.rows)]))


@reported
def explain_command(
    audience: AudienceName,
    analyze: Annotated[
        bool, typer.Option("--analyze", help="Execute the steps and count; no file is made.")
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
    """The plan of every step of a run, and the indexes that would make it faster."""
    from runner.cli.display import explanation_text
    from runner.clock import parse_as_of
    from runner.demo import demo
    from runner.project.load import load_project
    from runner.project.targets import load_target
    from runner.tools.explain.explain import explain

    settled = load_target(profiles_dir or project_dir, target)
    explanation = explain(
        load_project(project_dir),
        audience,
        settled,
        as_of=parse_as_of(as_of) if as_of is not None else datetime.now(UTC),
        parameters=given_parameters(lookback_hours, cooling_hours, var),
        analyze=analyze,
        reach=demo.resolved,
    )
    if as_json:
        say_json(explanation.as_json())
    else:
        say(explanation_text(explanation, is_demo=settled.is_demo))


@reported
def schema(
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FOLDER", help="Default: .schemas in the project's folder."),
    ] = None,
    project_dir: ProjectDir = Path(),
) -> None:
    """Write JSON Schemas of the YAML files, for editors."""
    from runner.project.json_schema import SCHEMAS_FOLDER, write_schemas
    from runner.project.load import load_project

    folder = to or load_project(project_dir).root / SCHEMAS_FOLDER
    for path in write_schemas(folder):
        say(str(path))


@reported
def docs(
    to: Annotated[
        str, typer.Option("--to", metavar="FILE", help="The page; its folder is made if missing.")
    ] = "target/audiences.html",
    output_dir: OutputDir = DEFAULT_FOLDER,
    project_dir: ProjectDir = Path(),
) -> None:
    """Write one HTML page about models, columns and past runs. Needs no database."""
    from runner.project.load import load_project
    from runner.tools.docs.page import check_target, docs_page, write_page

    target = Path(filled("--to", to))
    check_target(target)
    manifests = Path(filled("--output-dir", output_dir))
    page = docs_page(load_project(project_dir), manifests, datetime.now(UTC).replace(microsecond=0))
    write_page(page.html, target)
    for note in page.notes:
        typer.echo(f"note: {note}", err=True)
    say(f"{target}: {page.summary}")


@reported
def trace(
    audience: AudienceName,
    users: Annotated[
        list[str], typer.Argument(metavar="USER...", help="Keys of users, one or several.")
    ],
    lookback_hours: LookbackHours = None,
    cooling_hours: CoolingHours = None,
    var: Var = None,
    as_of: AsOf = None,
    unmask: Unmask = False,
    target: TargetName = None,
    project_dir: ProjectDir = Path(),
    profiles_dir: ProfilesDir = None,
    as_json: AsJson = False,
) -> None:
    """Why a user is in the audience, or is not: each step's rows, and the rule that decided."""
    from runner.clock import parse_as_of
    from runner.demo import demo
    from runner.project.load import load_project
    from runner.project.targets import load_target
    from runner.tools.trace.text import answer_json, answer_text
    from runner.tools.trace.trace import trace as trace_users

    moment = parse_as_of(as_of) if as_of is not None else datetime.now(UTC)
    given = given_parameters(lookback_hours, cooling_hours, var)
    project = load_project(project_dir)
    chosen = load_target(profiles_dir or project_dir, target)
    project.audience(audience)
    with demo.resolved(chosen) as reachable:
        answer = trace_users(project, audience, reachable, users, given, moment, unmask=unmask)
    if as_json:
        say_json(answer_json(answer))
    else:
        say(answer_text(answer, is_demo=chosen.is_demo))
