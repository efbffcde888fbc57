"""Where a run's files go: published under a claim on the output folder, or counted only.

Both kinds have the same methods, so that a run does not ask which one it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from runner.database.session import Buffer, Session
from runner.errors import AudienceError, ExportError
from runner.files.claim import Claim
from runner.files.clean import remove_old
from runner.files.document import RunResult
from runner.files.history import newest_runs
from runner.files.manifest import PastRun
from runner.project.audience import Audience
from runner.runs import log
from runner.runs.export import Streamed, stream_into, stream_to
from runner.runs.locks import Contender, claimed_alone, lock_database
from runner.runs.settings import Settings
from runner.runs.signals import held_off, interruption, uninterrupted
from runner.runs.state import RunState


class Destination(Protocol):
    """Where the files of one run go."""

    @property
    def started_at(self) -> datetime:
        """The run's start: the time in the names of its files."""

    def recorded(self, state: RunState) -> AbstractContextManager[None]:
        """Whatever happens inside, the run's end is on record afterwards."""

    def begin_attempt(self, session: Session, contender: Contender) -> None:
        """Drop what a former attempt left, and take the database's lock."""

    def store(self, name: str, blocks: Iterable[Buffer], *, crlf: bool) -> Streamed:
        """Take a file's bytes from a stream."""

    def past_runs(self, audience: str) -> Iterator[PastRun]:
        """The runs of an audience in the same folder, newest first."""

    def publish(self, state: RunState) -> None:
        """Give the files of all types that are still alive their final names."""


@dataclass(frozen=True)
class DryRun:
    """Counts what would be written, locks nothing and leaves no trace."""

    started_at: datetime
    folder: Path

    def recorded(self, _state: RunState) -> AbstractContextManager[None]:
        return nullcontext()

    def begin_attempt(self, _session: Session, _contender: Contender) -> None:
        pass

    def store(self, _name: str, blocks: Iterable[Buffer], *, crlf: bool) -> Streamed:
        return stream_to(blocks, None, crlf=crlf)

    def past_runs(self, audience: str) -> Iterator[PastRun]:
        return newest_runs(self.folder, audience)

    def publish(self, _state: RunState) -> None:
        pass


@dataclass(frozen=True)
class Publication:
    """A run's files from staging to their final names, and its manifest all the way."""

    claim: Claim

    @property
    def started_at(self) -> datetime:
        return self.claim.started_at

    @contextmanager
    def recorded(self, state: RunState) -> Iterator[None]:
        """The manifest says `running` from here on, and how the run ended whatever happens inside.

        Raises what is raised inside, and `ExportError` if not even the first manifest can be
        written.
        """
        try:
            with held_off():
                self.claim.announce(state.running())
                state.manifest = self.claim.manifest_path
            yield
            if not state.is_published:
                self.claim.record(state.result())
        except BaseException as problem:
            # once it is published, its manifest and pointer say so, whatever comes after
            if state.manifest is not None and not state.is_published:
                with uninterrupted():
                    self._record_end(_ended(state, problem))
            raise

    def _record_end(self, result: RunResult) -> None:
        try:
            self.claim.discard()
            self.claim.record(result)
        except ExportError as problem:
            log.trouble("the manifest does not contain how the run ended", problem)

    def begin_attempt(self, session: Session, contender: Contender) -> None:
        self.claim.discard()
        lock_database(session, contender)

    def store(self, name: str, blocks: Iterable[Buffer], *, crlf: bool) -> Streamed:
        return stream_into(self.claim, name, blocks, crlf=crlf)

    def past_runs(self, audience: str) -> Iterator[PastRun]:
        return newest_runs(self.claim.folder, audience)

    def publish(self, state: RunState) -> None:
        """Final names type by type, manifest, pointer; on any other end, no final name remains.

        The manifest lists every file before the first has its name: whenever the run is killed, a
        file that is there is listed. Without activity nothing is published.
        """
        if not state.has_activity:
            return
        with uninterrupted():
            self._publish(state)
            state.is_published = True
            state.when_published()
            self._remove_old(state.settings.keep_runs)

    def _publish(self, state: RunState) -> None:
        names = [file.path.name for file in state.files]
        announced = state.result().with_status("publishing")
        try:
            self.claim.record(announced)
            for output in state.outputs:
                with state.guarded(frozenset({output.audience_type})):
                    self.claim.link(state.files_of(output))
            self.claim.folder.flush()
            self.claim.conclude(state.result())
        except BaseException:
            self.claim.withdraw(names)
            raise

    def _remove_old(self, keep_runs: int | None) -> None:
        if keep_runs is None:
            return
        try:
            removed = remove_old(
                self.claim.folder, keep_runs=keep_runs, audience=self.claim.audience
            )
        except AudienceError as problem:
            log.trouble("old runs could not be removed", problem)
        else:
            log.old_runs_removed([name for run in removed for name in run.names])


@contextmanager
def destination(
    settings: Settings, audience: Audience, started_at: datetime, contender: Contender
) -> Iterator[Destination]:
    """A claim on the output folder, held as long as the run lasts; for a dry run, none.

    Raises `LockedError` if another run holds it, `ExportError` if the folder cannot be written to.
    """
    if settings.is_dry_run:
        yield DryRun(started_at, settings.output_dir)
        return
    with claimed_alone(settings, audience, started_at, contender) as claim:
        yield Publication(claim)


def _ended(state: RunState, problem: BaseException) -> RunResult:
    if isinstance(problem, AudienceError):
        return state.failed(problem)
    signal = interruption(problem)
    if signal is None:
        return state.failed(AudienceError(f"a defect: {type(problem).__name__}"))
    message = f"interrupted by {signal}; nothing was published"
    return state.failed(AudienceError(message)).with_status("interrupted")
