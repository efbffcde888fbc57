"""Jinja -> SQL, with the source line of every piece of it.

dbt's words, a strict subset: `ref`, `source`, `var`, `config`, `run_started_at`. The sandbox
keeps templates from reaching Python, and an undefined name is an error.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, NoReturn, get_args

from jinja2 import TemplateSyntaxError
from jinja2.exceptions import TemplateError
from pydantic import ValidationError

from runner.errors import Location, ProjectError, did_you_mean
from runner.project.nodes import Macro, Model, Project, Source
from runner.project.parameters import CheckedParameters
from runner.project.properties import Materialized, TestConfig
from runner.sql.jinja import (
    TextValue,
    bounded,
    callable_macro,
    expression,
    in_plain_words,
    template,
    text_of,
)
from runner.sql.source_map import MappedSql, located

Relations = Callable[[Model | Source], str]
"""How a model or source is named in SQL: its temp table, its CTE, its own name."""


@dataclass(frozen=True)
class RenderedModel:
    """A model's SQL for one set of parameters, what it reads, and its `config()`."""

    model: Model
    sql: MappedSql
    reads: Mapping[str, int]
    sources: tuple[tuple[str, str], ...]
    materialized: str | None
    test_config: TestConfig = field(default_factory=TestConfig)

    @property
    def refs(self) -> tuple[str, ...]:
        """The models that it reads, each once; `reads` has in how many places."""
        return tuple(self.reads)


def render(
    project: Project, model: Model, parameters: CheckedParameters, relations: Relations
) -> RenderedModel:
    """One model as SQL. Raises `ProjectError` at the line of the source that is wrong."""
    return _rendered(_Words(project, model, parameters, relations), {})


def render_test(
    project: Project,
    macro: Macro,
    arguments: Mapping[str, Any],
    where: Location,
    parameters: CheckedParameters,
    relations: Relations,
) -> RenderedModel:
    """A generic data test that is declared at `where`. Jinja in its arguments is rendered, also
    where they are a bare `ref()`, `source()` or `var()`, as in dbt."""
    declared = Model(macro.name, where.path, "{{ test() }}", is_test=True)
    words = _Words(project, declared, parameters, relations)

    def test() -> Any:
        return words.macro(macro)(**_evaluated(dict(arguments), words))

    try:
        rendered = _rendered(words, {"test": test})
    except ProjectError as problem:
        found = problem.where if isinstance(problem.where, Location) else where
        problem.where = replace(where, macro=found.macro)
        raise
    marks = tuple(
        mark._replace(location=replace(where, macro=mark.location and mark.location.macro))
        for mark in rendered.sql.marks
    )
    return replace(rendered, sql=replace(rendered.sql, marks=marks))


def _rendered(words: _Words, more: Mapping[str, Any]) -> RenderedModel:
    project, model = words.project, words.model
    try:
        with bounded():
            # not only text: see `SqlEnvironment.concat`
            made: Any = template(model.path, model.source_text).render({**words.context(), **more})
    except ProjectError as problem:
        problem.where = _where(project, model, problem, problem.what)
        raise
    except TemplateSyntaxError as problem:
        where = _place(model, problem.lineno, problem.message or "", project.macros)
        raise _jinja_error(problem, where, words) from None
    except Exception as problem:
        where = _where(project, model, problem, str(problem))
        raise _jinja_error(problem, where, words) from None
    return RenderedModel(
        model,
        located(made.written, model, project.macros.values()),
        words.reads,
        tuple(words.sources),
        words.materialized,
        words.test_config,
    )


_BARE_CALL = re.compile(r"\s*(ref|var|source)\s*\(.+\)\s*", re.DOTALL)
_ONE_EXPRESSION = re.compile(r"\s*\{\{((?:(?!\}\}).)*)\}\}\s*", re.DOTALL)


