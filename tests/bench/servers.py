"""The server and the databases that are measured, made before and dropped after."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from runner.demo.server import EmbeddedServer
from tests.bench.processes import ROOT, measured, phase, psql

SCHEMA = ROOT / "runner" / "demo" / "schema.sql"
MARKETPLACE = Path(__file__).parent / "marketplace.sql"


@contextmanager
def server(given_url: str | None) -> Iterator[str]:
    """The URL of the given server, else of a throw-away one."""
    if given_url:
        yield given_url
        return
    folder = Path(tempfile.mkdtemp(prefix="audiences-bench-"))
    embedded = EmbeddedServer(folder)
    try:
        with phase("starting a server"):
            embedded.start()
        yield embedded.url("postgres")
    finally:
        embedded.stop()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Databases:
    """URLs of one database: as its owner, and as a role that may only read."""

    url: str
    reader: str


@contextmanager
def marketplace(server_url: str, name: str, users: int, recent_share: float) -> Iterator[Databases]:
    """A database with a marketplace, vacuumed and analyzed. One of its name is lost."""
    drop = f"drop database if exists {name} with (force)"
    url = urlsplit(server_url)._replace(path=f"/{name}").geturl()
    sizes = ["-v", f"users={users}", "-v", f"recent_share={recent_share}"]
    _psql(server_url, "-c", "set client_min_messages to warning", "-c", drop)
    _psql(server_url, "-c", f"create database {name}")
    try:
        with phase(f"filling {name}: {users:,} users, {recent_share:.2%} of activity is recent"):
            _psql(url, "-f", str(SCHEMA))
            _psql(url, *sizes, "-f", str(MARKETPLACE))
        with _reader(url, name) as reader:
            yield Databases(url, reader)
    finally:
        _psql(server_url, "-c", drop)


@contextmanager
def _reader(url: str, database: str) -> Iterator[str]:
    """The URL of a role that may read the tables and make none, not even temporary ones."""
    role = f"{database}_reader"
    _psql(
        url,
        *("-c", f"create role {role} login password '{role}'"),
        *("-c", f"revoke temporary on database {database} from public"),
        *("-c", f"grant select on all tables in schema public to {role}"),
    )
    parts = urlsplit(url)
    _, _, address = parts.netloc.rpartition("@")
    try:
        yield parts._replace(netloc=f"{role}:{role}@{address}").geturl()
    finally:
        _psql(url, "-c", f"drop owned by {role}", "-c", f"drop role {role}")


def index_all(url: str, statements: Iterable[str]) -> None:
    with phase("making the declared indexes"):
        for statement in (*statements, "vacuum analyze"):
            _psql(url, "-c", statement)


def write_profile(folder: Path, urls: Mapping[str, str]) -> None:
    """A profiles.yml with a target for each URL."""
    targets = {
        name: {"type": "postgres", "url": url, "settings": {"work_mem": "64MB"}}
        for name, url in urls.items()
    }
    document = {"bench": {"target": next(iter(targets)), "outputs": targets}}
    (folder / "profiles.yml").write_text(yaml.safe_dump(document))


def _psql(url: str, *arguments: str) -> None:
    measured(psql(url, *arguments), ROOT)
