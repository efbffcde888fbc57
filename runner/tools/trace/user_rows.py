"""What the database has about users: their rows in each model, and failed data tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.database.snapshot import Snapshot
from runner.errors import DatabaseError, Location, ParameterError, ProjectError, UsageError
from runner.files.document import DataTestResult
from runner.project.nodes import literal, quoted
from runner.runs.data_tests import columns_result, try_tests
from runner.sql.compile import CompiledAudience, compile_audience, inlined
from runner.sql.data_tests import DataTest, by_model, failing_rows, tests_of
from runner.sql.source_map import MappedSql, joined

Row = dict[str, Any]
"""A row by its columns, values as in JSON."""
SAMPLE_SIZE = 1000
"""How many of a model's users are looked up in another model to find out if it needs that one."""


@dataclass(frozen=True)
class UserRows:
    """The users' keys as the server writes them, and their rows by model and key, upstream models
    first."""

    snapshot: Snapshot
    keys: tuple[str, ...]
    rows: dict[str, dict[str, list[Row]]]

    @property
    def compiled(self) -> CompiledAudience:
        return self.snapshot.compiled

    def refs(self, model: str) -> list[str]:
        """The models with the key that a model reads."""
        return [ref for ref in self.compiled.graph.models[model].refs if ref in self.rows]

    def known_keys(self) -> frozenset[str] | None:
        """The keys that are in the source table of `key_source`; None if the YAML names none."""
        source = self.compiled.audience.trace.key_source
        if source is None:
            return None
        found = self.compiled.project.sources[(source.source, source.table)]
        number, condition = key_sql(f"known.{quoted(source.column)}", self.keys)
        sql = f"select {number} from {found.relation} as known where {condition}"
        return frozenset(self.keys[n] for (n,) in self._rows(sql, found.location))

    def needs(self, model: str, ref: str) -> bool:
        """Whether all users in a sample of `model` are in `ref` too."""
        key = quoted(self.compiled.audience.key)
        # `in` is hashed, even where the planner's estimates of the sizes are wrong
        sql = joined(
            f"with sample as materialized (select distinct {key}::text as user_key from (",
            self.compiled.rows_of(model),
            f") as reading where {key} is not null limit {SAMPLE_SIZE}) "
            "select (select count(*) from sample), (select count(*) from sample "
            f"where user_key in (select needed.{key}::text from (",
            self.compiled.rows_of(ref),
            ") as needed))",
        )
        ((users, also_there),) = self._rows(sql, self._where(model))
        return bool(users == also_there)

    def outside_window(self, given: Mapping[str, str]) -> dict[str, list[Row]]:
        """The users' rows of the activity model with the parameters of `widen` in the YAML.

        The staging models are limited to these users, so that no other user's past is read.
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
        _, condition = key_sql(quoted(audience.key), self.keys)
        staging = {name for name in self.rows if not self.compiled.graph.models[name].refs}
        model = audience.activity_model
        assert model, "an audience without activity model cannot have widen"
        limited = compiled.select(model, dict.fromkeys(staging - {model}, condition))
        return self.rows_in(model, limited)

    def rows_in(self, model: str, select: MappedSql) -> dict[str, list[Row]]:
        """The users' rows in a model whose rows are `select`, by key; the newest first."""
        number, condition = key_sql(f"one_row.{quoted(self.compiled.audience.key)}", self.keys)
        sql = joined(
            f"select {number}, row_to_json(one_row)::text from (\n",
            select,
            f"\n) as one_row\nwhere {condition}\norder by 1, 2",
        )
        by_key: dict[str, list[Row]] = {key: [] for key in self.keys}
        for n, text in self._rows(sql, self._where(model)):
            by_key[self.keys[n]].append(json.loads(text))
        if (time := self.compiled.audience.trace.time) is not None:
            for rows in by_key.values():
                rows.sort(key=lambda row: str(row.get(time, "")), reverse=True)
        return by_key

    def _rows(self, sql: str | MappedSql, where: Location) -> Sequence[Any]:
        return self.snapshot.session.rows(sql, where)

    def _where(self, model: str) -> Location:
        return self.compiled.project.models[model].location


