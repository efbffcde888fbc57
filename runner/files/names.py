"""The one grammar of the names in an output folder: whoever makes or reads one does it here.

An output names its own CSV files (`Output.file_name`), because they are in the plan of a run. What
is named otherwise was put there by somebody else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

# [0-9], as \d takes the digits of every script
_AUDIENCE = "[a-z0-9][a-z0-9-]*"
_TIMESTAMP = "[0-9]{8}T[0-9]{6}"
_MANIFEST = re.compile(rf"({_AUDIENCE})_({_TIMESTAMP})\.json")
_STAGING = re.compile(rf"\.({_AUDIENCE})_({_TIMESTAMP})\.staging")
_POINTER = re.compile(rf"({_AUDIENCE})\.latest\.json")
_CSV = re.compile(rf"[A-Za-z0-9][A-Za-z0-9-]*(?:_TEST)?_({_TIMESTAMP})\.csv")
_ANY_TIMESTAMP = re.compile("([0-9]{8})[T_]([0-9]{6})")
"""This runner writes `T` between date and time, the old engine `_`."""
_ANY_CSV = re.compile(rf"(?P<stem>.+?)(?P<test>_TEST)?(?:_{_ANY_TIMESTAMP.pattern})?\.csv")


@dataclass(frozen=True)
class RunName:
    """One run of an audience in a folder: no two have the same second."""

    audience: str
    timestamp: str

    @classmethod
    def from_manifest(cls, name: str) -> RunName | None:
        """The run whose manifest has this name, None if it is no manifest's name."""
        found = _MANIFEST.fullmatch(name)
        return cls(*found.groups()) if found else None

    @classmethod
    def from_staging(cls, name: str) -> RunName | None:
        """The run whose staging folder has this name, None if it is no staging folder's name."""
        found = _STAGING.fullmatch(name)
        return cls(*found.groups()) if found else None

    @property
    def manifest(self) -> str:
        return f"{self.audience}_{self.timestamp}.json"

    @property
    def staging(self) -> str:
        return f".{self.audience}_{self.timestamp}.staging"

    def has_file(self, name: str) -> bool:
        """Whether a CSV file of this name is of the run's second."""
        return timestamp_of_csv(name) == self.timestamp


@dataclass(frozen=True)
class NamedCsv:
    """A CSV file by its name. `label` is the name without the time, `_TEST` included."""

    path: Path
    label: str
    is_test: bool
    timestamp: str | None


def csv_named(path: Path) -> NamedCsv | None:
    """What the name of a CSV file says, of the old engine's too; None if it is no such name."""
    found = _ANY_CSV.fullmatch(path.name)
    if found is None:
        return None
    stem, test, day, time = found.groups()
    return NamedCsv(path, stem + (test or ""), bool(test), f"{day}T{time}" if day else None)


def timestamp_of_csv(name: str) -> str | None:
    """The time in the name of a CSV file that a run published, None if it is no such name."""
    found = _CSV.fullmatch(name)
    return found[1] if found else None


def timestamp_given(text: str) -> str | None:
    """A run's time as people give it, in either engine's form."""
    found = _ANY_TIMESTAMP.fullmatch(text)
    return "T".join(found.groups()) if found else None


def pointer_name(audience: str) -> str:
    return f"{audience}.latest.json"


def audience_of_pointer(name: str) -> str | None:
    """The audience whose `latest` pointer has this name, None if it is no pointer's name."""
    found = _POINTER.fullmatch(name)
    return found[1] if found else None


def lock_name(audience: str) -> str:
    """The file that a run locks to be alone with its audience in a folder."""
    return f".{audience}.lock"
