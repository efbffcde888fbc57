"""Signals, held off or passed over while something must not be cut in two."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FROM_SIGNAL = 128
"""An exit code above it says which signal ended the process, as shells have it."""


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP come too late while this lasts, and are passed over."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python tells signals to the main thread only
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def held_off() -> Iterator[None]:
    """The same signals wait while this lasts, and are told when it ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def interruption(problem: BaseException) -> str | None:
    """The name of the signal that an exception stands for, None if it is of another kind."""
    if isinstance(problem, KeyboardInterrupt):
        return signal.SIGINT.name
    code = problem.code if isinstance(problem, SystemExit) else None
    if not isinstance(code, int) or code <= FROM_SIGNAL:
        return None
    return signal.Signals(code - FROM_SIGNAL).name
