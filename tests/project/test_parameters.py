"""Parameters: what may be declared, what may be given, and what a window and rules make of them."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from runner.errors import ParameterError, ProjectError
from runner.project.load import load_project
from runner.project.parameters import CheckedParameters, Number, check_parameters
from runner.sql.compile import compile_audience
from runner.tools.docs.page import docs_page
from runner.tools.show import show
from runner.tools.unit_tests.unit_tests import run_unit_tests
from tests.cli.test_commands import invoke
from tests.support import AS_OF, Database, run_project, tiny_project

PRODUCT = "10000001-0000-4000-8000-00000000ABCD"
REQUIRED = f"{{name: product_id, type: uuid, example: {PRODUCT}, description: the product to show}}"
DAYS = "{name: max_age, type: days, default: 14, above: 0, maximum: 3660, description: x}"
HOURS = "{name: min_age, type: hours, default: 12, minimum: 0, description: x}"
ONE_PRODUCT = {
    "people": (
        "select n as user_id, '{{ var('product_id') }}'::uuid::text as name\n"
        "from generate_series(1, 3) as given (n)"
    )
}


def project_with(folder: Path, *parameters: str, audience: str = "", **models: str) -> Path:
    """The tiny project with these parameters, and more keys of its audience."""
    project = tiny_project(folder, parameters=", ".join(parameters), **models)
    path = project / "models" / "tiny.yml"
    path.write_text(path.read_text().replace("    activity_model", f"{audience}    activity_model"))
    return project


def checked(project: Path, **given: object) -> CheckedParameters:
    loaded = load_project(project)
    words = {name: str(value) for name, value in given.items()}
    return check_parameters(loaded, loaded.audience("tiny"), words, AS_OF)


# Types


@pytest.mark.parametrize("given", [PRODUCT, PRODUCT.lower(), f" {PRODUCT} "])
def test_a_uuid_is_taken_in_any_case_and_becomes_lower_case(tmp_path: Path, given: str) -> None:
    found = checked(project_with(tmp_path, REQUIRED, **ONE_PRODUCT), product_id=given)
    assert found.values == {"product_id": PRODUCT.lower()}
    assert json.loads(json.dumps(found.json_values)) == {"product_id": PRODUCT.lower()}


@pytest.mark.parametrize(
    "given",
    [
        "abc", "", f"{{{PRODUCT}}}", PRODUCT.replace("-", ""), PRODUCT[:-1], f"{PRODUCT}0",
        f"{PRODUCT[:-1]}g", f"{PRODUCT[:-1]}٣", f"{PRODUCT}' or true --",
    ],
)  # fmt: skip
def test_what_is_no_uuid_is_refused_with_an_example_of_one(tmp_path: Path, given: str) -> None:
    project = project_with(tmp_path, REQUIRED, **ONE_PRODUCT)
    with pytest.raises(ParameterError, match="product_id must be a uuid, such as 10000001-"):
        checked(project, product_id=given)


def test_a_uuid_outside_quotes_is_refused_like_any_text(tmp_path: Path) -> None:
    people = "select 1 as user_id, {{ var('product_id') }} as name"
    project = load_project(project_with(tmp_path, REQUIRED, people=people))
    with pytest.raises(ProjectError, match="a text parameter must be inside quotes"):
        compile_audience(project, "tiny", {"product_id": PRODUCT}, AS_OF)


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        ("days", "0.5", Decimal("0.5")),
        ("days", "14", Decimal(14)),
        ("number", "0.1", Decimal("0.1")),
        ("number", "-2.50", Decimal("-2.50")),
        ("hours", "96.25", Decimal("96.25")),
    ],
)
def test_fractions_stay_as_they_are_written(
    tmp_path: Path, kind: str, given: str, value: Decimal
) -> None:
    people = "select {{ var('x') }} as user_id, 'x' as name"
    parameter = f"{{name: x, type: {kind}, default: 1, description: x}}"
    project = project_with(tmp_path, parameter, people=people)
    assert checked(project, x=given).values == {"x": value}
    compiled = compile_audience(load_project(project), "tiny", {"x": given}, AS_OF)
    shown = f"({given})" if given.startswith("-") else given
    assert compiled.graph.models["people"].sql.text.startswith(f"select {shown} as user_id")


@pytest.mark.parametrize("given", ["one", "1e3", "nan", "inf", "1,5", ""])
def test_what_is_no_number_of_days_is_refused(tmp_path: Path, given: str) -> None:
    with pytest.raises(ParameterError, match="max_age must be days of 24 hours, fractions allowed"):
        checked(project_with(tmp_path, DAYS), max_age=given)


def test_a_whole_number_can_be_one_of_a_few(tmp_path: Path) -> None:
    layer = "{name: layer, type: integer, default: 3, choices: [1, 2, 3, 5], description: x}"
    project = project_with(tmp_path, layer)
    assert checked(project, layer=5).values == {"layer": 5}
    with pytest.raises(ParameterError, match=r"layer must be one of 1, 2, 3, 5; given: 4"):
        checked(project, layer=4)


# Declarations


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("type: integer", "needs a default, or an example if every run must be given a value"),
        ("type: integer, default: 1, example: 2", "not both"),
        ("type: text, default: a", "needs choices or a pattern"),
        ("type: text, default: '1', choices: [1]", "choices are texts of a text parameter"),
        ("type: integer, default: 1, choices: ['1']", "or whole numbers of an integer one"),
        ("type: boolean, default: true, choices: [1]", "choices are texts"),
        ("type: integer, default: 1, choices: []", "at least 1 item"),
        (f"type: uuid, default: {PRODUCT}, pattern: '.*'", "of type uuid has no pattern"),
        ("type: boolean, default: true, minimum: 1", "of type boolean has no bounds"),
        (f"type: uuid, default: {PRODUCT}, maximum: 1", "of type uuid has no bounds"),
        ("type: day, default: 1", "Input should be 'hours', 'days', 'integer'"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused_at_its_line(
    tmp_path: Path, keys: str, message: str
) -> None:
    project = project_with(tmp_path, f"{{name: x, {keys}, description: x}}")
    with pytest.raises(ProjectError, match=r"models/tiny\.yml:5: ") as caught:
        load_project(project)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("type: uuid, example: abc", "x must be a uuid"),
        ("type: integer, minimum: 3, example: 2", "x must be >= 3"),
        ("type: days, default: soon", "x must be days"),
        ("type: integer, choices: [1, 2], default: 3", "x must be one of 1, 2"),
    ],
)
def test_a_default_or_example_that_could_not_be_given_is_refused_at_its_line(
    tmp_path: Path, keys: str, message: str
) -> None:
    project = project_with(tmp_path, f"{{name: x, {keys}, description: x}}")
    with pytest.raises(ParameterError, match=r"models/tiny\.yml:5: ") as caught:
        checked(project, x=1)
    assert message in str(caught.value)


# Required parameters


def test_a_run_without_a_required_parameter_is_refused_before_connecting(tmp_path: Path) -> None:
    project = project_with(
        tmp_path / "p",
        REQUIRED,
        "{name: n, type: integer, example: 7, description: x}",
        "{name: limit, type: integer, default: 9, description: x}",
        **ONE_PRODUCT,
    )
    profile = tmp_path / "profile"
    profile.mkdir()
    nowhere = "{type: postgres, host: /nowhere, user: u, dbname: d}"
    (profile / "profiles.yml").write_text(f"p: {{target: t, outputs: {{t: {nowhere}}}}}\n")
    options = ["--project-dir", project, "--profiles-dir", profile]
    run = ["run", "tiny", *options, "--output-dir", tmp_path / "out"]
    code, stdout, stderr = invoke(*run)
    assert (code, stdout) == (2, "")
    assert stderr == (
        "error: audience tiny must be given product_id (the product to show) and n (x); "
        f"add --var product_id={PRODUCT} --var n=7, with the value that you want\n"
    )
    assert not (tmp_path / "out").exists()
    code, _, stderr = invoke(*run, "--var", f"product_id={PRODUCT}")
    assert (code, "must be given n (x); add --var n=7," in stderr) == (2, True)
    code, _, stderr = invoke(*run, "--var", "product_id=abc", "--var", "n=7")
    assert (code, "product_id must be a uuid" in stderr, "'abc'" in stderr) == (2, True, True)
    for command in (["compile", "tiny"], ["test", "tiny"], ["trace", "tiny", "1"]):
        code, _, stderr = invoke(*command, *options)
        assert (code, "must be given product_id" in stderr) == (2, True), command


def test_a_given_value_is_bound_and_reported(database: Database, tmp_path: Path) -> None:
    project = project_with(tmp_path / "p", REQUIRED, **ONE_PRODUCT)
    given = {"product_id": PRODUCT}
    result = run_project(project, database, tmp_path / "out", parameters=given)
    assert result.success, result.error
    (first, *_) = result.csv_files
    assert PRODUCT.lower() in first.path.read_text()
    assert result.metadata.parameters == {"product_id": PRODUCT.lower()}


UNIT_TESTS = """
unit_tests:
  - {name: example, model: first_file, given: [{input: ref('people'), rows: [{user_id: 1, name: a}]}],
     expect: {rows: [{user_id: 1, name: a}]}}
  - {name: shown_product, model: people, given: [],
     overrides: {vars: {product_id: 10000001-0000-4000-8000-000000000009}},
     expect: {rows: [{user_id: 1, name: 10000001-0000-4000-8000-000000000009},
                     {user_id: 2, name: 10000001-0000-4000-8000-000000000009},
                     {user_id: 3, name: 10000001-0000-4000-8000-000000000009}]}}
