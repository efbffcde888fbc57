"""The driver's connection: made within a deadline, and cut when it passes."""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from runner.clock import Deadline
from runner.errors import ProfileError
from runner.project.secrets import redacted_quotation
from runner.project.targets import Target

Driver = psycopg.Connection[Any]

UNANSWERED_SECONDS = 30
"""A peer that the network does not reach is given up after this; the server gives us up as fast."""
SERVERS_NETWORK = f"""
    select
        set_config('tcp_keepalives_idle', '10', false),
        set_config('tcp_keepalives_interval', '5', false),
        set_config('tcp_keepalives_count', '4', false),
        set_config('tcp_user_timeout', '{UNANSWERED_SECONDS}s', false)
""".encode()
CHECK_INTERVAL = b"set client_connection_check_interval to '2s'"
"""A statement ends when its client is gone, and with it the lock that it holds."""
FIRST_WITH_CHECK_INTERVAL = 140000


def check_url(target: Target) -> None:
    """Raises `ProfileError` if libpq cannot read the target's URL."""
    try:
        conninfo_to_dict(_libpq_url(target))
    except (psycopg.Error, UnicodeError) as problem:
        shown = redacted_quotation(target, str(problem))
        raise ProfileError(
            f"the url of target {target.name} cannot be read: {shown}",
            fix="write postgresql://user:password@host:port/dbname, the password percent-encoded",
        ) from None


def connect(target: Target, deadline: Deadline | None) -> Driver:
    """A connection whose two ends notice a dead network.

    Raises the driver's errors, and `DeadlinePassed`.
    """
    if deadline is None:
        return _connect(target, target.connect_timeout)
    seconds = max(1, min(target.connect_timeout, int(deadline.left)))
    return _within(deadline, lambda: _connect(target, seconds))


def _libpq_url(target: Target) -> str:
    url = target.url.get_secret_value() if target.url else ""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def _connect(target: Target, seconds: int) -> Driver:
    connection = psycopg.connect(
        _libpq_url(target),
        **target.connection_parameters(),
        connect_timeout=seconds,
        application_name="push-audiences",
        client_encoding="UTF8",
        # nothing is left on the server under a name: behind a pooler others may get the connection
        prepare_threshold=None,
        autocommit=True,
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=4,
        tcp_user_timeout=UNANSWERED_SECONDS * 1000,
    )
    try:
        _settle_network(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _settle_network(connection: Driver) -> None:
    """Tell the server to notice a dead client, as far as it can."""
    connection.execute(SERVERS_NETWORK)
    if connection.info.server_version >= FIRST_WITH_CHECK_INTERVAL:
        # refused where the operating system cannot tell
        with suppress(psycopg.errors.InvalidParameterValue):
            connection.execute(CHECK_INTERVAL)


def _within(deadline: Deadline, make: Callable[[], Driver]) -> Driver:
    """In a thread of its own: looking up a name can be neither bounded nor interrupted."""
    done: queue.SimpleQueue[Driver | BaseException] = queue.SimpleQueue()
    given_up = threading.Event()

    def work() -> None:
        try:
            connection = make()
        except BaseException as problem:  # whatever it is, it is raised where it is waited for
            done.put(problem)
            return
        done.put(connection)
        if given_up.is_set():
            connection.close()

    threading.Thread(target=work, name="connecting", daemon=True).start()
    try:
        outcome = done.get(timeout=deadline.left)
    except queue.Empty:
        given_up.set()
        raise deadline.passed("connecting") from None
    except BaseException:
        given_up.set()
        raise
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


@contextmanager
def cut_at(deadline: Deadline | None, connection: Driver) -> Iterator[None]:
    """Shuts the connection's socket when the deadline passes: whoever waits for an answer that
    never comes then gets an error. Costs a thread that sleeps."""
    if deadline is None:
        yield
        return
    # a descriptor of our own, so that it is never somebody else's by then
    with socket.socket(fileno=os.dup(connection.pgconn.socket)) as wire:
        guard = threading.Lock()

        def cut() -> None:
            with guard, suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(deadline.left, cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            with guard:
                wire.close()
