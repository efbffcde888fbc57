"""COPY stream -> staged file -> published file, and the manifest last.

A file is written whole beside its final name and flushed to disk before it is linked to that
name; a link never replaces a file. So under a final name there is a complete file or none.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from runner.audience_properties import Audience
from runner.compiler import file_timestamp
from runner.database import Buffer
from runner.errors import ExportError

BUFFER_BYTES = 1 << 14
"""Small on purpose: it stays in the processor's cache, and the server is never kept waiting long.
Measured with 1M rows: 1.03 times the seconds of psql, against 1.18 with 256 KiB."""
CLAIM_ATTEMPTS = 60
LOCK = "lock"
ABANDONED_SECONDS = 60


@dataclass(frozen=True)
class Streamed:
    """What went by in a stream: rows without the header, bytes and sha256 with it."""

    rows: int
    size_bytes: int
    sha256: str


def stream_to(blocks: Iterable[Buffer], file: IO[bytes] | None, *, crlf: bool) -> Streamed:
    """Write COPY's blocks (one a row) to `file`, or only count them if it is None."""
    digest = hashlib.sha256()
    size = count = 0
    for batch in _batches(blocks, crlf=crlf):
        data = b"".join(batch)
        digest.update(data)
        size += len(data)
        count += len(batch)
        if file is not None:
            file.write(data)
    return Streamed(count - 1, size, digest.hexdigest())


def _batches(blocks: Iterable[Buffer], *, crlf: bool) -> Iterator[list[Buffer]]:
    batch: list[Buffer] = []
    size = 0
    for block in blocks:
        # only the line end of the row: a newline inside quotes is the user's own
        batch.append(bytes(block[:-1]) + b"\r\n" if crlf else block)
        size += len(block)
        if size >= BUFFER_BYTES:
            yield batch
            batch, size = [], 0
    yield batch


@dataclass(frozen=True)
class Claim:
    """A run's start, whose second no other run of the audience in this folder has."""

    started_at: datetime
    folder: Path
    staging: Path

    @property
    def timestamp(self) -> str:
        return file_timestamp(self.started_at)

    def manifest_path(self, audience: Audience) -> Path:
        return self.folder / f"{audience.name}_{self.timestamp}.json"

    def empty(self) -> None:
        """Remove what a former attempt of the run has staged. Raises `ExportError`."""
        with _file_errors(self.staging):
            for path in self.staging.iterdir():
                if path.name != LOCK:
                    path.unlink()

    def write(self, name: str, blocks: Iterable[Buffer], *, crlf: bool) -> Streamed:
        """Stream into the staging folder and flush to disk. Raises `ExportError`."""
        with _file_errors(self.staging / name), open(self.staging / name, "xb") as file:
            streamed = stream_to(blocks, file, crlf=crlf)
            file.flush()
            os.fsync(file.fileno())
            return streamed


def make_folder(folder: Path) -> None:
    """The output folder, made if it is missing. Raises `ExportError`."""
    with _file_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def claimed(folder: Path, audience: Audience, started_at: datetime) -> Iterator[Claim]:
    """Take the second of `started_at` for a run, or the next free one; sweep up at the end.

    The staging folder is locked for as long as the run lives, by a lock that the kernel lets go
    of when it is killed. Raises `ExportError` if the folder cannot be written to. Files already
    published stay.
    """
    make_folder(folder)
    claim, lock = _claim(folder, audience, started_at)
    try:
        yield claim
    finally:
        shutil.rmtree(claim.staging, ignore_errors=True)
        os.close(lock)


def _claim(folder: Path, audience: Audience, started_at: datetime) -> tuple[Claim, int]:
    for _ in range(CLAIM_ATTEMPTS):
        staging = folder / f".{audience.name}_{file_timestamp(started_at)}.staging"
        claim = Claim(started_at, folder, staging)
        with _file_errors(folder), _alone_in(folder):
            _sweep(folder, audience)
            if not os.path.lexists(staging) and not _taken(claim, audience):
                staging.mkdir()
                lock = os.open(staging / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(lock, fcntl.LOCK_EX)
                return claim, lock
        time.sleep(1 - time.time() % 1)
        started_at = datetime.now(UTC)
    raise ExportError(
        "files of other runs already have the names of this second and the ones before",
        where=str(folder),
        mend="wait a moment, or write to another folder with --output-dir",
    )


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keeps other runs from sweeping or claiming in this folder meanwhile."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # NFS locks no folders; what follows is safe but for a sweep
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sweep(folder: Path, audience: Audience) -> None:
    """Remove staging folders whose run is dead: nobody holds their lock."""
    for staging in folder.glob(f".{audience.name}_*.staging"):
        try:
            descriptor = os.open(staging / LOCK, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            _sweep_unlocked(staging)
            continue
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(staging, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(descriptor)


def _sweep_unlocked(staging: Path) -> None:
    """A run that died between two calls; a living one has its lock at once."""
    with suppress(OSError):
        if time.time() - staging.lstat().st_mtime > ABANDONED_SECONDS:
            shutil.rmtree(staging, ignore_errors=True)


def _taken(claim: Claim, audience: Audience) -> bool:
    names = [
        output.file_name(claim.timestamp, is_test=is_test)
        for output in audience.outputs
        for is_test in (False, True)
    ]
    paths = [claim.folder / name for name in names] + [claim.manifest_path(audience)]
    return any(os.path.lexists(path) for path in paths)


def publish(claim: Claim, paths: Sequence[Path]) -> None:
    """Link staged files to their final names: all of them or none. Raises `ExportError`."""
    try:
        for path in paths:
            _link(claim.staging / path.name, path)
        _flush_folder(claim.folder)
    except BaseException:
        withdraw(claim, paths)
        raise


def withdraw(claim: Claim, paths: Iterable[Path]) -> None:
    """Take back final names that this run gave; a file of somebody else's stays."""
    for path in paths:
        with suppress(OSError):
            if path.samefile(claim.staging / path.name):
                path.unlink()


def publish_manifest(claim: Claim, path: Path, document: dict[str, object]) -> None:
    """The last file of a run: what lists a run's files says that they are all there."""
    staged = claim.staging / path.name
    with _file_errors(staged), open(staged, "x", encoding="utf-8") as file:
        json.dump(document, file, indent=2, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    publish(claim, [path])


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP come too late while this lasts, and are passed over."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python tells signals to the main thread only
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _link(staged: Path, final: Path) -> None:
    try:
        os.link(staged, final)
    except FileExistsError:
        raise ExportError(
            "a file of this name is already there, and nothing is ever overwritten",
            where=str(final),
            mend="remove it, or write to another folder with --output-dir",
        ) from None
    except OSError as problem:
        if problem.errno in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
            raise ExportError(
                "this file system has no hard links, by which files are published",
                where=str(final),
                mend="choose another file system with --output-dir",
            ) from None
        raise _export_error(final, problem) from None


def _flush_folder(folder: Path) -> None:
    """Make the names last through a power cut."""
    with _file_errors(folder):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise _export_error(path, problem) from None


def _export_error(path: Path, problem: OSError) -> ExportError:
    mends = {
        "FileExistsError": "a file stands where the folder should be: remove it, or choose "
        "another --output-dir",
        "FileNotFoundError": "choose another --output-dir",
        "NotADirectoryError": "a file stands where a folder should be: choose another --output-dir",
        "PermissionError": "let this user write there, or choose another --output-dir",
    }
    return ExportError(
        f"cannot be written: {problem.strerror or problem}",
        where=str(path),
        mend=mends.get(type(problem).__name__, "make room there, or choose another --output-dir"),
    )
