"""A run never writes to the database, and asks for no more than SELECT."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from runner.database.session import open_session
from runner.errors import DatabaseError, ExportError, ProjectError
from runner.runs.phases import run
from runner.runs.settings import Settings
from runner.sql.plan import SNAPSHOT
from runner.sql.source_map import MappedSql
from tests.cases import assert_files_equal, golden_case
from tests.support import (
    AS_OF,
    LOAD_ORDER,
    ROOT,
    Database,
    only_outcome,
    run_layer3,
    run_project,
    tiny_project,
)

GOLDEN_CASE = golden_case("layer3-behavior", "lookback_48_cooling_12")


def reader(database: Database, role: str) -> Any:
    return database.target(user=role, password="reader secret")


def run_as(database: Database, role: str, folder: Path) -> Any:
    return run(
        Settings(
            ROOT,
            "layer3-behavior",
            reader(database, role),
            parameters={"lookback_hours": "48", "cooling_hours": "12"},
            as_of=AS_OF,
            output_dir=folder,
        )
    )


def grant_select(database: Database, role: str, *, temp: bool) -> None:
    name = database.connection.info.dbname
    database.execute(f"grant select on all tables in schema public to {role}")
    database.execute(f'revoke temporary on database "{name}" from public')
    if temp:
        database.execute(f'grant temporary on database "{name}" to {role}')


def test_a_model_with_a_writing_cte_is_refused(database: Database, tmp_path: Path) -> None:
    writing = "with gone as (\n    delete from public.users returning id\n)\nselect 1 as user_id, 'x' as name from gone"
    with pytest.raises(ProjectError, match=r"models/people.sql:2:5: .*contains delete"):
        run_project(tiny_project(tmp_path / "p", people=writing), database, tmp_path / "out")


def test_the_snapshot_refuses_every_write_but_to_temp_tables(golden: Database) -> None:
    before = golden.value("select count(*) from users")
    with open_session(golden.target()) as session:
        with session.transaction("begin isolation level read committed, read write"):
            session.execute("create temp table allowed as select 1 as n")
        for write in (
            "delete from users",
            "with gone as (delete from users returning id) select * from gone",
            "insert into attributes (name) values ('x')",
            "create table made (n int)",
            "select setval('x', 1)",
        ):
            with pytest.raises(DatabaseError), session.transaction(SNAPSHOT):
                session.execute(write)
        with session.transaction(SNAPSHOT):
            session.execute("insert into allowed values (2)")
    assert golden.value("select count(*) from users") == before


def test_a_function_that_writes_is_refused_by_the_server(
    database: Database, tmp_path: Path
) -> None:
    database.execute("create table witness (n int)")
    database.execute(
        "create function sneak() returns int language sql as 'insert into witness values (1) returning n'"
    )
    people = "select public.sneak() as user_id, 'x' as name"
    result = run_project(tiny_project(tmp_path / "p", people=people), database, tmp_path / "out")
    assert result.status == "failed"
    assert "read-only transaction" in (result.error or "")
    assert database.value("select count(*) from witness") == 0


def test_source_tables_see_no_write_in_their_statistics(golden: Database, tmp_path: Path) -> None:
    counters = (
        "select string_agg(relname || ' ' || n_tup_ins || ' ' || n_tup_upd || ' ' || n_tup_del, ',' "
        "order by relname) from pg_stat_user_tables where schemaname = 'public'"
    )
    golden.execute("select pg_stat_force_next_flush()") if golden.value(
        "select current_setting('server_version_num')::int >= 150000"
    ) else time.sleep(1)
    before = golden.value(counters)
    run_layer3(golden, tmp_path)
    time.sleep(0.2)  # a backend hands in its statistics when it ends
    golden.execute("select pg_stat_clear_snapshot()")
    assert golden.value(counters) == before
    assert all(table in before for table in LOAD_ORDER)
    golden.execute("insert into attributes (name) values ('control')")
    for _ in range(50):  # a write does show, and no later than our look above
        golden.execute("select pg_stat_clear_snapshot()")
        if golden.value(counters) != before:
            return
        time.sleep(0.05)
    raise AssertionError("these counters see no write at all")


def test_select_and_temp_are_enough(golden: Database, role: str, tmp_path: Path) -> None:
    grant_select(golden, role, temp=True)
    result = run_as(golden, role, tmp_path)
    assert result.metadata.working_tables == "temp tables"
    assert_files_equal(GOLDEN_CASE, tmp_path)


def test_without_temp_everything_is_inlined_into_the_same_files(
    golden: Database, role: str, tmp_path: Path
) -> None:
    grant_select(golden, role, temp=False)
    result = run_as(golden, role, tmp_path / "reader")
    assert result.metadata.working_tables == "inlined (no TEMP privilege)"
    assert_files_equal(GOLDEN_CASE, tmp_path / "reader")
    built = run_layer3(golden, tmp_path / "built")
    assert result.metadata.funnel == built.metadata.funnel
    assert {file.sha256 for file in result.csv_files if not file.is_test_file} == {
        file.sha256 for file in built.csv_files if not file.is_test_file
    }


def test_no_permission_on_one_table_is_named_and_nothing_is_published(
    golden: Database, role: str, tmp_path: Path
) -> None:
    grant_select(golden, role, temp=True)
    golden.execute(f"revoke select on wishlist_items from {role}")
    result = run_as(golden, role, tmp_path)
    assert (result.status, result.exit_code) == ("failed", 1)
    assert "permission denied for table wishlist_items" in (result.error or "")
    assert "grant the role" in (result.error or "")
    assert only_outcome(tmp_path) == "failed"


@pytest.mark.parametrize("row", [1, 5_000, 200_000])
def test_an_error_in_the_middle_of_a_stream_leaves_a_usable_session(
    database: Database, row: int
) -> None:
    failing = (
        f"copy (select 1 / (n - {row}) from generate_series(1, 300000) as given (n)) to stdout"
    )
    with open_session(database.target()) as session, session.transaction(SNAPSHOT):
        with (
            pytest.raises(DatabaseError, match="division by zero"),
            session.savepoint(),
            session.copy(MappedSql(failing)) as blocks,
        ):
            sum(1 for _ in blocks)
        assert session.rows("select 1")[0][0] == 1


def test_a_stream_that_is_left_is_cancelled_on_the_server(database: Database) -> None:
    endless = "copy (select generate_series(1, 1000000000)) to stdout"
    with open_session(database.target()) as session, session.transaction(SNAPSHOT):
        with (
            pytest.raises(ExportError),
            session.savepoint(),
            session.copy(MappedSql(endless)) as blocks,
        ):
            for number, _ in enumerate(blocks):
                if number == 1000:
                    raise ExportError("the disk is full")
        assert session.rows("select 1")[0][0] == 1
