"""Manifests and `latest` pointers in a folder: how they are read and replaced.

A manifest is there from the second a run starts. It says `running`, then `publishing` with all
files and hashes before the first of them gets its name, then how the run ended. So a file under
a final name is always listed, with the hash it has.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from runner.clock import instant
from runner.files.document import (
    PUBLISHED,
    UNFINISHED,
    BrokenManifest,
    CsvFile,
    Metadata,
    Pointer,
    RunResult,
    Status,
    parsed,
)
from runner.files.folder import Folder
from runner.files.lock import FileLock
from runner.files.names import RunName, pointer_name

LOCK = "lock"
LONGEST_DOCUMENT = 10_000_000


@dataclass(frozen=True)
class PastRun:
    """A run that left a manifest in a folder, and what it contains. `is_dead`: its process is gone,
    but the manifest does not say so yet."""

    name: RunName
    manifest: Path
    document: RunResult
    is_dead: bool = False

    @property
    def metadata(self) -> Metadata:
        return self.document.metadata

    @property
    def status(self) -> Status:
        return "died" if self.is_dead else self.document.status

    @property
    def is_published(self) -> bool:
        return self.status in PUBLISHED

    @property
    def is_unfinished(self) -> bool:
        """Nobody has written the end of this run: it lives, or it died."""
        return self.document.status in UNFINISHED

    @property
    def milliseconds(self) -> int | None:
        """How long it took. Only a run that ended by itself has a time."""
        has_ended = not self.is_unfinished and self.status != "died"
        return self.document.execution_time_ms if has_ended else None

    def as_json(self) -> dict[str, Any]:
        """The result's names, on one level."""
        return {
            "audience": self.name.audience,
            "runId": self.metadata.run_id,
            "startedAt": instant(self.metadata.started_at),
            "asOf": instant(self.metadata.as_of),
            "status": self.status,
            "target": self.metadata.target,
            "parameters": self.metadata.parameters,
            "rowsByType": self.metadata.rows_by_type,
            "audienceSize": self.document.audience_size,
            "executionTimeMs": self.milliseconds,
            "error": self.document.error,
            "automationId": self.metadata.automation_id,
            "modelsHash": self.metadata.models_hash,
            "acceptedSize": self.metadata.accepted_size,
            "engine": self.metadata.engine,
            "manifest": str(self.manifest),
        }


def runs_in(folder: Folder, audience: str | None = None) -> list[RunName]:
    """The runs of an audience, or of all, that have a manifest there, newest first."""
    found = [run for name in folder.names() if (run := RunName.from_manifest(name))]
    chosen = [run for run in found if audience in (None, run.audience)]
    return sorted(chosen, key=lambda run: (run.timestamp, run.audience), reverse=True)


def read_manifest(folder: Folder, run: RunName) -> PastRun:
    """Raises `BrokenManifest`, which names it, for whatever is not one, and if it is gone."""
    where = folder.path / run.manifest
    with _reading(where), folder.reading(run.manifest) as file:
        document = parsed(RunResult, _content(file, where), str(where))
    if document.metadata.audience != run.audience:
        raise BrokenManifest("is not the manifest of its name", where=str(where))
    _check_files(document.csv_files, run, where)
    return PastRun(run, where, document)


def _check_files(files: tuple[CsvFile, ...], run: RunName, where: Path) -> None:
    """What a document lists lies beside it, under a name of that run: nothing else is touched."""
    for number, file in enumerate(files):
        if not run.has_file(str(file.path)):
            what = f"csvFiles.{number}.path is no name of a file of this run"
            raise BrokenManifest(what, where=str(where))


def readable_manifests(folder: Folder, audience: str | None = None) -> Iterator[PastRun]:
    """All but the broken ones, newest first."""
    for run in runs_in(folder, audience):
        with suppress(BrokenManifest):
            yield read_manifest(folder, run)


def read_pointer(folder: Folder, audience: str) -> Pointer | None:
    """None if the audience has published nothing here. Raises `BrokenManifest`."""
    name = pointer_name(audience)
    if folder.status(name) is None:
        return None
    where = folder.path / name
    with _reading(where), folder.reading(name) as file:
        pointer = parsed(Pointer, _content(file, where), str(where))
    run = RunName(audience, pointer.timestamp)
    if pointer.manifest != run.manifest:
        raise BrokenManifest("is not the pointer of its name", where=str(where))
    _check_files(pointer.csv_files, run, where)
    return pointer


def read_document(path: Path) -> RunResult | Pointer:
    """A manifest, a pointer, or a result that somebody saved, anywhere. Raises `BrokenManifest`."""
    with _reading(path), open(path, "rb") as file:
        content = _content(file, path)
    if _has_key(content, "manifest"):  # in a run's document that is in the metadata
        return parsed(Pointer, content, str(path))
    return parsed(RunResult, content, str(path))


def _has_key(content: bytes, key: str) -> bool:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and key in document


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        what = f"cannot be read: {problem.strerror or problem}"
        raise BrokenManifest(what, where=str(path)) from None


def _content(file: BinaryIO, path: Path) -> bytes:
    content = file.read(LONGEST_DOCUMENT + 1)
    if len(content) > LONGEST_DOCUMENT:
        what = f"is larger than {LONGEST_DOCUMENT // 10**6} MB"
        raise BrokenManifest(what, where=str(path))
    return content


def replace(folder: Folder, staging: Folder, name: str, document: Mapping[str, Any]) -> None:
    """Write a document in the place of another, all at once: a reader sees the old or the new.

    It is on disk before it gets its name, and the name before this returns. Raises `ExportError`.
    """
    stage(staging, name, document)
    staging.move(name, folder)
    folder.flush()


def stage(staging: Folder, name: str, document: Mapping[str, Any]) -> None:
    staging.remove(name)
    with staging.writing(name) as file:
        file.write(
            json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        )


def is_alive(folder: Folder, run: RunName) -> bool:
    """Whether the run still has the lock that the kernel takes from the dead.

    Who may not look into its staging folder cannot know, and takes it for alive.
    """
    try:
        with (
            folder.below(run.staging) as staging,
            FileLock(LOCK, folder=staging.descriptor, flags=os.O_RDONLY) as lock,
        ):
            lock.open()
            with suppress(OSError):
                return not lock.try_acquire(is_shared=True)
            return True
    except PermissionError:
        return True
    except OSError:
        return False
