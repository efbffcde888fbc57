"""`run()`: the phases of a run, in order. The only module that logs progress."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from runner import __version__
from runner.compiler import (
    PREPARATION,
    READ_ONLY_PREPARATION,
    SNAPSHOT,
    WITHOUT_STATISTICS,
    CompiledAudience,
    compile_audience,
    inlined,
)
from runner.database import Server, Session, open_session
from runner.errors import AudienceError, ConnectionLost, UsageError
from runner.export import Claim, claimed, publish, publish_manifest, stream_to, withdraw
from runner.parameters import instant
from runner.profiles import Target
from runner.project import load_project
from runner.properties import FunnelStep, Output
from runner.results import CsvFile, FunnelCount, RunIdentity, RunResult, Status, Step, TypeFailure
from runner.settings import Settings
from runner.templating import MappedSql

log = logging.getLogger("runner.run")

StepKind = Literal["prepare", "table", "count", "file", "test_file"]


Reach = Callable[[Target], AbstractContextManager[Target]]
"""Makes a target one that can be connected to, for as long as a run takes."""


def run(settings: Settings, *, reach: Reach = nullcontext) -> RunResult:
    """Make the files of one audience, from one snapshot, and publish them.

    `reach` starts the demo's server if the target is the demo.

    Raises `UsageError` for what is wrong before anything is connected to. Later failures are
    told by the result: `failed` means that nothing was published, `partial` that some types were.
    """
    clock = time.monotonic()
    started_at = datetime.now(UTC)
    project = load_project(settings.project_dir)
    compiled = compile_audience(
        project, settings.audience, settings.parameters, settings.as_of or started_at
    )
    progress = _Progress(settings, compiled)
    try:
        with _claim(settings, compiled, started_at) as claim:
            if claim is not None and claim.started_at != started_at and settings.as_of is None:
                compiled = compile_audience(
                    project, settings.audience, settings.parameters, claim.started_at
                )
            started_at = claim.started_at if claim else started_at
            progress.begin(compiled, started_at)
            with reach(settings.target) as target, open_session(target) as session:
                has_activity = _read(progress, session, claim)
            if has_activity and claim is not None:
                _publish(progress, claim, clock)
            result = progress.result(clock, has_activity=has_activity)
    except UsageError:
        raise
    except AudienceError as problem:
        result = progress.failed(clock, problem)
    _tell_outcome(result)
    return result


@contextmanager
def _claim(
    settings: Settings, compiled: CompiledAudience, started_at: datetime
) -> Iterator[Claim | None]:
    """The run's second in the output folder; None for a dry run, which leaves no trace."""
    with (
        nullcontext()
        if settings.is_dry_run
        else claimed(settings.output_dir, compiled.audience, started_at)
    ) as claim:
        yield claim


