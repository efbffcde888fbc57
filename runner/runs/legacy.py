"""The old engine: an audience's configured command, run in place of its models.

It writes into a folder of its own below the run's staging folder, so what it leaves half done is
never published; what it made is copied, counted and hashed, and published under the names that
any other run gives.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from pydantic import SecretStr

from runner.clock import Deadline, instant
from runner.errors import AudienceError, ExportError, Location, UsageError
from runner.files.claim import Claim
from runner.files.csv import opened
from runner.files.document import CsvFile, LegacyCommand, StepKind
from runner.files.names import NamedCsv, csv_named
from runner.project.audience import Audience, Legacy
from runner.project.audience import Output as OutputFile
from runner.project.nodes import Project
from runner.project.parameters import check_parameters
from runner.project.secrets import hide, redacted
from runner.project.targets import Target
from runner.runs import log
from runner.runs.child import Output, run_child
from runner.runs.export import Streamed, stream_into
from runner.runs.settings import Settings
from runner.runs.state import RunState
from runner.sql.compile import CompiledAudience
from runner.sql.graph import Graph

OUTPUT_FOLDER = "legacy"
SHORTEST_SECRET = 6
"""Shorter values of the environment are words like `true`."""
_SECRET_NAME = re.compile(r"PASS|SECRET|TOKEN|CREDENTIAL|PRIVATE|_KEY$|DSN", re.IGNORECASE)


class LegacyError(AudienceError):
    """The legacy command failed, was stopped, or wrote no file. Nothing was published."""


def without_models(settings: Settings, project: Project, as_of: datetime) -> CompiledAudience:
    """What a run must know of an audience whose models it does not run: they may be broken.

    Raises `UsageError` if the audience has no legacy command, or one that would pass over
    something that was asked for.
    """
    audience = project.audience(settings.audience)
    legacy = audience.legacy
    if legacy is None:
        raise UsageError(
            f"AUTOMATION_ENGINE_VERSION is v1, but audience {audience.name} has no legacy command",
            where=project.audience_location(audience),
            fix="add legacy: with its command there, or set AUTOMATION_ENGINE_VERSION to v2",
        )
    asked = [*settings.parameters, *(["as_of"] if settings.as_of else [])]
    for name in asked:
        if audience.parameter(name) or name == "as_of":
            _check_is_taken(project, audience, legacy, name)
    if settings.accepted_size is not None:
        raise UsageError(
            "size guards do not apply to the old engine",
            fix="run without --accept-size",
        )
    if settings.is_dry_run:
        raise UsageError(
            "the old engine has no dry run",
            fix="run without --dry-run into another --output-dir",
        )
    parameters = check_parameters(project, audience, settings.parameters, as_of)
    return CompiledAudience(project, audience, parameters, Graph({}, ()))


def _check_is_taken(project: Project, audience: Audience, legacy: Legacy, name: str) -> None:
    if name not in legacy.placeholders:
        raise UsageError(
            f"the legacy command does not use {name}, so the value given would be ignored",
            where=project.audience_location(audience, "legacy", "command"),
            fix=f"put {{{name}}} into the command, or do not give {name}",
        )


def run_legacy(state: RunState, claim: Claim, deadline: Deadline) -> None:
    """Run the command, and stage what it made. Raises `LegacyError`, `DeadlinePassed`, and
    `UsageError` if it cannot be started; its process group is gone in any case."""
    legacy = state.compiled.audience.legacy
    assert legacy is not None, "without_models() has seen to it"
    folder = _made_folder(claim)
    hide(_hiding(state.settings.target, os.environ))
    command = _filled(legacy, state, folder)
    shown = tuple(map(redacted, command))
    state.legacy = LegacyCommand(command=shown, exit_code=None)
    output = Output(redacted, log.legacy_output)
    code = state.timed("legacy command", "legacy", lambda: _run(state, command, output, deadline))
    state.legacy = LegacyCommand(command=shown, exit_code=code)
    if code != 0:
        raise LegacyError(
            f"the legacy command {_ending(code)}",
            where=_where(state),
            looked_at=_last_line(output),
            fix="read its output in the log (legacy_output)",
        )
    _collect(state, claim, folder)


def _made_folder(claim: Claim) -> Path:
    folder = claim.staging.path.resolve() / OUTPUT_FOLDER
    try:
        folder.mkdir()
    except OSError as problem:
        what = f"cannot be made: {problem.strerror}"
        raise ExportError(what, where=str(folder)) from None
    return folder


def _filled(legacy: Legacy, state: RunState, folder: Path) -> list[str]:
    parameters = state.compiled.parameters
    values = {name: _as_word(value) for name, value in parameters.values.items()}
    values["as_of"] = instant(parameters.as_of)
    values["output_dir"] = str(folder)
    return [word.format_map(values) for word in legacy.command]


def _as_word(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _run(state: RunState, command: list[str], output: Output, deadline: Deadline) -> int:
    where, legacy = _where(state), state.compiled.audience.legacy
    assert legacy is not None, "without_models() has seen to it"
    seconds = min(legacy.timeout_seconds, deadline.left)
    try:
        root = state.compiled.project.root
        return run_child(command, root, output, timeout_seconds=seconds)
    except TimeoutError:
        deadline.check("running the legacy command")
        raise LegacyError(
            f"the legacy command did not end within {legacy.timeout} and was stopped",
            where=where,
            looked_at=_last_line(output),
            fix="raise timeout there if it needs longer",
        ) from None
    except OSError as problem:
        raise UsageError(
            f"the legacy command cannot be started: {_why_not_started(command[0], problem)}",
            where=where,
            looked_at=f"program {command[0]!r}, started in the project's folder",
            fix="correct the first word of the command",
        ) from None


def _why_not_started(program: str, problem: OSError) -> str | None:
    """A folder in PATH that this user may not read makes "no such file" a "permission denied"."""
    if "/" not in program and shutil.which(program) is None:
        return os.strerror(errno.ENOENT)
    return problem.strerror


def _last_line(output: Output) -> str | None:
    return f"its last line: {output.last}" if output.last else None


def _ending(code: int) -> str:
    return f"ended with exit code {code}" if code > 0 else f"was ended by signal {-code}"


def _hiding(target: Target, environment: Mapping[str, str]) -> Target:
    """The target, hiding also what the environment holds for the command alone."""
    found = [
        value
        for name, value in environment.items()
        if _SECRET_NAME.search(name) and len(value) >= SHORTEST_SECRET
    ]
    found += filter(None, map(_password_in, environment.values()))
    return target.model_copy(update={"hidden": [*target.hidden, *map(SecretStr, found)]})


def _password_in(value: str) -> str | None:
    try:
        return urlsplit(value).password
    except ValueError:
        return None


def _collect(state: RunState, claim: Claim, folder: Path) -> None:
    """Stage the files of each audience type; a type without its production file fails."""
    made = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.is_symlink()]
    named = [file for path in made if (file := csv_named(path)) and file.timestamp]
    taken: list[Path] = []
    for output in state.outputs:
        with state.guarded(frozenset({output.audience_type})):
            mine = _made_for(state, output, named)
            state.files.extend(_staged(state, claim, output, one) for one in mine)
            taken += [one.path for one in mine]
    log.legacy_left_behind([path.name for path in made if path not in taken])


def _made_for(state: RunState, output: OutputFile, named: list[NamedCsv]) -> list[NamedCsv]:
    mine = [one for one in named if one.label in output.labels]
    labels = [one.label for one in mine]
    names = ", ".join(one.path.name for one in mine)
    if output.file not in labels:
        raise LegacyError(
            f"the legacy command wrote no {output.file}_{{time}}.csv",
            where=_where(state),
            looked_at=f"of this type it wrote: {names or 'nothing'}",
            fix="check that it writes into {output_dir}",
        )
    if len(set(labels)) < len(labels):
        raise LegacyError(
            "the legacy command wrote a file twice", where=_where(state), looked_at=names
        )
    return mine


def _staged(state: RunState, claim: Claim, output: OutputFile, made: NamedCsv) -> CsvFile:
    name = output.file_name(claim.name.timestamp, is_test=made.is_test)
    with opened(made.path) as records:
        rows = sum(1 for _ in records)

    def stream() -> Streamed:
        with _readable(made.path) as file:
            return stream_into(claim, name, file, crlf=False)

    kind: StepKind = "test_file" if made.is_test else "file"
    streamed = state.timed(name, kind, stream, rows=lambda _: rows)
    return CsvFile(
        path=state.settings.output_dir / name,
        row_count=rows,
        is_test_file=made.is_test,
        audience_type=output.audience_type,
        size_bytes=streamed.size_bytes,
        sha256=streamed.sha256,
    )


@contextmanager
def _readable(path: Path) -> Iterator[IO[bytes]]:
    try:
        with open(path, "rb") as file:
            yield file
    except OSError as problem:
        what = f"cannot be read: {problem.strerror}"
        raise ExportError(what, where=str(path)) from None


def _where(state: RunState) -> Location:
    compiled = state.compiled
    return compiled.project.audience_location(compiled.audience, "legacy")
