"""What a shell may complete: names of audiences, models and parameters.

A shell shows whatever a completion prints, so nothing is printed where the project is missing or
broken.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from runner.project.audience import Audience
    from runner.project.nodes import Project

Choice = tuple[str, str]
"""A name, and a line about it."""


def audience_names(context: typer.Context, incomplete: str) -> list[Choice]:
    return _choices(context, incomplete, _audiences)


def model_names(context: typer.Context, incomplete: str) -> list[Choice]:
    return _choices(context, incomplete, _models)


def assignments(context: typer.Context, incomplete: str) -> list[Choice]:
    """`name=` for each parameter, of the audience if one was named before."""
    return _choices(context, incomplete, _assignments)


def _audiences(project: Project, _: typer.Context) -> Iterator[Choice]:
    for audience in project.audiences.values():
        for name in (audience.name, *audience.aliases):
            yield name, audience.description


def _models(project: Project, _: typer.Context) -> Iterator[Choice]:
    for model in project.models.values():
        yield model.name, model.properties.description if model.properties else ""


def _assignments(project: Project, context: typer.Context) -> Iterator[Choice]:
    for audience in _named(project, context):
        for parameter in audience.parameters:
            default = "required" if parameter.is_required else f"default {parameter.default}"
            yield f"{parameter.name}=", f"{default}: {parameter.description}"


def _named(project: Project, context: typer.Context) -> list[Audience]:
    # behind an option that still waits for its value, words are not yet arguments
    given = {context.params.get("audience"), *context.args}
    every = list(project.audiences.values())
    return [one for one in every if given & {one.name, *one.aliases}] or every


def _choices(
    context: typer.Context,
    incomplete: str,
    listed: Callable[[Project, typer.Context], Iterator[Choice]],
) -> list[Choice]:
    from runner.errors import UsageError
    from runner.project.load import load_project

    try:
        project = load_project(Path(os.fspath(context.params.get("project_dir") or ".")))
    except (UsageError, OSError):
        return []
    found = {name: " ".join(line.split()) for name, line in listed(project, context)}
    return [one for one in found.items() if one[0].startswith(incomplete)]
