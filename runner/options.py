"""Options that several commands share, each declared once."""

from pathlib import Path
from typing import Annotated

import typer

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
