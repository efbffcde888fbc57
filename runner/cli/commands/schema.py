"""`audiences schema`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from runner.cli.console import print_text, reported
from runner.cli.options import ProjectDir
from runner.cli.request import Request

EXAMPLE = "audiences schema"


@reported()
def command(
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="FOLDER",
            help="Write the schemas into this folder. Default: .schemas in the project's folder.",
        ),
    ] = None,
    project_dir: ProjectDir = Path(),
) -> None:
    """Write the JSON Schemas of the YAML files, with which editors check and complete them."""
    from runner.project.json_schema import SCHEMAS_FOLDER, write_schemas

    folder = to or Request(project_dir).project.root / SCHEMAS_FOLDER
    print_text("\n".join(map(str, write_schemas(folder))), is_product=False)
