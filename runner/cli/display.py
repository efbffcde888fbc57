"""Results as text for people: plain lines that read the same in a terminal, a mail and a log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from runner.clock import instant
from runner.files.document import CsvFile, RunResult
from runner.project.audience import Audience
from runner.project.nodes import Project
from runner.tables import plain_table

if TYPE_CHECKING:
    # what is listed offline must not load the driver
    from runner.runs.data_tests import TestReport
    from runner.tools.check import Check
    from runner.tools.explain.explain import Explanation


def summary(result: RunResult, *, is_demo: bool) -> str:
    """What a run did: outcome, window, funnel, files, failures."""
    return "\n".join(_summary(result, is_demo=is_demo))


def _summary(result: RunResult, *, is_demo: bool) -> Iterator[str]:
    identity = result.identity
    name = identity.audience if identity else "run"
    dry = ", dry run: no files" if identity and identity.is_dry_run else ""
    mark = "DEMO data, not your users. " if is_demo and not result.legacy else ""
    yield f"{mark}{name}: {result.status.replace('_', ' ')}{dry}"
    if result.legacy:
        code = result.legacy.exit_code
        yield f"engine   v1, legacy command, {'stopped' if code is None else f'exit code {code}'}"
    if identity and identity.parameters.window:
        window = identity.parameters.window
        yield f"window   {instant(window.start)} up to {instant(window.end)}"
    if result.status == "no_activity":
        yield "no user did anything in the window, so there are no files"
    for count in result.funnel:
        kinds = ", ".join(f"{kind} {rows:,}" for kind, rows in count.by_kind.items())
        yield f"funnel   {count.total:>9,} {count.label}{f' ({kinds})' if kinds else ''}"
    yield f"audience {result.audience_size:>9,} rows in all files"
    for audience_type, rows in result.rows_by_type.items() if not result.csv_files else ():
        yield f"         {rows:>9,} {audience_type}"
    for file in result.csv_files:
        yield _file(file)
    if result.manifest:
        yield f"manifest           {result.manifest}"
    if result.status == "failed":
        yield f"failed   {result.error}"
    else:
        for failure in result.failures:
            yield f"failed   {failure.audience_type}: {failure.message}"
    yield f"time     {result.execution_time_ms / 1000:>9.2f} s"


def _file(file: CsvFile) -> str:
    return f"file     {file.row_count:>9,} {file.path}"


def audience_list(project: Project) -> str:
    """Audiences with their parameters and outputs."""
    return "\n\n".join("\n".join(_audience(one)) for one in project.audiences.values())


def _audience(audience: Audience) -> Iterator[str]:
    aliases = f" (also {', '.join(audience.aliases)})" if audience.aliases else ""
    yield f"{audience.name}{aliases}"
    yield f"  {' '.join(audience.description.split())}"
    yield "  parameters:"
    rows = [
        (one.name, one.type, str(one.default).lower(), one.unit or "", one.bounds)
        for one in audience.parameters
    ]
    head = ("name", "type", "default", "unit", "bounds")
    yield from (f"    {line}" for line in table(head, rows))
    for rule in audience.rules:
        yield f"    rule: {rule.must}"
    yield "  outputs:"
    outputs = [(one.audience_type, f"{one.file}_{{ts}}.csv", one.model) for one in audience.outputs]
    heads = ("audience type", "file", "model")
    yield from (f"    {line}" for line in table(heads, outputs))


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Lines of a table whose columns are as wide as what is in them."""
    lines = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        yield "  ".join(cells).rstrip()


def audience_json(project: Project) -> list[dict[str, Any]]:
    """The same as data."""
    return [
        {
            "name": audience.name,
            "aliases": audience.aliases,
            "description": " ".join(audience.description.split()),
            "parameters": [
                {**one.model_dump(exclude_none=True), "bounds": one.bounds}
                for one in audience.parameters
            ],
            "rules": [rule.must for rule in audience.rules],
            "outputs": [one.model_dump() for one in audience.outputs],
        }
        for audience in project.audiences.values()
    ]


def test_report(report: TestReport) -> str:
    """A line for each data test, the rows that were asked for, and a sum."""
    return "\n".join(_test_report(report))


