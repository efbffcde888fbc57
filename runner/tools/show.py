"""The first rows of a model, as a run makes them. Who somebody is stays on the server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runner.clock import instant
from runner.database.snapshot import Reach, Snapshot, open_snapshot
from runner.errors import ParameterError, UsageError
from runner.project.audience import Audience
from runner.project.nodes import Project
from runner.project.targets import Target
from runner.sql.compile import CompiledAudience, compile_audience, inlined
from runner.sql.personal import MASKED, is_personal
from runner.sql.source_map import joined
from runner.tables import Row

MOST_ROWS = 1_000_000

_JSON_TYPES = frozenset({16, 20, 21, 23, 114, 3802})
"""Object ids, fixed in PostgreSQL, of types whose text is JSON: booleans, integers, json, jsonb."""


@dataclass(frozen=True)
class Preview:
    """A model's first rows as PostgreSQL's text; `masked` names the columns that are hidden."""

    model: str
    audience: str
    reason: str
    as_of: datetime
    order: tuple[str, ...]
    columns: tuple[tuple[str, int], ...]
    masked: tuple[str, ...]
    rows: tuple[Row, ...]
    has_more: bool

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.columns]

    def notes(self) -> list[str]:
        """What a reader must know of the rows beside them."""
        order = f"ordered by {', '.join(self.order)}" if self.order else "in no order"
        more = f"{len(self.rows)} rows, {'there are more' if self.has_more else 'all of them'}"
        lines = [
            f"{self.model} of {self.audience} ({self.reason}), as of {instant(self.as_of)}",
            f"{more if self.rows else 'no rows'}, {order}",
        ]
        if self.masked:
            lines.append(f"personal, masked: {', '.join(self.masked)} (--unmask shows them)")
        return lines

    def as_json(self) -> dict[str, Any]:
        """Booleans, integers and JSON as such; all else as PostgreSQL's text, NULL as null."""
        return {
            "model": self.model,
            "audience": self.audience,
            "audienceChosen": self.reason,
            "asOf": instant(self.as_of),
            "orderedBy": list(self.order),
            "columns": self.names,
            "masked": list(self.masked),
            "rows": [
                [
                    json.loads(cell) if self._is_json(index) and cell is not None else cell
                    for index, cell in enumerate(row)
                ]
                for row in self.rows
            ],
            "hasMore": self.has_more,
        }

    def _is_json(self, index: int) -> bool:
        name, kind = self.columns[index]
        return kind in _JSON_TYPES and name not in self.masked


def show(
    project: Project,
    model: str,
    target: Target,
    *,
    as_of: datetime,
    audience: str | None = None,
    parameters: Mapping[str, str] | None = None,
    limit: int = 20,
    unmask: bool = False,
    reach: Reach = nullcontext,
) -> Preview:
    """The first `limit` rows of a model, with the parameters of an audience that reads it.

    Raises `UsageError` for what is wrong before anything is connected to, `DatabaseError` at the
    model's own line. Nothing is written.
    """
    if not 1 <= limit <= MOST_ROWS:
        raise UsageError(f"--limit must be between 1 and {MOST_ROWS}", looked_at=f"given: {limit}")
    project.model(model)
    given = parameters or {}
    name, reason = (
        (audience, "as asked") if audience else _only_reader(project, model, given, as_of)
    )
    compiled = compile_audience(project, name, given, as_of, also=model)
    with reach(target) as reached, open_snapshot(compiled, reached, [model]) as snapshot:
        snapshot.fill([model])
        return _read(snapshot, model, reason, limit=limit, unmask=unmask)


def _only_reader(
    project: Project, model: str, given: Mapping[str, str], as_of: datetime
) -> tuple[str, str]:
    """The audience that a model is part of with these parameters, and how it was found: the only
    one, or the first of several if the model is the same in all."""
    readers = {
        audience.name: compiled
        for audience in project.audiences.values()
        if model in (compiled := _compiled(project, audience, given, as_of)).graph.models
    }
    if len(readers) == 1:
        return next(iter(readers)), "the only audience that reads it"
    if len({inlined(compiled).select(model).text for compiled in readers.values()}) == 1:
        return next(iter(readers)), "the model is the same in all audiences that read it"
    raise UsageError(
        f"{len(readers) or 'no'} audiences read model {model}",
        looked_at=f"known: {', '.join(readers or project.audiences)}",
        fix="name the audience whose parameters to use with --audience",
    )


def _compiled(
    project: Project, audience: Audience, given: Mapping[str, str], as_of: datetime
) -> CompiledAudience:
    """An audience with those of the parameters that it has; if they are not valid for it, with its
    defaults."""
    own = {name: value for name, value in given.items() if audience.parameter(name)}
    try:
        return compile_audience(project, audience.name, own, as_of, with_examples=True)
    except ParameterError:
        return compile_audience(project, audience.name, {}, as_of, with_examples=True)


def _read(snapshot: Snapshot, model: str, reason: str, *, limit: int, unmask: bool) -> Preview:
    compiled = snapshot.compiled
    where = compiled.project.models[model].location
    rows_of = compiled.rows_of(model)
    probe = joined("select * from (", rows_of, ") as shown limit 0")
    columns = tuple(snapshot.session.columns(probe, where))
    names = [name for name, _ in columns]
    masked = () if unmask else tuple(name for name in names if is_personal(compiled, model, name))
    order = _order(compiled, model, names)
    # by position: the server lets two columns of a select bear one name
    values = [_value(f"c{n}", is_masked=name in masked) for n, name in enumerate(names)]
    by = ", ".join(f"shown.c{names.index(name)} {direction}" for name, direction in order)
    select = joined(
        f"select {', '.join(values)} from (",
        rows_of,
        f") as shown ({', '.join(f'c{n}' for n in range(len(names)))})" if names else ") as shown",
        f" order by {by}" if by else "",
        f" limit {limit + 1}",
    )
    rows = tuple(tuple(row) for row in snapshot.session.rows(select, where))
    return Preview(
        model=model,
        audience=compiled.audience.name,
        reason=reason,
        as_of=compiled.parameters.as_of,
        order=tuple(f"{name} desc" if how == "desc" else name for name, how in order),
        columns=columns,
        masked=masked,
        rows=rows[:limit],
        has_more=len(rows) > limit,
    )


def _value(column: str, *, is_masked: bool) -> str:
    """A column's text, or a mask of it: an empty value or NULL stays, as it identifies nobody."""
    text = f"shown.{column}::text"
    return f"case when {text} <> '' then '{MASKED}' else {text} end" if is_masked else text


def _order(compiled: CompiledAudience, model: str, names: list[str]) -> list[tuple[str, str]]:
    """As its file is ordered, else by its first unique column."""
    orders = [one.ordering for one in compiled.audience.outputs if one.model == model]
    properties = compiled.project.models[model].properties
    orders += [
        [(column.identifier, "asc")]
        for column in (properties.columns if properties else [])
        if any(test.unique for test in column.data_tests)
    ]
    return next((one for one in orders if all(name in names for name, _ in one)), [])
