"""One run's second in an output folder: its staged and final names, and what dead runs left."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from runner.clock import file_timestamp
from runner.errors import ExportError
from runner.files.document import DIED, BrokenManifest, Pointer, RunResult
from runner.files.folder import Folder, file_errors
from runner.files.lock import FileLock
from runner.files.manifest import (
    LOCK,
    PastRun,
    is_alive,
    read_manifest,
    read_pointer,
    readable_manifests,
    replace,
    stage,
)
from runner.files.names import RunName, pointer_name
from runner.files.verify import difference
from runner.project.audience import Audience

ABANDONED_SECONDS = 60


def sweep(folder: Folder, staging: Folder, audience: str, *, is_alone: bool) -> None:
    """Settle the manifests of the audience's dead runs, then remove what they staged.

    `staging` is the sweeper's own, for what it writes. What cannot be dealt with is left to a later
    run. `is_alone`: no other run can be claiming its second in the folder meanwhile.
    """
    for run in list(readable_manifests(folder, audience)):
        if run.is_unfinished and not is_alive(folder, run.name):
            with suppress(ExportError):
                _withdraw(folder, staging, run)
    for name in folder.names():
        dead = RunName.from_staging(name)
        if dead is None or dead.audience != audience or is_alive(folder, dead):
            continue
        if is_alone or not _is_young(folder, name):
            with suppress(ExportError):
                with suppress(BrokenManifest):
                    _complete_pointer(folder, staging, dead)
                folder.drop(name)


def _withdraw(folder: Folder, staging: Folder, run: PastRun) -> None:
    """Files first: as long as one is there, the manifest lists it."""
    for file in run.document.csv_files:
        if difference(folder, file) is None:
            folder.remove(file.path.name)
    folder.flush()
    died = run.document.without_files("died", DIED)
    replace(folder, staging, run.name.manifest, died.as_manifest())


def _complete_pointer(folder: Folder, staging: Folder, name: RunName) -> None:
    """A run that was killed in its very last step published its files, but pointed to none."""
    if folder.status(name.manifest) is None:
        return
    run = read_manifest(folder, name)
    pointer = read_pointer(folder, name.audience)
    if run.is_published and (pointer is None or pointer.timestamp < name.timestamp):
        document = Pointer.to(name, run.document).as_json()
        replace(folder, staging, pointer_name(name.audience), document)


def _is_young(folder: Folder, name: str) -> bool:
    """A run may be between two calls: it has its folder, but not yet the lock in it."""
    try:
        with folder.below(name) as staging:
            has_lock = staging.status(LOCK) is not None
    except OSError:
        return True  # not a folder that we may look into
    status = folder.status(name)
    return not has_lock and status is not None and time.time() - status.st_mtime < ABANDONED_SECONDS


CLAIM_ATTEMPTS = 60


@dataclass(frozen=True)
class Claim:
    """A run's start, whose second no other run of the audience in this folder has."""

    audience: str
    started_at: datetime
    folder: Folder
    staging: Folder

    @property
    def name(self) -> RunName:
        return RunName(self.audience, file_timestamp(self.started_at))

    @property
    def manifest_path(self) -> Path:
        return self.folder.path / self.name.manifest

    def announce(self, result: RunResult) -> None:
        """The first manifest. Raises `ExportError`; nothing is ever overwritten by it."""
        name = self.name.manifest
        stage(self.staging, name, result.as_manifest())
        self.staging.link(name, self.folder)
        try:
            self.staging.remove(name)
            self.folder.flush()
        except BaseException:
            self.folder.remove(name)
            raise

    def record(self, result: RunResult) -> None:
        """The manifest from now on. Raises `ExportError`; the one before is then still there."""
        replace(self.folder, self.staging, self.name.manifest, result.as_manifest())

    def conclude(self, result: RunResult) -> None:
        """The manifest of a published run, and the pointer to it. Raises `ExportError`.

        There is room for both before the first is replaced, and once the pointer has moved nothing
        fails: whether a power cut would undo that is all that can be open.
        """
        pointer = pointer_name(self.audience)
        stage(self.staging, pointer, Pointer.to(self.name, result).as_json())
        self.record(result)
        self.staging.move(pointer, self.folder)
        with suppress(ExportError):
            self.folder.flush()

    def link(self, names: Sequence[str]) -> None:
        """Give staged files their final names: all of them or none. Raises `ExportError`.

        The names last through a power cut once the folder is flushed.
        """
        try:
            for name in names:
                self.staging.link(name, self.folder)
        except BaseException:
            self.withdraw(names)
            raise

    def withdraw(self, names: Iterable[str]) -> None:
        """Take back final names that this run gave; a file of somebody else's stays."""
        for name in names:
            with suppress(ExportError):
                staged, final = self.staging.status(name), self.folder.status(name)
                if staged and final and os.path.samestat(staged, final):
                    self.folder.remove(name)
        with suppress(ExportError):
            self.folder.flush()

    def discard(self) -> None:
        """Remove what was staged: to make room for saying why, or for another attempt."""
        for name in self.staging.names():
            if name != LOCK:
                with suppress(ExportError):
                    self.staging.remove(name)


@contextmanager
def claimed(folder: Folder, audience: Audience, started_at: datetime) -> Iterator[Claim]:
    """Take the second of `started_at` for a run, or the next free one; sweep up after the dead.

    The staging folder is locked for as long as the run lives, by a lock that the kernel lets go
    of when it is killed. Raises `ExportError` if the folder cannot be written to. Files already
    published stay.
    """
    _check_pointer(folder, audience.name)
    claim, lock = _claim(folder, audience, started_at)
    try:
        yield claim
    finally:
        folder.drop(claim.staging.path.name)
        os.close(claim.staging.descriptor)
        lock.release()


def _check_pointer(folder: Folder, audience: str) -> None:
    name = pointer_name(audience)
    status = folder.status(name)
    if status is not None and not stat.S_ISREG(status.st_mode):
        raise ExportError(
            "is a link or a folder where a file should be",
            where=str(folder.path / name),
            fix="remove it, or choose another --output-dir",
        )


def _claim(folder: Folder, audience: Audience, started_at: datetime) -> tuple[Claim, FileLock]:
    for _ in range(CLAIM_ATTEMPTS):
        name = RunName(audience.name, file_timestamp(started_at))
        with folder.alone() as is_alone:
            if folder.status(name.staging) is None and not _taken(folder, audience, name):
                claim = Claim(audience.name, started_at, folder, folder.make(name.staging))
                lock = _locked(claim.staging)
                sweep(folder, claim.staging, audience.name, is_alone=is_alone)
                return claim, lock
        time.sleep(1 - time.time() % 1)
        started_at = datetime.now(UTC)
    raise ExportError(
        "files of other runs already have the names of this second and the ones before",
        where=str(folder.path),
        fix="wait a moment, or write to another folder with --output-dir",
    )


def _locked(staging: Folder) -> FileLock:
    lock = FileLock(LOCK, folder=staging.descriptor, flags=os.O_RDWR | os.O_CREAT | os.O_EXCL)
    with file_errors(staging.path / LOCK):
        lock.acquire()
    return lock


def _taken(folder: Folder, audience: Audience, run: RunName) -> bool:
    names = [
        output.file_name(run.timestamp, is_test=is_test)
        for output in audience.outputs
        for is_test in (False, True)
    ]
    names.append(run.manifest)
    return any(folder.status(name) for name in names)
