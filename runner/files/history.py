"""The runs of a folder, as their manifests record them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from runner.files.document import BrokenManifest
from runner.files.folder import Folder, read_from
from runner.files.manifest import PastRun, is_alive, read_manifest, runs_in
from runner.files.names import RunName


@dataclass(frozen=True)
class History:
    """Runs, newest first, what is wrong with manifests that cannot be read, and how many older
    manifests were not read."""

    runs: list[PastRun]
    broken: list[BrokenManifest]
    older: int = 0

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
    skipped. A folder may be open already, or not be there yet.

    Raises `UsageError` if it is there and cannot be read."""
    if isinstance(folder, Folder):
        found = _past(folder, runs_in(folder, audience))
        yield from (run for run in found if isinstance(run, PastRun))
    elif os.path.lexists(folder):
        with read_from(folder) as opened:
            yield from newest_runs(opened, audience)


def read_history(folder: Path, audience: str | None = None, limit: int | None = None) -> History:
    """The same, and the manifests that are broken."""
    if not os.path.lexists(folder):
        return History([], [])
    with read_from(folder) as opened:
        names = runs_in(opened, audience)
        found = list(islice(_past(opened, names), limit))
    return History(
        [run for run in found if isinstance(run, PastRun)],
        [problem for problem in found if isinstance(problem, BrokenManifest)],
        0 if limit is None else max(0, len(names) - limit),
    )


def _past(folder: Folder, names: list[RunName]) -> Iterator[PastRun | BrokenManifest]:
    for name in names:
        try:
            yield _past_run(folder, name)
        except BrokenManifest as problem:
            if folder.status(name.manifest) is not None:
                yield problem


def _past_run(folder: Folder, name: RunName) -> PastRun:
    run = read_manifest(folder, name)
    if run.is_unfinished and not is_alive(folder, name):
        run = read_manifest(folder, name)  # it may have ended since
        return replace(run, is_dead=run.is_unfinished)
    return run
