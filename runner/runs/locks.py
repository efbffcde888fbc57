"""One run of an audience at a time: a lock file in the output folder, an advisory lock in the
database. Both are let go of by the kernel or the server when their holder dies."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runner.clock import Deadline, instant
from runner.database.session import Session
from runner.errors import ExportError, LockedError
from runner.files.claim import Claim, claimed
from runner.files.folder import Folder, file_errors, written_to
from runner.files.lock import FileLock
from runner.files.names import lock_name
from runner.project.audience import Audience
from runner.project.nodes import literal
from runner.runs.settings import Settings

APPLICATION = "push-audiences"
APPLICATION_NAME_BYTES = 63
SHOWN_OF_RUN_ID = 8
POLL_SECONDS = 0.25
FORMER_SESSION_SECONDS = 10


@dataclass(frozen=True)
class Contender:
    """A run that wants to be alone: what others see of it, and how long it waits for them.

    `report` is called once with who is being waited for.
    """

    profile: str
    audience: str
    run_id: str
    deadline: Deadline
    patience: Deadline
    report: Callable[[str], None]

    @property
    def application_name(self) -> str:
        """Who holds a lock, as pg_stat_activity shows it: run, process and host."""
        name = f"{APPLICATION} {self.run_id[:SHOWN_OF_RUN_ID]} {os.getpid()}@{socket.gethostname()}"
        return name.encode("ascii", "replace")[:APPLICATION_NAME_BYTES].decode()

    def until(self, attempt: Callable[[], bool], holder: Callable[[], str], where: str) -> bool:
        """Try until it succeeds; whether that took waiting.

        Raises `LockedError` when patience is at its end, `DeadlinePassed` when time is.
        """
        has_waited = False
        while not attempt():
            who = f"another run of {self.audience} is at work: {holder()}"
            self.deadline.check(f"waiting: {who}")
            if self.patience.has_passed:
                raise LockedError(
                    f"{who}; nothing was published",
                    where=where,
                    fix="wait for it with --wait 5m, or check that process",
                )
            if not has_waited:
                self.report(who)
            has_waited = True
            time.sleep(min(POLL_SECONDS, self.patience.left, self.deadline.left))
        return has_waited


# The output folder


@contextmanager
def alone_in(folder: Folder, contender: Contender) -> Iterator[bool]:
    """Hold the audience's lock file in an output folder; whether that took waiting.

    Raises `LockedError`, `DeadlinePassed`, and `ExportError` if the file cannot be made. The file
    is removed at the end; one that a killed run leaves behind holds nobody up.
    """
    name = lock_name(contender.audience)
    path = folder.path / name
    lock = FileLock(name, folder=folder.descriptor)

    def attempt() -> bool:
        try:
            return lock.try_acquire()
        except OSError as problem:
            raise _unlockable(path, problem) from None

    has_waited = contender.until(attempt, lambda: _file_holder(folder, name), str(path))
    try:
        about = {"pid": os.getpid(), "host": socket.gethostname(), "runId": contender.run_id}
        about["since"] = instant(datetime.now(UTC).replace(microsecond=0))
        with file_errors(path):
            lock.write(json.dumps(about).encode())
        yield has_waited
    finally:
        with suppress(ExportError):
            folder.remove(name)  # while it is still locked: nobody else's
        lock.release()


@contextmanager
def claimed_alone(
    settings: Settings, audience: Audience, started_at: datetime, contender: Contender
) -> Iterator[Claim]:
    """The second of a run's start in its output folder, made if it is missing, and its lock. If
    that takes waiting, the run starts when the folder is free. Raises what its parts raise."""
    modes = settings.target.files
    with (
        written_to(settings.output_dir, file_mode=modes.file, folder_mode=modes.folder) as folder,
        alone_in(folder, contender) as has_waited,
        claimed(folder, audience, datetime.now(UTC) if has_waited else started_at) as claim,
    ):
        yield claim


def _unlockable(path: Path, problem: OSError) -> ExportError:
    return ExportError(
        f"cannot be locked: {problem.strerror or problem}",
        where=str(path),
        fix="allow this user to write there, or choose another file system with --output-dir",
    )


def _file_holder(folder: Folder, name: str) -> str:
    try:
        with folder.reading(name) as file:
            about: dict[str, Any] = json.loads(file.read())
        process = f"process {about['pid']} on host {about['host']}, run {about['runId']}"
        return f"{process}, since {about['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "it has only just begun"


# The database


def lock_database(session: Session, contender: Contender) -> None:
    """Hold the advisory lock of this database, project and audience until the session ends.

    Raises `LockedError` and `DeadlinePassed`. A former session of this very run, cut off from us
    but not yet from its server, is ended. On a standby the lock is that server's alone.
    """
    key = lock_key(contender.profile, contender.audience)

    def attempt() -> bool:
        return bool(session.rows(f"select pg_try_advisory_lock({key})")[0][0])

    if attempt():
        return
    if _has_ended_former_session(session, key, contender):
        patience = Deadline.after(max(FORMER_SESSION_SECONDS, contender.patience.left))
        contender = replace(contender, patience=patience)
    contender.until(attempt, lambda: _database_holder(session, key), f"database lock {key}")


def lock_key(profile: str, audience: str) -> int:
    """The same on every machine and in every version."""
    name = "\0".join((APPLICATION, profile, audience)).encode()
    return int.from_bytes(hashlib.sha256(name).digest()[:8], "big", signed=True)


_HOLDERS = """
select pg_locks.pid, pg_stat_activity.application_name, pg_stat_activity.backend_start
from pg_catalog.pg_locks
inner join pg_catalog.pg_database on pg_locks.database = pg_database.oid
left join pg_catalog.pg_stat_activity on pg_locks.pid = pg_stat_activity.pid
where
    pg_locks.locktype = 'advisory'
    and pg_locks.granted
    and pg_locks.objsubid = 1
    and pg_database.datname = current_database()
    and (pg_locks.classid::bigint << 32) | pg_locks.objid::bigint = {key}
"""


def _database_holder(session: Session, key: int) -> str:
    rows = session.rows(_HOLDERS.format(key=key))
    if not rows:
        return "it has just ended"
    pid, name, since = rows[0]
    found = re.fullmatch(rf"{APPLICATION} (\w+) (\d+)@(.+)", name or "")
    who = f"process {found[2]} on host {found[3]}, run {found[1]}..., " if found else ""
    started = f", since {instant(since.replace(microsecond=0))}" if since else ""
    return f"{who}server process {pid}{started}"


def _has_ended_former_session(session: Session, key: int, contender: Contender) -> bool:
    rows = session.rows(
        f"select pg_terminate_backend(pid) from ({_HOLDERS.format(key=key)}) as holders "
        f"where application_name = {literal(contender.application_name)}"
    )
    return bool(rows)
