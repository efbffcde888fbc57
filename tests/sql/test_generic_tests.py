"""Generic data tests of the project, used in YAML like dbt's own four, and their config."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import ProjectError, UsageError
from runner.project.load import load_project
from runner.runs.data_tests import run_data_tests
from runner.sql.compile import compile_audience
from runner.sql.data_tests import tests_of as all_tests_of
from tests.support import AS_OF, Database, run_project, tiny_project

AT_MOST = """
{% test at_most(model, column_name, most, besides=[]) %}
    {{ config(severity='warn') }}
    with m as (select * from {{ model }})
    select {{ column_name }} from m
    where {{ column_name }} > {{ most }}
    {% for value in besides %} and {{ column_name }} <> {{ value }}{% endfor %}
{% endtest %}
"""
AS_MANY_AS = """
{% test as_many_as(model, to) %}
select 1 from (select count(*) as n from {{ model }}) a
cross join (select count(*) as n from {{ to }}) b where a.n <> b.n
{% endtest %}
"""


def project_with(folder: Path, tests: str, *, of: str = "people", **models: str) -> Path:
    """A project in which column user_id of a model has data tests, or the model itself."""
    project = tiny_project(folder, **models)
    (project / "tests" / "generic").mkdir(parents=True)
    (project / "tests" / "generic" / "at_most.sql").write_text(AT_MOST)
    (project / "macros").mkdir()
    (project / "macros" / "tests.sql").write_text(AS_MANY_AS)
    own, column = ("[]", tests) if tests.startswith("column: ") else (tests, "[]")
    (project / "models" / "tests.yml").write_text(
        f"models:\n  - name: {of}\n    description: One row per person.\n    data_tests: {own}\n"
        "    columns:\n      - name: user_id\n        description: who\n"
        f"        data_tests:\n          {column.removeprefix('column: ')}\n"
        "      - {name: name, description: the name}\n"
    )
    return project


def found(project: Path, database: Database) -> dict[str, tuple[str, int]]:
    compiled = compile_audience(load_project(project), "tiny", {}, AS_OF)
    report = run_data_tests(compiled, database.target(), [], shows_rows=False)
    return {one.name: (one.status, one.failures) for one in report.results}


def error_of(project: Path) -> str:
    with pytest.raises(UsageError) as caught:
        all_tests_of(compile_audience(load_project(project), "tiny", {}, AS_OF))
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize(
    ("test", "name", "status"),
    [
        ("at_most: {arguments: {most: 3}}", "at_most_people_user_id_3", ("pass", 0)),
        ("at_most: {most: 1}", "at_most_people_user_id_1", ("warn", 2)),
        ("at_most: {most: 1, severity: ERROR}", "at_most_people_user_id_1", ("error", 2)),
        ("at_most: {most: 1, name: few, config: {severity: Error}}", "few", ("error", 2)),
        ("at_most: {most: 0, besides: [2, 3]}", "at_most_people_user_id_2__3__0", ("warn", 1)),
        ("at_most: {most: '{{ 1 + 1 }}'}", "at_most_people_user_id_1_1", ("warn", 1)),
        ("at_most: {most: 1, where: user_id < 3}", "at_most_people_user_id_1", ("warn", 1)),
        ("at_most: {most: 0, limit: 2}", "at_most_people_user_id_0", ("warn", 2)),
        ("at_most: {most: 0, warn_if: '> 3'}", "at_most_people_user_id_0", ("pass", 3)),
        (
            "at_most: {most: 0, config: {severity: error, error_if: between 1 and 2, limit: 2}}",
            "at_most_people_user_id_0",
            ("error", 2),
        ),
    ],
)  # fmt: skip
def test_a_generic_test_is_used_like_the_built_in_ones(
    database: Database, tmp_path: Path, test: str, name: str, status: tuple[str, int]
) -> None:
    project = project_with(tmp_path / "p", f"column: - {test}")
    assert found(project, database)[name] == status


def test_a_generic_test_of_a_model_compares_it_with_another(
    database: Database, tmp_path: Path
) -> None:
    test = "[as_many_as: {to: \"ref('people')\"}]"
    project = project_with(tmp_path / "p", test, of="first_file")
    assert found(project, database)["as_many_as_first_file_ref_people"] == ("error", 1)


def test_a_test_that_is_not_enabled_is_left_out(database: Database, tmp_path: Path) -> None:
    test = "column: - at_most: {most: 1, config: {enabled: false}}"
    assert not [
        name for name in found(project_with(tmp_path / "p", test), database) if "at_most" in name
    ]


@pytest.mark.parametrize("creates", [True, False])
def test_a_generic_test_gates_a_run(database: Database, tmp_path: Path, creates: bool) -> None:
    test = "column: - at_most: {most: 1, severity: error}"
    project = project_with(tmp_path / "p", test, of="first_file")
    target = database.target()
    if not creates:
        name = database.connection.info.dbname
        database.execute("create role without_temp login")
        database.execute(f"revoke temporary on database {name} from public")
        target = database.target(user="without_temp")
    result = run_project(project, database, tmp_path / "out", target=target)
    assert result.exit_code == 3
    assert "data test at_most_first_file_user_id_1 fails: 1 failing row" in str(result.metadata)
    if not creates:
        database.execute(f"grant temporary on database {name} to public")
        database.execute("drop role without_temp")


def test_the_servers_error_names_the_yaml_and_the_macros_line(
    database: Database, tmp_path: Path
) -> None:
    test = "column: - at_most: {most: nme}"
    result = run_project(project_with(tmp_path / "p", test), database, tmp_path / "out")
    assert (
        "models/tests.yml:9 (in the macro at tests/generic/at_most.sql:6:31): "
        'column "nme" does not exist'
    ) in (result.error or "")


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (
            "column: - at_most: {arguments: {mst: 1}}",
            "models/tests.yml:9: data test at_most takes no argument 'mst'; it is defined at "
            "tests/generic/at_most.sql:2; did you mean most?",
        ),
        (
            "column: - at_most",
            "models/tests.yml:9: data test at_most lacks its argument 'most'; it is defined at "
            "tests/generic/at_most.sql:2; add it: arguments: {most: ...}",
        ),
        ("column: - at_mst", "there is no data test 'at_mst'; did you mean at_most?"),
        ("column: - not_nul", "there is no data test 'not_nul'; did you mean not_null?"),
        (
            "column: - as_many_as: {to: x}",
            "data test as_many_as takes no argument 'column_name'; it is defined at "
            "macros/tests.sql:2; put it under data_tests of the model",
        ),
        (
            "[at_most: {most: 1}]",
            "models/tests.yml:4: data test at_most lacks its argument 'column_name'; it is defined "
            "at tests/generic/at_most.sql:2; put it under data_tests of a column",
        ),
        ("[unique]", "models/tests.yml:4: unique is a data test of a column; put it under"),
        ("column: - at_most: {most: 1, limit: 0}", "limit: Input should be greater than"),
        ("column: - at_most: {most: 1, severity: fatal}", "severity: Input should be 'warn'"),
        ("column: - at_most: {most: 1, error_if: many}", "'many' is not a condition such as"),
        (
            "column: - at_most: {most: 1, where: x, config: {where: y}}",
            "'where' is here twice, once in config: keep one",
        ),
        ("column: - at_most: {most: \"ref('peple')\"}", "ref: there is no model 'peple'; did you"),
        ("column: - at_most: {most: '{{ nothing }}'}", "models/tests.yml:9: Jinja: 'nothing' is"),
        ("column: - at_most: {most: '1; drop table users'}", "more than one statement"),
        ("column: - unique: {foo: 1}", "unknown key 'foo'"),
    ],
)
def test_what_is_wrong_with_a_generic_test_is_one_line_with_its_yaml_place(
    tmp_path: Path, test: str, message: str
) -> None:
    problem = error_of(project_with(tmp_path / "p", test))
    assert message in problem
    assert problem.startswith("models/tests.yml:")


def test_a_generic_test_may_not_hide_a_built_in_one(tmp_path: Path) -> None:
    project = project_with(tmp_path / "p", "[]")
    (project / "macros" / "unique.sql").write_text("{% test unique(model) %}{% endtest %}")
    assert "generic data test unique would hide what dbt has by that name" in error_of(project)


def test_data_tests_of_sources_are_refused(tmp_path: Path) -> None:
    project = tiny_project(tmp_path / "p")
    (project / "models" / "sources.yml").write_text(
        "sources:\n  - name: s\n    tables:\n      - name: t\n        columns:\n"
        "          - {name: id, data_tests: [unique]}\n"
    )
    with pytest.raises(ProjectError, match="unknown key 'data_tests'"):
        load_project(project)


def test_a_singular_test_has_a_limit_and_no_where(database: Database, tmp_path: Path) -> None:
    project = tiny_project(tmp_path / "p")
    (project / "tests" / "data_tests").mkdir(parents=True)
    test = project / "tests" / "data_tests" / "nobody.sql"
    test.write_text("{{ config(severity='WARN', limit=2) }}select * from {{ ref('people') }}")
    assert found(project, database)["nobody"] == ("warn", 2)
    test.write_text("{{ config(where='x') }}select * from {{ ref('people') }}")
    assert "tests/data_tests/nobody.sql: where is for data tests that YAML declares" in error_of(
        project
    )
