"""Old runs: which of them are kept, and how the others are removed."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from runner.errors import UsageError
from runner.files.folder import Folder, read_from
from runner.files.manifest import PastRun, read_pointer, readable_manifests


@dataclass(frozen=True)
class Removed:
    """One run that was removed: names of its files, its manifest's last."""

    audience: str
    timestamp: str
    names: tuple[str, ...]


def clean(
    path: Path, *, keep_runs: int, audience: str | None = None, is_dry_run: bool = False
) -> list[Removed]:
    """The same for a folder by its path. Raises `UsageError` for a wrong folder, too."""
    with read_from(path) as folder:
        return remove_old(folder, keep_runs=keep_runs, audience=audience, is_dry_run=is_dry_run)


def remove_old(
    folder: Folder, *, keep_runs: int, audience: str | None = None, is_dry_run: bool = False
) -> list[Removed]:
    """Remove the old runs of a folder, of one audience or of each.

    Of each audience there stay the newest `keep_runs` runs that published files, as many of the
    newest that did not, whatever has not ended, the run that the `latest` pointer names, and
    every file that no manifest lists. Raises `UsageError` for a wrong number, `BrokenManifest` for
    a pointer that cannot be read, `ExportError` if a file cannot be removed: what was not removed
    is still listed.
    """
    if keep_runs < 1:
        raise UsageError(f"{keep_runs} runs cannot be kept", fix="keep 1 or more")
    with folder.alone():
        old = [_removal(folder, run) for run in _old(folder, keep_runs, audience)]
        for removed in () if is_dry_run else old:
            _remove(folder, removed)
    return old


def _old(folder: Folder, keep_runs: int, audience: str | None) -> list[PastRun]:
    """Oldest first, so that a stop in between leaves the newer ones whole."""
    ended = [run for run in readable_manifests(folder, audience) if not run.is_unfinished]
    old: list[PastRun] = []
    for name in {run.name.audience for run in ended}:
        pointer = read_pointer(folder, name)
        latest = pointer.timestamp if pointer else None
        for is_published in (True, False):
            alike = [
                run
                for run in ended
                if run.name.audience == name and run.is_published == is_published
            ]
            old += [run for run in alike[keep_runs:] if run.name.timestamp != latest]
    return sorted(old, key=lambda run: (run.name.timestamp, run.name.audience))


def _removal(folder: Folder, run: PastRun) -> Removed:
    """A folder under the name of a listed file is no file of the run: it stays."""
    listed = [file.path.name for file in run.document.csv_files]
    files = [name for name in listed if not _is_folder(folder, name)]
    return Removed(run.name.audience, run.name.timestamp, (*files, run.name.manifest))


def _is_folder(folder: Folder, name: str) -> bool:
    status = folder.status(name)
    return status is not None and stat.S_ISDIR(status.st_mode)


def _remove(folder: Folder, run: Removed) -> None:
    """The manifest last, and on disk after its files: as long as one is there, it is listed."""
    *files, manifest = run.names
    for name in files:
        folder.remove(name)
    folder.flush()
    folder.remove(manifest)
    folder.flush()
