"""Made-up marketplaces for all audiences, and how a run on one is held against the spec."""

from __future__ import annotations

import csv
import shutil
import uuid
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from tests.oracles import Files
from tests.support import Database, Marketplace, run_audience

marketplaces_settings = settings.get_profile("marketplaces")
"""As many as `--marketplaces` says."""

TEXTS = [
    None,
    "",
    "  ",
    "\t",
    "\r\n",
    "Ana",
    "O'B",
    'a"b',
    "a,b",
    "Two\nLines",
    "=1+1",
    "Zoë",
    "李",
]
"""Whatever stands in a name or a bio, what shows nothing too."""

PRODUCT_NAMES = ["Plain", 'Say "hi", ok', "Two\nLines"]
USERNAMES = st.sampled_from([None, "u", "=cmd", "a,b"])
SIZES = st.sampled_from(["9", "10.5", "", "  "])
CACHES = st.sampled_from([None, {}, {"mens_size": None}, {"mens_size": ""}, {"mens_size": "9.0"}])
DELETED = st.sampled_from([0, 0, 0, 17])


def near(*instants: datetime) -> st.SearchStrategy[datetime]:
    """These instants, with ties, a microsecond before and after, and an hour later."""
    steps = st.sampled_from([0, 0, 0, 1, -1, 3_600_000_000])
    return st.builds(
        lambda instant, step: instant + timedelta(microseconds=step),
        st.sampled_from(instants),
        steps,
    )


def add_variants(draw: st.DrawFn, market: Marketplace) -> list[uuid.UUID]:
    products = [market.add("products", name=name) for name in PRODUCT_NAMES]
    return [
        market.variant(draw(CACHES), draw(st.sampled_from(products)))
        for _ in range(draw(st.integers(1, 4)))
    ]


def add_sizes(draw: st.DrawFn, market: Marketplace) -> None:
    """Any number of preferred sizes and others for the user that was added last."""
    preference = market.tables["user_preferences"][-1]["id"]
    for size in draw(st.lists(SIZES, max_size=3)):
        preferred, brand = draw(st.booleans()), draw(st.sampled_from([False, False, True]))
        market.prefer(preference, size, preferred=preferred, brand=brand)


def shuffle(draw: st.DrawFn, market: Marketplace, *tables: str) -> None:
    """Rows lie in these tables in any order, so that none is chosen because it comes first."""
    for table in tables:
        market.tables[table] = draw(st.permutations(market.tables[table]))


def assert_as_the_spec_says(
    database: Database,
    folder: Path,
    market: Marketplace,
    audience: str,
    expected: Files | None,
    **run: Any,
) -> None:
    """A run's files are these, row by row; None is no activity and no file."""
    market.load(database)
    shutil.rmtree(folder, ignore_errors=True)
    result = run_audience(database, folder, audience, **run)
    assert result.status == ("no_activity" if expected is None else "success"), result.error
    made = {
        file.audience_type: list(csv.reader(StringIO(file.path.read_bytes().decode())))[1:]
        for file in result.csv_files
        if not file.is_test_file
    }
    assert made == (expected or {})
    assert result.audience_size == sum(map(len, made.values()))
