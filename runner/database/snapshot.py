"""An audience's models made as a run makes them, for commands that look and publish nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from runner.database.session import Session, open_session
from runner.project.targets import Target
from runner.sql.compile import (
    PREPARATION,
    READ_ONLY_PREPARATION,
    SNAPSHOT,
    WITHOUT_STATISTICS,
    CompiledAudience,
    inlined,
)

Reach = Callable[[Target], AbstractContextManager[Target]]
"""Makes a target one that can be connected to, for as long as the work takes: the demo starts."""


@dataclass
class Workspace:
    """One session inside a read-only snapshot. Models are filled when they are first needed."""

    compiled: CompiledAudience
    session: Session
    filled: set[str] = field(default_factory=set)

    def fill(self, names: Iterable[str]) -> None:
        """Fill the temp tables that these models need, themselves included, once each.

        Raises `DatabaseError` at the model's own line; the snapshot is then of no more use.
        """
        wanted = {one for name in names for one in self.compiled.graph.upstream(name)}
        for name in self.compiled.tables:
            if name in wanted and name not in self.filled:
                where = self.compiled.project.models[name].location
                self.session.execute(self.compiled.fill(name)[0], where)
                self.follow_up(name)

    def follow_up(self, name: str) -> None:
        """What comes after a table's rows: the planner is told of them where models read it."""
        for statement in self.compiled.fill(name)[1:]:
            self.session.execute(statement, self.compiled.project.models[name].location)
        self.filled.add(name)


@contextmanager
def opened(
    compiled: CompiledAudience, target: Target, models: Iterable[str] | None = None
) -> Iterator[Workspace]:
    """Connect, make the empty temp tables (none on a standby or without TEMP), begin a snapshot.

    With `models`, only the tables that those need: what is wrong elsewhere does not matter then.
    Raises `DatabaseError` at the model's own line, `ConnectionLost` if there is no server. What
    was made goes with the session.
    """
    with open_session(target) as session:
        if not session.server().can_build:
            compiled = inlined(compiled)
            session.execute(WITHOUT_STATISTICS)
        roots = compiled.graph.models if models is None else models
        needed = {one for root in roots for one in compiled.graph.upstream(root)}
        with session.transaction(PREPARATION if compiled.can_build else READ_ONLY_PREPARATION):
            for name in (one for one in compiled.tables if one in needed):
                where = compiled.project.models[name].location
                session.execute(compiled.create(name), where)
        with session.transaction(SNAPSHOT, end="rollback"):
            yield Workspace(compiled, session)
