"""Measurements as lines of text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from tests.bench.processes import Measured

HEAD = f"{'':<24}{'median s':>9}  {'min..max s':<16}{'peak MB':>8}{'to psql':>9}"


def table(taken: Mapping[str, Sequence[Measured]]) -> str:
    """One line for each command, and one for the time that the runner says it took."""
    return "\n".join([HEAD, *_lines(taken)])


def seconds_of(runs: Sequence[Measured]) -> list[float]:
    return [run.seconds for run in runs]


def peak_of(runs: Sequence[Measured]) -> float:
    return max(run.peak_mb for run in runs)


def _lines(taken: Mapping[str, Sequence[Measured]]) -> Iterator[str]:
    base = median(seconds_of(taken["psql"]))
    for name, runs in taken.items():
        yield _line(name, seconds_of(runs), base, f"{peak_of(runs):.1f}")
        if name == "runner":
            yield _line("  its own time", [_own_time(run) for run in runs], base, "")


def _line(name: str, seconds: Sequence[float], base: float, peak: str) -> str:
    span = f"{min(seconds):.3f}..{max(seconds):.3f}"
    ratio = median(seconds) / base
    return f"{name:<24}{median(seconds):>9.3f}  {span:<16}{peak:>8}{ratio:>9.2f}"


def _own_time(run: Measured) -> float:
    """Without starting the interpreter and importing."""
    return float(json.loads(run.stdout)["executionTimeMs"]) / 1000
