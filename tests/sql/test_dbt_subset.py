"""models/ stays inside what the runner and dbt both understand, so the folder runs under either."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, TemplateSyntaxError, meta, nodes

from runner.project.load import load_project
from runner.project.macros import GenericTestTag
from tests.support import ROOT

WORDS = {"ref", "source", "var", "config", "run_started_at"}
MACROS = set(load_project(ROOT).macros)
PLAIN = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Call, nodes.Name, nodes.Const,
    nodes.Keyword, nodes.If, nodes.For, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair,
    nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.CondExpr, nodes.Getattr,
    nodes.Getitem, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.Neg,
)  # fmt: skip
"""What plain Jinja is made of: no set, call, filter, include, import, extends; macros are in
macros/."""

# dbt 1.10's properties; `audiences` is ours, and dbt passes over it.
CONFIG = {"meta", "tags"}
COLUMN = {"name", "description", "data_type", "quote", "config", "data_tests", "tags"}
KEYS: dict[str, set[str]] = {
    "": {"version", "sources", "models", "unit_tests", "audiences"},
    "sources": {"name", "description", "schema", "database", "config", "tables", "quoting"},
    "sources.config": CONFIG | {"enabled", "freshness", "loaded_at_field"},
    "sources.tables": {"name", "description", "identifier", "config", "columns", "data_tests"},
    "sources.tables.config": CONFIG | {"enabled", "freshness", "loaded_at_field"},
    "sources.tables.columns": COLUMN,
    "sources.tables.columns.config": CONFIG,
    "models": {"name", "description", "config", "columns", "data_tests", "docs"},
    "models.config": CONFIG | {"materialized", "enabled"},
    "models.columns": COLUMN,
    "models.columns.config": CONFIG,
    "unit_tests": {"name", "description", "model", "given", "expect", "overrides", "config"},
    "unit_tests.given": {"input", "rows", "format", "fixture"},
    "unit_tests.expect": {"rows", "format", "fixture"},
    "unit_tests.overrides": {"macros", "vars", "env_vars"},
    "unit_tests.config": CONFIG | {"enabled"},
}
FREE = {"meta", "rows", "vars", "macros", "arguments"}
"""What may hold anything: names and values of the project's own."""
DATA_TESTS = {"unique", "not_null", "accepted_values", "relationships"}
TEST_KEYS = {"config", "arguments", "name", "description"}
TEST_CONFIG = CONFIG | {"severity", "where", "error_if", "warn_if", "limit", "enabled", "store_failures"}  # fmt: skip


def outside_of_sql(text: str, plain: tuple[type[nodes.Node], ...] = PLAIN) -> list[str]:
    """What is said in a model that the subset does not have."""
    environment = Environment(extensions=[GenericTestTag])
    try:
        tree = environment.parse(text)
    except TemplateSyntaxError as problem:
        return [str(problem.message)]
    found = [f"the word {one}" for one in meta.find_undeclared_variables(tree) - WORDS - MACROS]
    for node in tree.find_all(nodes.Node):
        if not isinstance(node, plain):
            found.append(type(node).__name__)
        if isinstance(node, nodes.Call) and not _calls_a_word(node):
            found.append("a call of something else")
    # dbt renders Jinja in comments of SQL too
    found += ["Jinja in a comment" for line in text.splitlines() if re.search(r"--.*\{[{%]", line)]
    return found


def _calls_a_word(node: nodes.Call) -> bool:
    return isinstance(node.node, nodes.Name) and node.node.name in (WORDS | MACROS) - {
        "run_started_at"
    }


def outside_of_yaml(document: Any, at: str = "") -> list[str]:
    """Keys, by their path, that dbt does not know there."""
    if isinstance(document, list):
        return [one for item in document for one in outside_of_yaml(item, at)]
    if not isinstance(document, dict):
        return []
    known = KEYS.get(at)
    if known is None:
        return [f"{at}: a mapping"]
    found = [f"{at}.{key}".lstrip(".") for key in document if key not in known]
    for key, below in document.items():
        if key == "data_tests":
            found += [one for test in below for one in _outside_of_test(test, at)]
        elif key in known - FREE and key != "audiences":
            found += outside_of_yaml(below, f"{at}.{key}".lstrip("."))
    return found


def _outside_of_test(test: Any, at: str) -> list[str]:
    if isinstance(test, str):
        return [] if test in DATA_TESTS else [f"{at}: data test {test}"]
    found = [f"{at}: data test {name}" for name in test if name not in DATA_TESTS]
    for given in test.values():
        found += [f"{at}: {key} of a data test" for key in given or {} if key not in TEST_KEYS]
        config = (given or {}).get("config", {})
        found += [f"{at}: config {key} of a data test" for key in config if key not in TEST_CONFIG]
    return found


