"""`audiences run`"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from runner.cli.console import ignore_signals, print_json, print_text, reported
from runner.cli.options import (
    DEFAULT_FOLDER,
    AcceptSize,
    AllOrNothing,
    AsJson,
    AsOf,
    AudienceName,
    AutomationId,
    CoolingHours,
    DeadlineLength,
    DryRun,
    KeepRuns,
    LogFormatName,
    LookbackHours,
    OutputDir,
    ProfilesDir,
    ProjectDir,
    Quiet,
    TargetName,
    Var,
    Wait,
    filled,
    filled_or_none,
    seconds,
)
from runner.cli.request import Request
from runner.clock import instant

if TYPE_CHECKING:
    from runner.files.document import RunResult

EXAMPLE = "audiences run layer3-behavior --output-dir out --deadline 5m"


@reported()
def command(
    audience: AudienceName,
    lookback_hours: LookbackHours = None,
    cooling_hours: CoolingHours = None,
    var: Var = None,
    as_of: AsOf = None,
    output_dir: OutputDir = DEFAULT_FOLDER,
    dry_run: DryRun = False,
    all_or_nothing: AllOrNothing = False,
    deadline: DeadlineLength = None,
    wait: Wait = None,
    automation_id: AutomationId = None,
    keep_runs: KeepRuns = None,
    accept_size: AcceptSize = None,
    target: TargetName = None,
    project_dir: ProjectDir = Path(),
    profiles_dir: ProfilesDir = None,
    as_json: AsJson = False,
    log_format: LogFormatName = "text",
    quiet: Quiet = False,
) -> int:
    """Write the CSV files of an audience, all read from one snapshot of the database.

    If the run fails, it publishes no file. The run's manifest, written beside the files, records
    how it ended.
    """
    from runner.cli.logs import logging_to_stderr
    from runner.demo import demo
    from runner.runs.phases import run
    from runner.runs.settings import Settings, chosen_engine

    request = Request(project_dir, profiles_dir, target, lookback_hours, cooling_hours, var, as_of)
    settings = Settings(
        project_dir=project_dir,
        audience=audience,
        target=request.target,
        parameters=request.parameters,
        as_of=request.as_of,
        output_dir=Path(filled("--output-dir", output_dir)),
        is_dry_run=dry_run,
        is_all_or_nothing=all_or_nothing,
        automation_id=filled_or_none("--automation-id", automation_id),
        keep_runs=keep_runs,
        accepted_size=filled_or_none("--accept-size", accept_size),
        deadline_seconds=None if deadline is None else seconds("--deadline", deadline),
        wait_seconds=0 if wait is None else seconds("--wait", wait),
        engine=chosen_engine(os.environ),
    )
    with logging_to_stderr(log_format, is_quiet=quiet):
        # from then on the exit code is that of the run, whatever signal comes
        result = run(settings, reach=demo.reach, when_published=ignore_signals)
    ignore_signals()
    if as_json:
        print_json(result.as_json(), is_product=False)
    elif not quiet:
        print_text("\n".join(_lines(result, request.mark)), is_product=False)
    return result.exit_code


def _lines(result: RunResult, mark: str) -> Iterator[str]:
    metadata = result.metadata
    dry = ", dry run: no files" if metadata.is_dry_run else ""
    status = result.status.replace("_", " ")
    yield f"{'' if metadata.legacy else mark}{metadata.audience}: {status}{dry}"
    if metadata.legacy:
        code = metadata.legacy.exit_code
        yield f"engine   v1, legacy command, {'stopped' if code is None else f'exit code {code}'}"
    if window := metadata.window:
        yield f"window   {instant(window.start)} up to {instant(window.end)}"
    if result.status == "no_activity":
        yield "there was no activity, so there are no files"
    for count in metadata.funnel:
        kinds = ", ".join(f"{kind} {rows:,}" for kind, rows in count.by_kind.items())
        yield f"funnel   {count.total:>9,} {count.label}{f' ({kinds})' if kinds else ''}"
    yield f"audience {result.audience_size:>9,} rows in all files"
    for audience_type, rows in metadata.rows_by_type.items() if not result.csv_files else ():
        yield f"         {rows:>9,} {audience_type}"
    for file in result.csv_files:
        yield f"file     {file.row_count:>9,} {file.path}"
    if metadata.manifest:
        yield f"manifest           {metadata.manifest}"
    if result.status == "failed":
        yield f"failed   {result.error}"
    else:
        for failure in metadata.errors:
            yield f"failed   {failure.audience_type}: {failure.message}"
    yield f"time     {result.execution_time_ms / 1000:>9.2f} s"
