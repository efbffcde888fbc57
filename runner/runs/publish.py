"""A run's manifest from `running` to its end, and the moment in which its files get their names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from runner.errors import AudienceError, ExportError
from runner.files.claim import Claim
from runner.files.clean import remove_old
from runner.files.document import RunResult
from runner.runs.log import tell_removed, tell_trouble
from runner.runs.signals import held_off, interruption, uninterrupted
from runner.runs.state import Progress


@contextmanager
def recorded(progress: Progress, claim: Claim | None, clock: float) -> Iterator[None]:
    """The manifest says `running` from here on, and how the run ended whatever happens inside.

    A dry run has no claim, and leaves no trace. Raises what is raised inside, and `ExportError`
    if not even the first manifest can be written.
    """
    if claim is None:
        yield
        return
    try:
        with held_off():
            claim.announce(progress.running().as_json(relative=True))
            progress.manifest = claim.manifest_path
        yield
        if not progress.is_published:
            claim.record(progress.result(clock, has_activity=False).as_json(relative=True))
    except BaseException as problem:
        # once it is published, its manifest and pointer say so, whatever comes after
        if progress.manifest is not None and not progress.is_published:
            with uninterrupted():
                _record_end(claim, _ended(progress, clock, problem))
        raise


def _ended(progress: Progress, clock: float, problem: BaseException) -> RunResult:
    if isinstance(problem, AudienceError):
        return progress.failed(clock, problem)
    signal = interruption(problem)
    if signal is None:
        return progress.failed(clock, AudienceError(f"a defect: {type(problem).__name__}"))
    message = f"interrupted by {signal}; nothing was published"
    return replace(progress.failed(clock, AudienceError(message)), status="interrupted")


def _record_end(claim: Claim, result: RunResult) -> None:
    try:
        claim.discard()
        claim.record(result.as_json(relative=True))
    except ExportError as problem:
        tell_trouble("the manifest does not tell how the run ended", problem)


def publish(progress: Progress, claim: Claim, clock: float) -> None:
    """Final names type by type, manifest, pointer; on any other end, no final name remains.

    The manifest lists every file before the first has its name: whenever the run is killed, a file
    that is there is listed.
    """
    names = [file.path.name for file in progress.files]
    announced = replace(progress.result(clock, has_activity=True), status="publishing")
    try:
        claim.record(announced.as_json(relative=True))
        for output in progress.outputs:
            with progress.attempt(frozenset({output.audience_type})):
                claim.link([path.name for path in progress.paths_of(output)])
        claim.folder.flush()
        document = progress.result(clock, has_activity=True).as_json(relative=True)
        claim.conclude(document)
    except BaseException:
        claim.withdraw(names)
        raise
    progress.is_published = True
    _remove_old(progress, claim)


def _remove_old(progress: Progress, claim: Claim) -> None:
    keep = progress.settings.keep_runs
    if keep is None:
        return
    try:
        removed = remove_old(claim.folder, keep_runs=keep, audience=claim.audience)
    except AudienceError as problem:
        tell_trouble("old runs could not be removed", problem)
    else:
        tell_removed([name for one in removed for name in one.names])
