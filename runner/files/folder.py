"""Folders that files are written to and read from: private, through no link, and on disk.

A folder is opened once, and everything below it is reached through that descriptor by a bare
name. So no name can leave it, and whoever swaps a folder for a link changes nothing.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from runner.errors import ExportError, UsageError
from runner.files.lock import NO_LINK, PRIVATE_FILE, FileLock

PLAIN_NAME = re.compile(r"\.?[A-Za-z0-9][A-Za-z0-9._-]*")
PRIVATE_FOLDER = 0o700


@dataclass(frozen=True)
class Folder:
    """An open folder. What is made in it has exactly `file_mode`, whatever the umask says."""

    path: Path
    descriptor: int
    file_mode: int = PRIVATE_FILE

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """A new file, flushed to disk at the end. Raises `ExportError`, also if it is there."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINK
        with file_errors(self.path / name):
            descriptor = os.open(_plain(name), flags, PRIVATE_FILE, dir_fd=self.descriptor)
            with open(descriptor, "wb") as file:
                os.fchmod(descriptor, self.file_mode)
                yield file
                file.flush()
                os.fsync(descriptor)

    @contextmanager
    def reading(self, name: str) -> Iterator[BinaryIO]:
        """A regular file. Raises `OSError`: also for a link, a pipe or a folder."""
        flags = os.O_RDONLY | os.O_NONBLOCK | NO_LINK
        with open(os.open(_plain(name), flags, dir_fd=self.descriptor), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
            yield file

    def names(self) -> list[str]:
        with file_errors(self.path):
            return sorted(os.listdir(self.descriptor))  # noqa: PTH208

    def status(self, name: str) -> os.stat_result | None:
        """What lies there under a name, itself a link or not; None if nothing does."""
        with file_errors(self.path / name), suppress(FileNotFoundError):
            return os.lstat(_plain(name), dir_fd=self.descriptor)
        return None

    def link(self, name: str, into: Folder) -> None:
        """Give a file the same name in another folder; nothing is ever overwritten."""
        final = into.path / name
        try:
            os.link(
                _plain(name), name, src_dir_fd=self.descriptor, dst_dir_fd=into.descriptor,
                follow_symlinks=False,
            )  # fmt: skip
        except FileExistsError:
            raise ExportError(
                "a file of this name is already there, and nothing is ever overwritten",
                where=str(final),
                fix="remove it, or write to another folder with --output-dir",
            ) from None
        except OSError as problem:
            if problem.errno in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
                raise ExportError(
                    "this file system has no hard links, by which files are published",
                    where=str(final),
                    fix="choose another file system with --output-dir",
                ) from None
            raise export_error(final, problem) from None

    def move(self, name: str, into: Folder) -> None:
        """Put a file in the place of another folder's, all at once. Raises `ExportError`."""
        with file_errors(into.path / name):
            os.rename(_plain(name), name, src_dir_fd=self.descriptor, dst_dir_fd=into.descriptor)

    def remove(self, name: str) -> None:
        """Raises `ExportError`; what is not there is removed already."""
        with file_errors(self.path / name), suppress(FileNotFoundError):
            os.unlink(_plain(name), dir_fd=self.descriptor)

    def flush(self) -> None:
        """Make the names last through a power cut."""
        with file_errors(self.path):
            os.fsync(self.descriptor)

    def make(self, name: str) -> Folder:
        """A new folder below, ours alone. Raises `ExportError`, also if it is there."""
        with file_errors(self.path / name):
            os.mkdir(_plain(name), PRIVATE_FOLDER, dir_fd=self.descriptor)
            os.chmod(name, PRIVATE_FOLDER, dir_fd=self.descriptor)
            flags = os.O_RDONLY | os.O_DIRECTORY | NO_LINK
            below = os.open(name, flags, dir_fd=self.descriptor)
        return Folder(self.path / name, below, self.file_mode)

    @contextmanager
    def below(self, name: str) -> Iterator[Folder]:
        """A folder in this one. Raises `OSError`, also for a link."""
        flags = os.O_RDONLY | os.O_DIRECTORY | NO_LINK
        descriptor = os.open(_plain(name), flags, dir_fd=self.descriptor)
        try:
            yield Folder(self.path / name, descriptor, self.file_mode)
        finally:
            os.close(descriptor)

    def drop(self, name: str) -> None:
        """Remove a folder below with all in it, as far as that can be done."""
        shutil.rmtree(_plain(name), ignore_errors=True, dir_fd=self.descriptor)

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Keeps other runs from claiming, sweeping or cleaning in this folder meanwhile.

        False where the file system locks no folders, as NFS does not.
        """
        is_alone = False
        with FileLock(".", folder=self.descriptor, flags=os.O_RDONLY) as lock:
            with suppress(OSError):
                lock.acquire()
                is_alone = True
            yield is_alone


@contextmanager
def written_to(path: Path, *, file_mode: int, folder_mode: int) -> Iterator[Folder]:
    """A folder for files, made if it is missing; the mode of one that is there is left alone.

    Raises `ExportError` if it cannot be made or is a link.
    """
    with file_errors(path):
        _make_missing(path, folder_mode)
        _refuse_link(path, ExportError)
        if not path.is_dir():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | NO_LINK)
    try:
        yield Folder(path, descriptor, file_mode)
    finally:
        os.close(descriptor)


@contextmanager
def read_from(path: Path) -> Iterator[Folder]:
    """A folder that is there. Raises `UsageError` if it is not, or is a link."""
    try:
        _refuse_link(path, UsageError)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | NO_LINK)
    except OSError as problem:
        raise UsageError(
            f"cannot be read: {problem.strerror or problem}",
            where=str(path),
            fix="name the folder that runs write to",
        ) from None
    try:
        yield Folder(path, descriptor)
    finally:
        os.close(descriptor)


def _plain(name: str) -> str:
    """The last check before a file is touched: a name, not a way to another folder."""
    if not PLAIN_NAME.fullmatch(name):
        raise ExportError(f"{name!r} is no plain file name", fix="use letters, digits, - and _")
    return name


def _make_missing(path: Path, mode: int) -> None:
    missing = [one for one in (path, *path.parents) if not os.path.lexists(one)]
    for one in reversed(missing):
        try:
            one.mkdir(PRIVATE_FOLDER)
        except FileExistsError:
            continue  # somebody else was quicker: it is theirs
        one.chmod(mode)
        above = os.open(one.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(above)
        finally:
            os.close(above)


def _refuse_link(path: Path, error: type[ExportError] | type[UsageError]) -> None:
    if path.is_symlink():
        raise error(
            "is a symbolic link, and files are written through none",
            where=str(path),
            fix=f"name the folder itself: {path.resolve()}",
        )


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Turns what the system says of a file into an `ExportError`."""
    try:
        yield
    except OSError as problem:
        raise export_error(path, problem) from None


def export_error(path: Path, problem: OSError) -> ExportError:
    fixes = {
        "FileExistsError": "a file stands where the folder should be: remove it, or choose "
        "another --output-dir",
        "FileNotFoundError": "choose another --output-dir",
        "NotADirectoryError": "a file stands where a folder should be: choose another --output-dir",
        "PermissionError": "let this user write there, or choose another --output-dir",
    }
    return ExportError(
        f"cannot be written: {problem.strerror or problem}",
        where=str(path),
        fix=fixes.get(type(problem).__name__, "make room there, or choose another --output-dir"),
    )
