"""The one grammar of file names in an output folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

MANIFEST_NAME = re.compile(r"([a-z0-9][a-z0-9-]*)_(\d{8}T\d{6})\.json")
CSV_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*(?:_TEST)?_(\d{8}T\d{6})\.csv")
POINTER_NAME = re.compile(r"([a-z0-9][a-z0-9-]*)\.latest\.json")
_NAME = re.compile(r"(?P<stem>.+?)(?P<test>_TEST)?(?:_(?P<day>\d{8})[T_](?P<time>\d{6}))?\.csv")
"""Names of this runner (`T` in the time) and of the old engine (`_`)."""


@dataclass(frozen=True)
class NamedCsv:
    """A CSV file by its name. `label` is the name without the time, `_TEST` included."""

    path: Path
    label: str
    is_test: bool
    timestamp: str | None


def csv_named(path: Path) -> NamedCsv | None:
    """What a file's name says, None if it is no name of a CSV file."""
    name = _NAME.fullmatch(path.name)
    if name is None:
        return None
    timestamp = f"{name['day']}T{name['time']}" if name["day"] else None
    label = name["stem"] + (name["test"] or "")
    return NamedCsv(path, label, bool(name["test"]), timestamp)


def manifest_name(audience: str, timestamp: str) -> str:
    return f"{audience}_{timestamp}.json"


def pointer_name(audience: str) -> str:
    return f"{audience}.latest.json"


def staging_name(audience: str, timestamp: str) -> str:
    return f".{audience}_{timestamp}.staging"
