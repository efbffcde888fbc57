"""Measurements as lines of text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from tests.bench.processes import Measured

Taken = Mapping[str, Sequence[Measured]]
RUNNER = "runner"


def table(taken: Taken, bases: Sequence[str]) -> str:
    """One line for each command, with its ratio to each of the bases; after the runner's a line for
    its time outside SQL."""
    ratios = "".join(f"{f'/ {base}':>16}" for base in bases)
    head = f"{'':<28}{'median s':>9}  {'min..max s':<16}{'peak MB':>8}{ratios}"
    return "\n".join([head, *_lines(taken, bases)])


def seconds_of(runs: Sequence[Measured]) -> list[float]:
    return [run.seconds for run in runs]


def peak_of(runs: Sequence[Measured]) -> float:
    return max(run.peak_mb for run in runs)


def _lines(taken: Taken, bases: Sequence[str]) -> Iterator[str]:
    medians = [median(seconds_of(taken[base])) for base in bases]
    for name, runs in taken.items():
        seconds = median(seconds_of(runs))
        ratios = "".join(f"{seconds / base:>16.2f}" for base in medians)
        yield f"{_head(name, seconds_of(runs))}{peak_of(runs):>8.1f}{ratios}"
        if name == RUNNER:
            yield _head("  of it outside SQL", [outside_sql(run) for run in runs])


def _head(name: str, seconds: Sequence[float]) -> str:
    span = f"{min(seconds):.3f}..{max(seconds):.3f}"
    return f"{name:<28}{median(seconds):>9.3f}  {span:<16}"


def outside_sql(run: Measured) -> float:
    """The seconds of a runner's process that no step of the run took."""
    steps = json.loads(run.stdout)["metadata"]["steps"]
    return run.seconds - sum(step["executionTimeMs"] for step in steps) / 1000
