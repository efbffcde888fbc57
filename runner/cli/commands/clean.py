"""`audiences clean`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.cli.console import print_json, print_text, reported
from runner.cli.options import (
    DEFAULT_FOLDER,
    AsJson,
    CleanedAudience,
    FolderOfRuns,
    KeptRuns,
    OnlyShow,
    ProjectDir,
    filled,
)
from runner.cli.request import Request

if TYPE_CHECKING:
    from runner.files.clean import Removed

EXAMPLE = "audiences clean .script-outputs --keep-runs 30 --dry-run"


@reported()
def command(
    keep_runs: KeptRuns,
    folder: FolderOfRuns = DEFAULT_FOLDER,
    audience: CleanedAudience = None,
    dry_run: OnlyShow = False,
    project_dir: ProjectDir = Path(),
    as_json: AsJson = False,
) -> None:
    """Remove old runs: their manifests and the files that these list.

    It always keeps the latest published run, runs that are still going on, and files that no
    manifest lists.
    """
    from runner.files.clean import clean

    removed = clean(
        Path(filled("FOLDER", folder)),
        keep_runs=keep_runs,
        audience=Request(project_dir).audience_name(audience),
        is_dry_run=dry_run,
    )
    if as_json:
        print_json(_document(removed, is_dry_run=dry_run), is_product=dry_run)
    else:
        print_text(_text(removed, is_dry_run=dry_run), is_product=dry_run)


def _text(removed: list[Removed], *, is_dry_run: bool) -> str:
    verb = "would be removed" if is_dry_run else "removed"
    lines = [f"{verb} {name}" for run in removed for name in run.names]
    files = sum(len(run.names) for run in removed)
    return "\n".join([*lines, f"{verb}: {files} files, runs: {len(removed)}"])


def _document(removed: list[Removed], *, is_dry_run: bool) -> dict[str, Any]:
    return {
        "dryRun": is_dry_run,
        "runs": [
            {"audience": run.audience, "timestamp": run.timestamp, "files": list(run.names)}
            for run in removed
        ],
    }
