"""What is read about one user: which rows of which models, and which rule each model applied."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from jinja2 import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from runner.clock import instant
from runner.database.snapshot import Snapshot
from runner.errors import DatabaseError, Location, ParameterError, ProjectError, UsageError
from runner.files.document import DataTestResult
from runner.project.nodes import literal, quoted
from runner.runs.data_tests import attempted, columns_result
from runner.sql.compile import CompiledAudience, compile_audience, inlined
from runner.sql.data_tests import DataTest, by_model, failing_rows, tests_of
from runner.sql.source_map import MappedSql, joined
from runner.sql.tokens import Token, tokens

Row = dict[str, Any]
"""A row by its columns, values as JSON has them."""
RULE_PREFIX = "keep_"
"""Boolean columns named so are rules, also without a sentence."""
RANKINGS = frozenset({"row_number", "rank", "dense_rank", "distinct", "limit"})

_JINJA = SandboxedEnvironment(undefined=StrictUndefined)
_LONGEST_CLAUSE = 160


def is_rule(compiled: CompiledAudience, model: str, column: str) -> bool:
    """Whether a column is a rule, which keeps its row or not: by its name, or by a reason that the
    YAML has for it here or upstream."""
    upstream = compiled.graph.upstream(model)
    told = any(
        reason.column == column and reason.model in upstream
        for reason in compiled.audience.trace.reasons
    )
    return told or column.startswith(RULE_PREFIX)


def sentence(
    compiled: CompiledAudience, model: str, column: str | None = None, row: Row | None = None
) -> str | None:
    """The YAML's sentence about users whom a model leaves out, or a row whose column is not true.

    None if there is none. Raises `ProjectError` at a sentence that cannot be filled in.
    """
    index = _reason(compiled, model, column)
    if index is None:
        return None
    parameters = compiled.parameters
    names: dict[str, Any] = {**parameters.values, "as_of": instant(parameters.as_of)}
    if window := parameters.window:
        names |= {"window_start": instant(window.start), "window_end": instant(window.end)}
    if row is not None:
        names["row"] = SimpleNamespace(**row)
    says = compiled.audience.trace.reasons[index].says
    try:
        return " ".join(_JINJA.from_string(says).render(names).split())
    except Exception as problem:
        at = ("trace", "reasons", index, "says")
        raise ProjectError(
            f"{says!r} cannot be filled in: {problem}",
            where=compiled.project.audience_location(compiled.audience, *at),
            fix=f"it may use {', '.join(names)}",
        ) from None


def _reason(compiled: CompiledAudience, model: str, column: str | None) -> int | None:
    for index, reason in enumerate(compiled.audience.trace.reasons):
        if (reason.model, reason.column) == (model, column):
            return index
    return None


# Where it is written


def column_line(compiled: CompiledAudience, model: str, column: str) -> Location:
    """The line that names a column (`as column`), else the last one with its name."""
    found = list(_tokens(compiled, model))
    named = [
        token
        for before, token in pairwise(found)
        if before.value == "as" and token.value.strip('"') == column
    ]
    said = [token for token in found if token.value.strip('"') == column]
    return _place(compiled, model, (named or said)[-1:])


def filter_line(compiled: CompiledAudience, model: str) -> Location:
    """Where a model leaves rows out: its own `where`, else its first join, else its select."""
    return _place(compiled, model, _filter(compiled, model))


def filter_clause(compiled: CompiledAudience, model: str) -> str:
    """The same as SQL on one line, as it was rendered, comments left out."""
    token = _filter(compiled, model)[0]
    text = compiled.graph.models[model].sql.text[token.start :]
    lines = (line.strip() for line in text.splitlines())
    clause = " ".join(line for line in lines if not line.startswith("--"))
    is_long = len(clause) > _LONGEST_CLAUSE
    return clause[:_LONGEST_CLAUSE].rstrip() + " ..." if is_long else clause


def choice_line(compiled: CompiledAudience, model: str) -> Location:
    """Where a model chooses among rows: a ranking, distinct or limit, else as `filter_line`."""
    ranking = [token for token in _tokens(compiled, model) if token.value in RANKINGS]
    return _place(compiled, model, ranking[:1] or _filter(compiled, model))


def window_line(compiled: CompiledAudience, model: str) -> Location:
    """Where a model first names the as-of time, else as `filter_line`."""
    as_of = str(compiled.parameters.as_of)
    naming = [token for token in _tokens(compiled, model) if as_of in token.value]
    return _place(compiled, model, naming[:1] or _filter(compiled, model))


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


def _place(compiled: CompiledAudience, model: str, found: list[Token]) -> Location:
    rendered = compiled.graph.models[model]
    place = rendered.sql.location_at(found[0].start) if found else None
    return place or rendered.model.location


# How one model reads another


def may_miss(compiled: CompiledAudience, model: str, ref: str) -> bool:
    """Whether a model reads another only by left or full joins, or to exclude what is in it: who
    is not there is not lost by that."""
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


ASKED_OF = 1000
"""How many of a model's users are looked up to find out if it needs another model's rows."""


@dataclass(frozen=True)
class Sightings:
    """The users' keys as the server writes them, and their rows by model, upstream first."""

    snapshot: Snapshot
    keys: tuple[str, ...]
    rows: dict[str, dict[str, list[Row]]]

    @property
    def compiled(self) -> CompiledAudience:
        return self.snapshot.compiled

    def refs(self, model: str) -> list[str]:
        """The models with the key that a model reads."""
        return [ref for ref in self.compiled.graph.models[model].refs if ref in self.rows]

    def known(self) -> frozenset[str] | None:
        """Which keys the declared source has; None if none is declared."""
        source = self.compiled.audience.trace.key_source
        if source is None:
            return None
        found = self.compiled.project.sources[(source.source, source.table)]
        place = place_of(f"known.{quoted(source.column)}", self.keys)
        sql = f"select {place[0]} from {found.relation} as known where {place[1]}"
        return frozenset(self.keys[n] for (n,) in self._rows(sql, found.location))

    def needs(self, model: str, ref: str) -> bool:
        """Whether nobody seems to be in `model` who is not in `ref`."""
        key = quoted(self.compiled.audience.key)
        # a join that can be hashed, whatever the server thinks of sizes
        sql = joined(
            f"with sample as materialized (select distinct {key}::text as user_key from (",
            self.compiled.rows_of(model),
            f") as reading where {key} is not null limit {ASKED_OF}) "
            "select (select count(*) from sample), (select count(*) from sample "
            f"where user_key in (select needed.{key}::text from (",
            self.compiled.rows_of(ref),
            ") as needed))",
        )
        ((users, also_there),) = self._rows(sql, self._where(model))
        return bool(users == also_there)

    def outside(self, given: Mapping[str, str]) -> dict[str, list[Row]]:
        """The users' rows of the activity model with its window widened as in the YAML.

        What it reads is narrowed to these users first, so that no other user's past is read.
        """
        audience = self.compiled.audience
        widened = {name: str(value).lower() for name, value in audience.trace.widen.items()}
        try:
            compiled = inlined(
                compile_audience(
                    self.compiled.project,
                    audience.name,
                    {**given, **widened},
                    self.compiled.parameters.as_of,
                )
            )
        except ParameterError as problem:
            where = self.compiled.project.audience_location(audience, "trace", "widen")
            raise ProjectError(f"widen: {problem.what}", where=where) from None
        condition = place_of(quoted(audience.key), self.keys)[1]
        staging = {name for name in self.rows if not self.compiled.graph.models[name].refs}
        model = audience.activity_model
        narrowed = compiled.select(model, dict.fromkeys(staging - {model}, condition))
        return self._seen(model, narrowed)

    def _seen(self, model: str, select: MappedSql) -> dict[str, list[Row]]:
        place, condition = place_of(f"one_row.{quoted(self.compiled.audience.key)}", self.keys)
        sql = joined(
            f"select {place}, row_to_json(one_row)::text from (\n",
            select,
            f"\n) as one_row\nwhere {condition}\norder by 1, 2",
        )
        seen: dict[str, list[Row]] = {key: [] for key in self.keys}
        for number, text in self._rows(sql, self._where(model)):
            seen[self.keys[number]].append(json.loads(text))
        if (time := self.compiled.audience.trace.time) is not None:
            for rows in seen.values():
                rows.sort(key=lambda row: str(row.get(time, "")), reverse=True)
        return seen

    def _rows(self, sql: str | MappedSql, where: Location) -> Sequence[Any]:
        return self.snapshot.session.rows(sql, where)

    def _where(self, model: str) -> Location:
        return self.compiled.project.models[model].location


