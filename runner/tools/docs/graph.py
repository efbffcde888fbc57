"""Where the values of columns come from, and the layout of the drawing of models."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from runner.errors import UsageError
from runner.project.nodes import Model, Source, quoted
from runner.sql.compile import CompiledAudience
from runner.sql.render import render

if TYPE_CHECKING:
    from sqlglot.lineage import Node as LineageNode


NodeKind = Literal["source", "table", "inlined", "unused", "file"]

CHARACTER_PX = 7.3
"""Width of a character of a label: monospaced, 12 px high, with room for wider fonts."""
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
    """A source table, model or file in the drawing. `key` is unique; `anchor` is the section of the
    page that its box links to."""

    key: str
    label: str
    kind: NodeKind
    anchor: str
    title: str


@dataclass(frozen=True)
class Box:
    """A node's box, in px from the top left."""

    node: Node
    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Arrow:
    """An arrow from a node that is read to its reader; `path` is SVG path data."""

    start: str
    end: str
    path: str


@dataclass(frozen=True)
class Drawing:
    """The whole drawing, in px."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


def drawn(nodes: Sequence[Node], edges: Iterable[tuple[str, str]]) -> Drawing:
    """Lay out `nodes` from top to bottom; `edges` are pairs of keys: a node, and its reader.

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
        Arrow(
            start, end, _path([(point["x"] - left, point["y"] - top) for point in edge["points"]])
        )
        for (start, end), edge in zip(pairs, layout.edges, strict=True)
    )
    width, height = high["x"] - left + MARGIN_PX, high["y"] - top + MARGIN_PX
    return Drawing(round(width, 1), round(height, 1), boxes, arrows)


def _layout(nodes: Sequence[Node], edges: Iterable[tuple[str, str]]) -> Any:
    try:
        import graphlay
    except ImportError:
        raise UsageError(
            "drawing the models needs graphlay, which is not installed",
            fix="pip install 'push-audiences[docs]'",
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


SHOWN_CHARACTERS = 100
"""How many characters are shown of an expression that reads no column, such as a constant."""


@dataclass(frozen=True, order=True)
class SourceColumn:
    """A column of a source table, by the names in sources.yml."""

    source_name: str
    table: str
    column: str

    def __str__(self) -> str:
        return f"{self.source_name}.{self.table}.{self.column}"


@dataclass(frozen=True)
class Origin:
    """Where values come from: source columns, and expressions that read none (constants, counts
    of rows) with the model that describes them. If the origin is not known, both are empty."""

    columns: frozenset[SourceColumn] = frozenset()
    expressions: frozenset[tuple[str, str]] = frozenset()
    is_known: bool = True

    @staticmethod
    def of_all(origins: Iterable[Origin]) -> Origin:
        """The union of all origins; unknown if any of them is unknown."""
        parts = list(origins)
        if not all(part.is_known for part in parts):
            return UNKNOWN
        return Origin(
            frozenset(column for part in parts for column in part.columns),
            frozenset(expression for part in parts for expression in part.expressions),
        )


UNKNOWN = Origin(is_known=False)

Origins = dict[str, Origin]
"""By column, in the order of the select. Empty if the columns are not known."""


def reads_of(compiled: CompiledAudience, name: str) -> tuple[Model | Source, ...]:
    """The models and source tables that a model reads, each once, in the order of its text."""
    found: dict[str, Model | Source] = {}

    def relation(read: Model | Source) -> str:
        found[_key(read)] = read
        return quoted(_key(read))

    render(compiled.project, compiled.project.models[name], compiled.parameters, relation)
    return tuple(found.values())


def column_origins(compiled: CompiledAudience) -> dict[str, Origins]:
    """Every model's columns with their origins, model by model, upstream first."""
    known: dict[str, Origins] = {}
    for source in compiled.project.sources.values():
        known[_key(source)] = {
            column: Origin(frozenset({SourceColumn(source.source_name, source.table, column)}))
            for column, _ in source.columns
        }
    for name in compiled.graph.models:
        model = compiled.project.models[name]
        known[_key(model)] = _model_origins(compiled, model, known)
    return {name: known[_key(compiled.project.models[name])] for name in compiled.graph.models}


def _key(read: Model | Source) -> str:
    """A name that starts with the kind of node, so that it equals no name inside a model's SQL."""
    if isinstance(read, Model):
        return f"model {read.name}"
    return f"source {read.source_name}.{read.table}"


def _model_origins(
    compiled: CompiledAudience, model: Model, known: Mapping[str, Origins]
) -> Origins:
    from sqlglot import exp, parse_one
    from sqlglot.lineage import lineage
    from sqlglot.schema import MappingSchema

    sql = render(
        compiled.project, model, compiled.parameters, lambda read: quoted(_key(read))
    ).sql.text
    schema = MappingSchema(
        {key: dict.fromkeys(columns, "text") for key, columns in known.items() if columns},
        dialect="postgres",
        normalize=False,
    )
    try:
        select = parse_one(sql, dialect="postgres")
        is_recursive = any(clause.recursive for clause in select.find_all(exp.With))
        nodes = lineage(None, select, schema, dialect="postgres", validate_qualify_columns=True)
    except Exception:  # sqlglot raises many kinds of errors for SQL that it does not parse
        return {}
    if is_recursive or any("*" in name for name in nodes):
        return {}
    return {name: _origin(node, model.name, known) for name, node in nodes.items()}


def _origin(node: LineageNode, model: str, known: Mapping[str, Origins]) -> Origin:
    from sqlglot import exp

    nodes = list(node.walk())
    if any(step.expression.find(exp.Exists, exp.TableColumn) for step in nodes):
        return UNKNOWN  # sqlglot follows columns only, not `exists` and not whole rows
    return Origin.of_all(_leaf_origin(step, model, known) for step in nodes if not step.downstream)


def _leaf_origin(leaf: LineageNode, model: str, known: Mapping[str, Origins]) -> Origin:
    from sqlglot import exp

    if isinstance(leaf.source, exp.Table):
        column = exp.maybe_parse(leaf.name, into=exp.Column, dialect="postgres").name
        return known.get(leaf.source.name, {}).get(column, UNKNOWN)
    expression = leaf.expression.unalias()
    if not isinstance(leaf.source, exp.Select) or expression.find(exp.Column, exp.Query):
        return UNKNOWN
    text = expression.sql(dialect="postgres", comments=False, normalize_functions="lower")
    shown = textwrap.shorten(text, SHOWN_CHARACTERS, placeholder=" …")
    return Origin(expressions=frozenset({(shown, model)}))
