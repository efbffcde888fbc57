"""Instants as text, lengths of time, and what is left of a deadline."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from runner.errors import DeadlinePassed, ParameterError

_SECONDS = {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
LONGEST_SECONDS = 7 * 86400


def seconds_of(text: str) -> float:
    """`90s`, `10m`, `10min`, `1.5 h` in seconds. Raises `ValueError` with what would do."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", text)
    if not found or found[2] not in _SECONDS:
        raise ValueError(f"{text!r} is not a length of time: write 90s, 10min or 2h")
    seconds = float(found[1]) * _SECONDS[found[2]]
    if not 0 < seconds <= LONGEST_SECONDS:
        raise ValueError(f"{text!r} must be more than 0 and at most 7 days")
    return seconds


def length_of(seconds: float) -> str:
    """Seconds as people write them: 10 min, 90 s."""
    if seconds and seconds % 60 == 0:
        return f"{seconds / 60:g} min"
    return f"{seconds:g} s"


@dataclass(frozen=True)
class Deadline:
    """A length in seconds, and when it ends on the monotonic clock."""

    seconds: float
    ends: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """One that begins now."""
        return cls(seconds, time.monotonic() + seconds)

    @property
    def left(self) -> float:
        """Seconds, never negative."""
        return max(0.0, self.ends - time.monotonic())

    @property
    def has_passed(self) -> bool:
        return self.left == 0

    def check(self, doing: str) -> None:
        """Raises `DeadlinePassed` if it has."""
        if self.has_passed:
            raise self.passed(doing)

    def passed(self, doing: str) -> DeadlinePassed:
        return DeadlinePassed(length_of(self.seconds), doing)


def instant(moment: datetime) -> str:
    """ISO 8601 in UTC with Z, to the microsecond where there is a fraction."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def milliseconds(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_as_of(text: str) -> datetime:
    """An ISO 8601 instant with its offset. Raises `ParameterError` for anything else."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ParameterError(
            f"--as-of {text!r} is not a date and time", fix="write it as 2025-11-28T12:00:00Z"
        ) from None
    if moment.tzinfo is None:
        raise ParameterError(
            f"--as-of {text!r} has no offset from UTC",
            fix=f"write {moment.isoformat()}Z for UTC",
        )
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ParameterError(f"--as-of {text!r} is outside the calendar") from None


def file_timestamp(moment: datetime) -> str:
    """`{ts}` in file names: UTC, YYYYMMDDTHHMMSS."""
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%S")
