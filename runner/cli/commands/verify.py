"""`audiences verify`"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.cli.console import invalid, print_json, print_text, reported
from runner.cli.options import AsJson, VerifiedPath, filled
from runner.errors import EXIT_DONE, EXIT_FAILED

if TYPE_CHECKING:
    from runner.files.verify import Finding

EXAMPLE = "audiences verify .script-outputs"


@reported(document=invalid)
def command(path: VerifiedPath, as_json: AsJson = False) -> int:
    """Check that published files are still those that their manifests list.

    The exit code is 1 if a file is missing, has another size or SHA-256, or is in no manifest.
    """
    from runner.files.verify import verify

    findings = verify(Path(filled("PATH", path)))
    if as_json:
        print_json(_document(findings))
    else:
        print_text("\n".join(_lines(findings)))
    return EXIT_FAILED if any(finding.problem for finding in findings) else EXIT_DONE


def _lines(findings: list[Finding]) -> Iterator[str]:
    wrong = [finding for finding in findings if finding.problem]
    for finding in wrong:
        yield f"wrong {finding.name}: {finding.problem}"
    csv_files = sum(finding.name.endswith(".csv") for finding in findings)
    others = len(findings) - csv_files
    outcome = f"{len(wrong)} wrong" if wrong else "all right"
    yield f"{outcome}: {csv_files} CSV files, {others} manifests and pointers"


def _document(findings: list[Finding]) -> dict[str, Any]:
    wrong = [finding for finding in findings if finding.problem]
    return {
        "valid": not wrong,
        "errors": [f"{finding.name}: {finding.problem}" for finding in wrong],
        "checks": [
            {"name": finding.name, "ok": finding.problem is None, "detail": finding.problem or ""}
            for finding in findings
        ],
    }
