"""The specs of the audiences in plain Python, over lists of rows: one module an audience.

Written from the specs, not from the SQL: the property tests hold the two against each other. The
`audience` of each module gives a run's files, or None where there is no activity.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

Row = dict[str, Any]
Tables = dict[str, list[Row]]
Files = dict[str, list[list[str]]]
"""The rows of each production file by audience type, in order, as the text that the CSV holds."""

BLANKS = " \t\r\n"


def living_users(tables: Tables) -> dict[Any, Row]:
    return {user["id"]: user for user in tables["users"] if user["deleted_at"] == 0}


def only(rows: Iterable[Row], **columns: Any) -> Row:
    """The one row that has these values."""
    (found,) = (row for row in rows if all(row[name] == columns[name] for name in columns))
    return found


def says(text: str | None) -> bool:
    """Whether a text is there and holds something that shows."""
    return bool(text and text.strip(BLANKS))


def preferred_size(tables: Tables, user_id: Any) -> str | None:
    statements = {one["id"] for one in tables["user_preferences"] if one["user_id"] == user_id}
    attributes = {one["id"] for one in tables["attributes"] if one["name"] == "mens_size"}
    preferred = [
        one
        for one in tables["attribute_preferences"]
        if one["user_preference_id"] in statements
        and one["preferred"]
        and one["attribute_id"] in attributes
    ]
    if not preferred:
        return None
    first = min(preferred, key=lambda one: one["id"])
    return str(only(tables["attribute_values"], id=first["attribute_value_id"])["value"])


def postgresql_text(moment: datetime) -> str:
    """A timestamptz as PostgreSQL prints it in UTC: no trailing zeros in the fraction."""
    fraction = f".{moment.microsecond:06}".rstrip("0") if moment.microsecond else ""
    return f"{moment:%Y-%m-%d %H:%M:%S}{fraction}+00"
