"""Jinja -> SQL, with the source line of every piece of it.

dbt's words, a strict subset: `ref`, `source`, `var`, `config`, `run_started_at`. The sandbox
keeps templates from reaching Python, and an undefined name is an error.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NoReturn, get_args

from jinja2 import StrictUndefined, Template, TemplateSyntaxError
from jinja2.exceptions import TemplateError
from jinja2.sandbox import SandboxedEnvironment
from pydantic import ValidationError

from runner.errors import Location, ProjectError, did_you_mean
from runner.project.nodes import Model, Project, Source
from runner.project.parameters import CheckedParameters, Values
from runner.project.properties import Materialized, TestConfig
from runner.sql.source_map import BODY_OF_VALUE, MappedSql, TagPlaces, untagged

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


class _TextValue:
    """A text parameter's value: may be printed and compared, and nothing else.

    A filter or a concatenation would give text of which nobody knows any more that it came from
    the command line, so those are refused. Printed, it is between two marks, quotes doubled.
    """

    def __init__(self, given: str) -> None:
        self._given = given

    def __eq__(self, other: object) -> bool:
        return self._given == (other._given if isinstance(other, _TextValue) else other)

    def __hash__(self) -> int:
        return hash(self._given)

    def __bool__(self) -> bool:
        return bool(self._given)

    def __len__(self) -> int:
        return len(self._given)

    def printed(self) -> str:
        doubled = self._given.replace("'", "''")
        return f"{BODY_OF_VALUE[0]}{doubled}{BODY_OF_VALUE[1]}"

    def _refuse(self) -> NoReturn:
        raise ProjectError(
            "a text parameter can be printed and compared, but not changed",
            fix="declare another parameter with the text that is needed",
        )

    __str__ = __int__ = __float__ = __iter__ = __html__ = _refuse


def _finalized(value: Any) -> Any:
    """Text parameters marked; negative numbers in parentheses: after a minus one would begin a
    comment."""
    if isinstance(value, _TextValue):
        return value.printed()
    is_negative = isinstance(value, int | Decimal) and value < 0
    return f"({value})" if is_negative else value


_JINJA = SandboxedEnvironment(
    undefined=StrictUndefined,
    extensions=[TagPlaces],
    finalize=_finalized,
    keep_trailing_newline=False,
)


@lru_cache(maxsize=1024)
def _template(source_text: str) -> Template:
    return _JINJA.from_string(source_text)


def render(
    project: Project, model: Model, parameters: CheckedParameters, relations: Relations
) -> RenderedModel:
    """One model as SQL. Raises `ProjectError` at the line of the source that is wrong."""
    words = _Words(project, model, parameters, relations)
    try:
        tagged = _template(model.source_text).render(words.context())
    except ProjectError as problem:
        problem.where = _place(model, _template_line(problem), problem.what)
        raise
    except TemplateSyntaxError as problem:
        raise _jinja_error(model, problem.lineno, problem) from None
    except Exception as problem:
        raise _jinja_error(model, _template_line(problem), problem) from None
    return RenderedModel(
        model,
        untagged(tagged, model),
        words.reads,
        tuple(words.sources),
        words.materialized,
        words.test_config,
    )


def _jinja_error(model: Model, line: int | None, problem: Exception) -> ProjectError:
    message = problem.message if isinstance(problem, TemplateError) else str(problem)
    return ProjectError(
        f"Jinja: {message}",
        where=_place(model, line, message or ""),
        fix="a model may use ref, source, var, config and run_started_at",
    )


def _place(model: Model, line: int | None, message: str) -> Location:
    """The line with the column of what the message quotes, else of the line's first Jinja.

    Jinja itself knows lines only."""
    if line is None:
        return model.location
    text = model.source_text.split("\n")[line - 1 : line] or [""]
    sought = [*re.findall(r"['\"]([^'\"]+)['\"]", message), "{{", "{%", text[0].strip()]
    column = next(text[0].find(one) for one in sought if one in text[0]) + 1
    return Location(model.path, line, column, model.source_text)


def _template_line(problem: BaseException) -> int | None:
    """The innermost line of the template in a traceback that Jinja has rewritten."""
    line, traceback = None, problem.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == "<template>":
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line


class _Words:
    """The functions that a template may call, for one rendering of one model. They note calls."""

    def __init__(
        self, project: Project, model: Model, parameters: CheckedParameters, relations: Relations
    ) -> None:
        self._project = project
        self._model = model
        self._relations = relations
        self._values: Values = parameters.values
        self._as_of: datetime = parameters.as_of
        self.reads: Counter[str] = Counter()
        self.sources: dict[tuple[str, str], None] = {}
        self.materialized = model.materialized
        self.test_config = TestConfig()

    def context(self) -> Mapping[str, Any]:
        return {
            "ref": self.ref,
            "source": self.source,
            "var": self.var,
            "config": self.config,
            "run_started_at": self._as_of,
        }

    def ref(self, name: str) -> str:
        if name not in self._project.models:
            fix = did_you_mean(str(name), self._project.models)
            raise ProjectError(f"ref: there is no model {name!r}", fix=fix)
        self.reads[name] += 1
        return self._relations(self._project.models[name])

    def source(self, source_name: str, table: str) -> str:
        found = self._project.sources.get((source_name, table))
        if found is None:
            declared = [".".join(key) for key in self._project.sources]
            raise ProjectError(
                f"source: there is no source table {source_name}.{table}",
                fix=did_you_mean(f"{source_name}.{table}", declared),
            )
        self.sources[source_name, table] = None
        return self._relations(found)

    def var(self, name: str) -> Any:
        if name not in self._values:
            raise ProjectError(
                f"var: the audience declares no parameter {name!r}",
                fix=did_you_mean(str(name), self._values),
            )
        value = self._values[name]
        return _TextValue(value) if isinstance(value, str) else value

    def config(self, **settings: Any) -> str:
        if self._model.is_test:
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
