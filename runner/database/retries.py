"""Trying a run again when what stopped it passes by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_exponential,
    wait_random,
)

from runner.clock import Deadline
from runner.errors import AudienceError, DatabaseError

T = TypeVar("T")

ATTEMPTS = 8
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 30
JITTER_SECONDS = 0.5


def _is_transient(problem: BaseException) -> bool:
    return isinstance(problem, AudienceError) and problem.is_transient


def retried(
    attempt: Callable[[], T],
    deadline: Deadline,
    before_retry: Callable[[DatabaseError, float], None],
) -> T:
    """What `attempt` returns, from the beginning each time, at most `ATTEMPTS` times.

    Waits half a second, then twice as long each time, and a random part of a second more. Another
    attempt must begin before the deadline. `before_retry` gets the error and the seconds to
    wait. Raises the last error.
    """

    def report(state: RetryCallState) -> None:
        problem = state.outcome and state.outcome.exception()
        assert isinstance(problem, DatabaseError)
        assert state.next_action is not None
        before_retry(problem, state.next_action.sleep)

    retrying = Retrying(
        retry=retry_if_exception(_is_transient),
        wait=wait_exponential(FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS)
        + wait_random(0, JITTER_SECONDS),
        stop=stop_after_attempt(ATTEMPTS) | stop_before_delay(deadline.left),
        before_sleep=report,
        reraise=True,
    )
    return retrying(attempt)
