"""The command line: one file per command in `commands/`, each option once in `options`, what is
printed in `console`, the log on stderr in `logs`.

Never here: a rule. A command reads its options, calls one function that a test or a notebook can
call, and prints what that returns.
"""

__all__ = ["app"]
