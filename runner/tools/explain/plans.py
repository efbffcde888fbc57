"""What EXPLAIN says, as values: nodes with estimated and real rows, time and buffers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Json = dict[str, Any]

_CONDITIONS = (
    "Index Cond", "Recheck Cond", "Hash Cond", "Merge Cond", "Join Filter", "Filter",
    "One-Time Filter",
)  # fmt: skip
_THROUGH = frozenset(
    {"Hash", "Sort", "Incremental Sort", "Materialize", "Memoize", "Gather", "Gather Merge"}
)
"""Nodes that hand the rows below them on as they are."""


@dataclass(frozen=True)
class Node:
    """One node of a plan, with its parent. Rows and times are of all its loops together."""

    raw: Json
    parent: Node | None = None

    @cached_property
    def children(self) -> tuple[Node, ...]:
        return tuple(Node(below, self) for below in self.raw.get("Plans", []))

    def walk(self) -> Iterator[Node]:
        yield self
        for child in self.children:
            yield from child.walk()

    @property
    def kind(self) -> str:
        return str(self.raw["Node Type"])

    @property
    def is_analyzed(self) -> bool:
        return "Actual Loops" in self.raw

    @property
    def expected_rows(self) -> float:
        """As estimated; of a parallel node, what all its workers are expected to give."""
        return float(self.raw["Plan Rows"]) * (self._processes if self.raw["Parallel Aware"] else 1)

    @property
    def rows(self) -> float:
        """As counted, else as estimated."""
        if not self.is_analyzed:
            return self.expected_rows
        return float(self.raw["Actual Rows"]) * int(self.raw["Actual Loops"])

    @property
    def milliseconds(self) -> float | None:
        """In this node and below. Workers count side by side, so this may exceed the clock."""
        if not self.is_analyzed:
            return None
        return float(self.raw["Actual Total Time"]) * int(self.raw["Actual Loops"])

    @property
    def removed(self) -> float:
        """Rows that its filter threw away; 0 if nothing was counted."""
        return float(self.raw.get("Rows Removed by Filter", 0)) * int(
            self.raw.get("Actual Loops", 0)
        )

    @property
    def conditions(self) -> list[tuple[str, str]]:
        return [(key, str(self.raw[key])) for key in _CONDITIONS if key in self.raw]

    @property
    def join(self) -> tuple[Node, Node] | None:
        """The join that this node's rows go into as they are, and what they are joined with."""
        below, above = self, self.parent
        while above is not None and above.kind in _THROUGH:
            below, above = above, above.parent
        if above is None or "Join Type" not in above.raw:
            return None
        return above, next(one for one in above.children if one.raw is not below.raw)

    @property
    def label(self) -> str:
        words = [self.kind]
        if self.raw.get("Parallel Aware"):
            words.insert(0, "Parallel")
        if "Join Type" in self.raw and self.raw["Join Type"] != "Inner":
            words.append(f"({self.raw['Join Type'].lower()})")
        if "Index Name" in self.raw:
            words.append(f"using {self.raw['Index Name']}")
        name = self.raw.get("Relation Name") or self.raw.get("CTE Name")
        if name:
            words.append(f"on {name}")
        return " ".join(words)

    @property
    def _processes(self) -> float:
        """How many share a parallel node, as the planner counts: the leader helps less."""
        above = self.parent
        while above is not None and "Workers Planned" not in above.raw:
            above = above.parent
        workers = int(above.raw["Workers Planned"]) if above else 0
        return workers + max(0.0, 1 - 0.3 * workers)


@dataclass(frozen=True)
class Buffers:
    """Blocks of 8 kB: found in memory, read from elsewhere, and spilled to disk by sorts."""

    hit: int
    read: int
    spilled: int

    def as_json(self) -> dict[str, int]:
        return {"hit": self.hit, "read": self.read, "spilled": self.spilled}


@dataclass(frozen=True)
class QueryPlan:
    """One statement's plan, as `explain (verbose, format json)` gives it."""

    raw: Json

    @cached_property
    def top(self) -> Node:
        return Node(self.raw["Plan"])

    @property
    def source(self) -> Node:
        """The topmost node that gives rows: an insert itself gives none."""
        return self.top.children[0] if self.top.kind == "ModifyTable" else self.top

    @property
    def cost(self) -> float:
        return float(self.raw["Plan"]["Total Cost"])

    @property
    def milliseconds(self) -> float | None:
        """Planning and execution; None if it was not executed."""
        if "Execution Time" not in self.raw:
            return None
        return float(self.raw["Planning Time"]) + float(self.raw["Execution Time"])

    @property
    def buffers(self) -> Buffers:
        def blocks(*names: str) -> int:
            return sum(int(self.raw["Plan"].get(f"{name} Blocks", 0)) for name in names)

        return Buffers(
            hit=blocks("Shared Hit", "Local Hit"),
            read=blocks("Shared Read", "Local Read"),
            spilled=blocks("Temp Written"),
        )

    def indexes(self) -> frozenset[str]:
        """Names of the indexes that it reads."""
        names = (node.raw.get("Index Name") for node in self.top.walk())
        return frozenset(str(name) for name in names if name)

    def lines(self) -> Iterator[str]:
        """The plan as an indented tree."""
        yield from _lines(self.top, 0)


def _lines(node: Node, depth: int) -> Iterator[str]:
    pad = "   " * depth
    expected = f"{node.expected_rows:,.0f} rows expected"
    if node.is_analyzed:
        real = f"{node.rows:,.0f} rows" if node.raw["Actual Loops"] else "never run"
        yield f"{pad}{node.label}  ({real}, {expected}, {node.milliseconds:,.1f} ms)"
    else:
        yield f"{pad}{node.label}  ({expected}, cost {node.raw['Total Cost']:,.0f})"
    for name, condition in node.conditions:
        removed = f"  removed {node.removed:,.0f}" if name == "Filter" and node.removed else ""
        yield f"{pad}   {name.lower()}: {' '.join(condition.split())}{removed}"
    for child in node.children:
        yield from _lines(child, depth + 1)
