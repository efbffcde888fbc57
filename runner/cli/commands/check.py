"""`audiences check`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.cli.console import invalid, print_json, print_text, reported
from runner.cli.options import AsJson, CheckedAudience, ProfilesDir, ProjectDir, TargetName, Var
from runner.cli.request import Request
from runner.errors import EXIT_DONE, EXIT_FAILED, UsageError

if TYPE_CHECKING:
    from runner.tools.check import Check

EXAMPLE = "audiences check layer3-behavior --target prod"


@reported(document=invalid)
def command(
    audience: CheckedAudience = None,
    var: Var = None,
    target: TargetName = None,
    project_dir: ProjectDir = Path(),
    profiles_dir: ProfilesDir = None,
    as_json: AsJson = False,
) -> int:
    """Check that runs can work on a target: connection, server, permissions, tables, indexes.

    Only tables that an audience reads are looked at. Some are read with some parameters only: give
    these with --var.

    Each line begins with "ok", with "warn" if runs work but are slow, or with "wrong" and what to
    fix. The exit code is 1 if any line is wrong.
    """
    from runner.tools.check import check

    request = Request(project_dir, profiles_dir, target, var=var)
    project, name, parameters = request.project, request.audience_name(audience), request.parameters
    if parameters and name is None:
        raise UsageError(
            "--var needs an audience: a parameter belongs to one",
            fix="name it: audiences check AUDIENCE --var NAME=VALUE",
        )
    with request.reach() as reached:
        checks = check(project, reached, name, parameters)
    if as_json:
        print_json(_document(checks))
    else:
        print_text("\n".join(map(_line, checks)))
    return EXIT_DONE if all(check.is_ok for check in checks) else EXIT_FAILED


def _line(check: Check) -> str:
    if check.is_ok and not check.is_warning:
        return f"ok    {check.name}: {check.detail}"
    parts = [" ".join(part.split()) for part in (check.detail, check.fix) if part]
    return f"{'warn ' if check.is_warning else 'wrong'} {check.name}: {'; '.join(parts)}"


def _document(checks: list[Check]) -> dict[str, Any]:
    wrong = [check for check in checks if not check.is_ok]
    warnings = [check for check in checks if check.is_warning]
    return {
        "valid": not wrong,
        "errors": [f"{check.name}: {check.detail}; {check.fix}" for check in wrong],
        "warnings": [f"{check.name}: {check.detail}; {check.fix}" for check in warnings],
        "checks": [
            {
                "name": check.name,
                "ok": check.is_ok,
                "warning": check.is_warning,
                "detail": check.detail,
                "mend": check.fix,
            }
            for check in checks
        ],
    }
