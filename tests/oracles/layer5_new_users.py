"""The spec of layer5_new_users in plain Python."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests.oracles import Files, Row, Tables, living_users, only, says

LEVELS = ["no_shoes", "no_bio", "no_offers", "no_wishlist", "new_stars"]


@dataclass(frozen=True)
class Parameters:
    min_age_hours: float = 12
    max_age_days: float = 14
    require_first_name: bool = True


def audience(tables: Tables, as_of: datetime, parameters: Parameters) -> Files | None:
    users = [
        user
        for user in created_users(tables, as_of, parameters)
        if says(user["first_name"]) or not parameters.require_first_name
    ]
    if not users:
        return None
    files: Files = {level: [] for level in LEVELS}
    by_id = sorted(users, key=lambda user: user["id"])
    for user in sorted(by_id, key=lambda user: user["created_at"], reverse=True):
        number = level(tables, user)
        row = [str(user["id"]), user["username"] or "", user["first_name"] or "", str(number)]
        files[LEVELS[number - 1]].append(row + (target(tables, user["id"]) if number > 2 else []))
    return files


def created_users(tables: Tables, as_of: datetime, parameters: Parameters) -> list[Row]:
    oldest = as_of - timedelta(days=parameters.max_age_days)
    youngest = as_of - timedelta(hours=parameters.min_age_hours)
    alive = living_users(tables).values()
    return [user for user in alive if oldest <= user["created_at"] < youngest]


def level(tables: Tables, user: Row) -> int:
    def has(table: str, owner: str = "user_id") -> bool:
        return any(row[owner] == user["id"] for row in tables[table])

    if not has("inventory_items"):
        return 1
    if not says(user["bio"]):
        return 2
    if not has("offers", "creator_user_id"):
        return 3
    return 5 if alive_rows(tables, "wishlist_items", user["id"]) else 4


def alive_rows(tables: Tables, table: str, user_id: Any) -> list[Row]:
    """Rows of a user that are not deleted, by id."""
    own = [row for row in tables[table] if row["user_id"] == user_id and row["deleted_at"] == 0]
    return sorted(own, key=lambda row: row["id"])


def target(tables: Tables, user_id: Any) -> list[str]:
    """Name and variant of the target shoe, both empty without one."""
    for shoes in (
        desired_shoes(tables, user_id),
        offered_shoes(tables, user_id),
        wished_shoes(tables, user_id),
    ):
        if shoes:
            variant = only(tables["product_variants"], id=shoes[0])
            return [only(tables["products"], id=variant["product_id"])["name"], str(shoes[0])]
    return ["", ""]


def desired_shoes(tables: Tables, user_id: Any) -> list[Any]:
    """The variants, the one that counts first."""
    own = alive_rows(tables, "desired_items", user_id)
    own.sort(key=lambda row: (row["offers_count"], row["created_at"]), reverse=True)
    return [row["product_variant_id"] for row in own]


def offered_shoes(tables: Tables, user_id: Any) -> list[Any]:
    own = [offer for offer in tables["offers"] if offer["creator_user_id"] == user_id]
    own.sort(key=lambda offer: offer["id"])
    own.sort(key=lambda offer: offer["created_at"], reverse=True)
    for offer in own:
        items = [item for item in tables["offer_items"] if item["offer_id"] == offer["id"]]
        wanted = [item for item in items if item["offer_item_owner"] == "RECEIVER"]
        if items:
            by_id = sorted(wanted or items, key=lambda item: item["id"])
            return [item["product_variant_id"] for item in by_id]
    return []


def wished_shoes(tables: Tables, user_id: Any) -> list[Any]:
    own = alive_rows(tables, "wishlist_items", user_id)
    own.sort(key=lambda row: row["created_at"], reverse=True)
    return [row["product_variant_id"] for row in own]