def _test_report(report: TestReport) -> Iterator[str]:
    words = {"pass": "pass ", "warn": "warn ", "error": "FAIL "}
    for found in report.results:
        detail = "" if found.status == "pass" else f": {found.in_words}"
        yield f"{words[found.status]} {found.name} ({found.location}){detail}"
        shown = report.rows.get(found.name)
        if shown:
            rows = [tuple("NULL" if one is None else str(one) for one in row) for row in shown.rows]
            yield from (f"    {line}" for line in table(shown.columns, rows))
            if found.failures > len(rows):
                yield f"    and {found.failures - len(rows):,} more"
    counts: Counter[str] = Counter(found.status for found in report.results)
    tally = [f"{counts[one]} {word}" for one, word in (("pass", "passed"), ("warn", "warned"))]
    number = len(report.results)
    tests = "data test" if number == 1 else "data tests"
    yield f"{number} {tests}: {', '.join(tally)}, {counts['error']} failed"


def report_json(report: TestReport) -> dict[str, Any]:
    """The same as data."""
    return {
        "success": report.success,
        "dataTests": [
            {
                **found.as_json(),
                "rows": [
                    dict(zip(report.rows[found.name].columns, map(_plain, row), strict=True))
                    for row in report.rows[found.name].rows
                ]
                if found.name in report.rows
                else None,
            }
            for found in report.results
        ],
    }


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | bool | None) else str(value)


def check_list(checks: Iterable[Check]) -> str:
    """A line for each check: ok, or what to mend."""
    return "\n".join(map(_check, checks))


def _check(check: Check) -> str:
    if check.is_ok and not check.is_warning:
        return f"ok    {check.name}: {check.detail}"
    parts = [" ".join(part.split()) for part in (check.detail, check.mend) if part]
    return f"{'warn ' if check.is_warning else 'wrong'} {check.name}: {'; '.join(parts)}"


def check_json(checks: list[Check]) -> dict[str, Any]:
    """The same as data, with the seed's names `valid` and `errors`."""
    wrong = [check for check in checks if not check.is_ok]
    return {
        "valid": not wrong,
        "errors": [f"{check.name}: {check.detail}; {check.mend}" for check in wrong],
        "warnings": [
            f"{check.name}: {check.detail}; {check.mend}" for check in checks if check.is_warning
        ],
        "checks": [
            {
                "name": one.name,
                "ok": one.is_ok,
                "warning": one.is_warning,
                "detail": one.detail,
                "mend": one.mend,
            }
            for one in checks
        ],
    }


def explanation_text(explanation: Explanation, *, is_demo: bool) -> str:
    """Every step with its plan, then the advice, where a terminal ends."""
    return "\n".join(_explanation(explanation, is_demo=is_demo))


def _explanation(explanation: Explanation, *, is_demo: bool) -> Iterator[str]:
    how = "executed" if explanation.is_analyzed else "nothing was executed"
    yield (
        f"{'DEMO data, not your users. ' if is_demo else ''}{explanation.audience}, as of "
        f"{instant(explanation.as_of)}: {len(explanation.steps)} steps, {how}; "
        f"{explanation.server}, {explanation.working_tables}"
    )
    if not explanation.is_analyzed:
        yield (
            "Working tables are empty here: what is expected of steps that read one is the "
            "planner's guess. --analyze executes the steps, without making files."
        )
    yield ""
    yield _steps_table(explanation)
    for step, plan in explanation.steps:
        yield f"\n{step.label}  ({step.location})"
        yield from (f"   {line}" for line in plan.lines())
    yield ""
    yield from _advice(explanation)


def _steps_table(explanation: Explanation) -> str:
    if not explanation.is_analyzed:
        rows = [
            (f"{plan.cost:,.0f}", f"{plan.source.expected_rows:,.0f}", step.label)
            for step, plan in explanation.steps
        ]
        return plain_table(("cost", "expected rows", "step"), rows)
    counted = [
        (
            f"{plan.milliseconds:,.1f}",
            f"{plan.source.rows:,.0f}",
            f"{plan.source.expected_rows:,.0f}",
            *(f"{blocks:,}" for blocks in plan.buffers.as_json().values()),
            step.label,
        )
        for step, plan in explanation.steps
    ]
    head = ("ms", "rows", "expected", "buffers hit", "read", "spilled", "step")
    return plain_table(head, counted)


def _advice(explanation: Explanation) -> Iterator[str]:
    if not explanation.advice:
        yield "No index is advised: no step reads much of a big source table to find little."
        return
    yield "Indexes that would spare these steps a scan of a whole source table:"
    for one in explanation.advice:
        yield one.index.statement
        for use in one.uses:
            time = f", {use.milliseconds:,.1f} ms" if use.milliseconds is not None else ""
            yield f"   {use.step}: {use.rows:,.0f} of {use.table_rows:,.0f} rows{time}"
