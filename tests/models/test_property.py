"""Generated marketplaces: the SQL models and the spec in plain Python must agree on every row."""

from __future__ import annotations

import csv
import shutil
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests import oracle
from tests.support import AS_OF, Database, Marketplace, hours_ago, run_layer3

NAMES = st.sampled_from(
    [None, "", "  ", "\t", "Ana", "O'B", 'a"b', "a,b", "Two\nLines", "=1+1", "Zoë", "李"]
)
SIZES = st.sampled_from(["9", "10.5", "", "  "])
CACHES = st.sampled_from([None, {}, {"mens_size": None}, {"mens_size": ""}, {"mens_size": "9.0"}])
PARAMETERS = st.builds(
    oracle.Parameters,
    lookback_hours=st.sampled_from([48, 30.5, 72]),
    cooling_hours=st.sampled_from([12, 0, 6.25]),
    min_inventory_count=st.integers(0, 3),
    min_wishlist_count=st.integers(0, 3),
    require_complete_profile=st.booleans(),
    use_next_best_action=st.booleans(),
)


@st.composite
def moments(draw: st.DrawFn, parameters: oracle.Parameters) -> Any:
    """Ties, the window's bounds to the microsecond, and anything around."""
    start = hours_ago(parameters.lookback_hours - parameters.cooling_hours)
    end = hours_ago(parameters.cooling_hours)
    edge = draw(st.sampled_from([start, end, start + (end - start) / 2, hours_ago(24)]))
    return edge + draw(st.sampled_from([0, 0, 0, 1, -1, 3_600_000_000])) * timedelta(microseconds=1)


@st.composite
def marketplaces(draw: st.DrawFn) -> tuple[Marketplace, oracle.Parameters]:
    market = Marketplace()
    parameters = draw(PARAMETERS)
    products = [
        market.add("products", name=name) for name in ("Plain", 'Say "hi", ok', "Two\nLines")
    ]
    variants = [
        market.variant(draw(CACHES), draw(st.sampled_from(products)))
        for _ in range(draw(st.integers(1, 4)))
    ]
    users = [_user(draw, market) for _ in range(draw(st.integers(1, 5)))]
    someone, a_variant = st.sampled_from(users), st.sampled_from(variants)
    moment = moments(parameters)
    for _ in range(draw(st.integers(0, 8))):
        status = draw(st.sampled_from(["OPEN_FOR_TRADE", "OPEN_FOR_TRADE", "REMOVED"]))
        market.closet(draw(someone), draw(a_variant), draw(moment), status)
    for _ in range(draw(st.integers(0, 8))):
        deleted_at = draw(st.sampled_from([0, 0, 0, 17]))
        market.wish(draw(someone), draw(a_variant), draw(moment), deleted_at)
    for _ in range(draw(st.integers(0, 4))):
        shoes = draw(st.lists(a_variant, max_size=3))
        offer = market.offer(draw(someone), shoes, draw(moment), deleted_at=draw(st.integers(0, 1)))
        _shuffle_item_ids(draw, market, offer)
    return market, parameters


def _user(draw: st.DrawFn, market: Marketplace) -> Any:
    user = market.user(
        username=draw(st.sampled_from([None, "u", "=cmd", "a,b"])),
        first_name=draw(NAMES),
        deleted_at=draw(st.sampled_from([0, 0, 0, 1])),
        last_active=draw(st.sampled_from([None, AS_OF, AS_OF - timedelta(milliseconds=250)])),
    )
    preference = market.tables["user_preferences"][-1]["id"]
    for size in draw(st.lists(SIZES, max_size=3)):
        preferred, brand = draw(st.booleans()), draw(st.sampled_from([False, False, True]))
        market.prefer(preference, size, preferred=preferred, brand=brand)
    return user


def _shuffle_item_ids(draw: st.DrawFn, market: Marketplace, offer: Any) -> None:
    items = [item for item in market.tables["offer_items"] if item["offer_id"] == offer]
    for item, new_id in zip(
        items, draw(st.permutations([one["id"] for one in items])), strict=True
    ):
        item["id"] = new_id


def check(
    database: Database, folder: Path, market: Marketplace, parameters: oracle.Parameters
) -> None:
    market.load(database)
    shutil.rmtree(folder, ignore_errors=True)
    expected = oracle.audience(market.tables, AS_OF, parameters)
    has_activity = bool(oracle.recent_activity(market.tables, AS_OF, parameters))
    result = run_layer3(database, folder, **vars(parameters))
    assert result.status == ("success" if has_activity else "no_activity"), result.error
    made = {
        file.audience_type: list(csv.reader(StringIO(file.path.read_bytes().decode())))[1:]
        for file in result.csv_files
        if not file.is_test_file
    }
    assert made == (expected if has_activity else {})
    assert result.audience_size == sum(map(len, expected.values()))


@settings(max_examples=500)
@given(case=marketplaces())
def test_any_marketplace_gives_the_files_that_the_spec_says(
    database: Database, tmp_path: Path, case: tuple[Marketplace, oracle.Parameters]
) -> None:
    check(database, tmp_path / "out", *case)
