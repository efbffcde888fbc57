"""`audiences history`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from runner.cli.console import print_json, print_text, reported
from runner.cli.options import (
    DEFAULT_FOLDER,
    AsJson,
    OutputDirOfRuns,
    PastAudience,
    ProjectDir,
    RunLimit,
    filled,
)
from runner.cli.request import Request
from runner.clock import instant

if TYPE_CHECKING:
    from runner.files.history import History
    from runner.files.manifest import PastRun

EXAMPLE = "audiences history layer3-behavior --limit 5"
LONGEST_ERROR = 100


@reported()
def command(
    audience: PastAudience = None,
    output_dir: OutputDirOfRuns = DEFAULT_FOLDER,
    limit: RunLimit = 20,
    project_dir: ProjectDir = Path(),
    as_json: AsJson = False,
) -> None:
    """List past runs, newest first: when they started, how they ended, their rows and errors.

    It reads the manifests in the output folder, and needs no database.
    """
    from runner.files.history import read_history

    folder = Path(filled("--output-dir", output_dir))
    found = read_history(folder, Request(project_dir).audience_name(audience), limit)
    if as_json:
        print_json(found.as_json())
    else:
        print_text(_text(found))


def _text(history: History) -> str:
    from runner.tables import list_table

    head = ("started", "audience", "status", "rows", "by type", "seconds", "target", "error")
    runs = [_cells(run) for run in history.runs]
    lines = [list_table(head, runs) if runs else "no runs yet"]
    return "\n".join([*lines, *(f"broken   {problem}" for problem in history.broken)])


def _cells(run: PastRun) -> tuple[str, ...]:
    document, metadata = run.document, run.metadata
    error = " ".join((document.error or "").split())
    return (
        instant(metadata.started_at.replace(microsecond=0)),
        metadata.audience,
        run.status,
        f"{document.audience_size:,}",
        ", ".join(f"{name} {rows:,}" for name, rows in metadata.rows_by_type.items()),
        "" if run.milliseconds is None else f"{run.milliseconds / 1000:.2f}",
        metadata.target,
        error if len(error) <= LONGEST_ERROR else f"{error[:LONGEST_ERROR]} ...",
    )
