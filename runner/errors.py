"""The one error tree: what was wrong, where, what was looked at, how to fix it.

Every error that a user can cause is an `AudienceError`; its class decides the exit code.
Anything else that reaches the command line is a defect of the runner.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_PARTIAL = 3
EXIT_LOCKED = 4


EXCERPT_LINES = 3


@dataclass(frozen=True)
class Location:
    """A place in one of the project's files: path as the user knows it, line and column from 1.

    `text` is what the file held when it was read, so that the place can be shown. If a macro is
    called here, `macro` is the place in the macro's own file.
    """

    path: Path
    line: int | None = None
    column: int | None = None
    text: str | None = field(default=None, repr=False, compare=False)
    macro: Location | None = None

    @classmethod
    def at_offset(cls, path: Path, text: str, offset: int) -> Location:
        """The place of a character of a file's text, from 0."""
        start = text.rfind("\n", 0, offset) + 1
        return cls(path, text.count("\n", 0, offset) + 1, offset - start + 1, text)

    def moved(self, columns: int) -> Location:
        """So many columns further to the right, in the macro if there is one."""
        if self.macro is not None:
            return replace(self, macro=self.macro.moved(columns))
        return replace(self, column=self.column + columns) if self.column else self

    def __str__(self) -> str:
        numbers = [str(number) for number in (self.line, self.column) if number is not None]
        place = ":".join([str(self.path), *numbers])
        return f"{place} (in the macro at {self.macro})" if self.macro else place

    def excerpt(self) -> str | None:
        """Three lines of the file around the place, a caret below it (or below the line's start if
        no column is known), then those of the macro; None if there is no line."""
        own = self._own_excerpt()
        if own is None or self.macro is None:
            return own
        return "\n".join([own, f"{self.macro.path}:", self.macro.excerpt() or ""])

    def _own_excerpt(self) -> str | None:
        if self.text is None or self.line is None:
            return None
        lines = self.text.split("\n")
        first = max(0, min(self.line - 2, len(lines) - EXCERPT_LINES))
        width = len(str(first + EXCERPT_LINES))
        shown = []
        for number, line in enumerate(lines[first : first + EXCERPT_LINES], start=first + 1):
            shown.append(f"{number:>{width}} | {line}".rstrip())
            if number == self.line:
                column = self.column or len(line) - len(line.lstrip()) + 1
                # tabs stay tabs, so that the caret is below its character
                indent = "".join("\t" if one == "\t" else " " for one in line[: column - 1])
                shown.append(f"{' ' * width} | {indent}^")
        return "\n".join(shown)


class AudienceError(Exception):
    """Root of all errors: the run failed and nothing was published.

    `what` is wrong, `where` it was found, `looked_at` is what was examined (valid choices, the
    value given), `fix` says what to do about it. `str()` is the whole message on one line.
    """

    exit_code = EXIT_FAILED
    is_transient = False

    def __init__(
        self,
        what: str,
        *,
        where: Location | str | None = None,
        looked_at: str | None = None,
        fix: str | None = None,
    ) -> None:
        self.what = what
        self.where = where
        self.looked_at = looked_at
        self.fix = fix
        super().__init__(what)

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.what}" if self.where else self.what]
        parts += [part for part in (self.looked_at, self.fix) if part]
        return " ".join("; ".join(parts).split())

    def excerpt(self) -> str | None:
        """The source lines that the error is about, for people."""
        return self.where.excerpt() if isinstance(self.where, Location) else None


class UsageError(AudienceError):
    """The command line or the configuration is wrong; nothing was connected to or written."""

    exit_code = EXIT_USAGE


class ProfileError(UsageError):
    """profiles.yml or the environment does not describe the chosen target."""


class ProjectError(UsageError):
    """A file below models/ is wrong: YAML, Jinja, or SQL that no server needs to judge."""


class ParameterError(UsageError):
    """A parameter is unknown, of the wrong type, out of bounds, or against a rule."""


class LockedError(AudienceError):
    """Another run of the same audience is at work. No audience was read, nothing was published."""

    exit_code = EXIT_LOCKED


class DatabaseError(AudienceError):
    """The server refused something, or could not be reached. The transaction was rolled back.

    `is_transient`: it passes by itself, so a run may begin anew. `stage` is how far a connection
    came that could not be made.
    """

    def __init__(
        self,
        what: str,
        *,
        sqlstate: str | None = None,
        is_transient: bool = False,
        stage: str | None = None,
        where: Location | str | None = None,
        looked_at: str | None = None,
        fix: str | None = None,
    ) -> None:
        self.sqlstate = sqlstate
        self.is_transient = is_transient
        self.stage = stage
        super().__init__(what, where=where, looked_at=looked_at, fix=fix)


class ConnectionLost(DatabaseError):
    """There is no session, or no longer: every later statement would fail as well."""


class DeadlinePassed(ConnectionLost):
    """The run's time is over, and its session with it. Nothing was published."""

    def __init__(self, length: str, doing: str) -> None:
        self.length = length
        super().__init__(
            f"deadline of {length} passed while {doing}; nothing was published",
            fix="give it more time with --deadline, or with deadline in the target",
        )

    def during(self, doing: str) -> DeadlinePassed:
        """The same, by one who knows better what was being done."""
        return DeadlinePassed(self.length, doing)


class DataTestError(AudienceError):
    """Rows that were about to be exported fail a data test of severity error."""


class ExportError(AudienceError):
    """A file could not be written or published. No final name holds an incomplete file."""


def did_you_mean(given: str, choices: Iterable[str]) -> str:
    """A sentence with the closest valid names, or all of them."""
    known = sorted(choices)
    close = difflib.get_close_matches(given, known, n=2, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known: {', '.join(known)}" if known else "none are declared"
