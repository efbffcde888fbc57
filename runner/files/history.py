"""The runs of a folder, as their manifests tell them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from runner.clock import instant
from runner.files.document import PUBLISHED, Status
from runner.files.folder import Folder, read_from
from runner.files.manifest import (
    BrokenManifest,
    Manifest,
    is_alive,
    names_of_manifests,
    read_manifest,
)


@dataclass(frozen=True)
class PastRun:
    """One run. `rows_by_type` counts rows of production files; `status` is `died` also for a run
    whose process is gone but whose manifest nobody has settled yet. Only a run that ended by itself
    has a time."""

    audience: str
    timestamp: str
    run_id: str
    started_at: datetime
    as_of: datetime
    status: Status
    target: str
    parameters: dict[str, Any]
    rows_by_type: dict[str, int]
    audience_size: int
    execution_time_ms: int | None
    error: str | None
    automation_id: str | None
    models_hash: str
    accepted_size: str | None
    engine: str
    manifest: Path

    @property
    def is_published(self) -> bool:
        return self.status in PUBLISHED

    def as_json(self) -> dict[str, Any]:
        """The result's names, on one level."""
        return {
            "audience": self.audience,
            "runId": self.run_id,
            "startedAt": instant(self.started_at),
            "asOf": instant(self.as_of),
            "status": self.status,
            "target": self.target,
            "parameters": self.parameters,
            "rowsByType": self.rows_by_type,
            "audienceSize": self.audience_size,
            "executionTimeMs": self.execution_time_ms,
            "error": self.error,
            "automationId": self.automation_id,
            "modelsHash": self.models_hash,
            "acceptedSize": self.accepted_size,
            "engine": self.engine,
            "manifest": str(self.manifest),
        }


@dataclass(frozen=True)
class History:
    """Runs, newest first, and what is wrong with manifests that cannot be read."""

    runs: list[PastRun]
    broken: list[BrokenManifest]

    def as_json(self) -> dict[str, Any]:
        return {
            "runs": [run.as_json() for run in self.runs],
            "broken": [
                {"manifest": str(problem.where), "error": problem.what} for problem in self.broken
            ],
        }


def runs(folder: Path, audience: str | None = None, limit: int | None = None) -> list[PastRun]:
    """The newest runs of an audience, or of all, whose manifests are in a folder.

    No folder yet means no run yet. Raises `UsageError` if it is there and cannot be read.
    """
    return read_history(folder, audience, limit).runs


def newest_runs(folder: Folder | Path, audience: str) -> Iterator[PastRun]:
    """The runs of an audience, newest first, each read when it is asked for. Broken manifests are
    passed over. A folder may be open already, or not be there yet.

    Raises `UsageError` if it is there and cannot be read."""
    if isinstance(folder, Folder):
        yield from (found for found in _past(folder, audience) if isinstance(found, PastRun))
    elif os.path.lexists(folder):
        with read_from(folder) as opened:
            yield from newest_runs(opened, audience)


def read_history(folder: Path, audience: str | None = None, limit: int | None = None) -> History:
    """The same, and the manifests that are broken."""
    history = History([], [])
    if not os.path.lexists(folder):
        return history
    with read_from(folder) as opened:
        for found in islice(_past(opened, audience), limit):
            if isinstance(found, PastRun):
                history.runs.append(found)
            else:
                history.broken.append(found)
    return history


def _past(folder: Folder, audience: str | None) -> Iterator[PastRun | BrokenManifest]:
    for name in names_of_manifests(folder, audience):
        try:
            yield _past_run(folder, read_manifest(folder, name))
        except BrokenManifest as problem:
            if folder.status(name) is not None:
                yield problem


def _past_run(folder: Folder, manifest: Manifest) -> PastRun:
    is_dead = False
    if manifest.is_unfinished and not is_alive(folder, manifest.audience, manifest.timestamp):
        manifest = read_manifest(folder, manifest.name)  # it may have ended since
        is_dead = manifest.is_unfinished
    document, origin = manifest.document, manifest.document.metadata
    is_timed = not manifest.is_unfinished and document.status != "died"
    return PastRun(
        audience=manifest.audience,
        timestamp=manifest.timestamp,
        run_id=origin.run_id,
        started_at=origin.started_at,
        as_of=origin.as_of,
        status="died" if is_dead else document.status,
        target=origin.target,
        parameters=origin.parameters,
        rows_by_type=origin.rows_by_type,
        audience_size=document.audience_size,
        execution_time_ms=document.execution_time_ms if is_timed else None,
        error=document.error,
        automation_id=origin.automation_id,
        models_hash=origin.models_hash,
        accepted_size=origin.accepted_size,
        engine=origin.engine,
        manifest=folder.path / manifest.name,
    )
