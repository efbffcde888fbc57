"""The commands about what runs have left in their folder. None of them needs a database."""

from __future__ import annotations

from pathlib import Path

from runner.cli.console import reported, say, say_json
from runner.cli.options import (
    DEFAULT_FOLDER,
    AsJson,
    CleanedAudience,
    FolderOfRuns,
    KeptRuns,
    Limit,
    OnlyShow,
    OutputDirOfRuns,
    PastAudience,
    ProjectDir,
    VerifiedPath,
    filled,
)
from runner.errors import EXIT_DONE, EXIT_FAILED


@reported
def history(
    audience: PastAudience = None,
    output_dir: OutputDirOfRuns = DEFAULT_FOLDER,
    limit: Limit = 20,
    project_dir: ProjectDir = Path(),
    as_json: AsJson = False,
) -> None:
    """The last runs: when, how they ended, sizes, durations, errors."""
    from runner.cli.folder_display import history_table
    from runner.files.history import read_history

    found = read_history(
        Path(filled("--output-dir", output_dir)), _name_of(audience, project_dir), limit
    )
    if as_json:
        say_json(found.as_json())
    else:
        say(history_table(found))


@reported
def verify(path: VerifiedPath, as_json: AsJson = False) -> int:
    """Are the files still those that their manifest lists? Exit 1 if anything differs."""
    from runner.cli.folder_display import findings_json, findings_list
    from runner.files import verify as verification

    findings = verification.verify(Path(filled("PATH", path)))
    if as_json:
        say_json(findings_json(findings))
    else:
        say(findings_list(findings))
    return EXIT_FAILED if any(finding.problem for finding in findings) else EXIT_DONE


@reported
def clean(
    keep_runs: KeptRuns,
    folder: FolderOfRuns = DEFAULT_FOLDER,
    audience: CleanedAudience = None,
    dry_run: OnlyShow = False,
    project_dir: ProjectDir = Path(),
    as_json: AsJson = False,
) -> None:
    """Remove old runs with their files; never the latest, nor what no manifest lists."""
    from runner.cli.folder_display import removed_json, removed_list
    from runner.files import clean as retention

    removed = retention.clean(
        Path(filled("FOLDER", folder)),
        keep_runs=keep_runs,
        audience=_name_of(audience, project_dir),
        is_dry_run=dry_run,
    )
    if as_json:
        say_json(removed_json(removed, is_dry_run=dry_run))
    else:
        say(removed_list(removed, is_dry_run=dry_run))


def _name_of(audience: str | None, project_dir: Path) -> str | None:
    """The name of the audience that may have been given by an alias."""
    from runner.project.load import load_project

    return None if audience is None else load_project(project_dir).audience(audience).name
