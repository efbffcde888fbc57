"""The server and the databases that are measured, made before and dropped after."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def marketplace(server_url: str, name: str, users: int, recent_share: float) -> Iterator[str]:
    """The URL of a database with a marketplace, vacuumed and analyzed. One of its name is lost."""
    drop = f"drop database if exists {name} with (force)"
    url = urlsplit(server_url)._replace(path=f"/{name}").geturl()
    sizes = ["-v", f"users={users}", "-v", f"recent_share={recent_share}"]
    _psql(server_url, "-c", "set client_min_messages to warning", "-c", drop)
    _psql(server_url, "-c", f"create database {name}")
    try:
        with phase(f"filling {name}: {users:,} users, {recent_share:.0%} of activity is recent"):
            _psql(url, "-f", str(SCHEMA))
            _psql(url, *sizes, "-f", str(MARKETPLACE))
        yield url
    finally:
        _psql(server_url, "-c", drop)


def write_profile(folder: Path, url: str) -> None:
    """A profiles.yml whose only target, `bench`, is this database."""
    target = {"type": "postgres", "url": url, "settings": {"work_mem": "64MB"}}
    document = {"bench": {"target": "bench", "outputs": {"bench": target}}}
    (folder / "profiles.yml").write_text(yaml.safe_dump(document))


def _psql(url: str, *arguments: str) -> None:
    measured(psql(url, *arguments), ROOT)