def jinja_outside_of_yaml(text: str) -> list[str]:
    """Jinja in YAML, which dbt renders there: with `var` and `run_started_at`, but without `ref`,
    and each value for itself."""
    outside = re.findall(r"\{%.*|\{#.*", text)
    for expression in re.findall(r"\{\{(.*?)\}\}", text):
        words = meta.find_undeclared_variables(Environment().parse(f"{{{{{expression}}}}}"))
        outside += sorted(words - {"var", "run_started_at"})
    return outside


def files(ending: str) -> list[Path]:
    folders = (ROOT / "models", ROOT / "tests" / "data_tests", ROOT / "tests" / "generic")
    return sorted(path for folder in folders for path in folder.rglob(f"*.{ending}"))


@pytest.mark.parametrize("path", files("sql"), ids=lambda path: path.stem)
def test_sql_stays_inside_the_subset(path: Path) -> None:
    assert outside_of_sql(path.read_text()) == []


@pytest.mark.parametrize("path", sorted((ROOT / "macros").rglob("*")), ids=lambda path: path.stem)
def test_macros_stay_inside_the_subset(path: Path) -> None:
    assert path.suffix == ".sql"
    assert outside_of_sql(path.read_text(), (*PLAIN, nodes.Macro)) == []


@pytest.mark.parametrize("path", files("yml"), ids=lambda path: path.stem)
def test_yaml_stays_inside_what_dbt_knows(path: Path) -> None:
    assert outside_of_yaml(yaml.safe_load(path.read_text())) == []
    if path.name != "audience.yml":
        assert jinja_outside_of_yaml(path.read_text()) == []


def test_there_is_nothing_else_in_the_folder() -> None:
    endings = {path.suffix for path in (ROOT / "models").rglob("*") if path.is_file()}
    assert endings == {".sql", ".yml"}


@pytest.mark.parametrize(
    "text",
    [
        "select {{ env_var('X') }}",
        "select {{ this }}",
        "{% set x = 1 %}select {{ x }}",
        "{% macro m() %}{% endmacro %}select 1",
        "select {{ var('x') | upper }}",
        "select {{ dbt_utils.star('x') }}",
        "select {{ run_started_at.strftime('%Y') }}",
        "{% include 'x' %}",
        "select 1 -- {{ ref('x') }}",
        "{% test t(model) %}{% endtest %}",
    ],
)
def test_what_is_outside_is_seen_in_sql(text: str) -> None:
    assert outside_of_sql(text)


def test_plain_jinja_is_inside() -> None:
    text = (
        "{{ config(materialized='table') }}select {{ var('a') }} {% if var('b') and 1 < 2 %}, 1"
        "{% endif %}{% for x in ['a', 'b'] %}, '{{ x }}'{% endfor %} from {{ ref('m') }}"
    )
    assert outside_of_sql(text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("seeds: []", "seeds"),
        ("models: [{name: m, owner: me}]", "models.owner"),
        ("models: [{name: m, config: {alias: x}}]", "models.config.alias"),
        ("models: [{name: m, columns: [{name: c, personal: true}]}]", "models.columns.personal"),
        ("models: [{name: m, columns: [{name: c, config: {meta: {any: 1}}}]}]", None),
        ("models: [{name: m, columns: [{name: c, data_tests: [positive]}]}]", "models.columns: data test positive"),
        ("models: [{name: m, columns: [{name: c, data_tests: [unique: {where: x}]}]}]", "models.columns: where of a data test"),
        ("sources: [{name: s, tables: [{name: t, indexes: []}]}]", "sources.tables.indexes"),
        ("unit_tests: [{name: u, model: m, given: [{input: i, file: f}], expect: {rows: [{a: 1}]}}]", "unit_tests.given.file"),
    ],
)  # fmt: skip
def test_what_is_outside_is_seen_in_yaml(text: str, found: str | None) -> None:
    assert outside_of_yaml(yaml.safe_load(text)) == ([found] if found else [])


@pytest.mark.parametrize(
    ("text", "outside"),
    [
        ("line: n >= {{ var('min') }} and '{{ run_started_at }}'", []),
        ("line: from {{ ref('m') }}", ["ref"]),
        ("line: '{% if x %}'", ["{% if x %}'"]),
    ],
)
def test_what_dbt_cannot_render_is_seen_in_yaml(text: str, outside: list[str]) -> None:
    assert jinja_outside_of_yaml(text) == outside
