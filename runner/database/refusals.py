"""Why a connection was not made: libpq gives no SQLSTATE then, so its words have to tell."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """How far a connection came, how to mend it, and whether it is worth another try."""

    stage: str
    mend: str
    is_transient: bool = False


_NAME = Refusal("name resolution", "correct the host's name in the target")
_DOWN = Refusal(
    "TCP", "see that the server runs, and that host and port are right", is_transient=True
)
_SILENT = Refusal(
    "TCP",
    "is the host reachable from here? connect_timeout of the target is in seconds",
    is_transient=True,
)
_BROKEN = Refusal("TCP", "see that the server runs, and what lies between", is_transient=True)
_WRONG_ROOT = Refusal(
    "TLS", "name the certificate that signed the server's in sslrootcert, or sslrootcert: system"
)
_WRONG_HOST = Refusal("TLS", "connect by the name that is in the server's certificate")
_TLS = Refusal("TLS", "correct sslmode and the certificates of the target")
_BUSY = Refusal("database", "the server takes no connection just now: try again", is_transient=True)
_REFUSALS = {
    "certificate verify failed": _WRONG_ROOT,
    "root certificate file": _WRONG_ROOT,
    "server certificate for": _WRONG_HOST,
    "does not support SSL": Refusal("TLS", "switch TLS on at the server, or correct sslmode"),
    "pg_hba.conf": Refusal(
        "authentication",
        "let this host, user and database in at the server's pg_hba.conf, or use TLS if it asks so",
    ),
    "password authentication failed": Refusal(
        "authentication", "correct user or password of the target"
    ),
    "no password supplied": Refusal("authentication", "give the target a password"),
    "not permitted to log in": Refusal("authentication", "grant the role LOGIN"),
    "permission denied for database": Refusal("permission", "grant the role CONNECT on it"),
    "the database system is": _BUSY,
    "too many c": _BUSY,
    "connection slots are reserved": _BUSY,
    "failed to resolve host": _NAME,
    "could not translate host name": _NAME,
    "onnection refused": _DOWN,
    "No such file or directory": _DOWN,
    "timeout expired": _SILENT,
    "No route to host": _SILENT,
    "unreachable": _SILENT,
    "onnection timed out": _SILENT,
    "closed the connection unexpectedly": _BROKEN,
    "onnection reset": _BROKEN,
    "Broken pipe": _BROKEN,
    "could not receive data from server": _BROKEN,
    "SYSCALL error": _BROKEN,
    "unexpected eof": _BROKEN,
    "SSL": _TLS,
    "ssl": _TLS,
    "certificate": _TLS,
    "private key": _TLS,
    "authentication": Refusal("authentication", "correct user or password of the target"),
    'role "': Refusal("authentication", "correct the user of the target"),
    'database "': Refusal("database", "correct the database's name in the target"),
    "invalid": Refusal(
        "target", "correct the target's url; a password in it must be percent-encoded"
    ),
}
"""In the order in which they are looked for: words of libpq and of the server, in English."""


def refusal_of(message: str) -> Refusal | None:
    """What a message of a connection that was not made, or is lost, means, if it is known."""
    return next((found for words, found in _REFUSALS.items() if words in message), None)