def look(snapshot: Snapshot, users: Sequence[str]) -> Sightings:
    """Find the users in all models, after filling these as a run does.

    Raises `UsageError` for a key that its type does not know, `ProjectError` if the activity
    model has no such column, `DatabaseError` where a model cannot run.
    """
    compiled = snapshot.compiled
    columns = {name: _columns(snapshot, name) for name in compiled.graph.models}
    key, activity = compiled.audience.key, compiled.audience.activity_model
    if key not in columns[activity]:
        raise ProjectError(
            f"the key of audience {compiled.audience.name}, {key!r}, is not a column of {activity}",
            where=compiled.project.audience_location(compiled.audience, "key"),
            looked_at=f"columns: {', '.join(columns[activity])}",
            fix="name another with key: in the audience's YAML",
        )
    keys = _spelled(snapshot, users)
    sightings = Sightings(snapshot, keys, {})
    snapshot.fill(compiled.graph.models)
    for name in compiled.graph.models:
        if key in columns[name]:
            sightings.rows[name] = sightings._seen(name, compiled.rows_of(name))
    return sightings


def _columns(snapshot: Snapshot, model: str) -> list[str]:
    rows, where = snapshot.compiled.rows_of(model), snapshot.compiled.project.models[model]
    sql = joined("select * from (\n", rows, "\n) as described\nlimit 0")
    return snapshot.session.table(sql, where.location)[0]


