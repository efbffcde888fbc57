"""`audiences test`"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.cli.console import print_json, print_note, print_text, reported
from runner.cli.options import (
    AsJson,
    AsOf,
    CoolingHours,
    LookbackHours,
    Mutate,
    ProfilesDir,
    ProjectDir,
    Select,
    ShowRows,
    TargetName,
    TestedAudience,
    Unit,
    Var,
)
from runner.cli.request import Request
from runner.errors import EXIT_DONE, EXIT_FAILED, UsageError

if TYPE_CHECKING:
    from runner.runs.data_tests import TestReport
    from runner.tools.unit_tests.mutations import Mutant
    from runner.tools.unit_tests.unit_tests import CaseResult

EXAMPLE = "audiences test layer3-behavior --show-rows"


@reported()
def command(
    audience: TestedAudience = None,
    unit: Unit = False,
    mutate: Mutate = False,
    select: Select = None,
    show_rows: ShowRows = False,
    lookback_hours: LookbackHours = None,
    cooling_hours: CoolingHours = None,
    var: Var = None,
    as_of: AsOf = None,
    target: TargetName = None,
    project_dir: ProjectDir = Path(),
    profiles_dir: ProfilesDir = None,
    as_json: AsJson = False,
) -> int:
    """Run the data tests of an audience, or with --unit the unit tests of the models.

    No file is written. The exit code is 1 if a test fails.
    """
    request = Request(project_dir, profiles_dir, target, lookback_hours, cooling_hours, var, as_of)
    if mutate and not unit:
        raise UsageError("--mutate was given without --unit", fix="add --unit")
    if not unit:
        if audience is None:
            raise UsageError("no audience is given", fix="name one, or add --unit for unit tests")
        return _run_data_tests(request, audience, select or [], show_rows, as_json=as_json)
    if audience is not None or request.parameters or as_of is not None or show_rows:
        raise UsageError(
            "unit tests belong to models and bring their own rows, parameters and time",
            fix="leave out the audience, parameters, --as-of and --show-rows; --select chooses "
            "models and unit tests",
        )
    run = _check_mutations if mutate else _run_unit_tests
    return run(request, select or [], as_json=as_json)


def _run_data_tests(
    request: Request, audience: str, select: list[str], show_rows: bool, *, as_json: bool
) -> int:
    from runner.runs.data_tests import run_data_tests
    from runner.sql.compile import compile_audience

    compiled = compile_audience(request.project, audience, request.parameters, request.moment)
    with request.reach() as reached:
        report = run_data_tests(compiled, reached, select, shows_rows=show_rows)
    if as_json:
        print_json(_report_document(report))
    else:
        print_text("\n".join(_report_lines(report)))
    return EXIT_DONE if report.success else EXIT_FAILED


def _run_unit_tests(request: Request, select: list[str], *, as_json: bool) -> int:
    from runner.tools.unit_tests.unit_tests import chosen_cases, results_json, run_unit_tests

    chosen_cases(request.project, select)
    with request.reach(is_empty=True) as reached:
        results = run_unit_tests(request.project, reached, select)
    if as_json:
        print_json(results_json(results))
    else:
        print_text("\n".join(_unit_lines(results)))
    return EXIT_DONE if all(result.status == "pass" for result in results) else EXIT_FAILED


def _check_mutations(request: Request, select: list[str], *, as_json: bool) -> int:
    from runner.tools.unit_tests.mutations import check_mutations, has_gap, mutants_json
    from runner.tools.unit_tests.unit_tests import chosen_cases, open_case_session

    chosen_cases(request.project, select)
    with (
        request.reach(is_empty=True) as reached,
        open_case_session(request.project, reached) as case_session,
    ):
        mutants = check_mutations(case_session, select, print_note)
    if as_json:
        print_json(mutants_json(mutants))
    else:
        print_text("\n".join(_mutant_lines(mutants)))
    return EXIT_FAILED if has_gap(mutants) else EXIT_DONE


def _report_lines(report: TestReport) -> Iterator[str]:
    from runner.tables import plain_table

    words = {"pass": "pass ", "warn": "warn ", "error": "FAIL "}
    for found in report.results:
        detail = "" if found.status == "pass" else f": {found.in_words}"
        yield f"{words[found.status]} {found.name} ({found.location}){detail}"
        shown = report.rows.get(found.name)
        if shown:
            rows = [[None if cell is None else str(cell) for cell in row] for row in shown.rows]
            yield textwrap.indent(plain_table(shown.columns, rows), "    ")
            if found.failures > len(rows):
                yield f"    and {found.failures - len(rows):,} more"
    counts: Counter[str] = Counter(found.status for found in report.results)
    sums = [f"{counts[status]} {word}" for status, word in (("pass", "passed"), ("warn", "warned"))]
    number = len(report.results)
    tests = "data test" if number == 1 else "data tests"
    yield f"{number} {tests}: {', '.join(sums)}, {counts['error']} failed"


def _report_document(report: TestReport) -> dict[str, Any]:
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


def _unit_lines(results: Sequence[CaseResult]) -> Iterator[str]:
    """Each case that does not pass, then the counts."""
    for result in results:
        if result.status != "pass":
            yield from result.lines()
    counts = Counter(result.status for result in results)
    seconds = sum(result.milliseconds for result in results) / 1000
    others = [f", {counts[status]} {status}" for status in ("fail", "error") if counts[status]]
    yield f"{counts['pass']} of {len(results)} cases pass{''.join(others)} ({seconds:.2f} s)"


def _mutant_lines(mutants: Sequence[Mutant]) -> Iterator[str]:
    """Each change that no case noticed, as a diff or with its reason; then the counts."""
    from runner.tools.unit_tests.mutations import mutant_counts

    for mutant in mutants:
        change = "`{}` to `{}`".format(*mutant.change)
        if mutant.outcome == "unnoticed":
            yield f"unnoticed  {mutant.place}  {change}"
            yield from (f"    {line}" for line in mutant.difference)
        elif mutant.outcome == "equivalent":
            yield f"equivalent {mutant.place}  {change}: {mutant.explanation}"
        elif mutant.outcome == "stale":
            reason = "a case notices it, or no such change is made of this line"
            yield f"stale      {mutant.place}  {change}: {reason}"
    yield ", ".join(f"{count} {name}" for name, count in mutant_counts(mutants).items())
