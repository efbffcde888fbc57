"""Which data tests would keep a run from publishing a file, and whose rows fail them."""

from __future__ import annotations

from dataclasses import dataclass

from runner.files.document import DataTestResult
from runner.project.nodes import quoted
from runner.runs.data_tests import attempted, by_model, columns_result
from runner.sql.data_tests import DataTest, failing_rows, tests_of
from runner.sql.source_map import joined
from runner.tools.trace.sightings import Sightings, place_of


@dataclass(frozen=True)
class ClosedGate:
    """A test of severity error that failed, or could not be run; `keys` have a failing row."""

    result: DataTestResult
    keys: frozenset[str]


def closed_gates(sightings: Sightings) -> list[ClosedGate]:
    """Run the tests that gate a run, as it does, after the models are filled."""
    workspace, compiled = sightings.workspace, sightings.compiled
    closed = [
        ClosedGate(result, frozenset())
        for output in compiled.audience.outputs
        if (result := columns_result(workspace.session, compiled, output)).status == "error"
    ]
    for group in by_model(test for test in tests_of(compiled) if test.gates):
        for test, result in zip(group, attempted(workspace, group), strict=True):
            if result.status == "error":
                keys = _failing_keys(sightings, test) if result.error is None else frozenset()
                closed.append(ClosedGate(result, keys))
    return closed


def _failing_keys(sightings: Sightings, test: DataTest) -> frozenset[str]:
    """The keys that have a row among those that fail. Of a test whose failing rows do not say
    whose they are, each user's rows are tested alone: two users who share a value that must be
    unique are not found so."""
    session, compiled = sightings.workspace.session, sightings.compiled
    key = compiled.audience.key
    failing = failing_rows(compiled, test)
    columns, _ = session.table(
        joined("select * from (\n", failing, "\n) as failing\nlimit 0"), test.location
    )
    if key in columns:
        place, condition = place_of(f"failing.{quoted(key)}", sightings.keys)
        sql = joined(f"select {place} from (\n", failing, f"\n) as failing\nwhere {condition}")
        return frozenset(sightings.keys[n] for (n,) in session.rows(sql, test.location))
    if test.tested not in sightings.rows:
        return frozenset()
    return frozenset(one for one in sightings.keys if _fails_alone(sightings, test, one))


def _fails_alone(sightings: Sightings, test: DataTest, key: str) -> bool:
    assert test.tested is not None
    _, condition = place_of(f"tested.{quoted(sightings.compiled.audience.key)}", [key])
    rows = sightings.compiled.rows_of(test.tested)
    theirs = joined("select * from (\n", rows, f"\n) as tested\nwhere {condition}")
    sql = joined("select exists (\n", test.failing(theirs), "\n)")
    return bool(sightings.workspace.session.rows(sql, test.location)[0][0])
