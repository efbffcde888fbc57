"""layer3-behavior in the way of a first design: rows come to the client, which does the rest.

    python tests/bench/in_memory.py URL AS_OF

writes the six files into the current folder. It stands alone and is here to be compared with: its
default parameters are fixed, and it checks nothing.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any

import psycopg

LOOKBACK = timedelta(hours=48)
COOLING = timedelta(hours=12)
MIN_INVENTORY_COUNT = 3
MIN_WISHLIST_COUNT = 2

STRENGTH = {"offer_created": 3, "closet_add": 2, "wishlist_add": 1}
FILES = {
    "offer_created": ("recent-offer-creators", "inventory_count"),
    "closet_add": ("recent-closet-adders", "wishlist_count"),
    "wishlist_add": ("recent-wishlist-adders", "inventory_count"),
}
COLUMNS = ["user_id", "username", "firstName", "usersize", "relevant_variant_size", "product_name",
           "variantID", "lastActive"]  # fmt: skip
TEST_USER = {
    "user_id": "0e54067c-4c0e-4e4a-8a23-a47661578059",
    "username": "beems",
    "firstName": "Mbiyimoh",
    "usersize": "13",
}
PLACEHOLDERS = {
    "relevant_variant_size": "13",
    "product_name": "Test Product",
    "variantID": "test-variant-id",
}

CLOSET_ADDS = """
select items.user_id, 'closet_add', items.product_variant_id, products.name, items.created_at
from inventory_items as items
join users on users.id = items.user_id and users.deleted_at = 0
join product_variants as variants on variants.id = items.product_variant_id
join products on products.id = variants.product_id
where items.status = 'OPEN_FOR_TRADE' and items.created_at >= %s and items.created_at < %s
"""
WISHLIST_ADDS = """
select items.user_id, 'wishlist_add', items.product_variant_id, products.name, items.created_at
from wishlist_items as items
join users on users.id = items.user_id and users.deleted_at = 0
join product_variants as variants on variants.id = items.product_variant_id
join products on products.id = variants.product_id
where items.deleted_at = 0 and items.created_at >= %s and items.created_at < %s
"""
OFFERS_CREATED = """
select offers.creator_user_id, 'offer_created', variants.id, products.name, offers.created_at
from offers
join users on users.id = offers.creator_user_id and users.deleted_at = 0
join lateral (
    select product_variant_id from offer_items where offer_id = offers.id order by id limit 1
) as first_item on true
join product_variants as variants on variants.id = first_item.product_variant_id
join products on products.id = variants.product_id
where offers.created_at >= %s and offers.created_at < %s
"""
PROFILES = """
select users.id, users.username, users.first_name, user_activities.last_active::text
from users
left join user_activities on user_activities.user_id = users.id
where users.id = any(%s)
"""
USER_SIZES = """
select distinct on (preferences.user_id) preferences.user_id, values.value
from user_preferences as preferences
join attribute_preferences as preferred on preferred.user_preference_id = preferences.id
join attributes on attributes.id = preferred.attribute_id and attributes.name = 'mens_size'
join attribute_values as values on values.id = preferred.attribute_value_id
where preferences.user_id = any(%s) and preferred.preferred
order by preferences.user_id, preferred.id
"""
VARIANT_SIZES = """
select id, coalesce(index_cache ->> 'mens_size', 'Unknown') from product_variants where id = any(%s)
"""
INVENTORY_COUNTS = """
select items.product_variant_id, count(*)
from inventory_items as items
join users on users.id = items.user_id and users.deleted_at = 0
where items.status = 'OPEN_FOR_TRADE' and items.product_variant_id = any(%s)
group by 1
"""
WISHLIST_COUNTS = """
select items.product_variant_id, count(*)
from wishlist_items as items
join users on users.id = items.user_id and users.deleted_at = 0
where items.deleted_at = 0 and items.product_variant_id = any(%s)
group by 1
"""

Activity = tuple[Any, ...]
"""User, kind, variant, name of the product, time."""
Row = dict[str, Any]


def main(url: str, as_of: str) -> None:
    start = datetime.now(UTC)
    with psycopg.connect(url) as connection:
        for setting in ("work_mem to '64MB'", "jit to off", "timezone to 'UTC'"):
            connection.execute(f"set {setting}")
        activities = recent_activities(connection, datetime.fromisoformat(as_of))
        chosen = prioritized(activities)
        rows = enriched(connection, chosen, newest_times(activities))
    for kind, (stem, count_column) in FILES.items():
        write_files(stem, count_column, [row for row in rows if row["kind"] == kind], start)


def recent_activities(connection: psycopg.Connection, as_of: datetime) -> list[Activity]:
    window = (as_of - (LOOKBACK - COOLING), as_of - COOLING)
    found = []
    for query in (OFFERS_CREATED, CLOSET_ADDS, WISHLIST_ADDS):
        found += connection.execute(query, window).fetchall()
    return found


def prioritized(activities: Iterable[Activity]) -> dict[Any, Activity]:
    """Each user's strongest activity: by kind, then the newest, then the greatest variant id."""
    best: dict[Any, Activity] = {}
    for one in activities:
        known = best.get(one[0])
        if known is None or strength(one) > strength(known):
            best[one[0]] = one
    return best


