"""What most commands are given: a project, a target, parameters and an instant."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import UsageError

if TYPE_CHECKING:
    from runner.project.nodes import Project
    from runner.project.targets import Target


@dataclass(frozen=True)
class Request:
    """The options that commands share, as they were given. Each property reads its own part, and
    raises `UsageError` for what is wrong with it, so that only what is used is read."""

    project_dir: Path
    profiles_dir: Path | None = None
    target_name: str | None = None
    lookback_hours: str | None = None
    cooling_hours: str | None = None
    var: list[str] | None = None
    as_of_text: str | None = None

    @cached_property
    def project(self) -> Project:
        """All commands but `run` warn on stderr of macros that nothing uses."""
        from runner.cli.console import print_note
        from runner.project.load import load_project
        from runner.project.macros import described, unused_macros

        project = load_project(self.project_dir)
        for macro in unused_macros(project):
            print_note(f"warning: {macro.location}: {described(macro.name)} is not used")
        return project

    @cached_property
    def target(self) -> Target:
        return self._target(is_offline=False)

    @cached_property
    def offline_target(self) -> Target:
        """The target without its secrets, which need not be set."""
        return self._target(is_offline=True)

    def _target(self, *, is_offline: bool) -> Target:
        from runner.project.targets import load_target

        folder = self.profiles_dir or self.project_dir
        return load_target(folder, self.target_name, is_offline=is_offline)

    def reach(self, *, is_empty: bool = False) -> AbstractContextManager[Target]:
        """The target while it can be connected to: the demo's server runs as long."""
        from runner.demo import demo

        return demo.reach(self.target, is_empty=is_empty)

    @property
    def mark(self) -> str:
        """What the first line of an output begins with if its numbers are made up."""
        return "DEMO data, not your users. " if self.target.is_demo else ""

    @cached_property
    def parameters(self) -> dict[str, str]:
        """As text: the two short options, and --var name=value."""
        short = {"lookback_hours": self.lookback_hours, "cooling_hours": self.cooling_hours}
        given = {name: value for name, value in short.items() if value is not None}
        for assignment in self.var or []:
            name, sign, value = assignment.partition("=")
            if not sign or not name:
                raise UsageError(f"--var {assignment!r} is not NAME=VALUE", fix="write NAME=VALUE")
            if name in given:
                raise UsageError(f"parameter {name} is given twice", fix="give it once")
            given[name] = value
        return given

    @cached_property
    def as_of(self) -> datetime | None:
        """None if --as-of was not given."""
        from runner.clock import parse_as_of

        return None if self.as_of_text is None else parse_as_of(self.as_of_text)

    @cached_property
    def moment(self) -> datetime:
        """--as-of, else now."""
        return self.as_of or datetime.now(UTC)

    def audience_name(self, given: str | None) -> str | None:
        """The name of an audience that may have been given by an alias."""
        return None if given is None else self.project.audience(given).name