def find_users(snapshot: Snapshot, users: Sequence[str]) -> UserRows:
    """Fill all models as a run does, and find the users' rows in them.

    Raises `UsageError` for a user that is no value of the key's type, `ProjectError` if neither the
    activity model nor the first file's has such a column, `DatabaseError` where a model cannot run.
    """
    compiled = snapshot.compiled
    columns = {name: _columns(snapshot, name) for name in compiled.graph.models}
    key, activity = compiled.audience.key, compiled.audience.activity_model
    keyed = (
        activity if activity and key in columns[activity] else compiled.audience.outputs[0].model
    )
    if key not in columns[keyed]:
        raise ProjectError(
            f"the key of audience {compiled.audience.name}, {key!r}, is not a column of {keyed}",
            where=compiled.project.audience_location(compiled.audience, "key"),
            looked_at=f"columns: {', '.join(columns[keyed])}",
            fix="name another with key: in the audience's YAML",
        )
    user_rows = UserRows(snapshot, _keys(snapshot, users, keyed), {})
    snapshot.fill(compiled.graph.models)
    for name in compiled.graph.models:
        if key in columns[name]:
            user_rows.rows[name] = user_rows.rows_in(name, compiled.rows_of(name))
    return user_rows


def _columns(snapshot: Snapshot, model: str) -> list[str]:
    rows, where = snapshot.compiled.rows_of(model), snapshot.compiled.project.models[model]
    sql = joined("select * from (\n", rows, "\n) as described\nlimit 0")
    return snapshot.session.table(sql, where.location)[0]


def _keys(snapshot: Snapshot, users: Sequence[str], keyed: str) -> tuple[str, ...]:
    """The users as the server writes values of the key's type in a model, each once."""
    session, audience = snapshot.session, snapshot.compiled.audience
    rows = snapshot.compiled.rows_of(keyed)
    no_key = joined(f"(select {quoted(audience.key)} from (\n", rows, "\n) as typed limit 0)")
    ((kind,),) = session.rows(joined("select pg_typeof(", no_key, ")::text"))
    keys: dict[str, None] = {}
    for user in users:
        try:
            with session.savepoint():
                ((text,),) = session.rows(f"select ({literal(user)}::{kind})::text")
        except DatabaseError as problem:
            if not (problem.sqlstate or "").startswith(("22", "23")):
                raise
            raise UsageError(
                f"the user {user!r} is no {kind}",
                looked_at=f"{audience.key} of {keyed} has this type",
                fix="give the key as the database has it",
            ) from None
        keys[text] = None
    return tuple(keys)


def key_sql(column: str, keys: Sequence[str]) -> tuple[str, str]:
    """Two SQL expressions: the number of the key in a column, from 0; whether it is one of them."""
    whens = " ".join(f"when {literal(key)} then {n}" for n, key in enumerate(keys))
    return f"case {column} {whens} end", f"{column} in ({', '.join(map(literal, keys))})"


@dataclass(frozen=True)
class FailedTest:
    """A data test of severity error that failed, or could not be run. `keys` are the users with a
    failing row."""

    result: DataTestResult
    keys: frozenset[str]


def failed_tests(user_rows: UserRows) -> list[FailedTest]:
    """Run the data tests of a run, whose failure keeps files from being published."""
    snapshot, compiled = user_rows.snapshot, user_rows.compiled
    failed = [
        FailedTest(result, frozenset())
        for output in compiled.audience.outputs
        if (result := columns_result(snapshot.session, compiled, output)).status == "error"
    ]
    for group in by_model(test for test in tests_of(compiled) if test.in_runs):
        for test, result in zip(group, try_tests(snapshot, group), strict=True):
            if result.status == "error":
                keys = _failing_keys(user_rows, test) if result.error is None else frozenset()
                failed.append(FailedTest(result, keys))
    return failed


def _failing_keys(user_rows: UserRows, test: DataTest) -> frozenset[str]:
    """The users with a failing row.

    If the failing rows do not contain the key, each user's rows are tested alone. This does not
    find two users who share a value that must be unique.
    """
    session, compiled = user_rows.snapshot.session, user_rows.compiled
    key = compiled.audience.key
    failing = failing_rows(compiled, test)
    columns, _ = session.table(
        joined("select * from (\n", failing, "\n) as failing\nlimit 0"), test.location
    )
    if key in columns:
        number, condition = key_sql(f"failing.{quoted(key)}", user_rows.keys)
        sql = joined(f"select {number} from (\n", failing, f"\n) as failing\nwhere {condition}")
        return frozenset(user_rows.keys[n] for (n,) in session.rows(sql, test.location))
    if test.tested not in user_rows.rows:
        return frozenset()
    return frozenset(key for key in user_rows.keys if _fails_alone(user_rows, test, key))


def _fails_alone(user_rows: UserRows, test: DataTest, key: str) -> bool:
    assert test.tested is not None
    _, condition = key_sql(f"tested.{quoted(user_rows.compiled.audience.key)}", [key])
    rows = user_rows.compiled.rows_of(test.tested)
    rows_of_user = joined("select * from (\n", rows, f"\n) as tested\nwhere {condition}")
    sql = joined("select exists (\n", test.failing(rows_of_user), "\n)")
    return bool(user_rows.snapshot.session.rows(sql, test.location)[0][0])
