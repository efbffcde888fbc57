"""A compiled audience as a psql script that makes the same files, for reading and for doubting."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from runner.clock import file_timestamp, instant
from runner.errors import ExportError, UsageError
from runner.project.audience import FunnelStep, Output
from runner.project.nodes import MODELS_FOLDER
from runner.project.targets import Target
from runner.sql.compile import COPY_OPTIONS, PREPARATION, SNAPSHOT, CompiledAudience, inlined


def psql_script(compiled: CompiledAudience, target: Target, started_at: datetime) -> str:
    """The whole run: settings, temp tables, read-only transaction, one \\copy a file.

    psql writes into its own current folder and, unlike `run`, replaces files of the same name.
    """
    return "\n".join(_lines(compiled, target, started_at)) + "\n"


def write_folder(
    compiled: CompiledAudience, target: Target, started_at: datetime, folder: Path
) -> list[Path]:
    """The script, and each model as a stand-alone select, below `folder`. Raises `ExportError`."""
    stand_alone = inlined(compiled)
    texts = {f"{compiled.audience.name}.psql": psql_script(compiled, target, started_at)}
    for name in stand_alone.graph.models:
        texts[f"{name}.sql"] = stand_alone.select(name).text + "\n"
    _check_folder(compiled, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as problem:
        raise ExportError(
            f"cannot be written: {problem.strerror}",
            where=str(problem.filename or folder),
            mend="choose another folder with --to",
        ) from None
    return [folder / name for name in texts]


def _check_folder(compiled: CompiledAudience, folder: Path) -> None:
    """Compiled models bear the names of their sources and must never replace them."""
    models = (compiled.project.root / MODELS_FOLDER).resolve()
    if folder.resolve().is_relative_to(models):
        raise UsageError(
            "compiled models would replace the models themselves",
            where=str(folder),
            mend="choose a folder outside models with --to",
        )


def _lines(compiled: CompiledAudience, target: Target, started_at: datetime) -> Iterator[str]:
    yield from _head(compiled, started_at)
    yield from (f"{statement}\n;" for statement in target.session_statements())
    yield f"\n-- Empty temp tables: reads nothing, checks every name and type\n{PREPARATION};"
    for name in compiled.tables:
        yield f"\n{compiled.create(name).text}\n;"
    yield "\ncommit;"
    yield f"\n-- One snapshot for all files; only temp tables can be written\n{SNAPSHOT};"
    activity = compiled.audience.activity_model
    if activity not in compiled.tables:
        yield from _stop_without_activity(compiled)
    for name in compiled.tables:
        yield from (f"\n{statement.text}\n;" for statement in compiled.fill(name))
        if name == activity:
            yield from _stop_without_activity(compiled)
    for step in compiled.audience.funnel:
        yield f"\n\\echo {_psql_text(step.label)}\n{compiled.count(step).text};"
    for output in compiled.audience.outputs:
        yield from _files(compiled, output, started_at)
    yield "\nrollback;"


def _head(compiled: CompiledAudience, started_at: datetime) -> Iterator[str]:
    parameters = compiled.parameters
    yield f"-- Audience {compiled.audience.name}, as psql would run it:"
    yield f'--   psql -X "$DATABASE_URL" -f {compiled.audience.name}.psql'
    yield "-- It makes the files, but runs no data tests: audiences test does."
    yield f"-- as of {instant(parameters.as_of)}, started at {instant(started_at)}"
    if parameters.window:
        yield f"-- window from {instant(parameters.window.start)} "
        yield f"--          to {instant(parameters.window.end)}"
    for name, value in parameters.values.items():
        yield f"-- {name} = {value}"
    if compiled.audience.line_ending == "crlf":
        yield "-- The audience's files end lines with CRLF; psql can only write LF."
    yield "\\set ON_ERROR_STOP on\n\\set QUIET on\n\\pset footer off"


def _stop_without_activity(compiled: CompiledAudience) -> Iterator[str]:
    model = compiled.audience.activity_model
    count = compiled.count(FunnelStep(label=model, model=model)).text
    yield f"\nselect count = 0 as no_activity from (\n{count}\n) as activity \\gset"
    yield "\\if :no_activity\n    \\echo no activity in the window: no files\n    \\quit\n\\endif"


def _files(compiled: CompiledAudience, output: Output, started_at: datetime) -> Iterator[str]:
    stamp = file_timestamp(started_at)
    selects = {
        output.file_name(stamp, is_test=False): compiled.export_select(output),
        output.file_name(stamp, is_test=True): compiled.test_row_select(output, started_at),
    }
    for name, select in selects.items():
        if "\n" in select.text:  # \copy takes one line only
            yield f"\n{compiled.copy_out(select).text}\n\\g {name}"
        else:
            yield f"\n\\copy ({select.text}) to '{name}' with ({COPY_OPTIONS})"


def _psql_text(text: str) -> str:
    return "'" + textwrap.shorten(text, 200).replace("\\", "\\\\").replace("'", "''") + "'"
