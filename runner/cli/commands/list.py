"""`audiences list`"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.cli.console import print_json, print_text, reported
from runner.cli.options import AsJson, ProjectDir
from runner.cli.request import Request

if TYPE_CHECKING:
    from runner.project.audience import Audience, Parameter
    from runner.project.nodes import Project

EXAMPLE = "audiences list --json"


@reported()
def command(project_dir: ProjectDir = Path(), as_json: AsJson = False) -> None:
    """List the audiences, their parameters with defaults and bounds, and the files they make."""
    project = Request(project_dir).project
    if as_json:
        print_json(_document(project))
    else:
        print_text("\n\n".join("\n".join(_lines(one)) for one in project.audiences.values()))


def _lines(audience: Audience) -> Iterator[str]:
    from runner.tables import list_table

    aliases = f" (also {', '.join(audience.aliases)})" if audience.aliases else ""
    yield f"{audience.name}{aliases}"
    yield f"  {' '.join(audience.description.split())}"
    yield "  parameters:"
    parameters = [
        (one.name, one.type, _default(one), one.unit or "", one.bounds)
        for one in audience.parameters
    ]
    head = ("name", "type", "default", "unit", "bounds")
    yield textwrap.indent(list_table(head, parameters), "    ")
    for rule in audience.rules:
        yield f"    rule: {rule.must}"
    yield "  outputs:"
    outputs = [(one.audience_type, f"{one.file}_{{ts}}.csv", one.model) for one in audience.outputs]
    yield textwrap.indent(list_table(("audience type", "file", "model"), outputs), "    ")


def _default(parameter: Parameter) -> str:
    return "required" if parameter.is_required else str(parameter.default).lower()


def _document(project: Project) -> list[dict[str, Any]]:
    return [
        {
            "name": audience.name,
            "aliases": audience.aliases,
            "description": " ".join(audience.description.split()),
            "parameters": [
                {**one.model_dump(exclude_none=True), "bounds": one.bounds}
                for one in audience.parameters
            ],
            "rules": [rule.must for rule in audience.rules],
            "outputs": [
                one.model_dump(exclude=set() if one.placeholders else {"placeholders"})
                for one in audience.outputs
            ],
        }
        for audience in project.audiences.values()
    ]
