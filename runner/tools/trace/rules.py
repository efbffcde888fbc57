"""The rule by which a model leaves out rows: its sentence in the YAML, and its line in the SQL."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from jinja2 import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from runner.clock import instant
from runner.errors import Location, ProjectError
from runner.sql.compile import CompiledAudience
from runner.sql.tokens import Token, tokens
from runner.tools.trace.user_rows import Row

RULE_PREFIX = "keep_"
"""Boolean columns with this prefix are rules, even without a sentence in the YAML."""
RANKINGS = frozenset({"row_number", "rank", "dense_rank", "distinct", "limit"})

_JINJA = SandboxedEnvironment(undefined=StrictUndefined)
_LONGEST_CLAUSE = 160


def is_rule(compiled: CompiledAudience, model: str, column: str) -> bool:
    """Whether a boolean column decides if its row is kept: by its name, or because the YAML has a
    reason for it, for this model or a model upstream."""
    upstream = compiled.graph.upstream(model)
    has_reason = any(
        reason.column == column and reason.model in upstream
        for reason in compiled.audience.trace.reasons
    )
    return has_reason or column.startswith(RULE_PREFIX)


def sentence(
    compiled: CompiledAudience, model: str, column: str | None = None, row: Row | None = None
) -> str | None:
    """The YAML's sentence about users whom a model leaves out, or about a row whose column is not
    true.

    None if there is none. Raises `ProjectError` at a sentence that cannot be filled in.
    """
    index = _reason_index(compiled, model, column)
    if index is None:
        return None
    parameters = compiled.parameters
    names: dict[str, Any] = {**parameters.values, "as_of": instant(parameters.as_of)}
    if window := parameters.window:
        names |= {"window_start": instant(window.start), "window_end": instant(window.end)}
    if row is not None:
        names["row"] = SimpleNamespace(**row)
    template = compiled.audience.trace.reasons[index].says
    try:
        return " ".join(_JINJA.from_string(template).render(names).split())
    except Exception as problem:
        at = ("trace", "reasons", index, "says")
        raise ProjectError(
            f"{template!r} cannot be filled in: {problem}",
            where=compiled.project.audience_location(compiled.audience, *at),
            fix=f"it may use {', '.join(names)}",
        ) from None


def _reason_index(compiled: CompiledAudience, model: str, column: str | None) -> int | None:
    for index, reason in enumerate(compiled.audience.trace.reasons):
        if (reason.model, reason.column) == (model, column):
            return index
    return None


# Lines of the SQL


def column_line(compiled: CompiledAudience, model: str, column: str) -> Location:
    """The line that names a column (`as column`), else the last line that mentions it."""
    found = list(_tokens(compiled, model))
    named = [
        token
        for before, token in pairwise(found)
        if before.value == "as" and token.value.strip('"') == column
    ]
    mentions = [token for token in found if token.value.strip('"') == column]
    return _location(compiled, model, (named or mentions)[-1:])


def filter_line(compiled: CompiledAudience, model: str) -> Location:
    """Where a model leaves rows out: its own `where`, else its first join, else its select."""
    return _location(compiled, model, _filter(compiled, model))


def filter_clause(compiled: CompiledAudience, model: str) -> str:
    """The rendered SQL from `filter_line` on, on a line without comments, cut if it is long."""
    token = _filter(compiled, model)[0]
    text = compiled.graph.models[model].sql.text[token.start :]
    lines = (line.strip() for line in text.splitlines())
    clause = " ".join(line for line in lines if not line.startswith("--"))
    is_long = len(clause) > _LONGEST_CLAUSE
    return clause[:_LONGEST_CLAUSE].rstrip() + " ..." if is_long else clause


def choice_line(compiled: CompiledAudience, model: str) -> Location:
    """Where a model chooses among rows: a ranking, distinct or limit, else as `filter_line`."""
    ranking = [token for token in _tokens(compiled, model) if token.value in RANKINGS]
    return _location(compiled, model, ranking[:1] or _filter(compiled, model))


def window_line(compiled: CompiledAudience, model: str) -> Location:
    """The first line with the as-of time, else as `filter_line`."""
    as_of = str(compiled.parameters.as_of)
    with_as_of = [token for token in _tokens(compiled, model) if as_of in token.value]
    return _location(compiled, model, with_as_of[:1] or _filter(compiled, model))


def _filter(compiled: CompiledAudience, model: str) -> list[Token]:
    outer = list(_outer_words(compiled, model))
    for word, pick in (("where", -1), ("having", -1), ("join", 0), ("select", -1)):
        if found := [token for token in outer if token.value == word]:
            return [found[pick]]
    return list(_tokens(compiled, model))[:1]


def _outer_words(compiled: CompiledAudience, model: str) -> Iterator[Token]:
    """The words outside all parentheses: those of the final select."""
    depth = 0
    for token in _tokens(compiled, model):
        depth += (token.value == "(") - (token.value == ")")
        if depth == 0 and token.kind == "word":
            yield token


def _tokens(compiled: CompiledAudience, model: str) -> Iterator[Token]:
    return tokens(compiled.graph.models[model].sql.text)


def _location(compiled: CompiledAudience, model: str, found: list[Token]) -> Location:
    rendered = compiled.graph.models[model]
    location = rendered.sql.location_at(found[0].start) if found else None
    return location or rendered.model.location


# How a model reads another


def may_miss(compiled: CompiledAudience, model: str, ref: str) -> bool:
    """Whether a model reads another only in left or full joins, or to exclude its users: a user who
    is not in it is then not left out because of that."""
    found = list(_tokens(compiled, model))
    relation = compiled.project.models[ref].cte_name
    imports = [i for i, token in enumerate(found) if token.value == relation and _imports(found, i)]
    names = {relation, *(_cte_name(found, index) for index in imports)}
    reads = [
        index
        for index in range(1, len(found))
        if found[index].value in names
        and found[index - 1].value in ("from", "join")
        and index not in imports
    ]
    return bool(reads) and all(
        _joins_left(found, index) or _excludes(found, index) for index in reads
    )


def _imports(found: list[Token], index: int) -> bool:
    """Whether a CTE is exactly a select-star from the name at `index`."""
    before = [token.value for token in found[max(index - 4, 0) : index]]
    after = [token.value for token in found[index + 1 : index + 2]]
    return before == ["(", "select", "*", "from"] and after == [")"]


def _cte_name(found: list[Token], index: int) -> str:
    start = index - 4
    while found[start].value in ("(", "materialized", "not", "as"):
        start -= 1
    return found[start].value


def _joins_left(found: list[Token], index: int) -> bool:
    words = {token.value for token in found[max(index - 3, 0) : index]}
    return found[index - 1].value == "join" and bool(words & {"left", "full"})


def _excludes(found: list[Token], index: int) -> bool:
    """Whether the subquery that reads the name at `index` follows `not in` or `not exists`."""
    depth = 0
    while index > 2 and depth >= 0:
        index -= 1
        depth += (found[index].value == ")") - (found[index].value == "(")
    return found[index - 2].value == "not" and found[index - 1].value in ("in", "exists")
