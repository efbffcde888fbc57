"""The numbered rules of the layer 3 audience, each at its edges."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from runner.files.document import RunResult
from tests.support import (
    AS_OF,
    Database,
    Marketplace,
    hours_ago,
    rows_of,
    run_layer3,
)

MICROSECOND = timedelta(microseconds=1)
IN_WINDOW = hours_ago(24)
TYPES = ("offer_created", "closet_add", "wishlist_add")

Make = Callable[..., RunResult]


@pytest.fixture
def market() -> Marketplace:
    return Marketplace()


@pytest.fixture
def make(market: Marketplace, database: Database, tmp_path: Path) -> Make:
    """Loads the marketplace and runs the audience, with no demand asked for unless given."""

    def run(**parameters: object) -> RunResult:
        market.load(database)
        given = {"min_inventory_count": 0, "min_wishlist_count": 0, **parameters}
        result = run_layer3(database, tmp_path / "out", **given)
        assert result.status in ("success", "no_activity"), result.error
        return result

    return run


def users_in(result: RunResult) -> dict[str, list[str]]:
    if not result.csv_files:
        return {}
    return {kind: [row["user_id"] for row in rows_of(result, kind)] for kind in TYPES}


def only_row(result: RunResult, kind: str = "closet_add") -> dict[str, str]:
    (row,) = rows_of(result, kind)
    return row


@pytest.mark.parametrize(
    ("at", "counts"),
    [
        (hours_ago(36), True),
        (hours_ago(36) - MICROSECOND, False),
        (hours_ago(12) - MICROSECOND, True),
        (hours_ago(12), False),
    ],
)
@pytest.mark.parametrize("kind", TYPES)
def test_the_window_holds_its_start_but_not_its_end(
    market: Marketplace, make: Make, kind: str, at: object, counts: bool
) -> None:
    user, variant = market.user(), market.variant()
    if kind == "offer_created":
        market.offer(user, [variant], at)
    else:
        {"closet_add": market.closet, "wishlist_add": market.wish}[kind](user, variant, at)
    result = make()
    assert result.status == ("success" if counts else "no_activity")
    assert (str(user) in users_in(result).get(kind, [])) is counts


def test_the_result_reports_the_window_as_two_instants(market: Marketplace, make: Make) -> None:
    metadata = make(lookback_hours="30.5", cooling_hours=6).as_json()["metadata"]
    assert metadata["window"] == {"start": "2025-11-27T11:30:00Z", "end": "2025-11-28T06:00:00Z"}


def test_deleted_users_have_no_activity(market: Marketplace, make: Make) -> None:
    market.closet(market.user(deleted_at=1), market.variant(), IN_WINDOW)
    assert make().status == "no_activity"


def test_only_closet_items_open_for_trade_count(market: Marketplace, make: Make) -> None:
    market.closet(market.user(), market.variant(), IN_WINDOW, status="REMOVED")
    assert make().status == "no_activity"


def test_deleted_wishlist_items_do_not_count(market: Marketplace, make: Make) -> None:
    market.wish(market.user(), market.variant(), IN_WINDOW, deleted_at=1)
    assert make().status == "no_activity"


def test_offers_count_in_any_status_and_deleted(market: Marketplace, make: Make) -> None:
    user = market.user()
    market.offer(user, [market.variant()], IN_WINDOW, status="DECLINED", deleted_at=5)
    assert users_in(make())["offer_created"] == [str(user)]


def test_an_offer_is_about_its_item_with_the_smallest_id(market: Marketplace, make: Make) -> None:
    user, first, second = market.user(), market.variant(), market.variant()
    market.offer(user, [second, first], IN_WINDOW)
    items = market.tables["offer_items"]
    items[0]["id"], items[1]["id"] = items[1]["id"], items[0]["id"]
    assert only_row(make(), "offer_created")["variantID"] == str(first)


def test_an_offer_without_items_is_no_activity(market: Marketplace, make: Make) -> None:
    market.offer(market.user(), [], IN_WINDOW)
    assert make().status == "no_activity"


def test_an_offer_beats_a_closet_add_beats_a_wishlist_add(market: Marketplace, make: Make) -> None:
    offering, adding, variant = market.user(), market.user(), market.variant()
    market.wish(offering, variant, hours_ago(13))
    market.closet(offering, variant, hours_ago(14))
    market.offer(offering, [variant], hours_ago(30))
    market.wish(adding, variant, hours_ago(13))
    market.closet(adding, variant, hours_ago(30))
    assert users_in(make()) == {
        "offer_created": [str(offering)],
        "closet_add": [str(adding)],
        "wishlist_add": [],
    }


def test_within_a_kind_the_newest_wins_then_the_greatest_variant(
    market: Marketplace, make: Make
) -> None:
    newest, tied = market.user(), market.user()
    low, middle, high = market.variant(), market.variant(), market.variant()
    market.closet(newest, high, hours_ago(20))
    market.closet(newest, low, hours_ago(19))
    for variant in (middle, high, low):
        market.closet(tied, variant, hours_ago(20))
    rows = {row["user_id"]: row["variantID"] for row in rows_of(make(), "closet_add")}
    assert rows == {str(newest): str(low), str(tied): str(high)}


def test_of_several_preferred_sizes_the_smallest_id_wins(market: Marketplace, make: Make) -> None:
    user = market.user(sizes=["10", "11"])
    market.tables["attribute_preferences"].reverse()
    market.closet(user, market.variant(), IN_WINDOW)
    assert only_row(make())["usersize"] == "10"


def test_sizes_not_preferred_and_other_attributes_are_no_size(
    market: Marketplace, make: Make
) -> None:
    user = market.user()
    preference = market.tables["user_preferences"][-1]["id"]
    market.prefer(preference, "9", preferred=False)
    market.prefer(preference, "Acme", brand=True)
    market.closet(user, market.variant(), IN_WINDOW)
    assert only_row(make())["usersize"] == ""


def test_what_a_profile_lacks_is_an_empty_field(market: Marketplace, make: Make) -> None:
    market.closet(market.user(username=None, first_name=None), market.variant(), IN_WINDOW)
    row = only_row(make())
    assert [row[key] for key in ("username", "firstName", "usersize", "lastActive")] == [""] * 4


@pytest.mark.parametrize(
    ("index_cache", "size"),
    [
        ({"mens_size": "9.5"}, "9.5"),
        (None, "Unknown"),
        ({}, "Unknown"),
        ({"mens_size": None}, "Unknown"),
        ({"mens_size": ""}, ""),
    ],
)
def test_a_shoe_without_a_size_is_unknown_but_an_empty_size_stays(
    market: Marketplace, make: Make, index_cache: object, size: str
) -> None:
    market.closet(market.user(), market.variant(index_cache), IN_WINDOW)
    assert only_row(make())["relevant_variant_size"] == size


def test_last_active_is_postgresql_text_in_utc(market: Marketplace, make: Make) -> None:
    seen = AS_OF.replace(hour=8, minute=30, microsecond=250_000)
    market.closet(market.user(last_active=seen), market.variant(), IN_WINDOW)
    assert only_row(make())["lastActive"] == "2025-11-28 08:30:00.25+00"


@pytest.mark.parametrize(("others", "kept"), [(1, False), (2, True)])
@pytest.mark.parametrize("kind", ["offer_created", "wishlist_add"])
def test_offers_and_wishes_need_three_closets(
    market: Marketplace, make: Make, kind: str, others: int, kept: bool
) -> None:
    user, variant = market.user(), market.variant()
    market.supply(variant, others)
    market.closet(user, variant, hours_ago(1000))  # the user's own counts too
    if kind == "offer_created":
        market.offer(user, [variant], IN_WINDOW)
    else:
        market.wish(user, variant, IN_WINDOW)
    rows = rows_of(make(min_inventory_count=3), kind)
    assert [row["inventory_count"] for row in rows] == (["3"] if kept else [])


@pytest.mark.parametrize(("wanted", "kept"), [(1, False), (2, True)])
def test_closet_adds_need_two_wishlists(
    market: Marketplace, make: Make, wanted: int, kept: bool
) -> None:
    variant = market.variant()
    market.want(variant, wanted)
    market.supply(variant, 50)
    market.closet(market.user(), variant, IN_WINDOW)
    rows = rows_of(make(min_wishlist_count=2), "closet_add")
    assert [row["wishlist_count"] for row in rows] == (["2"] if kept else [])


def test_items_of_deleted_owners_are_no_demand(market: Marketplace, make: Make) -> None:
    variant, gone = market.variant(), market.user(deleted_at=1)
    for _ in range(3):
        market.closet(gone, variant, hours_ago(1000))
        market.wish(gone, variant, hours_ago(1000))
    market.wish(market.user(), variant, IN_WINDOW)
    market.closet(market.user(), variant, IN_WINDOW)
    result = make()
    assert only_row(result, "wishlist_add")["inventory_count"] == "1"
    assert only_row(result, "closet_add")["wishlist_count"] == "1"


def test_no_demand_counts_zero(market: Marketplace, make: Make) -> None:
    market.wish(market.user(), market.variant(), IN_WINDOW)
    assert only_row(make(), "wishlist_add")["inventory_count"] == "0"


@pytest.mark.parametrize(("next_best", "kind"), [(False, None), (True, "wishlist_add")])
def test_the_next_best_action_steps_in_only_if_asked_to(
    market: Marketplace, make: Make, next_best: bool, kind: str | None
) -> None:
    user, rare, common = market.user(), market.variant(), market.variant()
    market.supply(common, 3)
    market.offer(user, [rare], hours_ago(13))
    market.closet(user, rare, hours_ago(14))
    market.wish(user, common, hours_ago(30))
    result = make(min_inventory_count=3, min_wishlist_count=2, use_next_best_action=next_best)
    found = [one for one, users in users_in(result).items() if str(user) in users]
    assert found == ([kind] if kind else [])


def test_the_next_best_does_not_replace_a_strongest_in_demand(
    market: Marketplace, make: Make
) -> None:
    user, common = market.user(), market.variant()
    market.supply(common, 9)
    market.offer(user, [common], hours_ago(30))
    market.wish(user, common, hours_ago(13))
    result = make(min_inventory_count=3, use_next_best_action=True)
    assert users_in(result)["offer_created"] == [str(user)]
    assert users_in(result)["wishlist_add"] == []


@pytest.mark.parametrize("first_name", [None, "", "  ", "\t\n"])
@pytest.mark.parametrize("required", [True, False])
def test_a_profile_without_first_name_is_dropped_only_if_asked_to(
    market: Marketplace, make: Make, required: bool, first_name: str | None
) -> None:
    nameless, named = (market.user(first_name=name, sizes=["9"]) for name in (first_name, "Ana"))
    for user in (nameless, named):
        market.closet(user, market.variant(), IN_WINDOW)
    users = users_in(make(require_complete_profile=required))["closet_add"]
    assert set(users) == {str(named)} | (set() if required else {str(nameless)})


@pytest.mark.parametrize("sizes", [[], [""], [" "]])
def test_a_profile_without_size_is_dropped_if_asked_to(
    market: Marketplace, make: Make, sizes: list[str]
) -> None:
    market.closet(market.user(sizes=sizes), market.variant(), IN_WINDOW)
    result = make(require_complete_profile="true")
    assert result.status == "success"
    assert result.audience_size == 0


def test_rows_are_ordered_by_the_newest_action_of_any_kind_then_user(
    market: Marketplace, make: Make
) -> None:
    variant = market.variant()
    old, tied_high, tied_low, newest = (market.user() for _ in range(4))
    market.offer(old, [variant], hours_ago(30))
    market.offer(tied_high, [variant], hours_ago(20))
    market.offer(tied_low, [variant], hours_ago(20))
    market.offer(newest, [variant], hours_ago(35))
    market.wish(newest, variant, hours_ago(13))  # weaker, but newer than all
    expected = [newest, *sorted([tied_low, tied_high]), old]
    assert users_in(make())["offer_created"] == [str(user) for user in expected]


def test_the_clock_of_a_run_is_its_as_of_time(
    market: Marketplace, database: Database, tmp_path: Path
) -> None:
    user = market.user()
    market.closet(user, market.variant(), hours_ago(100))
    market.load(database)
    parameters = {"min_wishlist_count": 0}
    now = run_layer3(database, tmp_path / "a", **parameters)
    then = run_layer3(database, tmp_path / "b", as_of=hours_ago(76), **parameters)
    assert now.status == "no_activity"
    assert users_in(then)["closet_add"] == [str(user)]
