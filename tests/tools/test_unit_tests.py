"""Unit tests of models: given rows in, expected rows out, on a real server that needs no table."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from runner.cli.app import app
from runner.project.load import load_project
from runner.project.targets import Target
from runner.tools.unit_tests.unit_tests import CaseResult, run_unit_tests
from tests.support import ROOT, Database, shipped_project, tiny_project

SOURCES = """
sources:
  - name: app
    tables:
      - name: things
        columns:
          - {name: id, data_type: integer}
          - {name: name, data_type: text}
          - {name: at, data_type: timestamp with time zone}
"""
THINGS = "select id, name, at from {{ source('app', 'things') }}\nwhere id < {{ var('limit') }}"
LIMIT = "{name: limit, type: integer, default: 10, minimum: 0, description: below it}"


def case(model: str = "things", **parts: object) -> str:
    """A file with one case; `given` is rows of the source table, unless `inputs` are given."""
    inputs = [{"input": "source('app', 'things')", "rows": parts.pop("given", [])}]
    given = parts.pop("inputs", inputs)
    test = {"name": "one", "model": model, "given": given, "expect": {"rows": []}, **parts}
    return yaml.safe_dump({"unit_tests": [test]}, sort_keys=False)


def things_project(folder: Path, text: str, **models: str) -> Path:
    project = tiny_project(folder, parameters=LIMIT, **{"things": THINGS, **models})
    (project / "models" / "sources.yml").write_text(SOURCES)
    (project / "models" / "cases.yml").write_text(text)
    return project


Run = Callable[..., CaseResult]


@pytest.fixture
def run_case(bare: Target, tmp_path: Path) -> Run:
    """The result of a project's only case."""

    def call(
        *, target: Target | None = None, models: dict[str, str] | None = None, **parts: object
    ):  # type: ignore[no-untyped-def]
        project = things_project(tmp_path / "p", case(**parts), **(models or {}))  # type: ignore[arg-type]
        (result,) = run_unit_tests(load_project(project), target or bare)
        return result

    return call


def lines(result: CaseResult) -> list[str]:
    assert result.differences is not None
    return result.differences.lines()


# The shipped models


def test_the_shipped_cases_pass_on_a_server_without_tables(bare: Target) -> None:
    results = run_unit_tests(load_project(ROOT), bare)
    assert [one.case.name for one in results if one.status != "pass"] == []
    assert len(results) >= 49


def test_the_shipped_cases_pass_where_the_tables_are(golden: Database) -> None:
    results = run_unit_tests(load_project(ROOT), golden.target())
    assert {one.status for one in results} == {"pass"}


def test_every_shipped_model_has_a_case() -> None:
    project = load_project(ROOT)
    assert {one.test.model for one in project.unit_cases} == set(project.models)


# What a case means


def test_columns_that_are_not_given_are_null_and_inputs_that_are_not_given_are_empty(
    run_case: Run,
) -> None:
    result = run_case(
        given=[{"id": 1}],
        expect={"rows": [{"id": 1, "name": None, "at": None}]},
    )
    assert result.status == "pass"


def test_rows_are_compared_in_any_order_and_as_often_as_they_are_there(run_case: Run) -> None:
    given = [{"id": 1}, {"id": 2}, {"id": 2}]
    result = run_case(given=given, expect={"rows": [{"id": 2}, {"id": 2}, {"id": 1}]})
    assert result.status == "pass"


def test_a_row_too_many_is_extra(run_case: Run) -> None:
    result = run_case(given=[{"id": 2}, {"id": 2}], expect={"rows": [{"id": 2}]})
    assert lines(result) == ["extra    id=2"]


def test_only_columns_that_are_expected_are_compared(run_case: Run) -> None:
    result = run_case(given=[{"id": 1, "name": "a"}], expect={"rows": [{"id": 1}]})
    assert result.status == "pass"


def test_no_expected_row_means_no_row(run_case: Run) -> None:
    assert lines(run_case(given=[{"id": 1}])) == ["extra    id=1 name=NULL at=NULL"]


