"""The spec of layer3_behavior in plain Python."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests.oracles import Files, Tables, living_users, only, postgresql_text, preferred_size, says

PRIORITY = {"offer_created": 3, "closet_add": 2, "wishlist_add": 1}


@dataclass(frozen=True)
class Parameters:
    lookback_hours: float = 48
    cooling_hours: float = 12
    min_inventory_count: int = 3
    min_wishlist_count: int = 2
    require_complete_profile: bool = False
    use_next_best_action: bool = False


@dataclass(frozen=True)
class Action:
    user_id: Any
    kind: str
    variant_id: Any
    created_at: datetime

    @property
    def strength(self) -> tuple[Any, ...]:
        return (PRIORITY[self.kind], self.created_at, self.variant_id)


def audience(tables: Tables, as_of: datetime, parameters: Parameters) -> Files | None:
    actions = recent_activity(tables, as_of, parameters)
    if not actions:
        return None
    by_user: dict[Any, list[Action]] = defaultdict(list)
    for action in actions:
        by_user[action.user_id].append(action)
    counts = demand_counts(tables)
    files: dict[str, list[tuple[Any, list[str]]]] = {kind: [] for kind in PRIORITY}
    for user_id, own in by_user.items():
        action = choose(own, counts, parameters)
        if action is None:
            continue
        row = enriched(tables, action, counts[demand_kind(action)][action.variant_id])
        if parameters.require_complete_profile and not is_complete(tables, user_id):
            continue
        newest = max(one.created_at for one in own)
        files[action.kind].append(((-newest.timestamp(), user_id), row))
    return {kind: [row for _, row in sorted(rows)] for kind, rows in files.items()}


def recent_activity(tables: Tables, as_of: datetime, parameters: Parameters) -> list[Action]:
    start = as_of - timedelta(hours=parameters.lookback_hours - parameters.cooling_hours)
    end = as_of - timedelta(hours=parameters.cooling_hours)
    alive = living_users(tables)
    found = []
    for item in tables["inventory_items"]:
        if item["status"] == "OPEN_FOR_TRADE":
            found.append(
                Action(
                    item["user_id"], "closet_add", item["product_variant_id"], item["created_at"]
                )
            )
    for item in tables["wishlist_items"]:
        if item["deleted_at"] == 0:
            found.append(
                Action(
                    item["user_id"], "wishlist_add", item["product_variant_id"], item["created_at"]
                )
            )
    for offer in tables["offers"]:
        items = [item for item in tables["offer_items"] if item["offer_id"] == offer["id"]]
        if items:
            shoe = min(items, key=lambda item: item["id"])["product_variant_id"]
            found.append(
                Action(offer["creator_user_id"], "offer_created", shoe, offer["created_at"])
            )
    return [one for one in found if one.user_id in alive and start <= one.created_at < end]


def demand_kind(action: Action) -> str:
    return "wishlist" if action.kind == "closet_add" else "inventory"


def demand_counts(tables: Tables) -> dict[str, dict[Any, int]]:
    alive = living_users(tables)
    counts: dict[str, dict[Any, int]] = {
        "inventory": defaultdict(int),
        "wishlist": defaultdict(int),
    }
    for item in tables["inventory_items"]:
        if item["status"] == "OPEN_FOR_TRADE" and item["user_id"] in alive:
            counts["inventory"][item["product_variant_id"]] += 1
    for item in tables["wishlist_items"]:
        if item["deleted_at"] == 0 and item["user_id"] in alive:
            counts["wishlist"][item["product_variant_id"]] += 1
    return counts


def choose(
    own: list[Action], counts: dict[str, dict[Any, int]], parameters: Parameters
) -> Action | None:
    """The user's one action, if it is in demand."""
    ranked = sorted(own, key=lambda action: action.strength, reverse=True)
    candidates = ranked if parameters.use_next_best_action else ranked[:1]
    for action in candidates:
        kind = demand_kind(action)
        least = (
            parameters.min_wishlist_count if kind == "wishlist" else parameters.min_inventory_count
        )
        if counts[kind][action.variant_id] >= least:
            return action
    return None


def enriched(tables: Tables, action: Action, count: int) -> list[str]:
    user = only(tables["users"], id=action.user_id)
    variant = only(tables["product_variants"], id=action.variant_id)
    product = only(tables["products"], id=variant["product_id"])
    seen = [one for one in tables["user_activities"] if one["user_id"] == action.user_id]
    size = (variant["index_cache"] or {}).get("mens_size")
    return [
        str(action.user_id),
        user["username"] or "",
        user["first_name"] or "",
        preferred_size(tables, action.user_id) or "",
        "Unknown" if size is None else size,
        product["name"],
        str(action.variant_id),
        postgresql_text(seen[0]["last_active"]) if seen else "",
        str(count),
    ]


def is_complete(tables: Tables, user_id: Any) -> bool:
    first_name = only(tables["users"], id=user_id)["first_name"]
    return says(first_name) and says(preferred_size(tables, user_id))