@dataclass
class _Progress:
    """What a run has done so far. `alive` are the audience types that can still be published."""

    settings: Settings
    compiled: CompiledAudience
    identity: RunIdentity | None = None
    working_tables: str | None = None
    alive: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    funnel: list[FunnelCount] = field(default_factory=list)
    files: list[CsvFile] = field(default_factory=list)
    failures: list[TypeFailure] = field(default_factory=list)
    manifest: Path | None = None

    def begin(self, compiled: CompiledAudience, started_at: datetime) -> None:
        self.compiled = compiled
        self.alive = [output.audience_type for output in compiled.audience.outputs]
        self.identity = RunIdentity(
            run_id=str(uuid.uuid4()),
            audience=compiled.audience.name,
            target=self.settings.target.name,
            started_at=started_at,
            parameters=compiled.parameters,
            project_version=__version__,
            models_hash=compiled.project.models_hash,
            automation_id=self.settings.automation_id,
            is_dry_run=self.settings.is_dry_run,
        )
        _tell("run_started", _opening(self.identity), **self.identity.as_json())

    def use(self, server: Server) -> None:
        """Settle how models are held on this server."""
        if not server.can_build:
            self.compiled = inlined(self.compiled)
        self.working_tables = server.working_tables
        _tell(
            "connected",
            f"PostgreSQL {server.version}, database {server.database}, user {server.user}; "
            f"models: {server.working_tables}",
            server_version=server.version,
            working_tables=server.working_tables,
        )

    @property
    def outputs(self) -> list[Output]:
        wanted = self.compiled.audience.outputs
        return [output for output in wanted if output.audience_type in self.alive]

    def types_of(self, model: str) -> frozenset[str]:
        """The types that fall with a model; all of them if it only counts."""
        return self.compiled.types_needing(model) or frozenset(self.alive)

    def needs(self, model: str) -> bool:
        return bool(self.types_of(model) & set(self.alive))

    @contextmanager
    def attempt(self, types: frozenset[str], session: Session | None = None) -> Iterator[None]:
        """If what happens inside fails, these types fall; with the last of them, the run."""
        try:
            with session.savepoint() if session else nullcontext():
                yield
        except ConnectionLost:
            raise
        except AudienceError as problem:
            if self.settings.is_all_or_nothing or not set(self.alive) - types:
                raise
            self._drop(types, problem)

    def _drop(self, types: frozenset[str], problem: AudienceError) -> None:
        fallen = [one for one in self.alive if one in types]
        self.alive = [one for one in self.alive if one not in types]
        self.files = [file for file in self.files if file.audience_type in self.alive]
        for one in fallen:
            self.failures.append(TypeFailure(one, str(problem)))
            _tell(
                "type_failed",
                f"{one} is not published: {problem}",
                level=logging.ERROR,
                audience_type=one,
                error=str(problem),
            )

    @contextmanager
    def step(self, name: str, kind: StepKind) -> Iterator[list[int | None]]:
        """Times a step; what happens inside puts its rows into the list it is given."""
        _tell("step_started", f"{name} ...", level=logging.DEBUG, step=name, kind=kind)
        clock = time.monotonic()
        rows: list[int | None] = [None]
        yield rows
        done = Step(name, kind, rows[0], round((time.monotonic() - clock) * 1000))
        self.steps.append(done)
        counted = "" if done.rows is None else f"{done.rows:,} rows, "
        _tell(
            "step",
            f"{name}: {counted}{done.milliseconds / 1000:.3f} s",
            step=name,
            kind=kind,
            rows=done.rows,
            ms=done.milliseconds,
        )

    def result(self, clock: float, *, has_activity: bool) -> RunResult:
        status: Status = "partial" if self.failures else "success"
        return self._result(clock, status if has_activity else "no_activity")

    def failed(self, clock: float, problem: AudienceError) -> RunResult:
        message = "; ".join([*(one.message for one in self.failures), str(problem)])
        return replace(self._result(clock, "failed"), csv_files=(), rows_by_type={}, error=message)

    def _result(self, clock: float, status: Status) -> RunResult:
        production = [file for file in self.files if not file.is_test_file]
        return RunResult(
            status=status,
            identity=self.identity,
            csv_files=() if self.settings.is_dry_run else tuple(self.files),
            rows_by_type={file.audience_type: file.row_count for file in production},
            execution_time_ms=round((time.monotonic() - clock) * 1000),
            error="; ".join(one.message for one in self.failures) or None,
            failures=tuple(self.failures),
            steps=tuple(self.steps),
            funnel=tuple(self.funnel),
            working_tables=self.working_tables,
            manifest=self.manifest,
        )


def _read(progress: _Progress, session: Session, claim: Claim | None) -> bool:
    """All that is asked of the database. False if there was no activity to read."""
    progress.use(session.server())
    if not progress.compiled.can_build:
        session.execute(WITHOUT_STATISTICS)
    _prepare(progress, session)
    with session.transaction(SNAPSHOT):
        if not _build(progress, session):
            return False
        _count(progress, session)
        for output in progress.outputs:
            with progress.attempt(frozenset({output.audience_type}), session):
                _export(progress, session, claim, output)
    return True


def _prepare(progress: _Progress, session: Session) -> None:
    """Empty temp tables and probes: the server checks every name and type, and reads nothing."""
    compiled = progress.compiled
    begin = PREPARATION if compiled.can_build else READ_ONLY_PREPARATION
    with progress.step("prepare", "prepare"), session.transaction(begin):
        for name in compiled.tables:
            where = compiled.project.models[name].location
            if progress.needs(name):
                with progress.attempt(progress.types_of(name), session):
                    session.execute(compiled.create(name), where)
        for output in progress.outputs:
            where = compiled.output_location(output)
            with progress.attempt(frozenset({output.audience_type}), session):
                session.execute(compiled.probe(output), where)