def test_a_difference_shows_null_empty_text_blanks_and_types(run_case: Run) -> None:
    result = run_case(
        given=[
            {"id": 1, "name": ""},
            {"id": 2, "name": " b\t"},
            {"id": 4, "at": "2025-11-28 13:00+01"},
        ],
        expect={
            "rows": [
                {"id": 1, "name": None, "at": None},
                {"id": 2, "name": "b", "at": "2025-11-28T12:00:00Z"},
                {"id": 3, "name": "it's", "at": None},
            ]
        },
    )
    assert lines(result) == [
        "changed  id=1",
        "         name (text): expected NULL, made ''",
        "changed  id=2",
        "         name (text): expected 'b', made ' b\\t'",
        "         at (timestamp with time zone): expected '2025-11-28 12:00:00+00', made NULL",
        'missing  id=3 name="it\'s" at=NULL',
        "extra    id=4 name=NULL at='2025-11-28 12:00:00+00'",
    ]


def test_values_are_compared_as_their_type_has_them(run_case: Run) -> None:
    model = "select 1.50::numeric as price, '{\"b\": 1, \"a\": 2}'::jsonb as document, 'x  '::char(3) as code"
    row = {"price": 1.5, "document": '{"a":2,"b":1}', "code": "x"}
    result = run_case(model="typed", models={"typed": model}, inputs=[], expect={"rows": [row]})
    assert result.status == "pass"


def test_parameters_and_the_start_of_the_run_can_be_set(run_case: Run) -> None:
    model = "select {{ var('limit') }} as n, '{{ run_started_at }}'::timestamptz as started_at"
    result = run_case(
        model="typed",
        models={"typed": model},
        inputs=[],
        overrides={
            "vars": {"limit": 3},
            "macros": {"run_started_at": "2025-11-28 13:00:00.000001+01:00"},
        },
        expect={"rows": [{"n": 3, "started_at": "2025-11-28 12:00:00.000001+00"}]},
    )
    assert result.status == "pass"


def test_given_rows_may_be_csv(run_case: Run) -> None:
    csv = 'id,name\n1,"a, b"\n2,\n'
    result = run_case(
        inputs=[{"input": "source('app', 'things')", "format": "csv", "rows": csv}],
        expect={"format": "csv", "rows": 'id,name\n1,"a, b"\n2,\n'},
    )
    assert result.status == "pass"


def test_an_upstream_model_needs_no_table_either(run_case: Run) -> None:
    result = run_case(
        model="reader",
        models={"reader": "select name || '!' as loud from {{ ref('things') }}"},
        inputs=[{"input": "ref('things')", "rows": [{"name": "a"}]}],
        expect={"rows": [{"loud": "a!"}]},
    )
    assert result.status == "pass"


def test_types_are_the_servers_where_the_table_is(database: Database, run_case: Run) -> None:
    database.execute("create table things (id text, name text)")
    result = run_case(
        target=database.target(),
        models={"things": "select id from {{ source('app', 'things') }}"},
        given=[{"id": "no number"}],
        expect={"rows": [{"id": "no number"}]},
    )
    assert result.status == "pass"


def test_a_case_reads_no_row_of_a_table(database: Database, run_case: Run) -> None:
    database.execute("create table things (id int, name text, at timestamptz)")
    database.execute("insert into things values (7)")
    assert (
        run_case(target=database.target(), given=[{"id": 1}], expect={"rows": [{"id": 1}]}).status
        == "pass"
    )


def test_a_case_cannot_write(run_case: Run) -> None:
    result = run_case(model="sly", models={"sly": "select lo_create(0) as made"}, inputs=[])
    assert result.status == "error"
    assert "read-only transaction" in str(result.error)


def test_a_mistake_in_a_model_is_its_cases_error_at_its_line(run_case: Run) -> None:
    result = run_case(models={"things": THINGS + "\nand nme = ''"}, given=[{"id": 1}])
    assert result.status == "error"
    assert str(result.error).startswith('models/things.sql:3:5: column "nme" does not exist')


# Bad cases at the command line


