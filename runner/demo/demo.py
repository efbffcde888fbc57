"""The demo target: an embedded server shared by all commands that run at once, and its data.

Who uses the server is known by a shared lock on one file, which the kernel lets go of even when a
command is killed; the last user stops the server. Starting, seeding and stopping happen under a
second, exclusive lock.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from runner.demo.server import EmbeddedServer, EmbeddedServerError, binaries
from runner.files.lock import FileLock
from runner.project.targets import Target

if TYPE_CHECKING:
    import psycopg

DATABASE = "marketplace"
EMPTY_DATABASE = "postgres"
STALE_AFTER = timedelta(hours=6)
"""Seeded activity is relative to the time of seeding; older than this it is seeded anew."""

_HERE = Path(__file__).parent


def demo_folder() -> Path:
    """AUDIENCES_DEMO_DIR, else the user's cache folder; root's is /var/cache, which the account
    that the server runs as can reach."""
    if given := os.environ.get("AUDIENCES_DEMO_DIR"):
        return Path(given).absolute()
    binaries()
    import platformdirs

    is_root = os.geteuid() == 0 and "XDG_CACHE_HOME" not in os.environ
    find = platformdirs.site_cache_path if is_root else platformdirs.user_cache_path
    return find("push-audiences", appauthor=False)


@contextmanager
def reach(target: Target, *, is_empty: bool = False) -> Iterator[Target]:
    """The target as it can be connected to: the demo runs as long as this does. `is_empty` asks
    for a demo without data, which unit tests can do with."""
    if not target.is_demo:
        yield target
        return
    with running(is_empty=is_empty) as url:
        yield target.reached_at(url)


@contextmanager
def running(*, reset: bool = False, is_empty: bool = False) -> Iterator[str]:
    """Start the demo server if need be, with fresh data unless it may be empty; its URL. The last
    user stops it."""
    folder = demo_folder()
    try:
        if not folder.exists():
            folder.mkdir(parents=True)
            folder.chmod(0o755)  # the account that the server runs as under root goes through it
        users = FileLock(folder / "users.lock")
        users.open()
    except OSError as problem:
        raise EmbeddedServerError(
            f"the demo's folder cannot be made: {problem.strerror}",
            where=str(folder),
            fix="set AUDIENCES_DEMO_DIR to a folder that can be written to",
        ) from None
    server = EmbeddedServer(folder / "server")
    with users, _without_libpq_environment():
        try:
            with _exclusively(folder):
                is_only_user = users.try_acquire()
                server.start()
                if not is_empty:
                    _seed(server, may_replace=is_only_user, reset=reset)
                users.acquire(is_shared=True)
            yield server.url(EMPTY_DATABASE if is_empty else DATABASE)
        finally:
            with _exclusively(folder):
                users.release()
                if users.try_acquire():
                    server.stop()


@contextmanager
def _without_libpq_environment() -> Iterator[None]:
    """PGHOSTADDR, PGSERVICE and the like are about other servers. They are gone for the whole
    process while the demo runs, so it does not go with runs on other targets in other threads."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("PG")}
    try:
        yield
    finally:
        os.environ.update(kept)


@contextmanager
def _exclusively(folder: Path) -> Iterator[None]:
    with FileLock(folder / "start.lock") as lock:
        lock.acquire()
        yield


def _seed(server: EmbeddedServer, *, may_replace: bool, reset: bool) -> None:
    """Make the database if it is missing, stale, or asked for; never under another user's feet."""
    import psycopg

    try:
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            age = _age(connection)
            if age is not None and age < STALE_AFTER and not reset:
                return
            if age is None or may_replace:
                _make(connection, server)
            elif reset:
                raise EmbeddedServerError(
                    "other commands are using the demo",
                    where=str(server.folder),
                    fix="wait until they are done, then reset it",
                )
    except psycopg.Error as problem:
        raise EmbeddedServerError(
            f"the demo's data cannot be made: {problem}",
            where=str(server.folder),
            fix="check that the disk has space, or remove the folder and try again",
        ) from None


def _age(connection: psycopg.Connection) -> timedelta | None:
    """How long ago the database was seeded; None if it is missing or was not finished."""
    found = connection.execute(
        "select shobj_description(oid, 'pg_database') from pg_database where datname = %s",
        (DATABASE,),
    ).fetchone()
    try:
        return datetime.now(UTC) - datetime.fromisoformat(found[0]) if found else None
    except (TypeError, ValueError):
        return None


def _make(connection: psycopg.Connection, server: EmbeddedServer) -> None:
    import psycopg
    from psycopg import sql

    name = sql.Identifier(DATABASE)
    connection.execute(sql.SQL("drop database if exists {} with (force)").format(name))
    connection.execute(sql.SQL("create database {}").format(name))
    with psycopg.connect(server.url(DATABASE)) as seeding:
        for file in ("schema.sql", "seed.sql"):
            seeding.execute((_HERE / file).read_text(encoding="utf-8"))
    with psycopg.connect(server.url(DATABASE), autocommit=True) as vacuuming:
        vacuuming.execute("vacuum analyze")
    # written last: a database without it was not finished
    comment = sql.SQL("comment on database {} is {}")
    connection.execute(comment.format(name, sql.Literal(datetime.now(UTC).isoformat())))
