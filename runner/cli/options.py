"""The options of the commands, each declared once, and what can be told from them alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from runner.cli import completion
from runner.clock import seconds_of
from runner.errors import UsageError

AudienceName = Annotated[
    str,
    typer.Argument(
        metavar="AUDIENCE", help="Its name or an alias.", autocompletion=completion.audience_names
    ),
]
AudienceOption = Annotated[
    str | None,
    typer.Option(
        "--audience",
        help="Default: the only one that reads the model.",
        autocompletion=completion.audience_names,
    ),
]
ModelName = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="Any model.", autocompletion=completion.model_names),
]
OneModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Only this model, as one stand-alone select.",
        autocompletion=completion.model_names,
    ),
]
LookbackHours = Annotated[
    str | None, typer.Option("--lookback-hours", metavar="HOURS", help="Fractions are allowed.")
]
CoolingHours = Annotated[
    str | None, typer.Option("--cooling-hours", metavar="HOURS", help="Fractions are allowed.")
]
Var = Annotated[
    list[str] | None,
    typer.Option(
        "--var",
        metavar="NAME=VALUE",
        help="Any parameter of the audience; repeatable.",
        autocompletion=completion.assignments,
    ),
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
Unmask = Annotated[bool, typer.Option("--unmask", help="Show personal columns too.")]

OutputDir = Annotated[
    str, typer.Option("--output-dir", metavar="FOLDER", help="Of files and manifests.")
]

Select = Annotated[
    list[str] | None,
    typer.Option("--select", metavar="NAME", help="A test, or those of a model; repeatable."),
]
ShowRows = Annotated[
    bool, typer.Option("--show-rows", help="Show the first rows that fail, personal ones too.")
]
Unit = Annotated[bool, typer.Option("--unit", help="The models' unit tests; they need no table.")]
Mutate = Annotated[
    bool, typer.Option("--mutate", help="With --unit: does a case notice each change of a model?")
]

DEFAULT_FOLDER = ".script-outputs"
"""Where runs write, and where what they left is looked for."""

# run's own

DryRun = Annotated[bool, typer.Option("--dry-run", help="Same work and numbers, no files.")]
AllOrNothing = Annotated[
    bool, typer.Option("--all-or-nothing", help="If one audience type fails, publish none.")
]
DeadlineLength = Annotated[
    str | None,
    typer.Option("--deadline", metavar="TIME", help="Of the whole run: 90s, 10m. Default: 10 min."),
]
Wait = Annotated[
    str | None,
    typer.Option("--wait", metavar="TIME", help="For another run of the audience to end: 5m."),
]
AutomationId = Annotated[
    str | None, typer.Option("--automation-id", help="Noted in log, result and manifest.")
]
KeepRuns = Annotated[
    int | None,
    typer.Option("--keep-runs", metavar="N", min=1, help="Remove older runs after this one."),
]
AcceptSize = Annotated[
    str | None,
    typer.Option("--accept-size", metavar="WHY", help="Pass over size guards once; noted."),
]
LogFormatName = Annotated[
    Literal["text", "json"], typer.Option("--log-format", help="Of the log on stderr.")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Only errors.")]

# of what runs have left in their folder

FolderOfRuns = Annotated[str, typer.Argument(metavar="[FOLDER]", help="That runs write to.")]
OutputDirOfRuns = Annotated[
    str, typer.Option("--output-dir", metavar="FOLDER", help="That runs write to.")
]
VerifiedPath = Annotated[
    str, typer.Argument(metavar="PATH", help="A manifest, a latest pointer, or a folder of runs.")
]
PastAudience = Annotated[
    str | None,
    typer.Argument(
        metavar="[AUDIENCE]",
        help="Its name or an alias. Default: all.",
        autocompletion=completion.audience_names,
    ),
]
CleanedAudience = Annotated[
    str | None,
    typer.Option(
        "--audience",
        help="Its name or an alias. Default: all.",
        autocompletion=completion.audience_names,
    ),
]
KeptRuns = Annotated[int, typer.Option("--keep-runs", metavar="N", min=1, help="Of each audience.")]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, help="The newest N runs.")]
OnlyShow = Annotated[bool, typer.Option("--dry-run", help="Show what would be removed.")]
# compare's own

Ignore = Annotated[
    list[str] | None,
    typer.Option("--ignore", metavar="COLUMN", help="As if it were not there; repeatable."),
]
KeyColumn = Annotated[
    str, typer.Option("--key", metavar="COLUMN", help="The column that tells users apart.")
]
TestFiles = Annotated[
    bool, typer.Option("--test-files", help="Test files too, but for what is the run's start.")
]
ShowUsers = Annotated[
    int,
    typer.Option("--show-users", metavar="N", min=0, help="Name N users of each difference."),
]


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


def seconds(option: str, text: str) -> float:
    try:
        return seconds_of(text)
    except ValueError as problem:
        raise UsageError(f"{option} {problem}", mend=f"give {option} a time such as 5m") from None


def filled(option: str, value: str) -> str:
    """Refuses what an unset or broken shell variable leaves behind."""
    if not value.strip() or not value.isprintable():
        raise UsageError(f"{option} {value!r} is empty or not printable", mend="give it a value")
    return value


def check_test_options(
    audience: str | None,
    given: Mapping[str, str],
    as_of: str | None,
    *,
    unit: bool,
    mutate: bool,
    show_rows: bool,
) -> None:
    """Data tests are an audience's, with its parameters; unit tests bring their own."""
    if mutate and not unit:
        raise UsageError("--mutate is about unit tests", mend="say --unit --mutate")
    if not unit and audience is None:
        raise UsageError("whose tests?", mend="name an audience, or say --unit for unit tests")
    if unit and (audience is not None or given or as_of is not None or show_rows):
        raise UsageError(
            "unit tests belong to models and bring their own rows, parameters and time",
            mend="with --unit leave audience, parameters, --as-of and --show-rows out; --select "
            "chooses models and cases",
        )
