"""The golden case: what an independent implementation made of real-shaped data."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.support import GOLDEN, Database, run_layer3

PAIRS = [("30.5", "6"), ("48", "0"), ("48", "12"), ("72", "24")]
PREFIXES = ["recent-offer-creators", "recent-closet-adders", "recent-wishlist-adders"]


def parsed(path: Path) -> list[list[str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def assert_equal_to_golden(folder: Path, lookback: str, cooling: str) -> None:
    expected_folder = GOLDEN / "layer3_behavior" / f"lookback_{lookback}_cooling_{cooling}"
    for name in [f"{prefix}{infix}" for prefix in PREFIXES for infix in ("", "_TEST")]:
        (path,) = (one for one in folder.glob("*.csv") if one.name.rsplit("_", 1)[0] == name)
        expected, made = parsed(expected_folder / f"{name}.csv"), parsed(path)
        if name.endswith("_TEST"):  # lastActive is the moment of that run
            expected[1][7] = made[1][7]
        assert made == expected, name


@pytest.mark.parametrize(("lookback", "cooling"), PAIRS)
def test_rows_and_their_order_equal_the_golden_files(
    golden: Database, tmp_path: Path, lookback: str, cooling: str
) -> None:
    result = run_layer3(golden, tmp_path, lookback_hours=lookback, cooling_hours=cooling)
    assert result.status == "success"
    assert_equal_to_golden(tmp_path, lookback, cooling)
