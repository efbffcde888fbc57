"""The spec of layer2_trending in plain Python."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests.oracles import (
    Files,
    Row,
    Tables,
    living_users,
    only,
    postgresql_text,
    preferred_size,
    says,
)

TYPES = ["trending_top1", "trending_others"]


@dataclass(frozen=True)
class Parameters:
    trending_days: int = 7
    top_products: int = 10
    activity_days: int = 90
    open_offer_days: int = 30
    min_open_offers: int = 2
    require_complete_profile: bool = True


def audience(tables: Tables, as_of: datetime, parameters: Parameters) -> Files | None:
    start = as_of - timedelta(days=parameters.trending_days)
    recent = {offer["id"] for offer in tables["offers"] if start <= offer["created_at"] < as_of}
    if not recent:
        return None
    ranks = ranked(tables, recent)[: parameters.top_products]
    oldest = as_of - timedelta(days=parameters.activity_days)
    seen = {row["user_id"]: row["last_active"] for row in tables["user_activities"]}
    rows = []
    for user in living_users(tables).values():
        item = chosen(tables, ranks, user["id"])
        if item is None or user["id"] not in seen or seen[user["id"]] < oldest:
            continue
        size = preferred_size(tables, user["id"])
        is_complete = says(user["username"]) and says(user["first_name"]) and says(size)
        variant = item["product_variant_id"]
        count = open_offers(tables, variant, as_of, parameters)
        if (is_complete or not parameters.require_complete_profile) and (
            count >= parameters.min_open_offers
        ):
            rank = ranks.index(product_of(tables, variant)) + 1
            key = (rank, -seen[user["id"]].timestamp(), user["id"])
            rows.append((key, row_of(tables, user, size, rank, variant, count, seen[user["id"]])))
    files: Files = {kind: [] for kind in TYPES}
    for (rank, *_), row in sorted(rows, key=lambda pair: pair[0]):
        files[TYPES[0] if rank == 1 else TYPES[1]].append(row)
    return files


def ranked(tables: Tables, offers: set[Any]) -> list[Any]:
    """Products by the number of these offers that contain them, then by id."""
    containing: dict[Any, set[Any]] = {}
    for item in tables["offer_items"]:
        if item["offer_id"] in offers:
            product = product_of(tables, item["product_variant_id"])
            containing.setdefault(product, set()).add(item["offer_id"])
    return sorted(containing, key=lambda product: (-len(containing[product]), product))


def product_of(tables: Tables, variant_id: Any) -> Any:
    return only(tables["product_variants"], id=variant_id)["product_id"]


def chosen(tables: Tables, ranks: list[Any], user_id: Any) -> Row | None:
    """The user's open item of the best ranked product: the newest, then the smallest id."""
    held = [
        item
        for item in tables["inventory_items"]
        if item["user_id"] == user_id
        and item["status"] == "OPEN_FOR_TRADE"
        and product_of(tables, item["product_variant_id"]) in ranks
    ]
    held.sort(key=lambda item: item["id"])
    held.sort(key=lambda item: item["created_at"], reverse=True)
    held.sort(key=lambda item: ranks.index(product_of(tables, item["product_variant_id"])))
    return held[0] if held else None


def open_offers(tables: Tables, variant: Any, as_of: datetime, parameters: Parameters) -> int:
    start = as_of - timedelta(days=parameters.open_offer_days)
    containing = {
        item["offer_id"] for item in tables["offer_items"] if item["product_variant_id"] == variant
    }
    return sum(
        offer["id"] in containing
        and offer["offer_status"] == "OPEN"
        and offer["deleted_at"] == 0
        and start <= offer["created_at"] < as_of
        for offer in tables["offers"]
    )


def ordinal(rank: int) -> str:
    if rank % 100 in (11, 12, 13):
        return f"{rank}th"
    return f"{rank}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(rank % 10, 'th') }"


def row_of(
    tables: Tables, user: Row, size: str | None, rank: int, variant: Any, count: int, seen: datetime
) -> list[str]:
    alive = living_users(tables)
    wishes = sum(
        wish["product_variant_id"] == variant
        and wish["deleted_at"] == 0
        and wish["user_id"] in alive
        for wish in tables["wishlist_items"]
    )
    stored = only(tables["product_variants"], id=variant)
    shown = (stored["index_cache"] or {}).get("mens_size")
    return [
        str(user["id"]),
        user["username"] or "",
        user["first_name"] or "",
        size or "",
        only(tables["products"], id=stored["product_id"])["name"],
        ordinal(rank),
        str(variant),
        "Unknown" if shown is None else shown,
        str(wishes),
        str(count),
        postgresql_text(seen),
    ]
