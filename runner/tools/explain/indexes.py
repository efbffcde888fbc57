"""Which indexes on source tables would spare a run its sequential scans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from runner.database.indexes import (
    SMALL_BYTES,
    Condition,
    Index,
    TableIndexes,
    conditions,
    indexes_of,
    joined_columns,
)
from runner.database.snapshot import Snapshot
from runner.project.nodes import Source
from runner.tools.explain.plans import Node, QueryPlan

SELECTIVE = 0.1
"""Advise an index on a filter if at most this part of the table passes it. From about here on
PostgreSQL reads the table as a whole anyway."""
RANDOM_PAGE_COST = 4.0
"""What PostgreSQL reckons, by default, for each look-up in an index and each row found there."""
WHOLE_JOINS = ("Full", "Anti", "Right Anti")
"""Joins that may look at every row whatever comes out."""


@dataclass(frozen=True)
class Use:
    """A scan that an index would spare. Without EXPLAIN ANALYZE `rows` are estimates and there is
    no time; `cost` is the planner's estimate of the step."""

    step: str
    table_rows: float
    rows: float
    milliseconds: float | None
    cost: float


@dataclass(frozen=True)
class Advice:
    """An index, and what it is good for."""

    index: Index
    uses: tuple[Use, ...]

    @property
    def weight(self) -> tuple[float, float]:
        """Greater is better."""
        spent = sum(use.milliseconds or 0 for use in self.uses)
        return spent, sum(use.table_rows for use in self.uses)

    def as_json(self) -> dict[str, Any]:
        return {
            "statement": self.index.statement,
            "uses": [
                {
                    "step": use.step,
                    "tableRows": round(use.table_rows),
                    "rows": round(use.rows),
                    "milliseconds": use.milliseconds,
                    "cost": use.cost,
                }
                for use in self.uses
            ],
        }


def advise(snapshot: Snapshot, plans: Iterable[tuple[str, QueryPlan]]) -> list[Advice]:
    """One piece of advice for each index that some plan lacks, the best first."""
    sources = {(one.schema, one.table): one for one in snapshot.compiled.project.sources.values()}
    tables = {key: indexes_of(snapshot.session, *key) for key in sources}
    found: dict[Index, list[Use]] = {}
    for step, plan in plans:
        for node in plan.top.walk():
            key = (str(node.raw.get("Schema")), str(node.raw.get("Relation Name")))
            table = tables.get(key)
            if node.kind != "Seq Scan" or table is None or table.size_bytes < SMALL_BYTES:
                continue
            for index, rows in _wanted(sources[key], node, table):
                if not table.serve(index):
                    use = Use(step, _scanned(node, table), rows, node.milliseconds, plan.cost)
                    found.setdefault(index, []).append(use)
    advice = [Advice(index, tuple(uses)) for index, uses in found.items()]
    return sorted(advice, key=lambda one: one.weight, reverse=True)


def _scanned(node: Node, table: TableIndexes) -> float:
    return node.rows + node.removed if node.is_analyzed else max(table.rows, node.rows)


def _wanted(source: Source, node: Node, table: TableIndexes) -> Iterator[tuple[Index, float]]:
    """The index that would serve a scan's filter, else its join; and how many rows it gives.

    Of joins only what was counted is believed: estimates are of empty working tables.
    """
    alias = str(node.raw.get("Alias"))
    compared = [
        one
        for one in conditions(str(node.raw.get("Filter", "")), alias)
        if not one.is_cast or dict(source.columns).get(one.column) == "character varying"
    ]
    equal = tuple(
        (one.column, one.constant) for one in compared if one.operator == "=" and one.is_exact
    )
    scanned = _scanned(node, table)
    keys = _keys(compared)
    if keys and node.rows <= SELECTIVE * scanned:
        where = equal if keys[0] not in dict(equal) else ()
        yield Index(source.schema, source.table, keys, where), node.rows
        return
    if node.join is None or not node.is_analyzed:
        return
    join, other = node.join
    texts = [text for name, text in join.conditions if name in ("Hash Cond", "Merge Cond")]
    columns = [column for text in texts for column in joined_columns(text, alias)]
    looked_up = RANDOM_PAGE_COST * (other.rows + join.rows)
    is_whole = join.raw["Join Type"] in WHOLE_JOINS
    if columns and not is_whole and looked_up <= float(node.raw["Total Cost"]):
        where = tuple(one for one in equal if one[0] not in columns)
        yield Index(source.schema, source.table, tuple(columns), where), join.rows


def _keys(compared: list[Condition]) -> tuple[str, ...]:
    """What to look up by: equalities with constants that no predicate can state, then a range. If
    there is neither, the equalities themselves."""
    looked_up = [one.column for one in compared if one.operator == "=" and not one.is_exact]
    ranges = [one.column for one in compared if one.operator != "="]
    keys = looked_up + ranges[:1]
    if not keys:
        keys = [one.column for one in compared if one.constant is not None]
    return tuple(dict.fromkeys(keys))
