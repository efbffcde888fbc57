"""Column lineage: which columns of the application's tables a model's column takes its values from.

sqlglot reads the SQL. What it cannot tell is not known, and never guessed. Filters, joins and
order decide which rows there are; they are no values and not told here.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner.project.nodes import Model, Source, quoted
from runner.sql.compile import CompiledAudience
from runner.sql.render import render

if TYPE_CHECKING:
    from sqlglot.lineage import Node

SHOWN_CHARACTERS = 100
"""Of an expression that reads no column, such as a constant."""


@dataclass(frozen=True, order=True)
class SourceColumn:
    """A column of one of the application's tables, by the names that sources.yml gives them."""

    source_name: str
    table: str
    column: str

    def __str__(self) -> str:
        return f"{self.source_name}.{self.table}.{self.column}"


@dataclass(frozen=True)
class Origin:
    """Where values come from: source columns, and expressions that read none (constants, counts
    of rows) with the model that says them. If it is not known, there are none of either."""

    columns: frozenset[SourceColumn] = frozenset()
    expressions: frozenset[tuple[str, str]] = frozenset()
    is_known: bool = True

    @staticmethod
    def of_all(origins: Iterable[Origin]) -> Origin:
        """All together; not known if one of them is not."""
        parts = list(origins)
        if not all(part.is_known for part in parts):
            return UNKNOWN
        return Origin(
            frozenset(column for part in parts for column in part.columns),
            frozenset(one for part in parts for one in part.expressions),
        )


UNKNOWN = Origin(is_known=False)

Origins = dict[str, Origin]
"""By column, in the order of the select. Empty if not even the columns are known."""


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
    """Says what it is, so that no name inside a model's SQL can mean it by accident."""
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
        is_recursive = any(one.recursive for one in select.find_all(exp.With))
        nodes = lineage(None, select, schema, dialect="postgres", validate_qualify_columns=True)
    except Exception:  # sqlglot raises all sorts of things for SQL that it does not understand
        return {}
    if is_recursive or any("*" in name for name in nodes):
        return {}
    return {name: _origin(node, model.name, known) for name, node in nodes.items()}


def _origin(node: Node, model: str, known: Mapping[str, Origins]) -> Origin:
    from sqlglot import exp

    nodes = list(node.walk())
    if any(one.expression.find(exp.Exists, exp.TableColumn) for one in nodes):
        return UNKNOWN  # whether there is a row, and whole rows, are no columns to sqlglot
    return Origin.of_all(_leaf_origin(one, model, known) for one in nodes if not one.downstream)


def _leaf_origin(leaf: Node, model: str, known: Mapping[str, Origins]) -> Origin:
    from sqlglot import exp

    if isinstance(leaf.source, exp.Table):
        column = exp.maybe_parse(leaf.name, into=exp.Column, dialect="postgres").name
        return known.get(leaf.source.name, {}).get(column, UNKNOWN)
    said = leaf.expression.unalias()
    if not isinstance(leaf.source, exp.Select) or said.find(exp.Column, exp.Query):
        return UNKNOWN
    text = said.sql(dialect="postgres", comments=False, normalize_functions="lower")
    shown = textwrap.shorten(text, SHOWN_CHARACTERS, placeholder=" …")
    return Origin(expressions=frozenset({(shown, model)}))
