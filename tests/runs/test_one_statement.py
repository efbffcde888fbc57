"""Without temp tables a run is one statement, which gives the same files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runner.files.document import RunResult
from runner.project.targets import Target
from tests.support import Database, csv_files, rows_of, run_project, tiny_project

PEOPLE = "select n as user_id, 'x' || n as name from generate_series(1, 40) as g (n)"
PICKED = "select user_id, name, random() < 0.5 as is_treated from {{ ref('people') }}"
TREATED = "select user_id, name from {{ ref('picked') }} where is_treated"
UNTREATED = "select user_id, name from {{ ref('picked') }} where not is_treated"


@pytest.fixture
def reader(database: Database, role: str) -> Target:
    """A role that may not create temp tables."""
    name = database.connection.info.dbname
    database.execute(f'revoke temporary on database "{name}" from public')
    return database.target(user=role, password="reader secret")


Contents = dict[str, str]


def contents(result: RunResult) -> Contents:
    return {f"{file.audience_type} {file.is_test_file}": file.sha256 for file in result.csv_files}


@pytest.fixture
def both(
    database: Database, reader: Target, tmp_path: Path
) -> Callable[[Path], tuple[RunResult, RunResult]]:
    """A run with temp tables, and one without."""

    def run(project: Path) -> tuple[RunResult, RunResult]:
        plain = run_project(project, database, tmp_path / "plain")
        inlined = run_project(project, database, tmp_path / "inlined", target=reader)
        assert inlined.metadata.working_tables == "inlined (no TEMP privilege)"
        return plain, inlined

    return run


def test_a_model_of_random_rows_puts_each_user_into_exactly_one_file(
    database: Database, reader: Target, tmp_path: Path
) -> None:
    project = tiny_project(
        tmp_path / "p", people=PEOPLE, picked=PICKED, first_file=TREATED, second_file=UNTREATED
    )
    for number in range(10):
        result = run_project(project, database, tmp_path / str(number), target=reader)
        users = [row["user_id"] for kind in ("first", "second") for row in rows_of(result, kind)]
        assert sorted(users, key=int) == [str(n) for n in range(1, 41)]


def test_files_of_different_widths_with_odd_texts_are_the_same_bytes(
    both: Callable[[Path], tuple[RunResult, RunResult]], tmp_path: Path
) -> None:
    texts = r"""(values (1, 'a,b'), (2, 'say "x"'), (3, E'two\nlines'), (4, ''), (5, null), (6, ',,'), (7, E'\\.'), (8, ' ')) as v (n, text)"""
    project = tiny_project(tmp_path / "p", people=f"select n as user_id, text as name from {texts}")
    audience = project / "models" / "tiny.yml"
    narrow = "file: second, columns: [user_id], order_by: [user_id]"
    audience.write_text(
        audience.read_text().replace(
            "file: second, columns: [user_id, name], order_by: [user_id]", narrow
        )
    )
    (project / "models" / "first_file.sql").write_text(
        "select user_id, name from {{ ref('people') }} where user_id <> 2"
    )
    (project / "models" / "second_file.sql").write_text(
        "select user_id from {{ ref('people') }} where user_id = 2"
    )
    plain, inlined = both(project)
    assert plain.status == inlined.status == "success"
    assert contents(plain) == contents(inlined)


def test_a_type_whose_model_fails_in_the_statement_is_dropped_and_the_other_published(
    both: Callable[[Path], tuple[RunResult, RunResult]], tmp_path: Path
) -> None:
    project = tiny_project(
        tmp_path / "p",
        people=PEOPLE,
        first_file="select user_id, name from {{ ref('people') }} where user_id < 20",
        second_file="select user_id, (1 / (user_id - 30))::text as name from {{ ref('people') }} where user_id >= 20",
    )
    plain, inlined = both(project)
    for result in (plain, inlined):
        assert (result.status, result.exit_code) == ("partial", 3)
        assert {failure.audience_type for failure in result.metadata.errors} == {"second"}
        assert "division by zero" in (result.error or "")
    assert contents(plain) == contents(inlined)
    assert len(csv_files(tmp_path / "inlined")) == 2


def test_a_type_whose_data_test_fails_is_dropped_and_the_other_published(
    both: Callable[[Path], tuple[RunResult, RunResult]], tmp_path: Path
) -> None:
    project = tiny_project(
        tmp_path / "p",
        people=PEOPLE,
        first_file="select user_id, name from {{ ref('people') }} where user_id < 20",
        second_file="select nullif(user_id, 30) as user_id, name from {{ ref('people') }} where user_id >= 20",
    )
    plain, inlined = both(project)
    for result in (plain, inlined):
        assert (result.status, result.exit_code) == ("partial", 3)
        assert {failure.audience_type for failure in result.metadata.errors} == {"second"}
        assert "not_null_second_file_user_id" in (result.error or "")
    assert contents(plain) == contents(inlined)


def test_a_user_in_two_files_publishes_nothing(
    both: Callable[[Path], tuple[RunResult, RunResult]], tmp_path: Path
) -> None:
    everybody = "select user_id, name from {{ ref('people') }}"
    project = tiny_project(
        tmp_path / "p", people=PEOPLE, first_file=everybody, second_file=everybody
    )
    for result in both(project):
        assert (result.status, result.exit_code) == ("failed", 1)
        assert "unique_user_id_across_files" in (result.error or "")
    assert csv_files(tmp_path / "inlined") == []


def test_without_activity_nothing_is_published(
    both: Callable[[Path], tuple[RunResult, RunResult]], tmp_path: Path
) -> None:
    project = tiny_project(tmp_path / "p", people=f"{PEOPLE} where n < 0")
    assert [result.status for result in both(project)] == ["no_activity", "no_activity"]
