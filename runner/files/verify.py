"""Are the files of a folder those that its manifests list?"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.errors import UsageError
from runner.files.folder import Folder, read_from
from runner.files.manifest import (
    BrokenManifest,
    ListedFile,
    Manifest,
    PointerDocument,
    is_alive,
    names_of_manifests,
    read_manifest,
    read_pointer,
    readable_manifests,
)
from runner.files.names import CSV_NAME, MANIFEST_NAME, POINTER_NAME

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
        raise UsageError("there is no such file or folder", where=str(path), mend=NAME_ONE)
    with read_from(path.parent) as folder:
        try:
            return list(_of_file(folder, path.name))
        except BrokenManifest as problem:
            raise UsageError(problem.what, where=problem.where, mend=NAME_ONE) from None


def difference(folder: Folder, listed: ListedFile) -> str | None:
    """How a file differs from what its manifest lists, None if it does not."""
    digest = hashlib.sha256()
    size = 0
    try:
        with folder.reading(listed.path) as file:
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
    if match := POINTER_NAME.fullmatch(name):
        pointer = read_pointer(folder, match[1])
        if pointer is None:
            raise BrokenManifest("is gone", where=str(folder.path / name))
        yield _of_pointer(folder, name, pointer)
        yield from _files(folder, pointer.csv_files)
        return
    if not MANIFEST_NAME.fullmatch(name):
        raise BrokenManifest("is neither a manifest nor a pointer", where=str(folder.path / name))
    manifest = read_manifest(folder, name)
    if manifest.is_unfinished and is_alive(folder, manifest.audience, manifest.timestamp):
        yield Finding(name, "its run has not ended")
    else:
        yield from _of_manifest(folder, manifest)
    mine = [one for one in folder.names() if _timestamp(one) == manifest.timestamp]
    yield from _unlisted(folder, mine)


def _of_folder(folder: Folder) -> Iterator[Finding]:
    # names first: a file that is there now is listed by a manifest that is there a moment later
    names = folder.names()
    for name in names_of_manifests(folder):
        try:
            manifest = read_manifest(folder, name)
        except BrokenManifest as problem:
            if folder.status(name) is not None:
                yield Finding(name, problem.what)
            continue
        if not (manifest.is_unfinished and is_alive(folder, manifest.audience, manifest.timestamp)):
            yield from _of_manifest(folder, manifest)
    for match in filter(None, map(POINTER_NAME.fullmatch, names)):
        yield from _of_latest(folder, match[0], match[1])
    yield from _unlisted(folder, names)


def _of_manifest(folder: Folder, manifest: Manifest) -> Iterator[Finding]:
    findings = [Finding(manifest.name), *_files(folder, manifest.document.csv_files)]
    if manifest.is_unfinished:
        problem = "its run died; the audience's next run settles it"
        findings = [Finding(manifest.name, problem)]
    if any(finding.problem for finding in findings) and not _stands(folder, manifest):
        return  # it was settled or cleaned away while we looked
    yield from findings


def _stands(folder: Folder, manifest: Manifest) -> bool:
    try:
        return read_manifest(folder, manifest.name).raw == manifest.raw
    except BrokenManifest:
        return False


def _files(folder: Folder, listed: Iterable[ListedFile]) -> Iterator[Finding]:
    for file in listed:
        yield Finding(file.path, difference(folder, file))


def _of_latest(folder: Folder, name: str, audience: str) -> Iterator[Finding]:
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


def _still_is(folder: Folder, audience: str, pointer: PointerDocument) -> bool:
    try:
        return read_pointer(folder, audience) == pointer
    except BrokenManifest:
        return True


def _of_pointer(folder: Folder, name: str, pointer: PointerDocument) -> Finding:
    try:
        manifest = read_manifest(folder, pointer.manifest)
    except BrokenManifest as problem:
        return Finding(name, f"points to {pointer.manifest}, which {problem.what}")
    if not manifest.is_published or manifest.document.csv_files != pointer.csv_files:
        return Finding(name, f"lists other files than {pointer.manifest}")
    return Finding(name)


def _unlisted(folder: Folder, names: Iterable[str]) -> Iterator[Finding]:
    """CSV files of runs that no manifest lists."""
    listed = {file.path for one in readable_manifests(folder) for file in one.document.csv_files}
    for name in names:
        if _timestamp(name) and name not in listed and folder.status(name) is not None:
            yield Finding(name, "is listed by no manifest")


def _timestamp(name: str) -> str | None:
    match = CSV_NAME.fullmatch(name)
    return match[1] if match else None
