"""Signals, held off or passed over while something must not be cut in two."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FROM_SIGNAL = 128
"""An exit code above it is the signal that ended the process, as shells have it."""


Handler = Callable[[int, FrameType | None], object] | signal.Handlers


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP come too late while this lasts, and are passed over."""
    with _handled_by(signal.SIG_IGN):
        yield


@contextmanager
def held_off() -> Iterator[None]:
    """The same signals wait while this lasts, and are delivered when it ends."""
    waiting: list[int] = []
    with _handled_by(lambda number, _frame: waiting.append(number)):
        yield
    for number in waiting[:1]:
        signal.raise_signal(number)


@contextmanager
def _handled_by(handler: Handler) -> Iterator[None]:
    # not by a mask: another thread, such as a progress display's, would take the signal
    if threading.current_thread() is not threading.main_thread():
        yield  # Python delivers signals to the main thread only
        return
    before = {number: signal.signal(number, handler) for number in ENDING}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def interruption(problem: BaseException) -> str | None:
    """The name of the signal that an exception stands for, None if it is of another kind."""
    if isinstance(problem, KeyboardInterrupt):
        return signal.SIGINT.name
    code = problem.code if isinstance(problem, SystemExit) else None
    if not isinstance(code, int) or code <= FROM_SIGNAL:
        return None
    return signal.Signals(code - FROM_SIGNAL).name
