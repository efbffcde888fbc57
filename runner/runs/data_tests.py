"""Runs data tests on a session that holds an audience's models, and returns what they found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from runner.database.session import Session
from runner.database.snapshot import Snapshot, open_snapshot
from runner.errors import DatabaseError, DataTestError
from runner.files.document import DataTestResult
from runner.project.audience import Output
from runner.project.targets import Target
from runner.sql.compile import CompiledAudience
from runner.sql.data_tests import DataTest, by_model, chosen, count_all, failing_rows, tests_of
from runner.sql.source_map import joined

MOST_ROWS = 20
"""Failing rows to show of one test."""


@dataclass(frozen=True)
class FailingRows:
    """The first rows that fail a test, for whoever asked to see them."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class TestReport:
    """All data tests of an audience, run without exporting anything."""

    results: tuple[DataTestResult, ...]
    rows: dict[str, FailingRows]

    @property
    def success(self) -> bool:
        return all(found.status != "error" for found in self.results)


def run_data_tests(
    compiled: CompiledAudience, target: Target, names: Iterable[str], *, shows_rows: bool
) -> TestReport:
    """Make the models in a snapshot and run the tests named, all without names; export nothing.

    Raises `UsageError` for an unknown name, `DatabaseError` if a model cannot be made. A test that
    the server refuses is in the report as an error, and the others go on.
    """
    chosen(tests_of(compiled), names := tuple(names))  # before anything is connected to
    with open_snapshot(compiled, target) as snapshot:
        tests = chosen(tests_of(snapshot.compiled), names)
        snapshot.fill(name for test in tests for name in test.reads)
        results = [found for group in by_model(tests) for found in try_tests(snapshot, group)]
        if not names:
            results = [*_columns(snapshot), *results]
        rows = _rows(snapshot, tests, results) if shows_rows else {}
    return TestReport(tuple(results), rows)


def try_tests(snapshot: Snapshot, tests: list[DataTest]) -> list[DataTestResult]:
    """Together if they can be; else one by one, to find the one that the server refuses."""
    try:
        with snapshot.session.savepoint():
            return evaluate(snapshot.session, snapshot.compiled, tests)
    except DatabaseError as problem:
        if problem.is_transient:
            raise  # the session is lost, or must begin anew
        if len(tests) == 1:
            return [_result(tests[0], 0, error=str(problem))]
        return [found for test in tests for found in try_tests(snapshot, [test])]


def _columns(snapshot: Snapshot) -> Iterator[DataTestResult]:
    for output in snapshot.compiled.audience.outputs:
        yield columns_result(snapshot.session, snapshot.compiled, output)


def _rows(
    snapshot: Snapshot, tests: Iterable[DataTest], results: Iterable[DataTestResult]
) -> dict[str, FailingRows]:
    failed = {found.name for found in results if found.failures}
    shown = {}
    for test in tests:
        if test.name in failed:
            select = joined(failing_rows(snapshot.compiled, test), f"\nlimit {MOST_ROWS}")
            columns, rows = snapshot.session.table(select, test.location)
            shown[test.name] = FailingRows(tuple(columns), tuple(tuple(row) for row in rows))
    return shown


def columns_result(session: Session, compiled: CompiledAudience, output: Output) -> DataTestResult:
    """Whether a file's model has the columns that it must have, in that order."""
    where = compiled.project.models[output.model].location
    rows = joined("select * from (", compiled.rows_of(output.model), ") as contract limit 0")
    columns, _ = session.table(rows, where)
    wrong = _wrong_columns(compiled, output, columns)
    return DataTestResult.at(
        compiled.columns_location(output),
        name=f"columns_{output.model}",
        reads=(output.model,),
        column=None,
        status="error" if wrong else "pass",
        failures=0,
        audience_types=(output.audience_type,),
        error=wrong,
    )


def _wrong_columns(compiled: CompiledAudience, output: Output, actual: Sequence[str]) -> str | None:
    """What is wrong with the columns of a file's model, None if they are right.

    The contract is the model's described columns, in order; without a description, the columns of
    the file in theirs.
    """
    properties = compiled.project.models[output.model].properties
    described = [column.identifier for column in properties.columns] if properties else []
    wanted = described or output.columns
    found = list(actual) if described else [name for name in actual if name in wanted]
    if found == wanted:
        return None
    return f"{output.model} has the columns {', '.join(actual)}, not {', '.join(wanted)}"


def raise_failed(compiled: CompiledAudience, results: Iterable[DataTestResult]) -> None:
    """Raises `DataTestError`, which names all tests that failed, if one of severity error did."""
    failed = [found for found in results if found.status == "error"]
    if failed:
        others = [f"{one.name} ({one.location}): {one.in_words}" for one in failed[1:]]
        raise DataTestError(
            f"data test {failed[0].name} fails: {failed[0].in_words}",
            where=failed[0].location,
            looked_at=f"also failing: {', '.join(others)}" if others else None,
            fix=f"to print the rows: audiences test {compiled.audience.name} --select "
            f"{failed[0].name} --show-rows",
        )


def evaluate(
    session: Session, compiled: CompiledAudience, tests: Sequence[DataTest]
) -> list[DataTestResult]:
    """Run tests of one model, or one singular test, in one statement: the model is read once.

    Raises `DatabaseError` at the line of the test that the server refuses.
    """
    return results_of(tests, session.rows(count_all(compiled, tests), tests[0].location))


def results_of(
    tests: Sequence[DataTest], counts: Iterable[tuple[object, int]]
) -> list[DataTestResult]:
    """What tests found, given a row for each: its place among them, and the failures."""
    failures = {int(str(place)): count for place, count in counts}
    return [_result(test, failures[place]) for place, test in enumerate(tests)]


def _result(test: DataTest, failures: int, *, error: str | None = None) -> DataTestResult:
    return DataTestResult.at(
        test.location,
        name=test.name,
        reads=test.reads,
        column=test.column,
        status="error" if error else test.config.status(failures),
        failures=failures,
        audience_types=tuple(sorted(test.types)),
        error=error,
    )
