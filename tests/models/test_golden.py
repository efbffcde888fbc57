"""The golden cases: what an independent implementation made of real-shaped data."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cases import Case, assert_equal, cases
from tests.support import GOLDEN, Database, run_audience


@pytest.mark.parametrize("case", cases(GOLDEN))
def test_files_rows_and_counts_equal_the_golden_ones(
    golden: Database, tmp_path: Path, case: Case
) -> None:
    result = run_audience(golden, tmp_path, case.audience.name, as_of=case.as_of, **case.parameters)
    assert_equal(case, result)
