"""Jinja files with macros and generic data tests, read into frozen values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser

from runner.errors import Location, ProjectError
from runner.project.nodes import TEST_PREFIX, Macro, Model, Project
from runner.project.properties import NamedTest
from runner.project.yaml import YamlDocument, read_yaml

DBT_PROJECT = "dbt_project.yml"
MACROS_FOLDER = "macros"

WORDS = frozenset(
    {"ref", "source", "var", "config", "run_started_at", "return", "log", "is_incremental"}
    | {"exceptions"}
)
"""What dbt defines and models, macros and data tests may use; no macro may have such a name."""


class GenericTestTag(Extension):
    """`{% test name(model, column_name) %} ... {% endtest %}`: a macro named `test_name`."""

    tags = {"test"}

    def parse(self, parser: Parser) -> nodes.Node:
        macro = nodes.Macro(lineno=next(parser.stream).lineno)
        macro.name = TEST_PREFIX + parser.parse_assign_target(name_only=True).name
        parser.parse_signature(macro)
        macro.body = parser.parse_statements(("name:endtest",), drop_needle=True)
        return macro


BUILT_IN_TESTS = frozenset(TEST_PREFIX + kind for kind in NamedTest.model_fields)

_JINJA = Environment(  # noqa: S701  (it only parses)
    extensions=[GenericTestTag, "jinja2.ext.do"]
)


def macros_of(path: Path, text: str) -> Iterator[Macro]:
    """The macros of one file. Raises `ProjectError` for anything else in it."""
    try:
        tree = _JINJA.parse(text)
    except TemplateSyntaxError as problem:
        raise ProjectError(
            f"Jinja: {problem.message}", where=Location(path, problem.lineno, text=text)
        ) from None
    for node in tree.body:
        if isinstance(node, nodes.Macro):
            yield _macro(path, text, node)
        elif not _is_text(node):
            raise ProjectError(
                "only macros and data tests may be here: anything else has no effect",
                where=Location(path, node.lineno, text=text),
                fix="put it into a macro that needs it",
            )


def _is_text(node: nodes.Node) -> bool:
    """Text between macros is a remark to dbt as well."""
    return isinstance(node, nodes.Output) and all(
        isinstance(part, nodes.TemplateData) for part in node.nodes
    )


def _macro(path: Path, text: str, node: nodes.Macro) -> Macro:
    names = [argument.name for argument in node.args]
    where = Location(path, node.lineno, text=text)
    if node.name in WORDS or node.name in BUILT_IN_TESTS:
        raise ProjectError(
            f"{described(node.name)} would hide what dbt has by that name",
            where=where,
            fix="rename it",
        )
    used = {name.name for name in node.find_all(nodes.Name)}
    return Macro(
        node.name,
        path,
        text,
        node.lineno,
        arguments=tuple(names),
        defaults=tuple(names[len(names) - len(node.defaults) :]),
        takes_more=bool(used & {"kwargs", "varargs"}),
    )


def check_distinct(macros: list[Macro]) -> dict[str, Macro]:
    """By name. Raises `ProjectError` for two of one name."""
    found: dict[str, Macro] = {}
    for macro in macros:
        if macro.name in found:
            raise ProjectError(
                f"{described(macro.name)} is defined twice",
                where=macro.location,
                looked_at=f"the other is {found[macro.name].location}",
                fix="rename one: names are unique in the project",
            )
        found[macro.name] = macro
    return found


def described(name: str) -> str:
    """The kind and name of a macro, for people."""
    is_test = name.startswith(TEST_PREFIX)
    return f"generic data test {name.removeprefix(TEST_PREFIX)}" if is_test else f"macro {name}"


@dataclass(frozen=True)
class Calls:
    """What a text names in Jinja, macros among it, and the models in `ref()`."""

    names: frozenset[str] = frozenset()
    refs: tuple[str, ...] = ()


@lru_cache(maxsize=1024)
def calls_in(text: str) -> Calls:
    """What is called with names that stand there; nothing if the text is no Jinja."""
    try:
        tree = _JINJA.parse(text)
    except TemplateSyntaxError:
        return Calls()
    names = {node.name for node in tree.find_all(nodes.Name)}
    names |= {node.attr for node in tree.find_all(nodes.Getattr)}
    refs: dict[str, None] = {}
    for call in tree.find_all(nodes.Call):
        is_ref = isinstance(call.node, nodes.Name) and call.node.name == "ref"
        if is_ref and call.args and isinstance(call.args[-1], nodes.Const):
            refs[str(call.args[-1].value)] = None
    return Calls(frozenset(names), tuple(refs))


def refs_of(model: Model, macros: Mapping[str, Macro]) -> tuple[str, ...]:
    """The models that a model or data test reads by names that stand in it, or in the files of the
    macros that it calls: what can be known without rendering it."""
    found: dict[str, None] = {}
    waiting = [model.source_text]
    seen: set[str] = set()
    while waiting:
        text = waiting.pop()
        if text not in seen:
            seen.add(text)
            calls = calls_in(text)
            found |= dict.fromkeys(calls.refs)
            waiting += [macros[name].source_text for name in calls.names if name in macros]
    return tuple(found)


def unused_macros(project: Project) -> list[Macro]:
    """Macros and generic data tests that no model, data test, YAML file or other macro names."""
    texts = [model.source_text for model in project.models.values()]
    texts += [test.source_text for test in project.singular_tests.values()]
    texts += [macro.source_text for macro in project.macros.values()]
    used = {name for text in texts for name in calls_in(text).names}
    for document in project.documents:
        words = re.findall(r"\w+", document.text or "")
        used |= {*words, *(TEST_PREFIX + word for word in words)}
    return [macro for macro in project.macros.values() if macro.name not in used]


# dbt_project.yml


def read_dbt_project(root: Path) -> YamlDocument | None:
    """The project's dbt_project.yml, of which only `name` and `macro-paths` are used here."""
    file = root / DBT_PROJECT
    return read_yaml(file, Path(DBT_PROJECT), ProjectError) if file.is_file() else None


def package_name(document: YamlDocument | None) -> str | None:
    name = _value(document, "name")
    return name if isinstance(name, str) else None


def macro_folders(document: YamlDocument | None) -> list[str]:
    """The folders of macros. Raises `ProjectError` for one outside of the project."""
    paths = _value(document, "macro-paths")
    if paths is None:
        return [MACROS_FOLDER]
    assert document is not None
    where = document.location(("macro-paths",))
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise ProjectError(
            "macro-paths is not a list of folders", where=where, fix="write [macros]"
        )
    for path in paths:
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise ProjectError(
                f"macro-paths names {path!r}, which is outside the project",
                where=where,
                fix="copy the macros that you need into macros/",
            )
    return list(dict.fromkeys(paths))


def _value(document: YamlDocument | None, key: str) -> Any:
    data = document.data if document else None
    return data.get(key) if isinstance(data, dict) else None
