"""The options and arguments of the commands, each declared once."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from runner.cli import completion
from runner.clock import seconds_of
from runner.errors import UsageError

DEFAULT_FOLDER = ".script-outputs"
"""Where runs write, and where past runs are looked for."""

# which audience, which models

AudienceName = Annotated[
    str,
    typer.Argument(
        metavar="AUDIENCE",
        help="Name or alias of the audience, as `audiences list` prints it.",
        autocompletion=completion.audience_names,
    ),
]
TestedAudience = Annotated[
    str | None,
    typer.Argument(
        metavar="[AUDIENCE]",
        help="Name or alias of the audience whose data tests are run. Leave it out with --unit.",
        autocompletion=completion.audience_names,
    ),
]
CheckedAudience = Annotated[
    str | None,
    typer.Argument(
        metavar="[AUDIENCE]",
        help="Look only at the tables that this audience reads. Leave it out for those of all "
        "audiences.",
        autocompletion=completion.audience_names,
    ),
]
PastAudience = Annotated[
    str | None,
    typer.Argument(
        metavar="[AUDIENCE]",
        help="List only the runs of this audience. Default: of all audiences.",
        autocompletion=completion.audience_names,
    ),
]
CleanedAudience = Annotated[
    str | None,
    typer.Option(
        "--audience",
        metavar="NAME",
        help="Remove only runs of this audience. Default: of each audience.",
        autocompletion=completion.audience_names,
    ),
]
ReadingAudience = Annotated[
    str | None,
    typer.Option(
        "--audience",
        metavar="NAME",
        help="Use the parameters of this audience. Default: the only audience that reads the "
        "model.",
        autocompletion=completion.audience_names,
    ),
]
ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="Name of a model: its file below models/ without .sql.",
        autocompletion=completion.model_names,
    ),
]
OneModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="Print only this model, as one select that runs by itself. Default: the whole run.",
        autocompletion=completion.model_names,
    ),
]
Users = Annotated[
    list[str],
    typer.Argument(
        metavar="USER...",
        help="One or more users, by the audience's key (for the shipped audience: user ids).",
    ),
]

# with which values, as of when

LookbackHours = Annotated[
    str | None,
    typer.Option(
        "--lookback-hours",
        metavar="HOURS",
        help="Set the audience's parameter lookback_hours, such as 24 or 1.5. Default: the value "
        "that `audiences list` prints.",
    ),
]
CoolingHours = Annotated[
    str | None,
    typer.Option(
        "--cooling-hours",
        metavar="HOURS",
        help="Set the audience's parameter cooling_hours, such as 6 or 0.5. Default: the value "
        "that `audiences list` prints.",
    ),
]
Var = Annotated[
    list[str] | None,
    typer.Option(
        "--var",
        metavar="NAME=VALUE",
        help="Set any parameter of the audience. Can be given several times. Default: the values "
        "that `audiences list` prints.",
        autocompletion=completion.assignments,
    ),
]
AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="TIME",
        help="Compute everything as of this time, such as 2025-11-28T12:00:00Z. Default: now.",
    ),
]

# where from

TargetName = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="NAME",
        help="Read from this target of profiles.yml. Default: the environment variable "
        "AUDIENCES_TARGET, else the target that profiles.yml sets.",
    ),
]
ProjectDir = Annotated[
    Path,
    typer.Option("--project-dir", metavar="FOLDER", help="The folder that contains models/."),
]
ProfilesDir = Annotated[
    Path | None,
    typer.Option(
        "--profiles-dir",
        metavar="FOLDER",
        help="The folder that contains profiles.yml. Default: the project's folder.",
    ),
]

# what is printed

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
AsCsv = Annotated[
    bool, typer.Option("--csv", help="Print CSV instead of a table; notes go to stderr.")
]
Unmask = Annotated[
    bool, typer.Option("--unmask", help="Print personal columns as they are. Default: masked.")
]
RowLimit = Annotated[
    int, typer.Option("--limit", metavar="N", help="Print at most this many rows.")
]
RunLimit = Annotated[
    int, typer.Option("--limit", metavar="N", min=1, help="List at most this many runs.")
]
LogFormatName = Annotated[
    Literal["text", "json"],
    typer.Option("--log-format", help="Write the log on stderr as text or as JSON lines."),
]
Quiet = Annotated[
    bool, typer.Option("-q", "--quiet", help="Print nothing but errors, and --json's document.")
]

# what a run does

OutputDir = Annotated[
    str,
    typer.Option(
        "--output-dir",
        metavar="FOLDER",
        help="Write the CSV files and the run's manifest into this folder.",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Do the same work and print the same numbers, but write no file. Default: write "
        "files.",
    ),
]
AllOrNothing = Annotated[
    bool,
    typer.Option(
        "--all-or-nothing",
        help="Publish no file if any audience type fails. Default: publish the types that do not "
        "fail.",
    ),
]
DeadlineLength = Annotated[
    str | None,
    typer.Option(
        "--deadline",
        metavar="TIME",
        help="Fail if the whole run takes longer than this, such as 90s or 10m. Default: the "
        "deadline of the target, which is 10 min unless profiles.yml sets another.",
    ),
]
Wait = Annotated[
    str | None,
    typer.Option(
        "--wait",
        metavar="TIME",
        help="If another run of the audience is going on, wait up to this long for its end, such "
        "as 5m. Default: do not wait, exit with 4.",
    ),
]
AutomationId = Annotated[
    str | None,
    typer.Option(
        "--automation-id",
        metavar="ID",
        help="Write this id into the log, the result and the manifest. Default: none.",
    ),
]
KeepRuns = Annotated[
    int | None,
    typer.Option(
        "--keep-runs",
        metavar="N",
        min=1,
        help="After this run, remove the audience's older runs except for the newest N. Default: "
        "remove none.",
    ),
]
AcceptSize = Annotated[
    str | None,
    typer.Option(
        "--accept-size",
        metavar="REASON",
        help="Publish files even if a size guard finds them too small or too large. The reason is "
        "written into the manifest. Default: such a file fails.",
    ),
]

# past runs

OutputDirOfRuns = Annotated[
    str,
    typer.Option(
        "--output-dir",
        metavar="FOLDER",
        help="Read the manifests of past runs from this folder.",
    ),
]
FolderOfRuns = Annotated[
    str, typer.Argument(metavar="[FOLDER]", help="The folder that runs write into.")
]
VerifiedPath = Annotated[
    str,
    typer.Argument(
        metavar="PATH",
        help="A manifest, a pointer (AUDIENCE.latest.json), or the folder that runs write into.",
    ),
]
KeptRuns = Annotated[
    int,
    typer.Option(
        "--keep-runs",
        metavar="N",
        min=1,
        help="Keep the newest N runs of each audience that published files, and the newest N of "
        "those that did not.",
    ),
]
OnlyShow = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be removed, but remove nothing.")
]

# comparing

RunA = Annotated[
    Path,
    typer.Argument(
        metavar="A",
        help="A run: the folder it wrote into (its newest run is taken), FOLDER/TIMESTAMP, a "
        "manifest, or one CSV file.",
    ),
]
RunB = Annotated[
    Path, typer.Argument(metavar="B", help="The run to compare it with, given in the same way.")
]
Ignore = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore",
        metavar="COLUMN",
        help="Leave this column out of the comparison. Can be given several times. Default: "
        "compare all columns.",
    ),
]
KeyColumn = Annotated[
    str, typer.Option("--key", metavar="COLUMN", help="The column that identifies a user.")
]
TestFiles = Annotated[
    bool,
    typer.Option(
        "--test-files",
        help="Compare the test files as well, except for columns that hold the run's start. "
        "Default: production files only.",
    ),
]
ShowUsers = Annotated[
    int,
    typer.Option("--show-users", metavar="N", min=0, help="Name up to N users of each difference."),
]

# testing

Unit = Annotated[
    bool,
    typer.Option(
        "--unit",
        help="Run the models' unit tests, on rows that they bring themselves. Default: the data "
        "tests of an audience.",
    ),
]
Mutate = Annotated[
    bool,
    typer.Option(
        "--mutate",
        help="With --unit: make small changes in each model, and fail if no unit test notices one.",
    ),
]
Select = Annotated[
    list[str] | None,
    typer.Option(
        "--select",
        metavar="NAME",
        help="Run only this test, or the tests of this model. Can be given several times. "
        "Default: all tests.",
    ),
]
ShowRows = Annotated[
    bool,
    typer.Option(
        "--show-rows",
        help="Print the first rows that fail, personal columns unmasked. Default: only counts.",
    ),
]


def seconds(option: str, text: str) -> float:
    try:
        return seconds_of(text)
    except ValueError as problem:
        raise UsageError(f"{option} {problem}", fix=f"give {option} a time such as 5m") from None


def filled(option: str, value: str) -> str:
    """Refuses what an unset or broken shell variable leaves behind."""
    if not value.strip() or not value.isprintable():
        raise UsageError(f"{option} {value!r} is empty or not printable", fix="give it a value")
    return value


def filled_or_none(option: str, value: str | None) -> str | None:
    return None if value is None else filled(option, value)
