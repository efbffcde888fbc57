"""Indexes that models rely on, and those that a table has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from runner.database.session import Session
from runner.project.nodes import Source, literal, quoted
from runner.project.properties import IndexDeclaration
from runner.sql.tokens import Token, tokens

Constant = bool | int | str | None
"""What a column must equal: None is NULL."""

SMALL_BYTES = 8 * 1024 * 1024
"""A table below this is read whole in a few milliseconds: no index would be felt."""

_TEXT_TYPES = frozenset({"text", "character", "varchar", "bpchar"})
_NOT_CONSTANT = ("subplan", "initplan", "any", "all", "exists", "or", "case")
_RESERVED = frozenset(
    """
    all analyse analyze and any array as asc asymmetric both case cast check collate column
    constraint create current_catalog current_date current_role current_time current_timestamp
    current_user default deferrable desc distinct do else end except false fetch for foreign from
    grant group having in initially intersect into lateral leading limit localtime localtimestamp
    not null offset on only or order placing primary references returning select session_user
    some symmetric system_user table then to trailing true union unique user using variadic when
    where window with
    """.split()  # noqa: SIM905
)
"""Words that PostgreSQL takes as names in quotes only (its manual, appendix C)."""


@dataclass(frozen=True)
class Index:
    """An index that is declared or advised. `where` is empty if it holds every row."""

    schema: str
    table: str
    columns: tuple[str, ...]
    where: tuple[tuple[str, Constant], ...] = ()

    @classmethod
    def declared(cls, source: Source, declaration: IndexDeclaration) -> Index:
        """One that the models rely on, according to sources.yml."""
        where = tuple(declaration.where.items())
        return cls(source.schema, source.table, tuple(declaration.columns), where)

    @property
    def definition(self) -> str:
        """What follows `create index`."""
        columns = ", ".join(map(_plain, self.columns))
        rows = " and ".join(_condition(*one) for one in self.where)
        table = f"{_plain(self.schema)}.{_plain(self.table)}"
        return f"on {table} ({columns}){f' where {rows}' if rows else ''}"

    @property
    def statement(self) -> str:
        return f"create index concurrently {self.definition};"

    def is_served_by(self, columns: Iterable[str], where: Mapping[str, Constant]) -> bool:
        """Whether an index on these columns, of rows like these, does as well."""
        wanted = dict(self.where)
        leads = tuple(columns)[: len(self.columns)] == self.columns
        return leads and all(
            name in wanted and wanted[name] == value and type(wanted[name]) is type(value)
            for name, value in where.items()
        )


@dataclass(frozen=True)
class Condition:
    """One part of a condition that the server printed: a column compared with a constant.

    `is_exact` says that `constant` is the constant, and not just one of a type unknown here;
    `is_cast`, that the column is compared as text.
    """

    column: str
    operator: str
    constant: Constant = None
    is_exact: bool = False
    is_cast: bool = False


def conditions(text: str, alias: str | None = None) -> list[Condition]:
    """The parts, all of which must hold, that compare a column of `alias` with a constant."""
    found = (_compared(part, alias) for part in _parts(list(tokens(text))))
    return [one for one in found if one is not None]


def joined_columns(text: str, alias: str) -> list[str]:
    """The columns of `alias` that a join condition holds against columns of others."""
    found: list[str] = []
    for part in _parts(list(tokens(text))):
        signs = [n for n, token in enumerate(part) if token.value == "="]
        for side in (part[: signs[0]], part[signs[0] + 1 :]) if len(signs) == 1 else ():
            column, rest = _column(_bare(side), alias)
            found += [column] if column and not rest else []
    return found


def predicate(text: str) -> dict[str, Constant] | None:
    """A partial index's predicate, as the server prints it, if it is made of equalities only."""
    parts = _parts(list(tokens(text)))
    compared = [_compared(part, None) for part in parts]
    exact = [one for one in compared if one and one.operator == "=" and one.is_exact]
    return {one.column: one.constant for one in exact} if len(exact) == len(parts) else None


