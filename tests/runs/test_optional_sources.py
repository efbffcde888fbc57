"""A source table that only some parameter values read: whoever does not read it need not have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.project.load import load_project
from runner.sql import data_tests
from runner.sql.compile import compile_audience
from runner.sql.plan import Plan
from runner.tools.check import Check, check
from runner.tools.unit_tests.unit_tests import run_unit_tests
from tests.cli.test_commands import invoke
from tests.support import AS_OF, ROOT, Database, rows_of, run_project, tiny_project

SWITCH = "{name: spare, type: boolean, default: false, description: leave out who was pushed}"
OTHER = "{name: loud, type: boolean, default: true, description: x}"
SPARING = (
    "select * from {{ ref('people') }} where user_id < 3"
    "{% if var('spare') %}\n    and user_id not in (select user_id from {{ ref('pushed') }}){% endif %}"
)
SOURCES = """
sources:
  - {name: history, schema: push_history, tables: [
      {name: sent, columns: [{name: person, data_type: integer}]}]}
models:
  - {name: pushed, description: who was pushed, columns: [{name: user_id, data_tests: [unique]}]}
unit_tests:
  - {name: once, model: pushed, given: [{input: "source('history', 'sent')", rows: [{person: 1}, {person: 1}]}],
     expect: {rows: [{user_id: 1}]}}