def _build(progress: _Progress, session: Session) -> bool:
    """Fill the working tables. False, and no further, if there is no activity."""
    compiled = progress.compiled
    activity = compiled.audience.activity_model
    if activity not in compiled.tables and _rows_of(progress, session, activity) == 0:
        return False
    for name in compiled.tables:
        where = compiled.project.models[name].location
        if not progress.needs(name):
            continue
        with progress.attempt(progress.types_of(name), session):
            with progress.step(name, "table") as rows:
                counts = [session.execute(one, where) for one in compiled.fill(name)]
                rows[0] = counts[0]
            if name == activity and rows[0] == 0:
                return False
    return True


def _rows_of(progress: _Progress, session: Session, model: str) -> int:
    step = FunnelStep(label=model, model=model)
    with progress.step(model, "count") as rows:
        where = progress.compiled.project.models[model].location
        rows[0] = session.rows(progress.compiled.count(step), where)[0][1]
    return rows[0] or 0


def _count(progress: _Progress, session: Session) -> None:
    """The funnel. Its models are shared, so an error here is the run's."""
    compiled = progress.compiled
    for step in compiled.audience.funnel:
        where = compiled.project.models[step.model].location
        with progress.step(step.label, "count") as rows:
            counts = session.rows(compiled.count(step), where)
            by_kind = {str(kind): count for kind, count in counts if kind is not None}
            total = rows[0] = sum(count for _, count in counts)
        progress.funnel.append(FunnelCount(step.label, total, by_kind))


def _export(progress: _Progress, session: Session, claim: Claim | None, output: Output) -> None:
    """Production file, then test file, of one audience type."""
    compiled = progress.compiled
    start = progress.identity.started_at if progress.identity else datetime.now(UTC)
    selects = {False: compiled.export_select(output), True: compiled.test_row_select(output, start)}
    files = [
        _stream(progress, session, claim, output, select, is_test=is_test)
        for is_test, select in selects.items()
    ]
    progress.files.extend(files)


def _stream(
    progress: _Progress,
    session: Session,
    claim: Claim | None,
    output: Output,
    select: MappedSql,
    *,
    is_test: bool,
) -> CsvFile:
    name = claim.file_name(output, is_test=is_test) if claim else f"{output.file}.csv"
    crlf = progress.compiled.audience.line_ending == "crlf"
    copy = progress.compiled.copy_out(select)
    where = progress.compiled.output_location(output)
    with (
        progress.step(name, "test_file" if is_test else "file") as rows,
        session.copy(copy, where) as blocks,
    ):
        streamed = (
            claim.write(name, blocks, crlf=crlf) if claim else stream_to(blocks, None, crlf=crlf)
        )
        rows[0] = streamed.rows
    return CsvFile(
        path=progress.settings.output_dir / name,
        row_count=streamed.rows,
        is_test_file=is_test,
        audience_type=output.audience_type,
        size_bytes=streamed.size_bytes,
        sha256=streamed.sha256,
    )


def _publish(progress: _Progress, claim: Claim, clock: float) -> None:
    """Final names, type by type, then the manifest; on any other end, no final name remains."""
    published: list[Path] = []
    try:
        for output in progress.outputs:
            with progress.attempt(frozenset({output.audience_type})):
                files = [
                    file for file in progress.files if file.audience_type == output.audience_type
                ]
                publish(claim, files)
                published += [file.path for file in files]
        path = claim.manifest_path(progress.compiled.audience)
        result = progress.result(clock, has_activity=True)
        publish_manifest(claim, path, result.as_json(relative=True))
        progress.manifest = path
    except BaseException:
        withdraw(published)
        raise


def _opening(identity: RunIdentity) -> str:
    window = identity.parameters.window
    span = f", window from {instant(window.start)} to {instant(window.end)}" if window else ""
    return f"{identity.audience} on target {identity.target}, run {identity.run_id}{span}"


def _tell_outcome(result: RunResult) -> None:
    level = logging.ERROR if result.status == "failed" else logging.INFO
    message = f"{result.status}: {result.audience_size:,} rows in {result.execution_time_ms} ms"
    if result.error:
        message = f"{result.status}: {result.error}"
    _tell(
        "run_ended",
        message,
        level=level,
        status=result.status,
        audience_size=result.audience_size,
        ms=result.execution_time_ms,
        error=result.error,
    )


def _tell(event: str, message: str, *, level: int = logging.INFO, **fields: object) -> None:
    """One event: a message for people, fields for machines. Never row data, never a secret."""
    log.log(level, message, extra={"event": event, "fields": fields})
