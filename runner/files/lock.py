"""The one lock on files, by flock: the kernel frees it when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType

NO_LINK = os.O_NOFOLLOW | os.O_CLOEXEC
PRIVATE_FILE = 0o600


class FileLock:
    """A lock on the file or folder of a name, held from `acquire` to `release`.

    `folder` is the descriptor of the open folder that a bare name lies in. A file that is missing
    is made, unless `flags` say otherwise. All methods raise `OSError` for a file that cannot be
    opened or locked.
    """

    def __init__(
        self,
        name: str | Path,
        *,
        folder: int | None = None,
        flags: int = os.O_RDWR | os.O_CREAT,
    ) -> None:
        self._name = name
        self._folder = folder
        self._flags = flags
        self._descriptor: int | None = None

    def open(self) -> None:
        """Open the file, without a lock yet; `acquire` does so by itself."""
        if self._descriptor is None:
            flags = self._flags | NO_LINK
            self._descriptor = os.open(self._name, flags, PRIVATE_FILE, dir_fd=self._folder)

    def acquire(self, *, is_shared: bool = False) -> None:
        """Wait until nobody else holds it. A lock already held is changed to this kind, and others
        may have it in between."""
        while not self._locked(fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX):
            pass

    def try_acquire(self, *, is_shared: bool = False) -> bool:
        """Take it now. False if somebody else holds it: then nothing is held here either."""
        kind = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
        try:
            return self._locked(kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False

    def release(self) -> None:
        """Free it, if it is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def write(self, content: bytes) -> None:
        """Put `content` into the locked file, in place of what it held."""
        assert self._descriptor is not None, "acquire() comes first"
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, content, 0)

    def __enter__(self) -> FileLock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def _locked(self, operation: int) -> bool:
        """False if the locked file no longer has the name: whoever held it removed it."""
        self.open()
        assert self._descriptor is not None
        is_ours = False
        try:
            fcntl.flock(self._descriptor, operation)
            with suppress(FileNotFoundError):
                named = os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)
                is_ours = os.path.samestat(os.fstat(self._descriptor), named)
        finally:
            if not is_ours:
                self.release()
        return is_ours
