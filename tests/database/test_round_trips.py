"""A run asks the server few questions: each costs milliseconds where the server is far away."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.project.targets import Target
from tests.conftest import ServerAddress
from tests.proxy import Proxy
from tests.support import Database, run_layer3

MOST_ROUND_TRIPS = 80


def test_a_run_of_layer_3_takes_at_most_80_round_trips(
    golden: Database, database_server: ServerAddress, tmp_path: Path
) -> None:
    if not database_server.host.startswith("/"):
        pytest.skip("the proxy stands before a server's socket")
    info = golden.connection.info
    with Proxy(f"{info.host}/.s.PGSQL.{info.port}") as proxy:
        through = Target(
            name="proxied",
            type="postgres",
            host="127.0.0.1",
            port=proxy.port,
            user=info.user,
            password=info.password or None,
            dbname=info.dbname,
        )
        result = run_layer3(golden, tmp_path, target=through)
    assert result.status == "success"
    assert len(result.csv_files) == 6
    assert 20 < proxy.round_trips <= MOST_ROUND_TRIPS