def strength(activity: Activity) -> tuple[Any, ...]:
    _, kind, variant, _, created_at = activity
    return (STRENGTH[kind], created_at, variant)


def newest_times(activities: Iterable[Activity]) -> dict[Any, datetime]:
    newest: dict[Any, datetime] = {}
    for user, _, _, _, created_at in activities:
        if user not in newest or created_at > newest[user]:
            newest[user] = created_at
    return newest


def enriched(
    connection: psycopg.Connection, chosen: dict[Any, Activity], newest: dict[Any, datetime]
) -> list[Row]:
    """All that the files need, filtered by demand, newest user first."""
    profiles = looked_up(connection, PROFILES, chosen)
    user_sizes = looked_up(connection, USER_SIZES, chosen)
    variant_sizes = looked_up(connection, VARIANT_SIZES, {one[2] for one in chosen.values()})
    demand = demand_counts(connection, chosen)
    rows = []
    for user, (_, kind, variant, product, _) in chosen.items():
        count = demand[kind].get(variant, (0,))[0]
        if count >= (MIN_WISHLIST_COUNT if kind == "closet_add" else MIN_INVENTORY_COUNT):
            row = dict(zip(COLUMNS[1:3], profiles[user], strict=False))
            row |= {"user_id": user, "usersize": user_sizes.get(user, (None,))[0]}
            row |= {"relevant_variant_size": variant_sizes[variant][0], "product_name": product}
            row |= {"variantID": variant, "lastActive": profiles[user][2], "kind": kind}
            rows.append({**row, "count": count, "newest": newest[user]})
    rows.sort(key=itemgetter("user_id"))
    rows.sort(key=itemgetter("newest"), reverse=True)
    return rows


def demand_counts(
    connection: psycopg.Connection, chosen: dict[Any, Activity]
) -> dict[str, dict[Any, Sequence[Any]]]:
    """Counts by variant, for each kind."""
    wanted = {one[2] for one in chosen.values() if one[1] == "closet_add"}
    offered = {one[2] for one in chosen.values() if one[1] != "closet_add"}
    wishlist = looked_up(connection, WISHLIST_COUNTS, wanted)
    inventory = looked_up(connection, INVENTORY_COUNTS, offered)
    return {"offer_created": inventory, "closet_add": wishlist, "wishlist_add": inventory}


def looked_up(
    connection: psycopg.Connection, query: str, ids: Iterable[Any]
) -> dict[Any, Sequence[Any]]:
    """What a query tells of each of these ids."""
    return {key: rest for key, *rest in connection.execute(query, [list(ids)]).fetchall()}


def write_files(stem: str, count_column: str, rows: list[Row], start: datetime) -> None:
    """The production file, and the test file of one row."""
    stamp = f"{start:%Y%m%dT%H%M%S}"
    write(f"{stem}_{stamp}.csv", count_column, rows)
    seen = start.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    first = rows[0] if rows else {**PLACEHOLDERS, "count": None}
    write(f"{stem}_TEST_{stamp}.csv", count_column, [{**first, **TEST_USER, "lastActive": seen}])


def write(name: str, count_column: str, rows: Iterable[Row]) -> None:
    with Path(name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*COLUMNS, count_column])
        writer.writerows([row[column] for column in (*COLUMNS, "count")] for row in rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
