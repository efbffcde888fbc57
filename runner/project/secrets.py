"""The one place that hides secrets: what is logged, printed or written goes through here.

`hide()` makes the secrets of a target known. From then on `redacted()` puts stars in their place,
however they were spelled.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote

from runner.project.targets import MASK, Target

SECRETS: ContextVar[frozenset[str]] = ContextVar("SECRETS", default=frozenset())
"""What must not be shown: of every target that this process, or this thread of it, has chosen."""

MACHINE_KEYS = frozenset(
    (
        "path", "manifest", "sha256", "runId", "run_id", "modelsHash", "models_hash", "status",
        "kind", "audience", "target", "audienceType", "audienceTypes", "audience_types",
        "timestamp", "startedAt", "asOf", "engine", "parameters",
    )
)  # fmt: skip
"""Names and values that come from the project or are made here, and that others rely on to the
letter: a password that happens to be a part of one would make a manifest unreadable."""


def hide(target: Target) -> None:
    """From now on, show no secret of this target."""
    SECRETS.set(SECRETS.get() | secrets_of(target))


def redacted(text: str) -> str:
    """`text` with stars for every secret that is known."""
    return _without(SECRETS.get(), text)


def redacted_document(value: Any) -> Any:
    """A document of dicts, lists and texts without secrets."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        return {
            key: below if key in MACHINE_KEYS else redacted_document(below)
            for key, below in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted_document(below) for below in value]
    return value


def redacted_quotation(target: Target, text: str) -> str:
    """What libpq says about a target, which may quote any part of a URL that it cannot read: of
    the URL, only what names the server is shown."""
    url = target.url.get_secret_value() if target.url else ""
    pieces = {piece for sign in "@:/?&=# " for piece in url.split(sign)}
    pieces |= set(re.split(r"[@:/?&=#\s'\"]+", url))
    quoted = _spelled(pieces) - (_server_names(_parts(url)) if url else set())
    return redacted(_without(quoted, text))


def secrets_of(target: Target) -> frozenset[str]:
    """Every text that must not be shown. Shorter than 3 letters, a text hides nothing."""
    found = {one.get_secret_value() for one in (*target.hidden, target.password) if one}
    url = target.url.get_secret_value() if target.url else ""
    parts = _parts(url)
    found |= {url, *(parts.get(key, "") for key in _SECRET_PARTS)}
    found |= set(re.split(r"[=\s]+", parts.get("options", "")))
    if not parts:  # libpq cannot read it either; this is where its secret would be
        for guess in re.findall(r"//[^:/@]*:(.*)@|password=(.*)", url):
            found |= {piece for whole in guess for piece in (whole, *re.split(r"[&\s]", whole))}
    if not target.is_demo:
        found |= set(_from_outside(parts.get("passfile")))
    return frozenset(_spelled(found))


def _spelled(texts: Iterable[str]) -> set[str]:
    """Each text in every spelling that a URL may have it in."""
    forms = (lambda text: text, partial(quote, safe=""), quote_plus, unquote)
    return {form for text in texts for spell in forms if len(form := spell(text)) > 2}


def _without(secrets: Iterable[str], text: str) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


_SECRET_PARTS = ("password", "sslpassword", "options")


def _parts(url: str) -> dict[str, str]:
    """A URL as libpq reads it; nothing if it cannot, or if there is none."""
    if not url:
        return {}
    import psycopg  # what is done offline must not load the driver
    from psycopg.conninfo import conninfo_to_dict

    try:
        parts = conninfo_to_dict(url.replace("postgresql+psycopg://", "postgresql://", 1))
    except (psycopg.Error, UnicodeError):
        return {}
    return {name: str(value) for name, value in parts.items()}


def _server_names(parts: dict[str, str]) -> set[str]:
    """The parts of a URL that name the server and are no secrets; the scheme and keywords too."""
    secret = " ".join(parts.get(key, "") for key in _SECRET_PARTS)
    values = {value for key, value in parts.items() if key not in _SECRET_PARTS}
    names = values | {piece for value in values for piece in re.split(r"[,/]", value)}
    return {name for name in names if name not in secret} | {
        "postgresql", "postgresql+psycopg", "postgres", *parts,
        "host", "port", "user", "dbname", "password", "sslmode",
    }  # fmt: skip


def _from_outside(passfile: str | None) -> Iterator[str]:
    """Passwords that libpq finds by itself: environment, pgpass files, service files."""
    environment = os.environ
    if password := environment.get("PGPASSWORD"):
        yield password
    given = (passfile, environment.get("PGPASSFILE"))
    for line in _lines(*given, "~/.pgpass"):
        if not line.startswith("#"):
            password = re.split(r"(?<!\\):", line, maxsplit=4)[-1]
            yield from (password, re.sub(r"\\(.)", r"\1", password))
    folder = environment.get("PGSYSCONFDIR")
    services = (environment.get("PGSERVICEFILE"), folder and f"{folder}/pg_service.conf")
    for line in _lines(*services, "~/.pg_service.conf"):
        name, _, value = line.partition("=")
        if name.strip() in ("password", "sslpassword", "options"):
            yield from (value, value.strip())


def _lines(*files: str | None) -> Iterable[str]:
    for file in files:
        if file:
            with suppress(OSError, RuntimeError):
                yield from Path(file).expanduser().read_text(errors="replace").splitlines()