"""
IN_NO_FILE = (
    "{% if var('spare') %}select user_id from {{ ref('first_file') }} where user_id in "
    "(select user_id from {{ ref('pushed') }}){% endif %}"
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tiny_project(
        tmp_path / "p",
        parameters=f"{OTHER}, {SWITCH}",
        first_file=SPARING,
        pushed="select distinct person as user_id from {{ source('history', 'sent') }}",
    )
    (folder / "models" / "history.yml").write_text(SOURCES)
    tests = folder / "tests" / "data_tests"
    tests.mkdir(parents=True)
    (tests / "who_is_spared_is_in_no_file.sql").write_text(IN_NO_FILE)
    return folder


ON = {"spare": "true"}
TABLE = "push_history.sent"


def with_history(database: Database) -> None:
    database.execute("create schema push_history")
    database.execute("create table push_history.sent (person integer)")
    database.execute("insert into push_history.sent values (1), (1)")


def of_tables(checks: list[Check]) -> list[tuple[str, bool, str]]:
    return [(one.name, one.is_ok, one.detail) for one in checks if one.name.startswith("table ")]


def test_off_nothing_of_it_is_in_any_statement(project: Path) -> None:
    compiled = compile_audience(load_project(project), "tiny", {}, AS_OF)
    plan = Plan(compiled, AS_OF)
    statements = [step.sql.text for step in (*plan.creates, *plan.probes, *plan.steps)]
    assert not [text for text in statements if "pushed" in text or "sent" in text]
    assert plan.sources == ()
    assert "who_is_spared_is_in_no_file" not in [
        test.name for test in data_tests.tests_of(compiled)
    ]


def test_off_a_run_needs_no_table_and_on_it_reads_it(
    database: Database, project: Path, tmp_path: Path
) -> None:
    off = run_project(project, database, tmp_path / "off")
    assert [row["user_id"] for row in rows_of(off, "first")] == ["1", "2"]
    with_history(database)
    on = run_project(project, database, tmp_path / "on", parameters=ON)
    assert [row["user_id"] for row in rows_of(on, "first")] == ["2"]
    tests = {one.name: one.status for one in on.metadata.data_tests}
    assert tests["who_is_spared_is_in_no_file"] == "pass"
    assert tests.keys() - {one.name for one in off.metadata.data_tests} == {
        "who_is_spared_is_in_no_file"
    }


@pytest.mark.parametrize("has_temp", [True, False])
def test_on_without_the_table_the_run_fails_and_says_what_runs_without_it(
    database: Database, project: Path, tmp_path: Path, role: str, has_temp: bool
) -> None:
    target = database.target()
    if not has_temp:
        database.execute(f"revoke temp on database {database.connection.info.dbname} from public")
        target = database.target(user=role, password="reader secret")
    whole = project / "models" / "second_file.sql"
    whole.write_text(SPARING.replace("user_id < 3", "user_id >= 3"))
    result = run_project(project, database, tmp_path / "out", parameters=ON, target=target)
    assert (result.exit_code, result.csv_files) == (1, ())
    assert 'relation "push_history.sent" does not exist' in str(result.error)
    assert f"spare=false runs without {TABLE}" in str(result.error)
    assert "loud" not in str(result.error)


def test_on_without_the_right_to_read_it_the_run_says_the_same(
    database: Database, project: Path, tmp_path: Path, role: str
) -> None:
    with_history(database)
    target = database.target(user=role, password="reader secret")
    result = run_project(project, database, tmp_path / "out", parameters=ON, target=target)
    assert result.status == "partial", "the second file needs no history"
    assert "permission denied for schema push_history" in str(result.error)
    assert str(result.error).endswith(f"spare=false runs without {TABLE}")


def test_another_error_says_nothing_of_the_switch(
    database: Database, project: Path, tmp_path: Path
) -> None:
    with_history(database)
    (project / "models" / "people.sql").write_text("select nope as user_id, 'x' as name")
    result = run_project(project, database, tmp_path / "out", parameters=ON)
    assert result.status == "failed"
    assert "runs without" not in str(result.error)


# check


def test_check_looks_only_at_what_is_read_with_the_parameters_given(
    database: Database, project: Path
) -> None:
    loaded, target = load_project(project), database.target()
    assert of_tables(check(loaded, target, "tiny")) == []
    unread = "not looked at, as no audience reads it with its default parameters"
    assert of_tables(check(loaded, target)) == [(f"table {TABLE}", True, unread)]
    missing = (f"table {TABLE}", False, "there is no such table")
    assert of_tables(check(loaded, target, "tiny", ON)) == [missing]
    with_history(database)
    assert of_tables(check(loaded, target, "tiny", ON)) == [(f"table {TABLE}", True, "1 columns")]


def test_check_takes_an_audience_and_its_parameters(
    database: Database, project: Path, tmp_path: Path
) -> None:
    options = ["--project-dir", project, "--profiles-dir", database.profile(tmp_path)]
    code, stdout, _ = invoke("check", *options)
    assert (code, f"ok    table {TABLE}: not looked at" in stdout) == (0, True)
    code, stdout, _ = invoke("check", "tiny", *options)
    assert (code, TABLE in stdout) == (0, False)
    code, stdout, _ = invoke("check", "tiny", "--var", "spare=true", *options)
    assert (code, f"wrong table {TABLE}: there is no such table" in stdout) == (1, True)
    code, _, stderr = invoke("check", "--var", "spare=true", *options)
    assert (code, "audiences check AUDIENCE --var" in stderr) == (2, True)
    code, _, stderr = invoke("check", "tinny", *options)
    assert (code, "did you mean tiny?" in stderr) == (2, True)
    code, _, stderr = invoke("check", "tiny", "--var", "spar=true", *options)
    assert (code, "did you mean spare?" in stderr) == (2, True)


def test_check_needs_no_value_of_a_required_parameter(database: Database, tmp_path: Path) -> None:
    required = "{name: n, type: integer, example: 3, description: x}"
    project = load_project(tiny_project(tmp_path, parameters=required))
    assert all(one.is_ok for one in check(project, database.target(), "tiny"))


def test_a_database_without_what_other_audiences_read_can_be_checked_and_run(
    golden: Database, tmp_path: Path
) -> None:
    golden.execute("drop table trades, desired_items")
    options = ["--project-dir", ROOT, "--profiles-dir", golden.profile(tmp_path / "profile")]
    code, stdout, _ = invoke("check", "layer3-behavior", *options)
    assert (code, "trades" in stdout, "public.offers" in stdout) == (0, False, True)
    code, _, stderr = invoke(
        "run", "generate_layer_3_push_csvs", *options, "--output-dir", tmp_path / "out"
    )
    assert code == 0, stderr


# What looks at all models


def test_unit_tests_and_other_commands_need_no_table(
    database: Database, project: Path, tmp_path: Path
) -> None:
    results = run_unit_tests(load_project(project), database.target())
    assert [str(one.error or one.status) for one in results] == ["pass"]
    options = ["--project-dir", project, "--profiles-dir", database.profile(tmp_path)]
    for arguments in (["test", "tiny"], ["trace", "tiny", "1"], ["explain", "tiny"], ["docs"]):
        if arguments == ["docs"]:
            options = ["--project-dir", project, "--to", tmp_path / "docs.html"]
        code, _, stderr = invoke(*arguments, *options)
        assert code == 0, (arguments, stderr)


def test_a_model_that_only_some_parameters_read_can_be_shown(
    database: Database, project: Path, tmp_path: Path
) -> None:
    with_history(database)
    options = ["--project-dir", project, "--profiles-dir", database.profile(tmp_path)]
    code, _, stderr = invoke("show", "pushed", *options)
    assert (code, "no audiences read model pushed" in stderr) == (2, True)
    assert invoke("show", "pushed", "--audience", "tiny", *options)[0] == 0
    code, stdout, _ = invoke("show", "pushed", "--var", "spare=true", *options)
    assert (code, "the only audience that reads it" in stdout) == (0, True)
