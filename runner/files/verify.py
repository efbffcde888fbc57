"""Are the files of a folder those that its manifests list?"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.errors import UsageError
from runner.files.document import BrokenManifest, CsvFile, Pointer
from runner.files.folder import Folder, read_from
from runner.files.manifest import (
    PastRun,
    is_alive,
    read_manifest,
    read_pointer,
    readable_manifests,
    runs_in,
)
from runner.files.names import (
    RunName,
    audience_of_pointer,
    pointer_name,
    timestamp_of_csv,
)

BLOCK_BYTES = 1 << 20
NAME_ONE = "name a manifest, a pointer (AUDIENCE.latest.json), or the folder of both"


@dataclass(frozen=True)
class Finding:
    """One file, manifest or pointer that was looked at. `problem` is None if it is all right."""

    name: str
    problem: str | None = None


def verify(path: Path) -> list[Finding]:
    """Check the files of a manifest, of a pointer, or of every manifest in a folder.

    A file must be there with the size and sha256 that its manifest lists, and each CSV file of a
    run must be listed. Runs that still live are passed over in a folder. Raises `UsageError` if
    the path is none of the three.
    """
    if os.path.isdir(path):  # noqa: PTH112  (a Path raises if its name is too long)
        with read_from(path) as folder:
            return list(_of_folder(folder))
    if not os.path.lexists(path):
        raise UsageError("there is no such file or folder", where=str(path), fix=NAME_ONE)
    with read_from(path.parent) as folder:
        try:
            return list(_of_file(folder, path.name))
        except BrokenManifest as problem:
            raise UsageError(problem.what, where=problem.where, fix=NAME_ONE) from None


def difference(folder: Folder, listed: CsvFile) -> str | None:
    """How a file differs from what its manifest lists, None if it does not."""
    digest = hashlib.sha256()
    size = 0
    try:
        with folder.reading(listed.path.name) as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
                size += len(block)
    except FileNotFoundError:
        return "is missing"
    except OSError as problem:
        return f"cannot be read as a file: {problem.strerror}"
    if size != listed.size_bytes:
        return f"has {size} bytes, not the {listed.size_bytes} listed"
    if digest.hexdigest() != listed.sha256:
        return f"has sha256 {digest.hexdigest()}, not the {listed.sha256} listed"
    return None


def _of_file(folder: Folder, name: str) -> Iterator[Finding]:
    if audience := audience_of_pointer(name):
        pointer = read_pointer(folder, audience)
        if pointer is None:
            raise BrokenManifest("is gone", where=str(folder.path / name))
        yield _of_pointer(folder, name, pointer)
        yield from _files(folder, pointer.csv_files)
        return
    run_name = RunName.from_manifest(name)
    if run_name is None:
        raise BrokenManifest("is neither a manifest nor a pointer", where=str(folder.path / name))
    run = read_manifest(folder, run_name)
    if run.is_unfinished and is_alive(folder, run_name):
        yield Finding(name, "its run has not ended")
    else:
        yield from _of_run(folder, run)
    yield from _unlisted(folder, filter(run_name.has_file, folder.names()))


def _of_folder(folder: Folder) -> Iterator[Finding]:
    # names first: a file that is there now is listed by a manifest that is there a moment later
    names = folder.names()
    for run_name in runs_in(folder):
        try:
            run = read_manifest(folder, run_name)
        except BrokenManifest as problem:
            if folder.status(run_name.manifest) is not None:
                yield Finding(run_name.manifest, problem.what)
            continue
        if not (run.is_unfinished and is_alive(folder, run_name)):
            yield from _of_run(folder, run)
    for audience in filter(None, map(audience_of_pointer, names)):
        yield from _of_latest(folder, audience)
    yield from _unlisted(folder, names)


def _of_run(folder: Folder, run: PastRun) -> Iterator[Finding]:
    name = run.name.manifest
    findings = [Finding(name), *_files(folder, run.document.csv_files)]
    if run.is_unfinished:
        findings = [Finding(name, "its run died; the audience's next run notes that")]
    if any(finding.problem for finding in findings) and not _stands(folder, run):
        return  # its outcome was noted or it was cleaned away while we looked
    yield from findings


def _stands(folder: Folder, run: PastRun) -> bool:
    try:
        return read_manifest(folder, run.name) == run
    except BrokenManifest:
        return False


def _files(folder: Folder, listed: Iterable[CsvFile]) -> Iterator[Finding]:
    for file in listed:
        yield Finding(file.path.name, difference(folder, file))


def _of_latest(folder: Folder, audience: str) -> Iterator[Finding]:
    name = pointer_name(audience)
    try:
        pointer = read_pointer(folder, audience)
    except BrokenManifest as problem:
        yield Finding(name, problem.what)
        return
    if pointer is None:
        return
    finding = _of_pointer(folder, name, pointer)
    if not finding.problem or _still_is(folder, audience, pointer):
        yield finding  # else it was moved on while we looked


def _still_is(folder: Folder, audience: str, pointer: Pointer) -> bool:
    try:
        return read_pointer(folder, audience) == pointer
    except BrokenManifest:
        return True


def _of_pointer(folder: Folder, name: str, pointer: Pointer) -> Finding:
    try:
        run = read_manifest(folder, RunName(pointer.audience, pointer.timestamp))
    except BrokenManifest as problem:
        return Finding(name, f"points to {pointer.manifest}, which {problem.what}")
    if not run.is_published or run.document.csv_files != pointer.csv_files:
        return Finding(name, f"lists other files than {pointer.manifest}")
    return Finding(name)


def _unlisted(folder: Folder, names: Iterable[str]) -> Iterator[Finding]:
    """CSV files of runs that no manifest lists."""
    listed = {
        file.path.name for run in readable_manifests(folder) for file in run.document.csv_files
    }
    for name in names:
        if timestamp_of_csv(name) and name not in listed and folder.status(name) is not None:
            yield Finding(name, "is listed by no manifest")
