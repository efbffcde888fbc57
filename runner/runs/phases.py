"""`run()`: the phases of a run, in order."""

from __future__ import annotations

import time
from contextlib import nullcontext
from datetime import UTC, datetime

from runner.clock import Deadline, file_timestamp, seconds_of
from runner.database.retries import retried
from runner.database.session import Session, open_session
from runner.database.snapshot import Reach
from runner.errors import AudienceError, LockedError, UsageError
from runner.files.claim import Claim
from runner.files.document import CsvFile, DataTestResult, FunnelCount, RunResult
from runner.files.history import newest_runs
from runner.project.audience import FunnelStep, Output
from runner.project.load import load_project
from runner.project.nodes import Project
from runner.project.secrets import hide
from runner.project.targets import Target
from runner.runs.data_tests import by_model, columns_result, evaluate, refuse_failed
from runner.runs.export import stream_into, stream_to
from runner.runs.legacy import run_legacy, without_models
from runner.runs.locks import Contender, claimed_alone, lock_database
from runner.runs.log import tell_outcome
from runner.runs.publish import publish, recorded
from runner.runs.settings import Settings
from runner.runs.signals import uninterrupted
from runner.runs.size_guards import judge, refuse
from runner.runs.state import Progress
from runner.sql.compile import (
    PREPARATION,
    READ_ONLY_PREPARATION,
    SNAPSHOT,
    WITHOUT_STATISTICS,
    CompiledAudience,
    compile_audience,
)
from runner.sql.data_tests import DataTest, across_files, tests_of
from runner.sql.source_map import MappedSql


def run(settings: Settings, *, reach: Reach = nullcontext) -> RunResult:
    """Make the files of one audience, from one snapshot, and publish them.

    `reach` starts the demo's server if the target is the demo.

    Raises `UsageError` for what is wrong with how it was called, nearly always before anything is
    connected to, and `LockedError` if another run of the audience is at work. Other failures are
    told by the result: `failed` means that nothing was published, `partial` that some types were.
    """
    hide(settings.target)
    clock = time.monotonic()
    started_at = datetime.now(UTC)
    project = load_project(settings.project_dir)

    compiled = _compiled(settings, project, started_at)
    progress = Progress(settings, compiled)
    progress.begin(compiled, started_at)
    contender = _contender(progress, clock)
    try:
        claiming = claimed_alone(settings, compiled.audience, started_at, contender)
        # a dry run leaves no trace
        with nullcontext() if settings.is_dry_run else claiming as claim:
            if claim is not None and claim.started_at != started_at:  # that second was taken
                started_at = claim.started_at
                compiled = _compiled(settings, project, started_at)
            progress.begin(compiled, started_at)
            with recorded(progress, claim, clock):
                progress.tell_start()
                has_activity = _make(progress, claim, contender, reach)
                contender.deadline.check("about to publish")
                if has_activity and claim is not None:
                    with uninterrupted():
                        publish(progress, claim, clock)
            result = progress.result(clock, has_activity=has_activity)
    except (UsageError, LockedError):
        raise
    except (KeyboardInterrupt, SystemExit) as problem:
        if not progress.is_published:
            problem.add_note("nothing was published")
        raise
    except AudienceError as problem:
        result = progress.failed(clock, problem)
    tell_outcome(result)
    return result


def _compiled(settings: Settings, project: Project, started_at: datetime) -> CompiledAudience:
    """All that can be known and refused before anything is connected to."""
    as_of = settings.as_of or started_at
    if settings.engine == "v1":
        return without_models(settings, project, as_of)
    compiled = compile_audience(project, settings.audience, settings.parameters, as_of)
    tests_of(compiled)
    return compiled


def _contender(progress: Progress, clock: float) -> Contender:
    settings = progress.settings
    seconds = settings.deadline_seconds or seconds_of(settings.target.deadline)
    return Contender(
        audience=progress.compiled.audience.name,
        run_id=progress.run.run_id,
        deadline=Deadline(seconds, clock + seconds),
        patience=Deadline.after(settings.wait_seconds),
        tell=progress.tell_waiting,
    )


def _make(progress: Progress, claim: Claim | None, contender: Contender, reach: Reach) -> bool:
    """Stage the files, by the engine that was chosen. False if there was nothing to put in."""
    if claim is not None and progress.settings.engine == "v1":
        progress.restart()
        run_legacy(progress, claim, contender.deadline)
        return True
    with reach(progress.settings.target) as target:
        return retried(
            lambda: _attempt(progress, target, claim, contender),
            contender.deadline,
            progress.tell_retry,
        )


def _attempt(progress: Progress, target: Target, claim: Claim | None, contender: Contender) -> bool:
    """The run from its beginning up to publication. False if there was no activity."""
    progress.restart()
    name = contender.application_name
    with open_session(target, deadline=contender.deadline, application_name=name) as session:
        if claim is not None:
            claim.discard()  # what a former attempt has staged
            lock_database(session, target.profile, contender)
        return _read(progress, session, claim)