"""


def test_what_runs_nothing_does_with_the_example(database: Database, tmp_path: Path) -> None:
    project = project_with(tmp_path / "p", REQUIRED, **ONE_PRODUCT)
    (project / "models" / "unit_tests.yml").write_text(UNIT_TESTS)
    loaded = load_project(project)
    page = docs_page(loaded, tmp_path / "none", AS_OF)
    assert "required, such as <code>10000001-0000-4000-8000-00000000ABCD</code>" in page.html
    assert PRODUCT.lower() in page.html, "the compiled SQL has the example"
    results = run_unit_tests(loaded, database.target())
    assert [str(one.error or one.status) for one in results] == ["pass", "pass"]
    assert re.search(r"product_id +uuid +required", invoke("list", "--project-dir", project)[1])
    (audience,) = json.loads(invoke("list", "--project-dir", project, "--json")[1])
    assert audience["parameters"][0]["example"] == PRODUCT
    assert "default" not in audience["parameters"][0]


def test_show_needs_the_required_parameter_but_finds_the_audience_without(
    database: Database, tmp_path: Path
) -> None:
    project = load_project(project_with(tmp_path, REQUIRED, **ONE_PRODUCT))
    with pytest.raises(ParameterError, match="must be given product_id"):
        show(project, "people", database.target(), as_of=AS_OF)
    given = {"product_id": PRODUCT}
    shown = show(project, "people", database.target(), as_of=AS_OF, parameters=given)
    assert shown.reason == "the only audience that reads it"
    assert shown.rows[0][1] == PRODUCT.lower()


# Windows and rules


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        ("max_age * 24", "min_age", (14 * 24, 12)),
        ("max_age * 24", "0", (14 * 24, 0)),
        ("max_age * 24 * 1.5", "min_age / 8", (14 * 36, 1.5)),
        ("(max_age + 0.5) * 24 - min_age", "min_age // 5", (14.5 * 24 - 12, 2)),
        ("0.5 + max_age", "2.5 - min_age % 10", (14.5, 0.5)),
        ("whole * 24", "whole / 4", (72, 0.75)),
        ("max_age * whole / 4", "1 / min_age * 6", (10.5, 0.5)),
        ("max_age * 24 if whole > 2.5 else 0", "0.25", (14 * 24, 0.25)),
        ("[max_age, whole] | max", "7 / max_age", (14, 0.5)),
    ],
)
def test_a_window_starts_and_ends_at_any_expression_of_parameters(
    tmp_path: Path, start: str, end: str, hours: tuple[float, float]
) -> None:
    whole = "{name: whole, type: integer, default: 3, description: x}"
    window = f'    window: {{start_hours_ago: "{start}", end_hours_ago: {end}}}\n'
    found = checked(project_with(tmp_path, DAYS, HOURS, whole, audience=window)).window
    assert found is not None
    assert (AS_OF - found.start, AS_OF - found.end) == tuple(timedelta(hours=one) for one in hours)


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ("name", "is undefined"),
        ("max_age ~ 'h'", "is '14h', not a number of hours"),
        ("max_age > 3", "is True, not a number of hours"),
        ("max_age / 0", "cannot be evaluated"),
    ],
)
def test_a_window_that_is_no_number_is_refused_at_its_line(
    tmp_path: Path, end: str, message: str
) -> None:
    window = f'    window:\n      start_hours_ago: max_age\n      end_hours_ago: "{end}"\n'
    with pytest.raises(ProjectError, match=r"models/tiny\.yml:8: ") as caught:
        checked(project_with(tmp_path, DAYS, audience=window))
    assert message in str(caught.value)


def test_a_window_of_days_is_refused_by_a_rule_with_both_instants(tmp_path: Path) -> None:
    text = (
        "    window: {start_hours_ago: max_age * 24, end_hours_ago: min_age}\n"
        "    rules:\n      - must: max_age * 24 > min_age\n"
        "        message: the window from {{ window_start }} to {{ window_end }} is empty\n"
    )
    project = project_with(tmp_path, DAYS, HOURS, audience=text)
    message = "the window from 2025-11-28T00:00:00Z to 2025-11-28T00:00:00Z is empty"
    with pytest.raises(ParameterError, match=message):
        checked(project, max_age=0.5)
    assert checked(project, max_age="0.50001").window


@pytest.mark.parametrize(
    ("made", "exact"),
    [
        (Number("0.1") * 3, "0.3"),
        (Number("0.1") + 0.2, "0.3"),
        (0.2 + Number("0.1"), "0.3"),
        (0.3 - Number("0.1"), "0.2"),
        (Number("14") * 0.5 * 0.1, "0.700"),
        (1.5 / Number("3"), "0.5"),
        (Number("3") % 2.5, "0.5"),
        (sum([Number("0.1"), Number("0.2")]), "0.3"),
    ],
)
def test_decimals_take_floats_as_they_are_written(made: Any, exact: str) -> None:
    assert isinstance(made, Number)
    assert made == Decimal(exact)


def test_decimals_compare_with_floats_as_they_are_written() -> None:
    assert Number("0.1") == 0.1
    assert Number("0.1") >= 0.1
    assert not Number("0.1") < 0.1
    assert Number("0.2") > 0.1
    assert Number("0.1") != 0.2
    assert {Number("1"): "a"}[1] == "a"  # type: ignore[index]
