"""Everything one run is told, resolved once and passed along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from runner.profiles import Target


@dataclass(frozen=True)
class Settings:
    """`as_of` None means the run's start, `deadline_seconds` None the target's deadline,
    `keep_runs` None that older runs stay. Parameters are still text, as they were given."""

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
    deadline_seconds: float | None = None
    wait_seconds: float = 0
