"""Data tests: what they find, which files fall with them, and what is refused."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runner.cli.app import app
from runner.errors import ProjectError, UsageError
from runner.files.document import DataTestResult, RunResult
from runner.project.load import load_project
from runner.runs.data_tests import run_data_tests
from runner.sql import data_tests
from runner.sql.compile import compile_audience
from tests.support import AS_OF, ROOT, Database, published, run_project, tiny_project

NAMES = """
models:
  - name: people
    description: One row per person.
    columns:
      - {name: user_id, description: who}
      - name: name
        description: what they are called
        data_tests: %s
"""
FIRST = """
models:
  - name: first_file
    description: One row per person of the first file.
    columns:
      - name: user_id
        description: who
        data_tests: %s
      - {name: name, description: what they are called}
"""


def project_with(folder: Path, yaml: str = "", **models: str) -> Path:
    """The tiny project with a second YAML file that declares data tests."""
    project = tiny_project(folder, **models)
    (project / "models" / "tests.yml").write_text(yaml)
    return project


def singular(project: Path, name: str, body: str) -> Path:
    path = project / "tests" / "data_tests" / f"{name}.sql"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(body)
    return path


def found(result: RunResult) -> dict[str, DataTestResult]:
    return {test.name: test for test in result.metadata.data_tests}


def report(project: Path, database: Database, *names: str) -> dict[str, DataTestResult]:
    compiled = compile_audience(load_project(project), "tiny", {}, AS_OF)
    results = run_data_tests(compiled, database.target(), names, shows_rows=False).results
    return {one.name: one for one in results}


# What gates


def test_a_failing_test_of_one_file_keeps_that_file_back_alone(
    database: Database, tmp_path: Path
) -> None:
    tests = "[{accepted_values: {arguments: {values: [2], quote: false}}}]"
    project = project_with(tmp_path / "p", FIRST % tests)
    result = run_project(project, database, tmp_path / "out")
    assert (result.status, result.exit_code) == ("partial", 3)
    assert [file.audience_type for file in result.csv_files] == ["second", "second"]
    assert not list((tmp_path / "out").glob("first*"))
    (failure,) = result.metadata.errors
    assert failure.audience_type == "first"
    assert failure.message == (
        "models/tests.yml:8: data test accepted_values_first_file_user_id fails: 1 failing row of "
        "first_file; to print the rows: audiences test tiny --select accepted_values_first_file_user_id "
        "--show-rows"
    )
    assert found(result)["accepted_values_first_file_user_id"].status == "error"


def test_a_failing_test_of_a_shared_model_publishes_nothing(
    database: Database, tmp_path: Path
) -> None:
    tests = "[{accepted_values: {arguments: {values: [nobody]}}}]"
    project = project_with(tmp_path / "p", NAMES % tests)
    result = run_project(project, database, tmp_path / "out")
    assert (result.status, result.exit_code) == ("failed", 1)
    assert not list((tmp_path / "out").glob("*.csv"))
    assert "3 failing rows of people" in (result.error or "")


def test_with_all_or_nothing_one_failing_test_publishes_nothing(
    database: Database, tmp_path: Path
) -> None:
    tests = "[{accepted_values: {arguments: {values: [2], quote: false}}}]"
    project = project_with(tmp_path / "p", FIRST % tests)
    result = run_project(project, database, tmp_path / "out", is_all_or_nothing=True)
    assert (result.status, result.exit_code) == ("failed", 1)
    assert not list((tmp_path / "out").glob("*.csv"))


def test_a_user_in_two_files_publishes_nothing(database: Database, tmp_path: Path) -> None:
    project = tiny_project(tmp_path / "p", second_file="select *\nfrom {{ ref('people') }}")
    result = run_project(project, database, tmp_path / "out")
    assert (result.status, result.exit_code) == ("failed", 1)
    assert not list((tmp_path / "out").glob("*.csv"))
    assert "unique_user_id_across_files fails: 2 failing rows of first_file, second_file" in (
        result.error or ""
    )


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("1", "unique_first_file_user_id"),
        ("nullif(user_id, 1)", "not_null_first_file_user_id"),
    ],
)
def test_the_key_of_a_file_is_tested_without_being_declared(
    database: Database, tmp_path: Path, key: str, name: str
) -> None:
    first = f"select {key} as user_id, name\nfrom {{{{ ref('people') }}}}\nwhere user_id < 3"
    project = tiny_project(tmp_path / "p", first_file=first)
    result = run_project(project, database, tmp_path / "out")
    assert result.exit_code == 3
    assert found(result)[name].status == "error"
    assert result.metadata.errors[0].message.startswith("models/tiny.yml:8: ")


@pytest.mark.parametrize(
    "select",
    ["select name, user_id", "select user_id, name, 1 as more", "select user_id, name as nme"],
)
def test_a_files_model_has_the_described_columns_in_order(
    database: Database, tmp_path: Path, select: str
) -> None:
    first = f"{select}\nfrom {{{{ ref('people') }}}}\nwhere user_id < 3"
    project = project_with(tmp_path / "p", FIRST % "[]", first_file=first)
    result = run_project(project, database, tmp_path / "out")
    assert result.exit_code == 3
    assert [failure.audience_type for failure in result.metadata.errors] == ["first"]
    if "nme" not in select:
        assert "first_file has the columns " in (result.error or "")
        assert ", not user_id, name" in (result.error or "")


def test_a_warning_is_logged_and_told_and_the_file_published(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tests = (
        "[{accepted_values: {arguments: {values: [2], quote: false}, config: {severity: warn}}}]"
    )
    project = project_with(tmp_path / "p", FIRST % tests)
    result = run_project(project, database, tmp_path / "out")
    assert (result.status, result.exit_code) == ("success", 0)
    assert len(result.csv_files) == 4
    test = found(result)["accepted_values_first_file_user_id"]
    assert (test.status, test.failures) == ("warn", 1)
    assert "data test accepted_values_first_file_user_id (models/tests.yml:8) warns" in caplog.text
    (manifest,) = (tmp_path / "out").glob("tiny_*.json")
    told = json.loads(manifest.read_text())["metadata"]["dataTests"]
    assert {one["name"]: one["status"] for one in told}[test.name] == "warn"


@pytest.mark.parametrize(
    ("config", "status"),
    [
        ("{error_if: '> 2', warn_if: '> 1'}", "warn"),
        ("{error_if: '>1'}", "error"),
        ("{error_if: '> 2', warn_if: '= 3'}", "pass"),
        ("{severity: warn, warn_if: '>= 2'}", "warn"),
        ("{severity: warn, error_if: '= 2', warn_if: '< 2'}", "pass"),
        ("{where: user_id > 2}", "pass"),
        ("{where: \"user_id <= {{ var('most') }}\", error_if: '!= 1'}", "warn"),
    ],
)
def test_severity_conditions_and_where_decide_as_in_dbt(
    database: Database, tmp_path: Path, config: str, status: str
) -> None:
    tests = f"[{{accepted_values: {{arguments: {{values: [name 3]}}, config: {config}}}}}]"
    most = "{name: most, type: integer, default: 1, description: most}"
    project = tiny_project(tmp_path / "p", parameters=most)
    (project / "models" / "tests.yml").write_text(NAMES % tests)
    result = run_project(project, database, tmp_path / "out")
    assert found(result)["accepted_values_people_name"].status == status


def test_a_singular_test_gates_the_file_it_reads(database: Database, tmp_path: Path) -> None:
    project = tiny_project(tmp_path / "p")
    singular(project, "no_first", "select * from {{ ref('first_file') }}\nwhere user_id = 1")
    result = run_project(project, database, tmp_path / "out")
    assert result.exit_code == 3
    (failure,) = result.metadata.errors
    assert failure.audience_type == "first"
    assert failure.message.startswith("tests/data_tests/no_first.sql:1: data test no_first fails")


def test_a_singular_test_configures_itself(database: Database, tmp_path: Path) -> None:
    project = tiny_project(tmp_path / "p")
    body = "{{ config(severity='warn', warn_if='>1') }}\nselect * from {{ ref('people') }}"
    singular(project, "few_people", body)
    result = run_project(project, database, tmp_path / "out")
    assert result.status == "success"
    assert found(result)["few_people"].status == "warn"


def test_relationships_find_rows_without_a_parent(database: Database, tmp_path: Path) -> None:
    tests = "[{relationships: {arguments: {to: ref('first_file'), field: user_id}}}]"
    yaml = NAMES.replace(
        "{name: user_id, description: who}", "{name: user_id, description: who, data_tests: %s}"
    )
    project = project_with(tmp_path / "p", yaml % (tests, "[]"))
    assert report(project, database)["relationships_people_user_id"].failures == 1


def test_tests_gate_in_the_same_way_where_nothing_can_be_built(
    database: Database, tmp_path: Path, role: str
) -> None:
    database.execute(f"revoke temp on database {database.connection.info.dbname} from public")
    tests = "[{accepted_values: {arguments: {values: [2], quote: false}}}]"
    project = project_with(tmp_path / "p", FIRST % tests)
    target = database.target(user=role, password="reader secret")
    result = run_project(project, database, tmp_path / "out", target=target)
    assert (result.metadata.working_tables, result.exit_code) == ("inlined (no TEMP privilege)", 3)
    assert found(result)["accepted_values_first_file_user_id"].failures == 1


def test_tests_of_inlined_models_are_left_to_the_test_command(
    golden: Database, tmp_path: Path
) -> None:
    compiled = compile_audience(load_project(ROOT), "layer3-behavior", {}, AS_OF)
    gating = {
        model for test in data_tests.tests_of(compiled) if test.in_runs for model in test.reads
    }
    assert gating == set(compiled.graph.tables)
    everything = run_data_tests(compiled, golden.target(), (), shows_rows=False)
    assert everything.success
    assert "unique_stg_users_user_id" in {one.name for one in everything.results}
    assert "layer3_pushes_answer_the_window" in {one.name for one in everything.results}


def test_a_declared_key_test_is_not_run_twice() -> None:
    compiled = compile_audience(load_project(ROOT), "layer3-behavior", {}, AS_OF)
    names = [test.name for test in data_tests.tests_of(compiled)]
    assert names.count("unique_layer3_offer_creators_user_id") == 1
    assert not [name for name in names if name.endswith("_in_file")]


# The command


def invoke(project: Path, profile: Path, *arguments: str) -> tuple[int, str, str]:
    options = ["--project-dir", str(project), "--profiles-dir", str(profile)]
    done = CliRunner().invoke(app, ["test", "tiny", *options, *arguments])
    return done.exit_code, done.stdout, done.stderr


def test_the_command_counts_and_shows_rows_only_when_asked(
    database: Database, tmp_path: Path
) -> None:
    tests = "[{accepted_values: {arguments: {values: [name 3]}}}]"
    project = project_with(tmp_path / "p", NAMES % tests)
    profile = database.profile(tmp_path / "profile")
    code, stdout, _ = invoke(project, profile, "--select", "people")
    assert code == 1
    assert stdout == (
        "FAIL  accepted_values_people_name (models/tests.yml:9): 2 failing rows of people\n"
        "1 data test: 0 passed, 0 warned, 1 failed\n"
    )
    code, stdout, _ = invoke(project, profile, "--show-rows")
    assert code == 1
    assert re.search(r"value_field +n_records\n +-+  -+\n +name 1 +1\n +name 2 +1\n", stdout)
    code, stdout, _ = invoke(project, profile, "--json", "--show-rows")
    told = {one["name"]: one for one in json.loads(stdout)["dataTests"]}
    assert told["accepted_values_people_name"]["rows"] == [
        {"value_field": "name 1", "n_records": 1},
        {"value_field": "name 2", "n_records": 1},
    ]
    assert not (tmp_path / "out").exists()


def test_a_tests_rows_can_be_had_as_one_stand_alone_select(
    database: Database, tmp_path: Path
) -> None:
    tests = "[{accepted_values: {arguments: {values: [name 3]}}}]"
    project = project_with(tmp_path / "p", NAMES % tests)
    compiled = compile_audience(load_project(project), "tiny", {}, AS_OF)
    select = data_tests.compile_test(compiled, "accepted_values_people_name").text
    assert "pg_temp" not in select
    assert len(database.execute(select).fetchall()) == 2
    with pytest.raises(UsageError, match="did you mean accepted_values_people_name"):
        data_tests.compile_test(compiled, "accepted_value_people_name")


def test_one_test_that_the_server_refuses_does_not_hide_the_others(
    database: Database, tmp_path: Path
) -> None:
    tests = "[not_null, {unique: {config: {where: nope > 1}}}]"
    project = project_with(tmp_path / "p", NAMES % tests)
    results = report(project, database)
    assert results["not_null_people_name"].status == "pass"
    broken = results["unique_people_name"]
    assert broken.status == "error"
    assert (broken.error or "").startswith('models/tests.yml:9: column "nope" does not exist')


# Bad input


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        ("[uniqe]", "models/tests.yml:9: there is no data test 'uniqe'; did you mean unique"),
        ("[{unique: {config: {error_if: 'many'}}}]", "'many' is not a condition such as '!= 0'"),
        ("[{unique: {config: {severity: fatal}}}]", "Input should be 'warn' or 'error'"),
        ("[{unique: {config: {where: '1 = 1; drop table x'}}}]", "more than one statement"),
        (
            "[{unique: {config: {where: 'exists (delete from x)'}}}]",
            "only read, but this contains delete",
        ),
        ("[{unique: {config: {where: 'now() > x'}}}]", "'now' is the server's clock"),
        ("[{unique: {config: {where: \"{{ var('x') }}\"}}}]", "declares no parameter 'x'"),
        ("[{relationships: {arguments: {to: ref('peple'), field: x}}}]", "did you mean people"),
        ("[{relationships: {arguments: {to: people, field: x}}}]", "undefined"),
        ("[unique, unique]", "two data tests are named unique_people_name"),
        ("[unique, {not_null: {}, unique: {}}]", "write each data test as an item of its own"),
    ],
)
def test_a_malformed_test_is_refused_before_connecting(
    database: Database, tmp_path: Path, tests: str, message: str
) -> None:
    project = project_with(tmp_path / "p", NAMES % tests)
    with pytest.raises(UsageError) as caught:
        run_project(project, database, tmp_path / "out")
    assert message in str(caught.value)
    assert str(caught.value).startswith("models/tests.yml:9")
    assert published(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("body", "place", "message"),
    [
        ("delete from {{ ref('people') }}", "t.sql:1:1", "not one select"),
        ("select 1 from {{ ref('people') }};\ndelete from x", "t.sql:1:34", "one statement"),
        (
            "with d as (\n  delete from x returning 1) select * from {{ ref('people') }}",
            "t.sql:2:3",
            "contains delete",
        ),
        ("select 1", "t.sql", "reads no model"),
        (
            "select 1 from {{ ref('people') }}, {{ ref('nobody') }}",
            "t.sql:1:44",
            "there is no model 'nobody'",
        ),
        ("{{ config(severity='bad') }}\nselect * from {{ ref('people') }}", "t.sql:1:", "severity"),
        (
            "{{ config(materialized='table') }}\nselect * from {{ ref('people') }}",
            "t.sql:1:",
            "a data test may set",
        ),
    ],
)
def test_a_singular_test_that_is_no_select_of_this_audience_is_refused(
    database: Database, tmp_path: Path, body: str, place: str, message: str
) -> None:
    project = tiny_project(tmp_path / "p")
    singular(project, "t", body)
    with pytest.raises(ProjectError) as caught:
        run_project(project, database, tmp_path / "out")
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"tests/data_tests/{place}")
    assert published(tmp_path / "out") == []


def test_a_test_of_an_unknown_name_is_a_usage_error(database: Database, tmp_path: Path) -> None:
    profile = database.profile(tmp_path / "profile")
    code, _, stderr = invoke(tiny_project(tmp_path / "p"), profile, "--select", "frist_file")
    assert code == 2
    assert stderr == (
        "error: there is no data test and no tested model 'frist_file'; did you mean first_file?\n"
    )


def test_a_data_test_bears_no_models_name(tmp_path: Path) -> None:
    project = tiny_project(tmp_path / "p")
    singular(project, "people", "select * from {{ ref('people') }}")
    with pytest.raises(ProjectError, match="'people' cannot name a data test"):
        load_project(project)


def test_files_and_test_agree_on_the_rows_that_were_tested(
    database: Database, tmp_path: Path
) -> None:
    result = run_project(tiny_project(tmp_path / "p"), database, tmp_path / "out")
    keys: list[str] = []
    for file in result.csv_files:
        if not file.is_test_file:
            with open(file.path, newline="") as opened:
                keys += [row["user_id"] for row in csv.DictReader(opened)]
    assert sorted(keys) == ["1", "2", "3"]
    assert {test.status for test in result.metadata.data_tests} == {"pass"}
