"""The options of the commands, each declared once, and what can be told from them alone."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from runner.errors import UsageError

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

OutputDir = Annotated[
    str, typer.Option("--output-dir", metavar="FOLDER", help="Of files and manifests.")
]

Select = Annotated[
    list[str] | None,
    typer.Option("--select", metavar="NAME", help="A test, or the tests of a model; repeatable."),
]
ShowRows = Annotated[
    bool, typer.Option("--show-rows", help="Show the first rows that fail, personal ones too.")
]

# run's own

DryRun = Annotated[bool, typer.Option("--dry-run", help="Same work and numbers, no files.")]
AllOrNothing = Annotated[
    bool, typer.Option("--all-or-nothing", help="If one audience type fails, publish none.")
]
AutomationId = Annotated[
    str | None, typer.Option("--automation-id", help="Noted in log, result and manifest.")
]
LogFormatName = Annotated[
    Literal["text", "json"], typer.Option("--log-format", help="Of the log on stderr.")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Only errors.")]


def given_parameters(
    lookback: str | None, cooling: str | None, var: list[str] | None
) -> dict[str, str]:
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


def filled(option: str, value: str) -> str:
    """Refuses what an unset or broken shell variable leaves behind."""
    if not value.strip() or not value.isprintable():
        raise UsageError(f"{option} {value!r} is empty or not printable", mend="give it a value")
    return value
