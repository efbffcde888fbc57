"""A compiled audience as a psql script that makes the same files, for reading and for doubting."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

from runner.clock import instant
from runner.errors import ExportError, UsageError
from runner.project.nodes import MODELS_FOLDER
from runner.project.targets import Target
from runner.sql.compile import CompiledAudience, inlined
from runner.sql.plan import COPY_OPTIONS, SNAPSHOT, Plan, Step, copied


def psql_script(plan: Plan, target: Target) -> str:
    """The whole run: settings, temp tables, read-only transaction, one \\copy a file.

    psql writes into its own current folder and, unlike `run`, replaces files of the same name.
    """
    return "\n".join(_lines(plan, target)) + "\n"


def write_folder(plan: Plan, target: Target, folder: Path) -> list[Path]:
    """The script, and each model as a stand-alone select, below `folder`. Raises `ExportError`."""
    compiled, stand_alone = plan.compiled, inlined(plan.compiled)
    texts = {f"{compiled.audience.name}.psql": psql_script(plan, target)}
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
            fix="choose another folder with --to",
        ) from None
    return [folder / name for name in texts]


def _check_folder(compiled: CompiledAudience, folder: Path) -> None:
    """Compiled models bear the names of their sources and must never replace them."""
    models = (compiled.project.root / MODELS_FOLDER).resolve()
    if folder.resolve().is_relative_to(models):
        raise UsageError(
            "compiled models would replace the models themselves",
            where=str(folder),
            fix="choose a folder outside models with --to",
        )


def _lines(plan: Plan, target: Target) -> Iterator[str]:
    yield from _head(plan)
    statements = target.setting_statements() + target.own_statements()
    yield from (f"{statement}\n;" for statement in statements)
    yield "\n-- Empty temp tables: reads nothing, checks every name and type"
    yield f"{plan.begin_preparation};"
    yield from (f"\n{step.sql.text}\n;" for step in plan.creates)
    yield "\ncommit;"
    yield f"\n-- One snapshot for all files; only temp tables can be written\n{SNAPSHOT};"
    for step in plan.steps:
        yield from _step(plan, step)
    yield "\nrollback;"


def _step(plan: Plan, step: Step) -> Iterator[str]:
    """A step as psql runs it. It runs no data tests, and stops where there was no activity."""
    if step.kind == "table":
        yield from (f"\n{sql.text}\n;" for sql in step.statements)
    elif step.is_funnel:
        yield f"\n\\echo {_psql_text(step.name)}\n{step.sql.text};"
    elif step.kind in ("file", "test_file"):
        yield _file(step)
    if step.is_activity:
        count = plan.activity_count.text
        yield f"\nselect count = 0 as no_activity from (\n{count}\n) as activity \\gset"
        yield "\\if :no_activity\n    \\echo no activity in the window: no files"
        yield "    \\quit\n\\endif"


def _file(step: Step) -> str:
    if "\n" in step.sql.text:  # \copy takes one line only
        return f"\n{copied(step.sql).text}\n\\g {step.name}"
    return f"\n\\copy ({step.sql.text}) to '{step.name}' with ({COPY_OPTIONS})"


def _head(plan: Plan) -> Iterator[str]:
    compiled, started_at = plan.compiled, plan.started_at
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


def _psql_text(text: str) -> str:
    return "'" + textwrap.shorten(text, 200).replace("\\", "\\\\").replace("'", "''") + "'"
