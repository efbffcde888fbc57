"""What a command prints, and the exit code it ends with.

Output that is lost never changes what was done: writing to stdout and stderr does not fail. The
first error is kept instead, and a command whose output is its product exits with 1 because of it.
"""

from __future__ import annotations

import errno
import functools
import io
import json
import os
import select
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TextIO

import typer

from runner.errors import EXIT_DONE, EXIT_FAILED, AudienceError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

P = ParamSpec("P")


class Terminated(SystemExit):
    """SIGTERM or SIGHUP. For a SystemExit the driver cancels the running statement."""


class Signals:
    """What SIGINT, SIGTERM and SIGHUP do to the process: they end it, until they are ignored."""

    are_ignored = False

    def handle(self, number: int, _frame: object) -> None:
        if self.are_ignored:
            return
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        signal.signal(number, signal.SIG_IGN)
        raise Terminated(128 + number)


_signals = Signals()


def handle_signals() -> None:
    """Handle the signals that end a process. SIGINT stays ignored if the parent ignores it."""
    numbers = [signal.SIGTERM, signal.SIGHUP]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        numbers.append(signal.SIGINT)
    for number in numbers:
        signal.signal(number, _signals.handle)


def ignore_signals() -> None:
    """Ignore them until the process ends: its work is done, and its exit code is known."""
    _signals.are_ignored = True


class OutputFile(io.FileIO):
    """A file descriptor to which writing never fails. `lost` is the first error, if there was
    one."""

    lost: OSError | None = None

    def write(self, data: ReadableBuffer) -> int:
        try:
            while (written := super().write(data)) is None:  # another process made it non-blocking
                select.select([], [self], [])
        except OSError as problem:
            self.lost = self.lost or problem
            return memoryview(data).nbytes
        return written


def guard_output() -> None:
    """Make stdout and stderr such files. What a terminal's encoding lacks is printed escaped."""
    sys.stdout = _guarded(sys.stdout, 1)
    sys.stderr = _guarded(sys.stderr, 2)


def _guarded(stream: TextIO | None, number: int) -> TextIO:
    if stream is None:  # it was closed: whatever is written to it is lost
        mode = os.O_RDONLY if number == 1 else os.O_WRONLY
        file, encoding = OutputFile(os.open(os.devnull, mode), "w"), "utf-8"
    else:
        file, encoding = OutputFile(number, "w", closefd=False), stream.encoding
    return io.TextIOWrapper(
        io.BufferedWriter(file), encoding, errors="backslashreplace", line_buffering=True
    )


def reported(
    *, document: Callable[[str], Any] | None = None
) -> Callable[[Callable[P, int | None]], Callable[P, None]]:
    """Turns what a command returns or raises into its exit code. An error is one line on stderr;
    with --json also a document on stdout, by default that of a failed run."""

    def decorate(command: Callable[P, int | None]) -> Callable[P, None]:
        @functools.wraps(command)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
            is_json_log = kwargs.get("log_format") == "json"
            try:
                code = command(*args, **kwargs) or EXIT_DONE
            except AudienceError as problem:
                code, message = problem.exit_code, str(problem)
                _print_error(message, problem.excerpt(), is_json_log=is_json_log)
            except (KeyboardInterrupt, Terminated) as problem:
                code, what = 130, "interrupted"
                if isinstance(problem, Terminated):
                    code, what = int(problem.code or EXIT_FAILED), "terminated"
                message = ": ".join([what, *getattr(problem, "__notes__", [])])
                _print_error(message, is_json_log=is_json_log)
            else:
                raise typer.Exit(code)
            if kwargs.get("as_json"):
                print_json((document or _failed_run)(_redacted(message)))
            raise typer.Exit(code)

        return wrapper

    return decorate


def invalid(message: str) -> dict[str, Any]:
    """What `check` and `verify` print with --json if they could not look."""
    return {"valid": False, "errors": [message], "checks": []}


def _failed_run(message: str) -> dict[str, Any]:
    from runner.files.document import failure_json

    return failure_json(message)


def _print_error(message: str, excerpt: str | None = None, *, is_json_log: bool = False) -> None:
    """One line in the log's format; as text, with the source lines that it is about below it."""
    if is_json_log:
        from runner.cli.logs import error_line

        typer.echo(error_line(_redacted(message)), err=True)
        return
    print_note(f"error: {message}")
    if excerpt:
        print_note(excerpt)


def print_note(text: str) -> None:
    """Print on stderr, without secrets."""
    typer.echo(_redacted(text), err=True)


def print_text(text: str, *, is_product: bool = True) -> None:
    """Print on stdout what people read, without secrets, in the encoding of their terminal.

    Losing it makes the command fail unless its product is something else.
    """
    typer.echo(_redacted(text))
    _check_output(is_product=is_product)


def print_data(text: str) -> None:
    """Print on stdout what programs read, without secrets: always in UTF-8."""
    _print_utf8(_redacted(text), is_product=True)


def print_json(document: Any, *, is_product: bool = True) -> None:
    """Print one JSON document on stdout, without secrets: always in UTF-8."""
    from runner.project.secrets import redacted_document

    text = json.dumps(redacted_document(document), indent=2, ensure_ascii=False)
    _print_utf8(text, is_product=is_product)


def _print_utf8(text: str, *, is_product: bool) -> None:
    # half a surrogate pair, from a file name that is not UTF-8, is escaped as JSON has it
    typer.echo(text.encode("utf-8", "backslashreplace"))
    _check_output(is_product=is_product)


def _redacted(text: str) -> str:
    from runner.project.secrets import redacted

    return redacted(text)


def _check_output(*, is_product: bool) -> None:
    sys.stdout.flush()
    file = _stdout_file()
    if file and not is_product:
        if _is_lost(file):
            print_note(f"warning: {_loss(file)}")
        file.lost = None


def final_code(code: str | int | None) -> str | int | None:
    """The exit code of the process: 1 if all went well but what was printed is lost.

    Whoever closed the pipe has read enough, as `head` does: that is no loss.
    """
    sys.stdout.flush()
    file = _stdout_file()
    if file is None or not _is_lost(file):
        return code
    print_note(f"error: {_loss(file)}")
    return code or EXIT_FAILED


def _stdout_file() -> OutputFile | None:
    file = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return file if isinstance(file, OutputFile) else None


def _is_lost(file: OutputFile) -> bool:
    return file.lost is not None and file.lost.errno != errno.EPIPE


def _loss(file: OutputFile) -> str:
    return f"stdout cannot be written to: {file.lost and file.lost.strerror}"
