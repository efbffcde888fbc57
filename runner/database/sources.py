"""Source tables held as they are for the length of a snapshot.

TRUNCATE does not respect snapshots: a table that a nightly copy empties and fills again, after a
snapshot was taken and before it reads the table, looks empty to it. A lock that is taken before
the snapshot makes the copy wait until the run has ended. It conflicts with nothing else that
applications do: neither with reads nor with writes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runner.database.session import Session
from runner.errors import DatabaseError
from runner.project.nodes import Source, literal

_KINDS = """
select
    given.relation,
    pg_class.relkind in ('r', 'p', 'v')
    and has_table_privilege(pg_class.oid, 'select') as is_lockable
from (values {sources}) as given (relation, in_schema, name)
inner join pg_catalog.pg_namespace on given.in_schema = pg_namespace.nspname
inner join pg_catalog.pg_class
    on pg_namespace.oid = pg_class.relnamespace
    and given.name = pg_class.relname
where has_schema_privilege(pg_namespace.oid, 'usage')
order by given.relation
"""
_REWRITTEN = """
select given.relation
from unnest(array[{relations}]::text[]) as given (relation)
cross join lateral pg_catalog.pg_partition_tree(to_regclass(given.relation)) as part
inner join pg_catalog.pg_class on part.relid = pg_class.oid
where pg_class.relkind in ('r', 'm')
and pg_class.relfilenode <> coalesce(pg_relation_filenode(pg_class.oid), 0)
union
select given.relation
from unnest(array[{relations}]::text[]) as given (relation)
inner join pg_catalog.pg_class on to_regclass(given.relation) = pg_class.oid
where pg_class.relkind in ('r', 'm')
and pg_class.relfilenode <> coalesce(pg_relation_filenode(pg_class.oid), 0)
order by 1
"""
"""The first file node is that of the snapshot, the second that of this moment."""


@dataclass(frozen=True)
class Sources:
    """The source tables of a run, by their quoted names.

    `locked` are tables, partitioned tables and views (with the tables that they read). `unlocked`
    cannot be locked: the role may read only some columns, or it is a materialized view, or a
    foreign table. What is foreign has a snapshot of its own, which nobody can check from here.
    """

    locked: tuple[str, ...]
    unlocked: tuple[str, ...]

    def lock(self, session: Session) -> None:
        """Lock what can be locked, as the first statement of the snapshot's transaction.

        Raises `DatabaseError` if somebody keeps a table locked for longer than lock_timeout.
        """
        if self.locked:
            session.execute(f"lock table {', '.join(self.locked)} in access share mode")

    def check(self, session: Session) -> None:
        """Raises a `DatabaseError` that passes by itself if an unlocked table was rewritten since
        the snapshot was taken: what was read of it may be nothing."""
        if not self.unlocked:
            return
        rows = session.rows(_REWRITTEN.format(relations=_listed(self.unlocked)))
        if rows:
            raise DatabaseError(
                f"{', '.join(name for (name,) in rows)} was truncated or rewritten while the run "
                "read it",
                is_transient=True,
                looked_at="its file node changed after the snapshot was taken",
                fix="run again; with SELECT on the whole table, a run locks it against that",
            )


def find_sources(session: Session, sources: Iterable[Source]) -> Sources:
    """Which sources can be locked. Those that do not exist, or that are in a schema which the role
    may not use, are left for the models to report."""
    named = sorted({(source.relation, source.schema, source.table) for source in sources})
    if not named:
        return Sources((), ())
    values = ", ".join(f"({_listed(names)})" for names in named)
    rows = session.rows(_KINDS.format(sources=values))
    return Sources(
        tuple(name for name, is_lockable in rows if is_lockable),
        tuple(name for name, is_lockable in rows if not is_lockable),
    )


def _listed(relations: Iterable[str]) -> str:
    return ", ".join(map(literal, relations))