def _evaluated(value: Any, words: _Words) -> Any:
    """An argument from YAML: one expression keeps the type of its value, other Jinja is text."""
    if isinstance(value, dict):
        return {key: _evaluated(below, words) for key, below in value.items()}
    if isinstance(value, list):
        return [_evaluated(below, words) for below in value]
    if not isinstance(value, str):
        return value
    if _BARE_CALL.fullmatch(value):
        return expression(value, words.context())
    if one := _ONE_EXPRESSION.fullmatch(value):
        return expression(one[1], words.context())
    return text_of(value, words.context()) if "{" in value else value


def _jinja_error(problem: Exception, where: Location, words: _Words) -> ProjectError:
    message = (problem.message if isinstance(problem, TemplateError) else str(problem)) or ""
    fix = "a model may use its macros, ref, source, var, config and run_started_at"
    if isinstance(problem, RecursionError):
        message, fix = "this calls itself without end", "give it an end"
    elif isinstance(problem, MemoryError):
        message, fix = "this needs too much memory", "let PostgreSQL compute it"
    elif undefined := re.fullmatch(r"'(\w+)' is undefined", message):
        close = did_you_mean(undefined[1], words.context())
        fix = close if close.startswith("did") else fix
    return ProjectError(f"Jinja: {in_plain_words(message)}", where=where, fix=fix)


def _where(project: Project, model: Model, problem: BaseException, message: str) -> Location:
    """Where in the model a traceback of Jinja begins, and where in the macros it ends."""
    macros = {str(macro.path): macro for macro in project.macros.values()}
    lines: dict[str, int] = {}
    traceback = problem.__traceback__
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if file == str(model.path) or file in macros:
            lines[file] = traceback.tb_lineno
        traceback = traceback.tb_next
    found: Location | None = None
    for file, line in reversed(lines.items()):
        holder = model if file == str(model.path) else macros[file]
        found = replace(_place(holder, line, message, project.macros), macro=found)
    return found or model.location


def _place(
    holder: Model | Macro, line: int | None, message: str, macros: Iterable[str]
) -> Location:
    """The line with the column of what the message quotes, else of a macro that it calls, else of
    its first Jinja: Jinja itself knows lines only."""
    if line is None:
        return Location(holder.path, text=holder.source_text)
    text = (holder.source_text.split("\n")[line - 1 : line] or [""])[0]
    quoted = re.findall(r"['\"]([^'\"]+)['\"]", message)
    calls = [call for call in re.findall(r"\w+(?=\()", text) if call in set(macros)]
    sought = [*quoted, *calls, "{{", "{%", text.strip()]
    column = next(text.find(one) for one in sought if one in text) + 1
    return Location(holder.path, line, column, holder.source_text)


_MISSING = object()


class _Returned(Exception):
    """What `return` does in a macro."""

    def __init__(self, value: Any) -> None:
        self.value = value
        super().__init__("return is only for macros")


def _return(value: Any = None) -> NoReturn:
    raise _Returned(value)


def _log(*_message: Any, **_options: Any) -> str:
    """dbt writes into a log file; here there is none while a model is rendered."""
    return ""


def _is_incremental() -> bool:
    """A model is always made anew here."""
    return False


def _raise_compiler_error(message: Any, *_node: Any) -> NoReturn:
    raise ProjectError(str(message))


