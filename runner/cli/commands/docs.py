"""`audiences docs`"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from runner.cli.console import print_note, print_text, reported
from runner.cli.options import DEFAULT_FOLDER, OutputDirOfRuns, ProjectDir, filled
from runner.cli.request import Request

EXAMPLE = "audiences docs --to target/audiences.html"


@reported()
def command(
    to: Annotated[
        str,
        typer.Option(
            "--to", metavar="FILE", help="Write the page into this file. Its folder is made."
        ),
    ] = "target/audiences.html",
    output_dir: OutputDirOfRuns = DEFAULT_FOLDER,
    project_dir: ProjectDir = Path(),
) -> None:
    """Write one HTML page about the audiences, their models and columns, and past runs.

    It needs no database.
    """
    from runner.tools.docs.page import check_target, docs_page, write_page

    target = Path(filled("--to", to))
    check_target(target)
    manifests = Path(filled("--output-dir", output_dir))
    now = datetime.now(UTC).replace(microsecond=0)
    page = docs_page(Request(project_dir).project, manifests, now)
    write_page(page.html, target)
    for note in page.notes:
        print_note(f"note: {note}")
    print_text(f"{target}: {page.summary}", is_product=False)
