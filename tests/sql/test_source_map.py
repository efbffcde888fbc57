"""Whatever goes wrong is told at the analyst's own line and column, with the lines around it."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import AudienceError, Location, ProjectError
from runner.files.document import RunResult
from runner.project.load import load_project
from tests.support import Database, run_project, tiny_project

READS_PEOPLE = "from {{ ref('people') }}"


def place_of(result: RunResult) -> str:
    assert result.status in ("failed", "partial")
    location = result.metadata.errors[0].location
    assert location is not None
    return str(location)


def test_an_error_in_a_first_model(database: Database, tmp_path: Path) -> None:
    people = "-- One row per person.\nselect\n    n as user_id,\n    'x' as name,\n    nope\nfrom generate_series(1, 3) as given (n)"
    result = run_project(tiny_project(tmp_path / "p", people=people), database, tmp_path / "out")
    assert place_of(result) == "models/people.sql:5:5"
    assert result.metadata.errors[0].as_json()["excerpt"] == (
        "4 |     'x' as name,\n5 |     nope\n  |     ^\n6 | from generate_series(1, 3) as given (n)"
    )
    assert 'column "nope" does not exist [SQLSTATE 42703]' in (result.error or "")
    assert "line 6 of the compiled statement" in (result.error or "")


def test_an_error_in_a_model_that_is_inlined_into_another(
    database: Database, tmp_path: Path
) -> None:
    middle = f"select user_id,\n    name,\n    name + 1 as more {READS_PEOPLE}"
    first = "select user_id, name\nfrom {{ ref('middle') }}\nwhere user_id < 3"
    project = tiny_project(tmp_path / "p", middle=middle, first_file=first)
    result = run_project(project, database, tmp_path / "out")
    assert place_of(result) == "models/middle.sql:3:10"
    assert result.exit_code == 3


def test_an_error_behind_a_loop_and_a_condition(database: Database, tmp_path: Path) -> None:
    first = (
        "{% set kinds = ['a', 'b'] %}\nselect user_id,\n{% for kind in kinds %}\n"
        "    '{{ kind }}' as {{ kind }},\n{% endfor %}\n{% if kinds %}\n"
        "    length(name) || nme as name\n{% endif %}\n" + READS_PEOPLE
    )
    project = tiny_project(tmp_path / "p", first_file=first)
    result = run_project(project, database, tmp_path / "out")
    assert place_of(result) == "models/first_file.sql:7:21"


def test_an_error_inside_a_loop(database: Database, tmp_path: Path) -> None:
    first = (
        "select user_id, name {% for kind in ['name', 'nme'] -%}\n"
        "    , upper({{ kind }}) as upper_{{ kind }}\n{% endfor %}" + READS_PEOPLE
    )
    project = tiny_project(tmp_path / "p", first_file=first)
    result = run_project(project, database, tmp_path / "out")
    assert place_of(result) == "models/first_file.sql:2:13"


def test_an_error_in_a_singular_test(database: Database, tmp_path: Path) -> None:
    project = tiny_project(tmp_path / "p")
    folder = project / "tests" / "data_tests"
    folder.mkdir(parents=True)
    (folder / "odd.sql").write_text("select *\nfrom {{ ref('first_file') }}\nwhere user_id > nme")
    result = run_project(project, database, tmp_path / "out")
    assert place_of(result) == "tests/data_tests/odd.sql:3:17"
    assert result.exit_code == 3


def test_an_error_in_a_declared_tests_where(database: Database, tmp_path: Path) -> None:
    project = tiny_project(tmp_path / "p")
    (project / "models" / "tests.yml").write_text(
        "models:\n  - name: people\n    description: One row per person.\n    columns:\n"
        "      - name: user_id\n        description: who\n"
        "        data_tests:\n          - unique:\n              config: {where: nope > 1}\n"
        "      - {name: name, description: the name}\n"
    )
    result = run_project(project, database, tmp_path / "out")
    assert place_of(result) == "models/tests.yml:8"


@pytest.mark.parametrize(
    ("piece", "place", "state"),
    [
        ("10 / (user_id - 1)", "3:8", "22012"),
        ("name::integer", "3:9", "22P02"),
        ("cast(name as date)", "3:5", "22007"),
        ("(user_id * 30000)::smallint", "3:22", "22003"),
        ("(select n from generate_series(1, user_id) as s (n))", "3:5", "21000"),
    ],
)
def test_what_goes_wrong_with_a_row_is_placed_too(
    database: Database, tmp_path: Path, piece: str, place: str, state: str
) -> None:
    first = f"select user_id,\n    name,\n    {piece} as more\n{READS_PEOPLE}"
    project = tiny_project(tmp_path / "p", first_file=first)
    result = run_project(project, database, tmp_path / "out")
    assert place_of(result) == f"models/first_file.sql:{place}"
    assert f"SQLSTATE {state}" in (result.error or "")


def test_where_several_places_can_have_done_it_all_are_named(
    database: Database, tmp_path: Path
) -> None:
    first = f"select user_id, 1 / user_id as a,\n    name, 2 / (user_id - 1) as b\n{READS_PEOPLE}"
    project = tiny_project(tmp_path / "p", first_file=first)
    result = run_project(project, database, tmp_path / "out")
    assert place_of(result) == "models/first_file.sql:1:19"
    assert "the server does not report where; it may also be models/first_file.sql:2:13" in (
        result.error or ""
    )


def test_a_jinja_error_shows_its_line(database: Database, tmp_path: Path) -> None:
    first = "select user_id, name\nfrom {{ ref('people') }}\nwhere {{ nothing }} > 1"
    project = tiny_project(tmp_path / "p", first_file=first)
    with pytest.raises(ProjectError) as caught:
        run_project(project, database, tmp_path / "out")
    assert str(caught.value.where) == "models/first_file.sql:3:10"
    assert (caught.value.excerpt() or "").splitlines()[-2:] == [
        "3 | where {{ nothing }} > 1",
        "  |          ^",
    ]


def test_a_yaml_error_shows_its_line(tmp_path: Path) -> None:
    project = tiny_project(tmp_path / "p")
    path = project / "models" / "tiny.yml"
    path.write_text(path.read_text().replace("activity_model: people", "activity_modle: people"))
    with pytest.raises(AudienceError) as caught:
        load_project(project)
    assert str(caught.value.where) == "models/tiny.yml:6"
    assert "6 |     activity_modle: people" in (caught.value.excerpt() or "")


def test_places_hold_through_whitespace_control_raw_blocks_and_comments(
    database: Database, tmp_path: Path
) -> None:
    first = (
        "{# select {{ nothing }} #}\n{%- if true -%}\n   select user_id, name, -- {{ 'x' }}\n"
        "{%- endif %} {% raw %}'{{ x }}' as raw,{% endraw %}\n   bad " + READS_PEOPLE
    )
    project = tiny_project(tmp_path / "p", first_file=first)
    result = run_project(project, database, tmp_path / "out")
    assert place_of(result) == "models/first_file.sql:5:4"


def test_an_excerpt_of_a_first_or_last_line_has_three_lines_too() -> None:
    text = "one\ntwo\nthree\nfour"
    assert Location(Path("x"), 1, 2, text).excerpt() == "1 | one\n  |  ^\n2 | two\n3 | three"
    assert Location(Path("x"), 4, 1, text).excerpt() == "2 | two\n3 | three\n4 | four\n  | ^"
    assert Location(Path("x"), 1, None, "\tone").excerpt() == "1 | \tone\n  | \t^"
    assert Location(Path("x"), 3, 1).excerpt() is None


def test_lines_of_profiles_are_never_shown(tmp_path: Path) -> None:
    from runner.project.targets import load_target

    (tmp_path / "profiles.yml").write_text("p:\n  outputs:\n    a: {password: geheim, typ: x}\n")
    with pytest.raises(AudienceError) as caught:
        load_target(tmp_path, "a", {})
    assert caught.value.excerpt() is None
