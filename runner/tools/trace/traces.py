"""What became of a user in an audience, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from runner.errors import Location
from runner.project.audience import Output
from runner.sql.compile import CompiledAudience
from runner.tools.trace.rules import Row

Fate = Literal["exported", "withheld", "left out", "unknown"]


@dataclass(frozen=True)
class Reason:
    """Why a user or row is left out: the model whose rule says so, the rule's line, in words."""

    model: str
    text: str
    where: Location


@dataclass(frozen=True)
class Step:
    """A model with the key: the user's rows in it, and those it was offered but did not take.

    `is_supply` models only read sources; they neither start nor end the way of a user.
    """

    model: str
    where: Location
    rows: list[Row]
    left_out: list[Row]
    choice: Reason | None
    is_supply: bool


@dataclass(frozen=True)
class OutsideAction:
    """A row outside the window: runs with an as-of time after `after`, up to `until`, count it."""

    row: Row
    at: datetime
    after: datetime
    until: datetime


@dataclass(frozen=True)
class Trace:
    """One user's way. `exports` are the files that have them, `reasons` why none has, or why none
    of these is published."""

    user: str
    fate: Fate
    exports: list[Output]
    reasons: list[Reason]
    steps: list[Step]
    outside: list[OutsideAction]


@dataclass(frozen=True)
class Answer:
    """The users' ways, in the order they were asked for, each once."""

    compiled: CompiledAudience
    traces: list[Trace]


def moment(value: object) -> datetime | None:
    """An instant as PostgreSQL writes it in JSON; one without offset is taken for UTC."""
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