def _read(progress: Progress, session: Session, claim: Claim | None) -> bool:
    """All that is asked of the database. False if there was no activity to read."""
    progress.use(session.server())
    if not progress.compiled.can_build:
        session.execute(WITHOUT_STATISTICS)
    _prepare(progress, session)
    with session.transaction(SNAPSHOT, end="rollback"):
        if not _build(progress, session):
            return False
        _count(progress, session)
        _test(progress, session)
        for output in progress.outputs:
            with progress.attempt(frozenset({output.audience_type}), session):
                _export(progress, session, claim, output)
    return True


def _prepare(progress: Progress, session: Session) -> None:
    """Empty temp tables and probes: the server checks every name and type, and reads nothing."""
    compiled = progress.compiled
    begin = PREPARATION if compiled.can_build else READ_ONLY_PREPARATION
    with progress.step("prepare", "prepare"), session.transaction(begin):
        for name in compiled.tables:
            where = compiled.project.models[name].location
            if progress.needs(name):
                with progress.attempt(progress.types_of(name), session):
                    session.execute(compiled.create(name), where)
        # a probe runs the model's functions, if only to plan: they may not write either
        session.execute("set transaction read only")
        for output in progress.outputs:
            where = compiled.output_location(output)
            with progress.attempt(frozenset({output.audience_type}), session):
                session.execute(compiled.probe(output), where)
                _settle(progress, [columns_result(session, compiled, output)])


def _build(progress: Progress, session: Session) -> bool:
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


def _rows_of(progress: Progress, session: Session, model: str) -> int:
    step = FunnelStep(label=model, model=model)
    with progress.step(model, "count") as rows:
        where = progress.compiled.project.models[model].location
        rows[0] = session.rows(progress.compiled.count(step), where)[0][1]
    return rows[0] or 0


def _count(progress: Progress, session: Session) -> None:
    """The funnel. A count falls with the types whose model it counts."""
    compiled = progress.compiled
    for index, step in enumerate(compiled.audience.funnel):
        where = compiled.project.audience_location(compiled.audience, "funnel", index)
        if not progress.needs(step.model):
            continue
        with (
            progress.attempt(progress.types_of(step.model), session),
            progress.step(step.label, "count") as rows,
        ):
            counts = session.rows(compiled.count(step), where)
            by_kind = {str(kind): count for kind, count in counts if kind is not None}
            total = rows[0] = sum(count for _, count in counts)
            progress.funnel.append(FunnelCount(step.label, total, by_kind))


def _test(progress: Progress, session: Session) -> None:
    """The data tests, on the very rows that will be exported. Types fall with a test of theirs."""
    compiled = progress.compiled
    name = across_files(compiled, progress.outputs).name
    gating = [test for test in tests_of(compiled) if test.gates and test.name != name]
    for group in by_model(gating):
        _test_together(progress, session, group)
    if len(progress.outputs) > 1:
        _test_together(progress, session, [across_files(compiled, progress.outputs)])


def _test_together(progress: Progress, session: Session, tests: list[DataTest]) -> None:
    types = frozenset(one for test in tests for one in test.types)
    if not types & set(progress.alive):
        return
    label = f"tests of {tests[0].tested}" if tests[0].tested else f"test {tests[0].name}"
    with progress.attempt(types, session), progress.step(label, "tests"):
        _settle(progress, evaluate(session, progress.compiled, tests))


def _settle(progress: Progress, results: list[DataTestResult]) -> None:
    progress.tested(results)
    refuse_failed(progress.compiled, results)


def _export(progress: Progress, session: Session, claim: Claim | None, output: Output) -> None:
    """Production file, if its size is let through, then test file, of one audience type."""
    compiled = progress.compiled
    select = compiled.export_select(output)
    production = _stream(progress, session, claim, output, select, is_test=False)
    folder = claim.folder if claim else progress.settings.output_dir
    history = newest_runs(folder, compiled.audience.name)
    judgement = judge(output, production.row_count, progress.run, history)
    progress.sized(judgement)
    refuse(judgement, compiled.output_location(output))
    test_row = compiled.test_row_select(output, progress.started_at)
    test = _stream(progress, session, claim, output, test_row, is_test=True)
    progress.files.extend([production, test])


def _stream(
    progress: Progress,
    session: Session,
    claim: Claim | None,
    output: Output,
    select: MappedSql,
    *,
    is_test: bool,
) -> CsvFile:
    name = output.file_name(file_timestamp(progress.started_at), is_test=is_test)
    crlf = progress.compiled.audience.line_ending == "crlf"
    copy = progress.compiled.copy_out(select)
    where = progress.compiled.output_location(output)
    with (
        progress.step(name, "test_file" if is_test else "file") as rows,
        session.copy(copy, where) as blocks,
    ):
        streamed = (
            stream_into(claim, name, blocks, crlf=crlf)
            if claim
            else stream_to(blocks, None, crlf=crlf)
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
