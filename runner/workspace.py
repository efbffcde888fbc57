"""An audience's models made as a run makes them, for commands that look and publish nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from runner.compiler import (
    PREPARATION,
    READ_ONLY_PREPARATION,
    SNAPSHOT,
    WITHOUT_STATISTICS,
    CompiledAudience,
    inlined,
)
from runner.database import Session, open_session
from runner.profiles import Target


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
                for statement in self.compiled.fill(name):
                    self.session.execute(statement, where)
                self.filled.add(name)


@contextmanager
def opened(compiled: CompiledAudience, target: Target) -> Iterator[Workspace]:
    """Connect, make the empty temp tables (none on a standby or without TEMP), begin a snapshot.

    Raises `DatabaseError` at the model's own line, `ConnectionLost` if there is no server. What
    was made goes with the session.
    """
    with open_session(target) as session:
        if not session.server().can_build:
            compiled = inlined(compiled)
            session.execute(WITHOUT_STATISTICS)
        with session.transaction(PREPARATION if compiled.can_build else READ_ONLY_PREPARATION):
            for name in compiled.tables:
                where = compiled.project.models[name].location
                session.execute(compiled.create(name), where)
        with session.transaction(SNAPSHOT, end="rollback"):
            yield Workspace(compiled, session)