def _spelled(snapshot: Snapshot, users: Sequence[str]) -> tuple[str, ...]:
    """Each user once, as the server writes a value of the key's type."""
    session, audience = snapshot.session, snapshot.compiled.audience
    rows = snapshot.compiled.rows_of(audience.activity_model)
    no_key = joined(f"(select {quoted(audience.key)} from (\n", rows, "\n) as typed limit 0)")
    ((kind,),) = session.rows(joined("select pg_typeof(", no_key, ")::text"))
    spelled: dict[str, None] = {}
    for user in users:
        try:
            with session.savepoint():
                ((text,),) = session.rows(f"select ({literal(user)}::{kind})::text")
        except DatabaseError as problem:
            if not (problem.sqlstate or "").startswith(("22", "23")):
                raise
            raise UsageError(
                f"the user {user!r} is no {kind}",
                looked_at=f"{audience.key} of {audience.activity_model} has this type",
                fix="give the key as the database has it",
            ) from None
        spelled[text] = None
    return tuple(spelled)


def place_of(column: str, keys: Sequence[str]) -> tuple[str, str]:
    """SQL for which of the keys a column holds, counted from 0, and for whether it holds any."""
    whens = " ".join(f"when {literal(key)} then {n}" for n, key in enumerate(keys))
    return f"case {column} {whens} end", f"{column} in ({', '.join(map(literal, keys))})"


@dataclass(frozen=True)
class ClosedGate:
    """A test of severity error that failed, or could not be run; `keys` have a failing row."""

    result: DataTestResult
    keys: frozenset[str]


def closed_gates(sightings: Sightings) -> list[ClosedGate]:
    """Run the tests whose failure keeps files back, as a run does after the models are filled."""
    snapshot, compiled = sightings.snapshot, sightings.compiled
    closed = [
        ClosedGate(result, frozenset())
        for output in compiled.audience.outputs
        if (result := columns_result(snapshot.session, compiled, output)).status == "error"
    ]
    for group in by_model(test for test in tests_of(compiled) if test.gates):
        for test, result in zip(group, attempted(snapshot, group), strict=True):
            if result.status == "error":
                keys = _failing_keys(sightings, test) if result.error is None else frozenset()
                closed.append(ClosedGate(result, keys))
    return closed


def _failing_keys(sightings: Sightings, test: DataTest) -> frozenset[str]:
    """The keys that have a row among those that fail. Of a test whose failing rows do not have
    whose they are, each user's rows are tested alone: two users who share a value that must be
    unique are not found so."""
    session, compiled = sightings.snapshot.session, sightings.compiled
    key = compiled.audience.key
    failing = failing_rows(compiled, test)
    columns, _ = session.table(
        joined("select * from (\n", failing, "\n) as failing\nlimit 0"), test.location
    )
    if key in columns:
        place, condition = place_of(f"failing.{quoted(key)}", sightings.keys)
        sql = joined(f"select {place} from (\n", failing, f"\n) as failing\nwhere {condition}")
        return frozenset(sightings.keys[n] for (n,) in session.rows(sql, test.location))
    if test.tested not in sightings.rows:
        return frozenset()
    return frozenset(one for one in sightings.keys if _fails_alone(sightings, test, one))


def _fails_alone(sightings: Sightings, test: DataTest, key: str) -> bool:
    assert test.tested is not None
    _, condition = place_of(f"tested.{quoted(sightings.compiled.audience.key)}", [key])
    rows = sightings.compiled.rows_of(test.tested)
    theirs = joined("select * from (\n", rows, f"\n) as tested\nwhere {condition}")
    sql = joined("select exists (\n", test.failing(theirs), "\n)")
    return bool(sightings.snapshot.session.rows(sql, test.location)[0][0])
