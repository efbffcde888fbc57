"""Old runs: which of them are kept, and how the others are removed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runner.errors import UsageError
from runner.files.folder import Folder, read_from
from runner.files.manifest import Manifest, read_pointer, readable_manifests


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
        raise UsageError(f"{keep_runs} runs cannot be kept", mend="keep 1 or more")
    with folder.alone():
        old = _old(folder, keep_runs, audience)
        for manifest in () if is_dry_run else old:
            _remove(folder, manifest)
    return [Removed(one.audience, one.timestamp, _names(one)) for one in old]


def _old(folder: Folder, keep_runs: int, audience: str | None) -> list[Manifest]:
    """Oldest first, so that a stop in between leaves the newer ones whole."""
    ended = [one for one in readable_manifests(folder, audience) if not one.is_unfinished]
    old: list[Manifest] = []
    for name in {one.audience for one in ended}:
        pointer = read_pointer(folder, name)
        latest = pointer.timestamp if pointer else None
        for is_published in (True, False):
            alike = [
                one for one in ended if one.audience == name and one.is_published == is_published
            ]
            old += [one for one in alike[keep_runs:] if one.timestamp != latest]
    return sorted(old, key=lambda one: (one.timestamp, one.audience))


def _names(manifest: Manifest) -> tuple[str, ...]:
    return (*(file.path for file in manifest.document.csv_files), manifest.name)


def _remove(folder: Folder, manifest: Manifest) -> None:
    """The manifest last, and on disk after its files: as long as one is there, it is listed."""
    *files, last = _names(manifest)
    for name in files:
        folder.remove(name)
    folder.flush()
    folder.remove(last)
    folder.flush()
