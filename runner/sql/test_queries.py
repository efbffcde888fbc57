"""The SQL of data tests: for each kind the select of the rows that fail it, as dbt has it.

What comes from the analyst's YAML is placed there: the server's errors are told at its line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from runner.errors import Location
from runner.project.audience import Output
from runner.project.nodes import literal, quoted
from runner.project.properties import AcceptedValuesTest, Column, RelationshipsTest
from runner.sql.compile import CompiledAudience
from runner.sql.source_map import MappedSql, joined, written_at

Failing = Callable[[MappedSql], MappedSql]
"""The select of the failing rows, given the select of the rows to test."""


def missing(column: str, where: Location, rows: MappedSql) -> MappedSql:
    test = written_at(where, f"where {quoted(column)} is null")
    return joined("select * from (", rows, ") as tested ", test)


def repeated(column: str, where: Location, rows: MappedSql) -> MappedSql:
    name = quoted(column)
    return joined(
        written_at(where, f"select {name} as unique_field, count(*) as n_records"),
        " from (",
        rows,
        f") as tested where {name} is not null group by {name} having count(*) > 1",
    )


def not_accepted(
    column: Column, body: AcceptedValuesTest, where: Location, rows: MappedSql
) -> MappedSql:
    name = quoted(column.identifier)
    values = [
        literal(str(value)) if body.arguments.quote else str(value).lower()
        for value in body.arguments.values
    ]
    return joined(
        written_at(where, f"select {name} as value_field, count(*) as n_records"),
        " from (",
        rows,
        ") as tested ",
        written_at(where, f"where {name} not in ({', '.join(values)}) group by {name}"),
    )


def orphans(
    column: Column, body: RelationshipsTest, parents: MappedSql, where: Location, rows: MappedSql
) -> MappedSql:
    name, parent_field = quoted(column.identifier), quoted(body.arguments.field.lower())
    return joined(
        written_at(where, f"select tested.{name} as from_field"),
        " from (",
        rows,
        ") as tested left join (",
        parents,
        ") as parent ",
        written_at(where, f"on tested.{name} = parent.{parent_field} "),
        written_at(where, f"where tested.{name} is not null and parent.{parent_field} is null"),
    )


def narrowed(failing: Failing, condition: MappedSql) -> Failing:
    return lambda rows: failing(
        joined("select * from (", rows, ") as given where (", condition, "\n)")
    )


def in_more_than_one(compiled: CompiledAudience, outputs: Iterable[Output]) -> MappedSql:
    key = quoted(compiled.audience.key)
    pieces: list[str | MappedSql] = []
    for output in outputs:
        name = literal(output.audience_type)
        pieces.append(" union " if pieces else "")
        pieces += [f"select {key}::text as key, {name} as audience_type from ("]
        pieces += [compiled.rows_of(output.model), ") as one_file"]
    return joined(
        "select key, count(*) as n_files from (",
        *pieces,
        ") as all_files where key is not null group by key having count(*) > 1",
    )
