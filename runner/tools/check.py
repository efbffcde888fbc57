"""`check`: can a run work on a target? Each check is ok, or has what to fix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from runner.database.indexes import SMALL_BYTES, Index, indexes_of
from runner.database.session import Server, Session, open_session
from runner.errors import AudienceError, ConnectionLost, DatabaseError
from runner.project.nodes import Project, Source, literal
from runner.project.targets import Target
from runner.sql.compile import compile_audience
from runner.sql.plan import Plan

OLDEST_SERVER = 13
STAGES = ("name resolution", "TCP", "TLS", "authentication", "database")
"""Of the way to a session, in order."""


@dataclass(frozen=True)
class Check:
    """One thing looked at. `fix` says what to do if it is not ok, or only a warning: then a run
    works, but slowly."""

    name: str
    is_ok: bool
    detail: str
    fix: str = ""
    is_warning: bool = False


def check(
    project: Project,
    target: Target,
    audience: str | None = None,
    parameters: Mapping[str, str] | None = None,
) -> list[Check]:
    """The stages of the connection, server, rights, then each source table that an audience reads
    with these parameters. Without an audience: that any reads with its defaults. After a stage that
    fails there is nothing more to look at.

    Raises `UsageError` for an audience that no run could be made of.
    """
    given = parameters or {}
    read = {
        source.relation
        for name in ([audience] if audience else project.audiences)
        for source in _plan(project, name, given if audience else {}).sources
    }
    done: list[Check] = []
    try:
        with open_session(target) as session:
            for check in _reached(session, session.server()):
                done.append(check)
            for source in project.sources.values():
                if source.relation in read:
                    done += _source(session, source)
                elif audience is None:
                    done.append(_unread(source))
    except AudienceError as problem:
        if not done and isinstance(problem, DatabaseError):
            done += _stages_before(problem.stage)
        stage = (problem.stage if isinstance(problem, DatabaseError) else None) or "connection"
        fix = "; ".join(part for part in (problem.looked_at, problem.fix) if part)
        done.append(Check(stage, False, problem.what, fix))
    return done


def _plan(project: Project, audience: str, parameters: Mapping[str, str]) -> Plan:
    now = datetime.now(UTC)
    compiled = compile_audience(project, audience, parameters, now, with_examples=True)
    return Plan(compiled, now)


def _unread(source: Source) -> Check:
    detail = "not looked at, as no audience reads it with its default parameters"
    return Check(f"table {source.schema}.{source.table}", True, detail)


def _stages_before(stage: str | None) -> list[Check]:
    passed = {"permission": STAGES}.get(stage or "", STAGES[: _position(stage)])
    return [Check(one, True, "passed") for one in passed]


def _position(stage: str | None) -> int:
    return STAGES.index(stage) if stage in STAGES else 0


def _reached(session: Session, server: Server) -> Iterator[Check]:
    """What each stage came to, of a session that is there, and what the server is."""
    info, wire = session.driver.info, session.driver.pgconn
    is_socket = info.host.startswith(("/", "@")) or not info.hostaddr
    found = {
        "name resolution": "not needed" if is_socket else f"{info.host} is {info.hostaddr}",
        "TCP": f"socket {info.host}" if is_socket else f"{info.hostaddr} port {info.port}",
        "TLS": "in use" if wire.ssl_in_use else "not in use",
        "authentication": f"user {server.user}",
        "database": server.database,
    }
    for stage in STAGES:
        yield Check(stage, True, found[stage])
    yield _version(server)
    yield Check("kind", True, "standby" if server.is_standby else "primary")
    yield _temp(server)


def _version(server: Server) -> Check:
    major = int(server.version.split(".")[0].split("beta")[0].split("rc")[0].split("devel")[0])
    fix = f"use PostgreSQL {OLDEST_SERVER} or newer"
    return Check("server", major >= OLDEST_SERVER, f"PostgreSQL {server.version}", fix)


def _temp(server: Server) -> Check:
    if server.can_build:
        return Check("temp tables", True, "may be created")
    return Check("temp tables", True, "cannot be created: models will be inlined, which is slower")


def _source(session: Session, source: Source) -> Iterator[Check]:
    table = f"{source.schema}.{source.table}"
    name = f"table {table}"
    where = f"declared in {source.location}"
    try:
        oid = _find(session, source)
        if oid is None:
            yield Check(name, False, "there is no such table", f"correct its name; {where}")
            return
        problems = list(_columns(session, source, oid))
    except ConnectionLost:
        raise
    except DatabaseError as problem:
        yield Check(
            "permission" if problem.sqlstate == "42501" else name, False, problem.what, where
        )
        return
    for kind, detail, fix in problems:
        yield Check(f"{kind} {table}", False, detail, fix)
    if not problems:
        yield Check(name, True, f"{len(source.columns)} columns")
        yield from _indexes(session, source)


def _indexes(session: Session, source: Source) -> Iterator[Check]:
    """The indexes that models rely on. Whoever reads a small table does without them."""
    table = indexes_of(session, source.schema, source.table)
    if table is None:
        return
    for declaration, location in source.indexes:
        index = Index.declared(source, declaration)
        name = f"index {index.definition}"
        if table.serve(index):
            yield Check(name, True, "there is one")
        elif table.size_bytes < SMALL_BYTES:
            yield Check(name, True, "there is none, but the table is small")
        else:
            fix = f"{index.statement} declared in {location}"
            yield Check(name, True, "there is none: runs read the whole table", fix, True)


def _find(session: Session, source: Source) -> int | None:
    rows = session.rows(
        "select pg_class.oid from pg_catalog.pg_class "
        "inner join pg_catalog.pg_namespace on pg_class.relnamespace = pg_namespace.oid "
        f"where nspname = {literal(source.schema)} and relname = {literal(source.table)} "
        "and relkind in ('r', 'p', 'v', 'm', 'f')"
    )
    return rows[0][0] if rows else None


def _columns(session: Session, source: Source, oid: int) -> Iterator[tuple[str, str, str]]:
    """Row security and columns: of what kind it is, what is wrong, and how to fix it.

    Types fit if they are the same, or both texts, or both numbers.
    """
    hides = f"current_setting('row_security') = 'off' and row_security_active({int(oid)}::oid)"
    if session.rows(f"select {hides}")[0][0]:
        yield "permission", "row security would hide rows from this role", "give it BYPASSRLS"
    declared = ", ".join(
        f"({literal(name)}, {literal(data_type or '')})" for name, data_type in source.columns
    )
    rows = session.rows(
        f"""
        select
            declared.name,
            declared.type,
            format_type(found.atttypid, found.atttypmod),
            declared.type = ''
                or base.oid = wanted.oid
                or (base.typcategory = wanted.typcategory and wanted.typcategory in ('S', 'N')),
            has_schema_privilege(pg_class.relnamespace, 'USAGE')
                and has_column_privilege(pg_class.oid, found.attnum, 'SELECT')
        from (values {declared}) as declared (name, type)
        cross join pg_catalog.pg_class
        left join pg_catalog.pg_attribute as found
            on found.attrelid = pg_class.oid and found.attname = declared.name
            and not found.attisdropped
        left join pg_catalog.pg_type as given on given.oid = found.atttypid
        left join pg_catalog.pg_type as base
            on base.oid = coalesce(nullif(given.typbasetype, 0), given.oid)
        left join pg_catalog.pg_type as wanted
            on declared.type <> '' and wanted.oid = to_regtype(nullif(declared.type, ''))
        where pg_class.oid = {int(oid)}
        """
    )
    for name, wanted, found, fits, may_read in rows:
        if found is None:
            yield "column", f"there is no column {name}", f"correct {source.location}"
        elif not fits:
            yield "column", f"column {name} is {found}, not {wanted}", f"correct {source.location}"
        elif not may_read:
            table = f"{source.schema}.{source.table}"
            yield "permission", f"column {name} may not be read", f"grant select on {table}"
