"""`audiences new`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from runner.cli import completion
from runner.cli.console import print_text, reported
from runner.cli.options import ProjectDir

EXAMPLE = "audiences new weekend-sellers"


@reported()
def command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Name of the new audience: small letters, digits and hyphens.",
        ),
    ],
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="AUDIENCE",
            help="Copy this audience under new names. Default: a small example with comments that "
            "say what to change.",
            autocompletion=completion.audience_names,
        ),
    ] = None,
    project_dir: ProjectDir = Path(),
) -> None:
    """Write a folder below models/ with a new audience that runs at once.

    It never changes or overwrites a file.
    """
    from runner.tools.new.new import new_audience

    made = new_audience(project_dir, name, source)
    lines = [f"audience {made.name} is in {made.folder}. Its files:"]
    lines += [f"  {path}" for path in made.files]
    lines += ["Next:", f"  audiences run {made.name} --dry-run"]
    print_text("\n".join(lines), is_product=False)