class _Words:
    """The functions that a template may call, for one rendering of one model. They note calls."""

    def __init__(
        self, project: Project, model: Model, parameters: CheckedParameters, relations: Relations
    ) -> None:
        self.project = project
        self.model = model
        self._relations = relations
        self._parameters = parameters
        self._as_of = parameters.as_of
        self.reads: Counter[str] = Counter()
        self.sources: dict[tuple[str, str], None] = {}
        self.materialized = model.materialized
        self.test_config = TestConfig()
        self._calls: list[Macro] = []
        self._macros: dict[str, Callable[..., Any]] = {}
        macros = {macro.name: self.macro(macro) for macro in project.macros.values()}
        self._context = {
            "ref": self.ref,
            "source": self.source,
            "var": self.var,
            "config": self.config,
            "run_started_at": self._as_of,
            "return": _return,
            "log": _log,
            "is_incremental": _is_incremental,
            "exceptions": {"raise_compiler_error": _raise_compiler_error},
            **({project.package: SimpleNamespace(**macros)} if project.package else {}),
            **macros,
        }

    def context(self) -> dict[str, Any]:
        """What a template may name: the same in models and in macros."""
        return self._context

    def macro(self, macro: Macro) -> Callable[..., Any]:
        """What a call of a macro does."""

        def call(*arguments: Any, **named: Any) -> Any:
            if macro in self._calls:
                circle = [one.name for one in (*self._calls, macro)][self._calls.index(macro) :]
                raise ProjectError(
                    f"macro {macro.name} calls itself: {' -> '.join(circle)}",
                    fix="write a loop instead",
                )
            if macro.name not in self._macros:
                self._macros[macro.name] = callable_macro(macro, self._context)
            self._calls.append(macro)
            try:
                return self._macros[macro.name](*arguments, **named)
            except _Returned as returned:
                return returned.value
            finally:
                self._calls.pop()

        return call

    def ref(self, name: str) -> str:
        if name not in self.project.models:
            fix = did_you_mean(str(name), self.project.models)
            raise ProjectError(f"ref: there is no model {name!r}", fix=fix)
        self.reads[name] += 1
        return self._relations(self.project.models[name])

    def source(self, source_name: str, table: str) -> str:
        found = self.project.sources.get((source_name, table))
        if found is None:
            declared = [".".join(key) for key in self.project.sources]
            raise ProjectError(
                f"source: there is no source table {source_name}.{table}",
                fix=did_you_mean(f"{source_name}.{table}", declared),
            )
        self.sources[source_name, table] = None
        return self._relations(found)

    def var(self, name: str, default: Any = _MISSING) -> Any:
        values = self._parameters.values
        if name not in values:
            if default is not _MISSING:
                return default
            raise ProjectError(
                f"var: the audience declares no parameter {name!r}",
                fix=did_you_mean(str(name), values),
            )
        if default is not _MISSING:
            self._check_default(name, default)
        value = values[name]
        return TextValue.of_parameter(value) if isinstance(value, str) else value

    def _check_default(self, name: str, default: Any) -> None:
        """A default that the declared one silently replaced would mislead whoever reads it."""
        declared = self._parameters.defaults.get(name)
        if not _is_same(default, declared):
            raise ProjectError(
                f"var: the default of {name!r} is {_shown(default)} here, and "
                f"{'missing' if declared is None else _shown(declared)} in the audience",
                fix=f"write var('{name}'): the audience's default is used",
            )

    def config(self, **settings: Any) -> str:
        if self.model.is_test:
            self.test_config = _test_config(settings)
            return ""
        unknown = set(settings) - {"materialized", "tags", "meta"}
        if unknown or settings.get("materialized", "view") not in get_args(Materialized):
            raise ProjectError(
                f"config: {', '.join(f'{key!r} = {value!r}' for key, value in settings.items())} "
                "is not supported here",
                fix="materialized may be 'table' (a temp table), 'view' or 'ephemeral' (inlined)",
            )
        self.materialized = settings.get("materialized", self.materialized)
        return ""


def _is_same(default: Any, declared: Any) -> bool:
    """Whether two values are equal and of one kind: 1 is not true."""
    if isinstance(default, float):
        default = Decimal(repr(default))
    kinds = {
        "text" if isinstance(value, str) else "boolean" if isinstance(value, bool) else "number"
        for value in (default, declared)
    }
    return len(kinds) == 1 and bool(default == declared)


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str) else str(value).lower()


def _test_config(settings: dict[str, Any]) -> TestConfig:
    try:
        return TestConfig.model_validate(settings)
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        name = str(first["loc"][0])
        raise ProjectError(
            f"config: {name}: {first['msg'].removeprefix('Value error, ')}",
            fix=f"a data test may set {', '.join(TestConfig.model_fields)}",
        ) from None
