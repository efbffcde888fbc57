"""The indexes that a table has on the server, its size and its rows."""

from __future__ import annotations

from dataclasses import dataclass

from runner.database.indexes import Constant, Index, predicate
from runner.database.session import Session
from runner.project.nodes import literal


@dataclass(frozen=True)
class TableIndexes:
    """`rows` is the server's estimate; each index is its columns and the rows that it holds."""

    size_bytes: int
    rows: float
    indexes: tuple[tuple[tuple[str, ...], tuple[tuple[str, Constant], ...]], ...]

    def serve(self, wanted: Index) -> bool:
        """Whether one of them does as well as the wanted one."""
        return any(wanted.is_served_by(columns, dict(where)) for columns, where in self.indexes)


def indexes_of(session: Session, schema: str, table: str) -> TableIndexes | None:
    """None if there is no such table (a view has no indexes of its own).

    Only valid B-tree indexes on columns count, and of partial ones those whose predicate is made
    of equalities.
    """
    found = session.rows(
        "select pg_class.oid, pg_table_size(pg_class.oid) + coalesce("
        "(select sum(pg_table_size(relid)) from pg_partition_tree(pg_class.oid) where level > 0), 0"
        "), pg_class.reltuples "
        "from pg_catalog.pg_class "
        "inner join pg_catalog.pg_namespace on pg_class.relnamespace = pg_namespace.oid "
        f"where nspname = {literal(schema)} and relname = {literal(table)} "
        "and relkind in ('r', 'p', 'm')"
    )
    if not found:
        return None
    oid, size_bytes, rows = found[0]
    indexes = session.rows(
        f"""
        select
            array(
                select attname::text
                from unnest(indkey::int2[]) with ordinality as keys (attnum, place)
                inner join pg_catalog.pg_attribute
                    on attrelid = indrelid and pg_attribute.attnum = keys.attnum
                where place <= indnkeyatts
                order by place
            ),
            coalesce(pg_get_expr(indpred, indrelid), '')
        from pg_catalog.pg_index
        inner join pg_catalog.pg_class on pg_class.oid = indexrelid
        inner join pg_catalog.pg_am on pg_am.oid = relam
        where indrelid = {int(oid)} and indisvalid and amname = 'btree' and indexprs is null
        """
    )
    read = [(tuple(columns), predicate(text) if text else {}) for columns, text in indexes]
    kept = tuple((columns, tuple(where.items())) for columns, where in read if where is not None)
    return TableIndexes(size_bytes, rows, kept)
