"""Everything a run is given, resolved once and passed along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, cast, get_args

from runner.errors import UsageError
from runner.project.targets import Target

Engine = Literal["v1", "v2"]
"""v1 is the audience's legacy command, v2 its models."""
ENGINE_VARIABLE = "AUTOMATION_ENGINE_VERSION"


def chosen_engine(environment: Mapping[str, str]) -> Engine:
    """The value of AUTOMATION_ENGINE_VERSION, v2 if it is not set. Raises `UsageError`."""
    given = environment.get(ENGINE_VARIABLE, "v2")
    if given not in get_args(Engine):
        raise UsageError(
            f"{ENGINE_VARIABLE} is {given!r}",
            fix="set it to v1 (the legacy command) or v2 (the models), or not at all",
        )
    return cast(Engine, given)


@dataclass(frozen=True)
class Settings:
    """`as_of` None means the run's start, `deadline_seconds` None the target's deadline,
    `keep_runs` None that older runs stay; `accepted_size` is why size guards are passed over.
    Parameters are still text, as they were given."""

    project_dir: Path
    audience: str
    target: Target
    parameters: Mapping[str, str] = field(default_factory=dict)
    as_of: datetime | None = None
    output_dir: Path = Path(".script-outputs")
    is_dry_run: bool = False
    is_all_or_nothing: bool = False
    automation_id: str | None = None
    keep_runs: int | None = None
    accepted_size: str | None = None
    deadline_seconds: float | None = None
    wait_seconds: float = 0
    engine: Engine = "v2"
