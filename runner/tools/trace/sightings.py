"""What the database shows of some users: their rows in every model that has the audience's key."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.database.snapshot import Workspace
from runner.errors import DatabaseError, Location, ParameterError, ProjectError, UsageError
from runner.project.nodes import literal, quoted
from runner.sql.compile import CompiledAudience, compile_audience, inlined
from runner.sql.source_map import MappedSql, joined
from runner.tools.trace.rules import Row

ASKED_OF = 1000
"""How many of a model's users are looked up to tell if it needs another model's rows."""


@dataclass(frozen=True)
class Sightings:
    """The users' keys as the server writes them, and their rows by model, upstream first."""

    workspace: Workspace
    keys: tuple[str, ...]
    rows: dict[str, dict[str, list[Row]]]

    @property
    def compiled(self) -> CompiledAudience:
        return self.workspace.compiled

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
        """The users' rows of the activity model with its window widened as the YAML says.

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
        return self.workspace.session.rows(sql, where)

    def _where(self, model: str) -> Location:
        return self.compiled.project.models[model].location


def look(workspace: Workspace, users: Sequence[str]) -> Sightings:
    """Find the users in all models, after filling these as a run does.

    Raises `UsageError` for a key that its type does not know, `ProjectError` if the activity
    model has no such column, `DatabaseError` where a model cannot run.
    """
    compiled = workspace.compiled
    columns = {name: _columns(workspace, name) for name in compiled.graph.models}
    key, activity = compiled.audience.key, compiled.audience.activity_model
    if key not in columns[activity]:
        raise ProjectError(
            f"the key of audience {compiled.audience.name}, {key!r}, is no column of {activity}",
            where=compiled.project.audience_location(compiled.audience, "key"),
            looked_at=f"columns: {', '.join(columns[activity])}",
            mend="name another with key: in the audience's YAML",
        )
    keys = _spelled(workspace, users)
    sightings = Sightings(workspace, keys, {})
    workspace.fill(compiled.graph.models)
    for name in compiled.graph.models:
        if key in columns[name]:
            sightings.rows[name] = sightings._seen(name, compiled.rows_of(name))
    return sightings


def _columns(workspace: Workspace, model: str) -> list[str]:
    rows, where = workspace.compiled.rows_of(model), workspace.compiled.project.models[model]
    sql = joined("select * from (\n", rows, "\n) as described\nlimit 0")
    return workspace.session.table(sql, where.location)[0]


def _spelled(workspace: Workspace, users: Sequence[str]) -> tuple[str, ...]:
    """Each user once, as the server writes a value of the key's type."""
    session, audience = workspace.session, workspace.compiled.audience
    rows = workspace.compiled.rows_of(audience.activity_model)
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
                looked_at=f"{audience.key} of {audience.activity_model} is of that type",
                mend="give the key as the database has it",
            ) from None
        spelled[text] = None
    return tuple(spelled)


def place_of(column: str, keys: Sequence[str]) -> tuple[str, str]:
    """SQL for which of the keys a column holds, counted from 0, and for whether it holds any."""
    whens = " ".join(f"when {literal(key)} then {n}" for n, key in enumerate(keys))
    return f"case {column} {whens} end", f"{column} in ({', '.join(map(literal, keys))})"
