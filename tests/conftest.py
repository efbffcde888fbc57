"""A real PostgreSQL for every test: a server for the session, a cloned database for each test.

By default the server is the embedded one from the wheel; `--postgresql-host` (with `-port`,
`-user`, `-password`) names another.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from pytest_postgresql import factories

from runner.demo.server import EmbeddedServer
from runner.project.secrets import SECRETS
from runner.project.targets import Target
from tests.support import GOLDEN, Database, load_csv_folder, load_schema

settings.register_profile("tests", deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("tests")


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell starts background jobs so, and every process that a test starts would ignore it too
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fault-share",
        type=float,
        default=0.1,
        help="Which part of the faults that the slow suites can inject is injected; 1 is all.",
    )
    parser.addoption(
        "--marketplaces",
        type=int,
        default=100,
        help="How many made-up marketplaces each audience is held against its spec in.",
    )


def pytest_configure(config: pytest.Config) -> None:
    settings.register_profile(
        "marketplaces",
        settings.get_profile("tests"),
        max_examples=config.getoption("--marketplaces"),
    )


@pytest.fixture
def fault_share(request: pytest.FixtureRequest) -> float:
    return float(request.config.getoption("--fault-share"))


@pytest.fixture(autouse=True)
def no_secrets_of_other_tests() -> Iterator[None]:
    token = SECRETS.set(frozenset())
    yield
    SECRETS.reset(token)


@dataclass(frozen=True)
class ServerAddress:
    """What pytest-postgresql asks of a fixture that others depend on."""

    host: str
    port: int
    user: str
    password: str | None
    options: str = ""
    maintenance_dbname: str = "postgres"
    template_dbname: str | None = None


@pytest.fixture(scope="session")
def database_server(request: pytest.FixtureRequest) -> Iterator[ServerAddress]:
    """The server given by options, else an embedded one that lives as long as the session."""
    option = request.config.option
    if option.postgresql_host:
        port = int(option.postgresql_port or 5432)
        user = option.postgresql_user or "postgres"
        yield ServerAddress(option.postgresql_host, port, user, option.postgresql_password)
        return
    folder = Path(tempfile.mkdtemp(prefix="audiences-"))
    server = EmbeddedServer(folder)
    try:
        server.start()
        yield ServerAddress(str(server.socket_folder), 5432, "postgres", None)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


empty_template = factories.postgresql_noproc(
    depends_on="database_server", dbname=f"audiences_empty_{os.getpid()}", load=[load_schema]
)
golden_template = factories.postgresql_noproc(
    depends_on="empty_template",
    dbname=f"audiences_golden_{os.getpid()}",
    load=[lambda **kwargs: load_csv_folder(GOLDEN / "source_data", **kwargs)],
)
empty_connection = factories.postgresql("empty_template")
golden_connection = factories.postgresql("golden_template")


@pytest.fixture
def bare(database_server: ServerAddress) -> Target:
    """A database without any table of ours."""
    return Target(
        name="bare",
        type="postgres",
        host=database_server.host,
        port=database_server.port,
        user=database_server.user,
        password=database_server.password,
        dbname=database_server.maintenance_dbname,
    )


@pytest.fixture
def database(empty_connection: psycopg.Connection) -> Database:
    """The source tables, empty."""
    return Database(empty_connection)


@pytest.fixture
def golden(golden_connection: psycopg.Connection) -> Database:
    """The source tables with the golden case's data."""
    return Database(golden_connection)


@pytest.fixture
def role(database_server: ServerAddress, request: pytest.FixtureRequest) -> Iterator[str]:
    """A role that may log in and nothing else; its name."""
    name = f"reader_{os.getpid()}"
    options = {
        "host": database_server.host,
        "port": database_server.port,
        "user": database_server.user,
        "password": database_server.password,
        "dbname": "postgres",
    }
    with psycopg.connect(**options, autocommit=True) as connection:
        connection.execute(f"drop role if exists {name}")
        connection.execute(f"create role {name} login password 'reader secret'")
        yield name
        for (database,) in connection.execute(
            "select datname from pg_database where datname like %s and not datistemplate",
            (f"audiences_%{os.getpid()}%",),
        ).fetchall():
            with psycopg.connect(**{**options, "dbname": database}, autocommit=True) as inside:
                inside.execute(f"drop owned by {name}")
        connection.execute(f"drop role {name}")