def _parts(found: list[Token]) -> list[list[Token]]:
    """Split at every AND that is not inside something else."""
    found = _bare(found)
    depth, start, parts = 0, 0, []
    for index, token in enumerate(found):
        depth += _is(token, "(", "[") - _is(token, ")", "]")
        if depth == 0 and _is(token, "and"):
            parts.append(found[start:index])
            start = index + 1
    if not parts:
        return [found]
    return [inner for part in [*parts, found[start:]] for inner in _parts(part)]


def _is(token: Token, *values: str) -> bool:
    return token.kind in ("word", "symbol") and token.value in values


def _bare(found: list[Token]) -> list[Token]:
    """Without the parentheses around all of it."""
    while found and _is(found[0], "(") and _closing(found) == len(found) - 1:
        found = found[1:-1]
    return found


def _closing(found: list[Token]) -> int:
    """Where the parenthesis that opens first is closed."""
    depth = 0
    for index, token in enumerate(found):
        depth += _is(token, "(") - _is(token, ")")
        if depth == 0:
            return index
    return len(found)


def _compared(part: list[Token], alias: str | None) -> Condition | None:
    is_denied = bool(part) and _is(part[0], "not")
    column, rest = _column(_bare(part[1:] if is_denied else part), alias)
    if column is None:
        return None
    is_cast = bool(rest) and _is(rest[0], "::")
    words = [token.value for token in _without_cast(rest)]
    if not words:
        return Condition(column, "=", not is_denied, is_exact=True)
    if is_denied:
        return None
    if words == ["is", "null"]:
        return Condition(column, "=", None, is_exact=True)
    return _operation(column, _without_cast(rest), is_cast=is_cast)


def _operation(column: str, found: list[Token], *, is_cast: bool) -> Condition | None:
    signs = [token.value for token in found[:2] if _is(token, "<", ">", "=")]
    operator, right = "".join(signs), _bare(found[len(signs) :])
    if operator not in ("=", "<", "<=", ">", ">=") or not _is_constant(right):
        return None
    exact = list(_exact(right))
    constant = exact[0] if exact else None
    return Condition(column, operator, constant, is_exact=bool(exact), is_cast=is_cast)


def _column(found: list[Token], alias: str | None) -> tuple[str | None, list[Token]]:
    """The column at the start, of `alias` if one is given, and what comes behind it."""
    if found and _is(found[0], "("):
        end = _closing(found)
        column, inside = _column(_bare(found[1:end]), alias)
        return (None, []) if inside else (column, found[end + 1 :])
    if alias is not None:
        if len(found) < 3 or _name(found[0]) != alias or not _is(found[1], "."):
            return None, []
        found = found[2:]
    if not found or found[0].kind not in ("word", "name"):
        return None, []
    return _name(found[0]), found[1:]


def _without_cast(found: list[Token]) -> list[Token]:
    """Without a cast to text at the start, which an index on a varchar serves as well."""
    is_text = len(found) > 1 and _is(found[0], "::") and _is(found[1], "text")
    return found[2:] if is_text else found


def _is_constant(found: list[Token]) -> bool:
    """Nothing in it depends on a row or on another part of the plan."""
    if not found or any(_is(token, "$", *_NOT_CONSTANT) for token in found):
        return False
    return not any(one.kind in ("word", "name") and _is(two, ".") for one, two in pairwise(found))


def _exact(found: list[Token]) -> Iterator[Constant]:
    """The constant, if it is a whole number, a text or a boolean."""
    first, rest = found[0], found[1:]
    if first.kind == "number" and not rest and first.value.isdigit():
        yield int(first.value)
    elif first.kind == "text" and len(rest) > 1 and _is(rest[1], *_TEXT_TYPES):
        yield first.value.replace("''", "'")
    elif _is(first, "true", "false") and not rest:
        yield first.value == "true"


def _name(token: Token) -> str:
    return token.value[1:-1].replace('""', '"') if token.kind == "name" else token.value


def _plain(name: str) -> str:
    """Quoted only where it may matter: these lines are read by people."""
    is_plain = re.fullmatch(r"[a-z_][a-z0-9_]*", name) and name not in _RESERVED
    return name if is_plain else quoted(name)


def _condition(column: str, value: Constant) -> str:
    name = _plain(column)
    if isinstance(value, bool):
        return name if value else f"not {name}"
    if value is None:
        return f"{name} is null"
    return f"{name} = {value if isinstance(value, int) else literal(value)}"


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