@pytest.fixture
def invoke(database: Database, tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    profile = database.profile(tmp_path / "profile")

    def call(project: Path, *arguments: str) -> tuple[int, str, str]:
        options = ["--project-dir", str(project), "--profiles-dir", str(profile)]
        done = CliRunner().invoke(app, ["test", *arguments, *options])
        assert "Traceback" not in done.stderr
        return done.exit_code, done.stdout, done.stderr

    return call


Invoke = Callable[..., tuple[int, str, str]]

BAD_CASES = {
    "model: thing": "models/cases.yml:3: there is no model 'thing'; did you mean things?",
    "givn: []": "models/cases.yml:6: unknown key 'givn'; did you mean given?",
    "overrides: {vars: {limt: 1}}": "models/cases.yml:6: audience tiny has no parameter 'limt'; did you mean limit?",
    "overrides: {vars: {limit: -1}}": "models/cases.yml:6: limit must be >= 0; given: -1",
    "overrides: {vars: {limit: {}}}": "models/cases.yml:6: unit_tests.0.overrides.vars.limit: a value is text",
    "overrides: {macros: {run_started_at: 2025-11-28}}": "models/cases.yml:6: unit_tests.0.overrides.macros.run_started_at: '2025-11-28' is not a time in quotes",
    "given: [{input: ref('things'), rows: []}]": "models/cases.yml:4: things does not read ref('things'); did you mean",
    "given: [{input: ref('thing'), rows: []}]": "models/cases.yml:4: there is no model 'thing'",
    "given: [{input: things, rows: []}]": "'things' is neither ref('model') nor source('source', 'table')",
    "given: [{input: \"source('app', 'things')\", rows: [{id: 1}, {idd: 1}]}]": "models/cases.yml:4: source('app', 'things') has no column 'idd'; did you mean id?",
    "given: [{input: \"source('app', 'things')\", rows: [{id: one}]}]": 'models/cases.yml:4: invalid input syntax for type integer: "..." [SQLSTATE 22P02]',
    "given: [{input: \"source('app', 'things')\", rows: [{id: 3000000000}]}]": "models/cases.yml:4: value \"...\" is out of range",
    "given: [{input: \"source('app', 'things')\", format: csv, rows: \"id\\n1,2\"}]": "models/cases.yml:4: unit_tests.0.given.0: each line of the csv has as many fields",
    "expect: {rows: [{nme: a}]}": "models/cases.yml:5: things has no column 'nme'; did you mean name?",
    "expect: {rows: [{id: a}]}": 'models/cases.yml:5: invalid input syntax for type integer: "..."',
    "expect: {rows: [{id: 1}, {name: a}]}": "row 2 names the columns name, the first one id",
    "expect: [{id: 1}]": "models/cases.yml:5: unit_tests.0.expect: Input should be a valid dictionary",
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BAD_CASES.items())
def test_a_case_that_is_wrong_is_one_line_and_exit_2(
    tmp_path: Path, invoke: Invoke, change: str, message: str
) -> None:
    parts = {
        "model": "model: things",
        "given": "given: []",
        "expect": "expect: {rows: []}",
    }
    key = change.split(":")[0]
    parts[key if key in parts else "more"] = change
    text = "\n    ".join(["unit_tests:\n  - name: one", *parts.values()])
    code, out, error = invoke(things_project(tmp_path / "p", text), "--unit")
    assert (code, out) == (2, "")
    first, *excerpt = error.splitlines()
    assert message in first
    assert all(" | " in line for line in excerpt)


def test_a_source_without_types_is_named(tmp_path: Path, invoke: Invoke) -> None:
    project = things_project(tmp_path / "p", case())
    untyped = SOURCES.replace("{name: id, data_type: integer}", "{name: id}")
    (project / "models" / "sources.yml").write_text(untyped)
    code, _, error = invoke(project, "--unit")
    assert code == 2
    assert error.splitlines()[0] == (
        "error: models/sources.yml:5: the type of app.things.id is not known: the server has no "
        "such column, and none is declared; add its data_type"
    )


def test_a_type_that_is_none_is_named_where_it_is_declared(tmp_path: Path, invoke: Invoke) -> None:
    project = things_project(tmp_path / "p", case())
    (project / "models" / "sources.yml").write_text(SOURCES.replace("integer", "intger"))
    code, out, _ = invoke(project, "--unit")
    assert code == 1
    assert 'models/sources.yml:5: type "intger" does not exist' in out


def test_models_that_read_each_other_are_named(tmp_path: Path, invoke: Invoke) -> None:
    inputs = [{"input": "ref('round')", "rows": [{"n": 1}]}]
    project = things_project(
        tmp_path / "p",
        case("about", inputs=inputs),
        about="select n from {{ ref('round') }}",
        round="select n from {{ ref('about') }}",
    )
    code, _, error = invoke(project, "--unit")
    assert code == 2
    assert "models read each other in a circle: round -> about -> round" in error


def test_text_that_postgresql_cannot_hold_is_refused(tmp_path: Path, invoke: Invoke) -> None:
    code, _, error = invoke(
        things_project(tmp_path / "p", case(given=[{"name": "a\0b"}])), "--unit"
    )
    assert code == 2
    assert "unit_tests.0.given.0.rows.0.name: a value contains a character that PostgreSQL" in error


def test_two_cases_of_one_name_are_refused(tmp_path: Path, invoke: Invoke) -> None:
    project = things_project(tmp_path / "p", case())
    (project / "models" / "more.yml").write_text(case())
    code, _, error = invoke(project, "--unit")
    assert code == 2
    assert "there are two cases things::one; the other is models/cases.yml:2" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tiny", "--unit"], "unit tests belong to models"),
        (["--unit", "--var", "limit=3"], "unit tests belong to models"),
        (["--unit", "--as-of", "2025-11-28T12:00:00Z"], "unit tests belong to models"),
        (["--unit", "--show-rows"], "unit tests belong to models"),
        (["tiny", "--mutate"], "--mutate was given without --unit; add --unit"),
        ([], "no audience is given; name one, or add --unit for unit tests"),
        (["--unit", "--select", "thing"], "no model or case 'thing'; did you mean things?"),
        (["--unit", "--select", "people"], "model people has no unit test"),
        (["--unit", "--select", "things::two"], "no model or case 'things::two'; models with cases: things"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(
    tmp_path: Path, invoke: Invoke, arguments: list[str], message: str
) -> None:
    code, _, error = invoke(things_project(tmp_path / "p", case()), *arguments)
    assert code == 2
    assert message in error


def test_a_failing_case_exits_1_and_says_where(tmp_path: Path, invoke: Invoke) -> None:
    project = things_project(tmp_path / "p", case(given=[{"id": 1}], expect={"rows": [{"id": 2}]}))
    code, out, _ = invoke(project, "--unit", "--select", "things::one")
    assert code == 1
    assert out.splitlines()[:3] == [
        "fail  things::one  models/cases.yml:2",
        "      missing  id=2",
        "      extra    id=1",
    ]
    assert out.splitlines()[3].startswith("0 of 1 cases pass, 1 fail (")


def test_a_models_error_spoils_no_other_models_case(tmp_path: Path, invoke: Invoke) -> None:
    text = case() + case("broken").replace("unit_tests:\n", "")  # fmt: skip
    broken = "select 1 / 0 as n, count(*) as c from {{ source('app', 'things') }}"
    project = things_project(tmp_path / "p", text, broken=broken)
    code, out, _ = invoke(project, "--unit", "--json")
    document = json.loads(out)
    assert code == 1
    assert document["counts"] == {"pass": 1, "fail": 0, "error": 1}
    assert document["success"] is False
    assert "division by zero [SQLSTATE 22012]" in document["cases"][1]["error"]


def test_a_case_can_be_switched_off(tmp_path: Path, invoke: Invoke) -> None:
    text = case(config={"enabled": False}) + case(name="two").replace("unit_tests:\n", "")
    _, out, _ = invoke(things_project(tmp_path / "p", text), "--unit", "--json")
    assert [one["case"] for one in json.loads(out)["cases"]] == ["two"]


# pytest


def test_pytest_collects_each_case_as_a_test(database: Database, tmp_path: Path) -> None:
    text = case() + case(name="two", given=[{"id": 1}]).replace("unit_tests:\n", "")
    project = things_project(tmp_path / "p", text)
    database.profile(project)
    command = [sys.executable, "-m", "pytest", "models", "-v", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "models/cases.yml::things::one PASSED" in done.stdout
    assert "models/cases.yml::things::two FAILED" in done.stdout
    assert "fail  things::two  models/cases.yml:9" in done.stdout
    assert "extra    id=1 name=NULL at=NULL" in done.stdout


def test_pytest_names_a_file_that_is_wrong(database: Database, tmp_path: Path) -> None:
    project = things_project(tmp_path / "p", case(model="thing"))
    database.profile(project)
    command = [sys.executable, "-m", "pytest", "models", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "models/cases.yml:3: there is no model 'thing'" in done.stdout


def test_the_models_also_say_what_dbt_asks_for(tmp_path: Path) -> None:
    """dbt wants every input of a model to be given, and describes upstream models by their view."""
    project = load_project(shipped_project(tmp_path))
    for one in project.unit_cases:
        model = project.models[one.test.model]
        read = model.source_text.count("{{ ref(") + model.source_text.count("{{ source(")
        assert len(one.test.given) == read, one.name
    assert all(model.materialized in (None, "view", "table") for model in project.models.values())
