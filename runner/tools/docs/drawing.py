"""A graph as a picture: where its boxes stand and how its arrows run. graphlay lays it out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from runner.errors import UsageError

NodeKind = Literal["source", "table", "inlined", "unused", "file"]

CHARACTER_PX = 7.3
"""Of a monospaced label at 12 px, with room for wider fonts."""
PADDING_PX = 11.0
BOX_HEIGHT_PX = 30.0
MARGIN_PX = 8.0
CORNER_PX = 10.0

OPTIONS = {
    "direction": "topbottom",
    "spacing": {"node_gap": 14, "reroute_node_gap": 14, "dummy_gap": 12, "layer_gap": 34},
    "routing": {"style": "diagonal"},
    "coords": {"branch_style": "symmetric", "branch_bands": False},
}


@dataclass(frozen=True)
class Node:
    """What a box stands for. `key` is unique, `anchor` the section of the page it leads to."""

    key: str
    label: str
    kind: NodeKind
    anchor: str
    title: str


@dataclass(frozen=True)
class Box:
    """A node's place; in px, from the top left."""

    node: Node
    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Arrow:
    """From a node that is read to its reader; `path` in SVG's words."""

    start: str
    end: str
    path: str


@dataclass(frozen=True)
class Drawing:
    """All of it, in px."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


def drawn(nodes: Sequence[Node], edges: Iterable[tuple[str, str]]) -> Drawing:
    """Lay out `nodes` from top to bottom; `edges` are pairs of keys, the one that is read first.

    The same graph always gives the same picture. Raises `UsageError` if graphlay is missing.
    """
    pairs = list(edges)
    layout = _layout(nodes, pairs)
    low, high = layout.bounds["min"], layout.bounds["max"]
    left, top = low["x"] - MARGIN_PX, low["y"] - MARGIN_PX
    boxes = tuple(
        _box(node, placed, left, top) for node, placed in zip(nodes, layout.nodes, strict=True)
    )
    arrows = tuple(
        Arrow(start, end, _path([(point["x"] - left, point["y"] - top) for point in one["points"]]))
        for (start, end), one in zip(pairs, layout.edges, strict=True)
    )
    width, height = high["x"] - left + MARGIN_PX, high["y"] - top + MARGIN_PX
    return Drawing(round(width, 1), round(height, 1), boxes, arrows)


def _layout(nodes: Sequence[Node], edges: Iterable[tuple[str, str]]) -> Any:
    try:
        import graphlay
    except ImportError:
        raise UsageError(
            "the picture of the models is laid out by graphlay, which is not installed",
            mend="pip install 'push-audiences[docs]'",
        ) from None
    graph = graphlay.Graph()
    for node in nodes:
        width = len(node.label) * CHARACTER_PX + 2 * PADDING_PX
        graph.node(node.key, width=width, height=BOX_HEIGHT_PX)
    for start, end in edges:
        graph.edge(start, end)
    return graphlay.layout(graph, options=OPTIONS)


def _box(node: Node, placed: Any, left: float, top: float) -> Box:
    center, size = placed["center"], placed["size"]
    width, height = size["width"], size["height"]
    x, y = center["x"] - width / 2 - left, center["y"] - height / 2 - top
    return Box(node, round(x, 1), round(y, 1), round(width, 1), round(height, 1))


def _path(points: Sequence[tuple[float, float]]) -> str:
    """Straight lines with round corners."""
    pieces = [f"M{_place(points[0])}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        into, out_of = _towards(corner, before), _towards(corner, after)
        pieces.append(f"L{_place(into)}Q{_place(corner)} {_place(out_of)}")
    pieces.append(f"L{_place(points[-1])}")
    return "".join(pieces)


def _towards(corner: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    across, down = other[0] - corner[0], other[1] - corner[1]
    length = (across**2 + down**2) ** 0.5
    share = min(CORNER_PX / length, 0.5) if length else 0.0
    return corner[0] + across * share, corner[1] + down * share


def _place(point: tuple[float, float]) -> str:
    return f"{point[0]:.1f} {point[1]:.1f}"
