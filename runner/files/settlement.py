"""Dead runs: what a killed run left in its folder is settled by the audience's next run."""

from __future__ import annotations

import re
import time
from contextlib import suppress

from runner.errors import ExportError
from runner.files.folder import Folder
from runner.files.manifest import (
    LOCK,
    BrokenManifest,
    Manifest,
    is_alive,
    manifest_name,
    pointer_name,
    pointer_to,
    read_manifest,
    read_pointer,
    readable_manifests,
    replace,
)
from runner.files.verify import difference

ABANDONED_SECONDS = 60
DIED = "the run died before its end: it was killed, or the machine stopped; nothing is published"


def sweep(folder: Folder, staging: Folder, audience: str, *, is_alone: bool) -> None:
    """Settle the manifests of the audience's dead runs, then remove what they staged.

    `staging` is the sweeper's own, for what it writes. What cannot be settled is left to a later
    run. `is_alone`: no other run can be claiming its second in the folder meanwhile.
    """
    for manifest in list(readable_manifests(folder, audience)):
        if manifest.is_unfinished and not is_alive(folder, audience, manifest.timestamp):
            with suppress(ExportError):
                _withdraw(folder, staging, manifest)
    for name in folder.names():
        match = re.fullmatch(rf"\.{re.escape(audience)}_(\d{{8}}T\d{{6}})\.staging", name)
        if not match or is_alive(folder, audience, match[1]):
            continue
        if is_alone or not _is_young(folder, name):
            with suppress(ExportError):
                with suppress(BrokenManifest):
                    _complete_pointer(folder, staging, audience, match[1])
                folder.drop(name)


def _withdraw(folder: Folder, staging: Folder, manifest: Manifest) -> None:
    """Files first: as long as one is there, the manifest lists it."""
    for file in manifest.document.csv_files:
        if difference(folder, file) is None:
            folder.remove(file.path)
    folder.flush()
    replace(folder, staging, manifest.name, _died(manifest))


def _died(manifest: Manifest) -> dict[str, object]:
    metadata = {**manifest.raw["metadata"], "rowsByType": {}}
    return {
        **manifest.raw,
        "success": False,
        "status": "died",
        "csvFiles": [],
        "audienceSize": 0,
        "error": DIED,
        "metadata": metadata,
    }


def _complete_pointer(folder: Folder, staging: Folder, audience: str, timestamp: str) -> None:
    """A run that was killed in its very last step published its files, but pointed to none."""
    name = manifest_name(audience, timestamp)
    if folder.status(name) is None:
        return
    manifest = read_manifest(folder, name)
    pointer = read_pointer(folder, audience)
    if manifest.is_published and (pointer is None or pointer.timestamp < timestamp):
        document = pointer_to(audience, timestamp, manifest.raw)
        replace(folder, staging, pointer_name(audience), document)


def _is_young(folder: Folder, name: str) -> bool:
    """A run may be between two calls: it has its folder, but not yet the lock in it."""
    try:
        with folder.below(name) as staging:
            has_lock = staging.status(LOCK) is not None
    except OSError:
        return True  # not a folder that we may look into
    status = folder.status(name)
    return not has_lock and status is not None and time.time() - status.st_mtime < ABANDONED_SECONDS
