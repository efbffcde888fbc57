"""macros/*.sql: dbt's macros, in models, data tests and other macros."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import AudienceError, ProjectError
from runner.project.load import load_project
from runner.sql.compile import compile_audience, compile_model
from tests.cli.test_commands import invoke
from tests.sql.test_source_map import place_of
from tests.support import AS_OF, Database, run_project, tiny_project

IS_BLANK = "{% macro is_blank(text) %}\nbtrim(coalesce({{ text }}, '')) = ''\n{% endmacro %}\n"
READS_PEOPLE = "from {{ ref('people') }}"


def project_with(folder: Path, macros: dict[str, str], **models: str) -> Path:
    project = tiny_project(folder, **models)
    for path, text in macros.items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text)
    return project


def sql_of(project: Path, model: str = "people") -> str:
    text = compile_model(load_project(project), "tiny", model, {}, AS_OF).text
    return " ".join(text.split())


def error_of(project: Path) -> AudienceError:
    with pytest.raises(AudienceError) as caught:
        compile_audience(load_project(project), "tiny", {}, AS_OF)
    assert caught.value.exit_code == 2
    return caught.value


def test_a_model_calls_a_macro(tmp_path: Path) -> None:
    people = "select 1 as user_id, 'x' as name where not {{ is_blank('name') }}"
    project = project_with(tmp_path / "p", {"macros/text.sql": IS_BLANK}, people=people)
    assert sql_of(project).endswith("where not btrim(coalesce(name, '')) = ''")


def test_a_macro_calls_macros_of_other_files_and_reads_models_and_parameters(
    tmp_path: Path,
) -> None:
    macros = {
        "macros/a.sql": "{% macro of_people(most) %}select user_id, name from {{ ref('people') }}"
        " where {{ below('user_id', most) }}{% endmacro %}",
        "macros/below/b.sql": "{% macro below(column, most=var('top')) -%}\n"
        "{{ column }} < {{ most }}{%- endmacro %}",
    }
    project = project_with(tmp_path / "p", macros, first_file="{{ of_people(2) }}")
    text = (project / "models" / "tiny.yml").read_text()
    (project / "models" / "tiny.yml").write_text(
        text.replace(
            "parameters: []", "parameters: [{name: top, type: integer, default: 3, description: x}]"
        )
    )
    compiled = compile_audience(load_project(project), "tiny", {}, AS_OF)
    assert compiled.graph.models["first_file"].refs == ("people",)
    assert "where user_id < 2" in sql_of(project, "first_file")


def test_the_folders_of_macro_paths_are_read(tmp_path: Path) -> None:
    macros = {
        "dbt_project.yml": "name: shop\nmacro-paths: [sql/macros, more]\n",
        "sql/macros/a.sql": "{% macro one() %}1{% endmacro %}",
        "more/b.sql": "{% macro two() %}2{% endmacro %}",
        "macros/c.sql": "{% macro one() %}3{% endmacro %}",
    }
    people = "select {{ one() }} as user_id, '{{ shop.two() }}' as name"
    assert sql_of(project_with(tmp_path / "p", macros, people=people)) == (
        "select 1 as user_id, '2' as name"
    )


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ("[/etc]", "dbt_project.yml:2: macro-paths names '/etc', which is outside the project"),
        ("[../x]", "dbt_project.yml:2: macro-paths names '../x', which is outside the project"),
        ("macros", "dbt_project.yml:2: macro-paths is not a list of folders"),
    ],
)
def test_macro_paths_stay_inside_the_project(tmp_path: Path, paths: str, message: str) -> None:
    macros = {"dbt_project.yml": f"name: shop\nmacro-paths: {paths}\n"}
    assert message in str(error_of(project_with(tmp_path / "p", macros)))


def test_a_macros_text_is_text_to_filters_and_comparisons(tmp_path: Path) -> None:
    macros = {"macros/a.sql": "{% macro a() %}\n  x\n{% endmacro %}"}
    people = (
        "{% set kept = a() | trim %}select {% if kept == 'x' %}1{% else %}2{% endif %} as user_id,"
        " '{{ kept | upper ~ a() | length }}' as name"
    )
    assert sql_of(project_with(tmp_path / "p", macros, people=people)) == (
        "select 1 as user_id, 'X5' as name"
    )


def test_a_macro_returns_values_and_takes_a_block(tmp_path: Path) -> None:
    macros = {
        "macros/a.sql": "{% macro kinds() %}{% do log('x', info=true) %}{{ return(['a', 'b']) }}"
        "{% endmacro %}\n{% macro quoted_list() %}{{ caller() | replace('a', 'b') }}{% endmacro %}"
    }
    people = "select {{ kinds() | length }} as user_id, {% call quoted_list() %}'aa'{% endcall %} as name"
    assert sql_of(project_with(tmp_path / "p", macros, people=people)) == (
        "select 2 as user_id, 'bb' as name"
    )


def test_macros_do_not_see_the_names_of_a_model(tmp_path: Path) -> None:
    macros = {"macros/a.sql": "{% macro a() %}\n{{ secret }}{% endmacro %}"}
    people = "{% set secret = 1 %}\nselect {{ a() }} as user_id, 'x' as name"
    problem = error_of(project_with(tmp_path / "p", macros, people=people))
    assert str(problem.where) == "models/people.sql:2:11 (in the macro at macros/a.sql:2:4)"
    assert "'secret' is undefined" in problem.what
    assert problem.excerpt() == (
        "1 | {% set secret = 1 %}\n2 | select {{ a() }} as user_id, 'x' as name\n"
        "  |           ^\nmacros/a.sql:\n"
        "1 | {% macro a() %}\n2 | {{ secret }}{% endmacro %}\n  |    ^"
    )


@pytest.mark.parametrize(
    ("macro", "message"),
    [
        ("{% macro a() %}\n\n {{ ref('peple') }}{% endmacro %}", "did you mean people"),
        ("{% macro a() %}\n\n {{ 1 / 0 }}{% endmacro %}", "division by zero"),
        ("{% macro a() %}\n\n {{ ''.__class__ }}{% endmacro %}", "unsafe"),
        (
            "{% macro a() %}\n\n {{ exceptions.raise_compiler_error('not so') }}{% endmacro %}",
            "not so",
        ),
    ],
)
def test_an_error_in_a_macro_names_the_call_and_the_macros_line(
    tmp_path: Path, macro: str, message: str
) -> None:
    people = "select\n    {{ a() }} as user_id, 'x' as name"
    problem = error_of(project_with(tmp_path / "p", {"macros/a.sql": macro}, people=people))
    assert message in str(problem)
    assert "models/people.sql:2:8 (in the macro at macros/a.sql:3" in str(problem)


def test_a_wrong_argument_is_an_error_at_the_call(tmp_path: Path) -> None:
    people = "select 1 as user_id, 'x' as name\nwhere {{ is_blank(txt='x') }}"
    problem = error_of(project_with(tmp_path / "p", {"macros/a.sql": IS_BLANK}, people=people))
    assert str(problem.where) == "models/people.sql:2:10"
    assert "macro 'is_blank' takes no keyword argument 'txt'" in str(problem)


def test_the_servers_errors_in_a_macro_name_the_call_and_the_macros_line(
    database: Database, tmp_path: Path
) -> None:
    macros = {
        "macros/a.sql": "{% macro outer(column) %}\n    upper({{ inner(column) }})\n{% endmacro %}",
        "macros/b.sql": "{% macro inner(column) -%}\n    {{ column }}\n    || nme\n{%- endmacro %}",
    }
    first = f"select user_id,\n    {{{{ outer('name') }}}} as name\n{READS_PEOPLE}"
    result = run_project(
        project_with(tmp_path / "p", macros, first_file=first), database, tmp_path / "out"
    )
    assert result.exit_code == 3
    assert place_of(result) == "models/first_file.sql:2:5"
    assert (
        "models/first_file.sql:2:5 (in the macro at macros/a.sql:2:11 (in the macro at "
        'macros/b.sql:3:8)): column "nme" does not exist'
    ) in (result.error or "")
    excerpt = result.metadata.errors[0].excerpt or ""
    assert "macros/b.sql:\n2 |     {{ column }}\n3 |     || nme\n  |        ^" in excerpt


def test_an_argument_that_the_server_refuses_is_placed_in_the_macro_that_prints_it(
    database: Database, tmp_path: Path
) -> None:
    first = f"select user_id, name\n{READS_PEOPLE}\nwhere not {{{{ is_blank('nme') }}}}"
    project = project_with(tmp_path / "p", {"macros/a.sql": IS_BLANK}, first_file=first)
    result = run_project(project, database, tmp_path / "out")
    assert "models/first_file.sql:3:11 (in the macro at macros/a.sql:2:16)" in (result.error or "")


def test_text_behind_a_call_has_its_own_place(database: Database, tmp_path: Path) -> None:
    first = f"select user_id, name\n{READS_PEOPLE}\nwhere not {{{{ is_blank('name') }}}} and nme"
    project = project_with(tmp_path / "p", {"macros/a.sql": IS_BLANK}, first_file=first)
    result = run_project(project, database, tmp_path / "out")
    assert place_of(result) == "models/first_file.sql:3:38"
    assert "macros/" not in (result.error or "")


@pytest.mark.parametrize(
    ("macros", "circle"),
    [
        ({"macros/a.sql": "{% macro a() %}{{ a() }}{% endmacro %}"}, "a -> a"),
        (
            {
                "macros/a.sql": "{% macro a() %}{{ b() }}{% endmacro %}",
                "macros/b.sql": "{% macro b() %}\n{{ a() }}{% endmacro %}",
            },
            "a -> b -> a",
        ),
    ],
)
def test_a_macro_that_calls_itself_is_one_clear_line(
    tmp_path: Path, macros: dict[str, str], circle: str
) -> None:
    people = "select {{ a() }} as user_id, 'x' as name"
    problem = error_of(project_with(tmp_path / "p", macros, people=people))
    assert f"macro a calls itself: {circle}; write a loop instead" in str(problem)
    assert str(problem.where).startswith("models/people.sql:1:11 (in the macro at macros/")


def test_a_macro_inside_a_model_that_calls_itself_is_one_clear_line(tmp_path: Path) -> None:
    people = "{% macro m() %}{{ m() }}{% endmacro %}select {{ m() }} as user_id, 'x' as name"
    assert "this calls itself without end" in str(
        error_of(project_with(tmp_path / "p", {}, people=people))
    )


@pytest.mark.parametrize(
    ("macros", "message"),
    [
        (
            {"macros/a.sql": IS_BLANK, "macros/b.sql": "\n" + IS_BLANK},
            "macros/b.sql:2: macro is_blank is defined twice; the other is macros/a.sql:1; rename",
        ),
        (
            {"macros/a.sql": "{% macro ref(name) %}{% endmacro %}"},
            "macros/a.sql:1: macro ref would hide what dbt has by that name; rename it",
        ),
        (
            {"macros/a.sql": "A remark.\n{% set x = 1 %}\n" + IS_BLANK},
            "macros/a.sql:2: only macros and data tests may be here",
        ),
        ({"macros/a.sql": "{% macro a( %}"}, "macros/a.sql:1: Jinja: "),
        ({"macros/a.sql": "\n{% macro a() %}"}, "macros/a.sql:2: Jinja: "),
    ],
)
def test_what_is_wrong_with_a_file_of_macros_is_one_line_with_its_place(
    tmp_path: Path, macros: dict[str, str], message: str
) -> None:
    problem = error_of(project_with(tmp_path / "p", macros))
    assert isinstance(problem, ProjectError)
    assert message in str(problem)


def test_a_misspelt_macro_is_named(tmp_path: Path) -> None:
    people = "select 1 as user_id, 'x' as name where {{ is_blnk('x') }}"
    problem = error_of(project_with(tmp_path / "p", {"macros/a.sql": IS_BLANK}, people=people))
    assert "'is_blnk' is undefined; did you mean is_blank?" in str(problem)


TEXT_PARAMETER = '{name: size, type: text, default: "a", pattern: "[a-z\']+", description: x}'


def test_a_text_parameter_stays_text_through_a_macro(tmp_path: Path) -> None:
    macros = {"macros/a.sql": "{% macro size() %}{{ var('size') }}{% endmacro %}"}
    good = "select 1 as user_id, '{{ size() }}' as name"
    project = tiny_project(tmp_path / "p", parameters=TEXT_PARAMETER, people=good)
    (project / "macros").mkdir()
    (project / "macros" / "a.sql").write_text(macros["macros/a.sql"])
    compiled = compile_model(load_project(project), "tiny", "people", {"size": "o'b"}, AS_OF)
    assert compiled.text == "select 1 as user_id, 'o''b' as name"
    for bad, message in (
        ("{{ size() }}", "a text parameter must be inside quotes"),
        ("'{{ size() | trim }}'", "can be printed and compared, but not changed"),
        ("'{{ size()[1:] }}'", "but not changed"),
        ("'{{ size() + 'x' }}'", "but not changed"),
        ("'{{ size().upper() }}'", "but not changed"),
        ("'{{ 'x' ~ size() }}'", "can be printed and compared, but not changed"),
        ("'{% filter upper %}{{ size() }}{% endfilter %}'", "but not changed"),
    ):
        (project / "models" / "people.sql").write_text(f"select 1 as user_id, {bad} as name")
        problem = error_of(project)
        assert str(problem.where).startswith("models/people.sql:1:")
        assert message in str(problem)


def test_a_singular_test_reads_models_through_a_macro(database: Database, tmp_path: Path) -> None:
    macros = {
        "macros/a.sql": "{% macro of_people(n) %}select * from {{ ref('people') }} where user_id ="
        " {{ n }}{% endmacro %}",
        "tests/data_tests/nobody_is_three.sql": "{{ of_people(3) }}",
    }
    result = run_project(project_with(tmp_path / "p", macros), database, tmp_path / "out")
    assert result.exit_code == 1
    assert "data test nobody_is_three fails: 1 failing row of people" in (result.error or "")


def test_the_models_hash_covers_macros(tmp_path: Path) -> None:
    project = project_with(tmp_path / "p", {"macros/a.sql": IS_BLANK})
    before = load_project(project).models_hash
    (project / "macros" / "a.sql").write_text(IS_BLANK + "-- more")
    assert load_project(project).models_hash != before


def test_unused_macros_are_told_to_whoever_works_on_the_project(tmp_path: Path) -> None:
    macros = {
        "macros/a.sql": IS_BLANK + "{% macro used() %}{{ inner() }}{% endmacro %}",
        "macros/b.sql": "{% macro inner() %}1{% endmacro %}\n\n{% test positive(model) %}{% endtest %}",
    }
    people = "select {{ used() }} as user_id, 'x' as name"
    project = project_with(tmp_path / "p", macros, people=people)
    code, _, stderr = invoke("compile", "tiny", "--model", "people", "--project-dir", str(project))
    assert code == 0
    assert stderr.splitlines() == [
        "warning: macros/a.sql:1: macro is_blank is not used",
        "warning: macros/b.sql:3: generic data test positive is not used",
    ]
