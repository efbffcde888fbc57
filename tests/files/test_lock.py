"""The lock on files: one holder or many readers, gone with its holder, never of a removed file."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from runner.files.lock import FileLock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def test_one_holder_at_a_time(path: Path) -> None:
    with FileLock(path) as first, FileLock(path) as second:
        assert first.try_acquire()
        assert not second.try_acquire()
        first.release()
        assert second.try_acquire()
        assert not first.try_acquire(is_shared=True)


def test_many_may_share_it_and_then_nobody_has_it_alone(path: Path) -> None:
    with FileLock(path) as first, FileLock(path) as second:
        assert first.try_acquire(is_shared=True)
        assert second.try_acquire(is_shared=True)
        assert not first.try_acquire()
        second.release()
        assert first.try_acquire()
        first.acquire(is_shared=True)
        assert second.try_acquire(is_shared=True)


def test_a_killed_holder_holds_it_no_longer(path: Path) -> None:
    program = (
        "import sys, time\n"
        "from runner.files.lock import FileLock\n"
        "lock = FileLock(sys.argv[1])\n"
        "lock.acquire()\n"
        "print('held', flush=True)\n"
        "time.sleep(600)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    with holder.stdout:
        assert holder.stdout.readline() == b"held\n"
        with FileLock(path) as lock:
            assert not lock.try_acquire()
            holder.kill()
            holder.wait()
            assert lock.try_acquire()


def test_a_lock_on_a_file_that_was_removed_is_no_lock(path: Path) -> None:
    with FileLock(path) as first, FileLock(path) as second, FileLock(path) as third:
        first.acquire()
        second.open()
        path.unlink()
        first.release()
        assert not second.try_acquire()
        assert second.try_acquire()
        assert not third.try_acquire()


def test_who_waits_gets_the_file_that_has_the_name_in_the_end(path: Path) -> None:
    with FileLock(path) as first, FileLock(path) as second, FileLock(path) as third:
        first.acquire()
        waiting = threading.Thread(target=second.acquire)
        second.open()
        waiting.start()
        path.unlink()
        first.release()
        waiting.join(60)
        assert not waiting.is_alive()
        assert not third.try_acquire()
        second.write(b"mine, and long")
        second.write(b"mine")
        assert path.read_bytes() == b"mine"


def test_it_is_private_and_goes_through_no_link(path: Path) -> None:
    with FileLock(path) as lock:
        lock.acquire()
    assert path.stat().st_mode & 0o777 == 0o600
    link = path.with_name("link")
    link.symlink_to(path)
    with pytest.raises(OSError), FileLock(link) as lock:
        lock.acquire()


def test_a_folder_can_be_locked_and_a_missing_file_need_not_be_made(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with (
            FileLock(".", folder=folder, flags=os.O_RDONLY) as first,
            FileLock(tmp_path, flags=os.O_RDONLY) as second,
        ):
            first.acquire()
            assert not second.try_acquire()
        with pytest.raises(FileNotFoundError):
            FileLock("none", folder=folder, flags=os.O_RDONLY).try_acquire()
        assert list(tmp_path.iterdir()) == []
    finally:
        os.close(folder)
