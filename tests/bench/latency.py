"""A server that is some milliseconds away: a proxy that holds back what passes through it."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import parse_qs, unquote, urlsplit


@contextmanager
def delayed(url: str, round_trip: float) -> Iterator[str]:
    """The URL of a way to the same database that takes `round_trip` seconds there and back.

    Only time is added, no limit of bandwidth: what follows closely arrives as closely.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_accept, args=(listener, url, round_trip / 2), daemon=True).start()
    parts = urlsplit(url)
    user, _, _ = parts.netloc.rpartition("@")
    netloc = f"{user}@127.0.0.1:{listener.getsockname()[1]}"
    try:
        yield parts._replace(netloc=netloc, query="").geturl()
    finally:
        listener.close()


def _accept(listener: socket.socket, url: str, seconds: float) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            server = _connected(url)
            for source, sink in ((client, server), (server, client)):
                source.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
                _start(source, sink, seconds)


def _connected(url: str) -> socket.socket:
    parts = urlsplit(url)
    host = parse_qs(parts.query).get("host", [unquote(parts.hostname or "localhost")])[0]
    if host.startswith("/"):
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{parts.port or 5432}")
        return server
    return socket.create_connection((host, parts.port or 5432))


def _start(source: socket.socket, sink: socket.socket, seconds: float) -> None:
    for end in (source, sink):
        with suppress(OSError):  # a socket file has no such option
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    under_way: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

    def take() -> None:
        data = b"?"
        while data:
            try:
                data = source.recv(1 << 16)
            except OSError:
                data = b""
            under_way.put((time.monotonic() + seconds, data))

    def give() -> None:
        while True:
            due, data = under_way.get()
            time.sleep(max(0.0, due - time.monotonic()))
            with suppress(OSError):
                if data:
                    sink.sendall(data)
                    continue
                sink.shutdown(socket.SHUT_WR)
            return

    for work in (take, give):
        threading.Thread(target=work, daemon=True).start()
