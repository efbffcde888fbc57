"""A TCP proxy before a server's socket, which breaks the way in every way that ways break."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Fault = Literal["none", "reset", "close", "freeze", "half", "latency"]
RESET = struct.pack("ii", 1, 0)


@dataclass
class Proxy:
    """Listens on a free port of 127.0.0.1 and forwards to a socket file.

    The `fault` strikes once, when `at` pieces of data have come from clients in all, or with the
    first piece that contains `on` (statements may come in one piece or in several): `reset` and
    `close` end both sides, `half` ends the client's side only, `freeze` forwards nothing more on
    this connection. `latency` delays each piece by `seconds`, from the beginning. `then` is called
    when the fault strikes. `round_trips` counts how often a client sent something after an answer.
    """

    server: str
    fault: Fault = "none"
    at: int = 0
    on: bytes | None = None
    seconds: float = 0.0
    then: Callable[[], None] | None = None
    pieces: int = 0
    round_trips: int = 0
    is_answering: bool = True
    has_struck: bool = False
    is_open: bool = True
    sent: list[bytes] = field(default_factory=list)
    connections: list[socket.socket] = field(default_factory=list)

    def __enter__(self) -> Proxy:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.guard = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_open = False
        for one in (self.listener, *self.connections):
            _end(one)

    def _accept(self) -> None:
        while self.is_open:
            try:
                client, _ = self.listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError:
                return
            upstream = socket.socket(socket.AF_UNIX)
            try:
                upstream.connect(self.server)
            except OSError:
                _reset(client)
                continue
            self.connections += [client, upstream]
            frozen = threading.Event()
            for source, sink in ((client, upstream), (upstream, client)):
                arguments = (source, sink, client, frozen)
                threading.Thread(target=self._forward, args=arguments, daemon=True).start()

    def _forward(
        self, source: socket.socket, sink: socket.socket, client: socket.socket, frozen: threading.Event
    ) -> None:  # fmt: skip
        try:
            while data := source.recv(1 << 16):
                self._count_turn(is_client=source is client)
                if source is client and self._is_time(data):
                    self._strike(client, sink, frozen)
                if frozen.is_set():
                    return  # and leave both sides open
                if self.fault == "latency":
                    time.sleep(self.seconds)
                sink.sendall(data)
        except OSError:
            pass
        if not frozen.is_set():
            _end(source)
            _end(sink)

    def _count_turn(self, *, is_client: bool) -> None:
        with self.guard:
            self.round_trips += is_client and self.is_answering
            self.is_answering = not is_client

    def _is_time(self, data: bytes) -> bool:
        with self.guard:
            self.pieces += 1
            self.sent.append(data)
            is_due = self.on in data if self.on else self.pieces >= self.at > 0
            is_time = not self.has_struck and self.fault != "none" and is_due
            self.has_struck = self.has_struck or is_time
            return is_time

    def _strike(
        self, client: socket.socket, upstream: socket.socket, frozen: threading.Event
    ) -> None:
        if self.then:
            self.then()
        if self.fault == "freeze":
            frozen.set()
        elif self.fault == "half":
            frozen.set()
            _reset(client)
        elif self.fault == "reset":
            _reset(client)
            _end(upstream)
        elif self.fault == "close":
            _end(client)
            _end(upstream)


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


def _reset(client: socket.socket) -> None:
    """RST instead of FIN; another thread's recv() on it ends too."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    with suppress(OSError):
        client.shutdown(socket.SHUT_RD)
    client.close()


@contextmanager
def tls_before(port: int, certificate: Path, key: Path) -> Iterator[int]:
    """A port of 127.0.0.1 that speaks PostgreSQL's TLS and forwards to one that does not."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    loop = asyncio.new_event_loop()

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(1 << 16):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readexactly(8)  # SSLRequest
            writer.write(b"S")
            await writer.drain()
            await writer.start_tls(context)
            behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(pump(reader, behind_writer), pump(behind_reader, writer))

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
