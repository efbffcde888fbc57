"""pytest collects the unit tests of a project: each case of models/**/*.yml is a test of its own.

Its node id ends in `model::case`. Cases run on the project's target as `audiences test --unit`
does. Registered as pytest's plugin `audiences`; pytest imports this at every start, so it imports
little.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from runner.project.nodes import Project
    from runner.project.unit_test import UnitCase
    from runner.tools.unit_tests.unit_tests import CaseResult, CaseSession


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A YAML file with unit tests, in the models folder beside a profiles.yml."""
    root = _project_root(file_path)
    if root is None or "\nunit_tests:" not in "\n" + file_path.read_text(errors="replace"):
        return None
    collector: UnitTestFile = UnitTestFile.from_parent(parent, path=file_path)
    collector.root = root
    return collector


def _project_root(path: Path) -> Path | None:
    if path.suffix not in (".yml", ".yaml"):
        return None
    folders = [folder.parent for folder in path.parents if folder.name == "models"]
    return next((one for one in folders if (one / "profiles.yml").is_file()), None)


@lru_cache(maxsize=1)
def _project(root: Path) -> Project:
    from runner.project.load import load_project

    return load_project(root)


class CaseFailed(Exception):
    """A case made something else than it expects, or could not be run."""

    def __init__(self, result: CaseResult) -> None:
        self.result = result
        super().__init__(result.case.name)


class UnitTestFile(pytest.File):
    """One YAML file: its cases share a session."""

    root: Path
    case_session: CaseSession

    def collect(self) -> Iterator[pytest.Collector]:
        from runner.errors import AudienceError

        try:
            cases = _project(self.root).unit_cases
        except AudienceError as problem:
            raise self.CollectError(str(problem)) from None
        path = self.path.relative_to(self.root)
        own = [case for case in cases if case.location.path == path]
        for name in dict.fromkeys(case.test.model for case in own):
            model: ModelCases = ModelCases.from_parent(self, name=name)
            model.cases = [case for case in own if case.test.model == name]
            yield model

    def setup(self) -> None:
        from runner.demo import demo
        from runner.project.targets import load_target
        from runner.tools.unit_tests.unit_tests import open_case_session

        self._stack = ExitStack()
        target = self._stack.enter_context(demo.reach(load_target(self.root, None), is_empty=True))
        self.case_session = self._stack.enter_context(
            open_case_session(_project(self.root), target)
        )

    def teardown(self) -> None:
        self._stack.close()


class ModelCases(pytest.Collector):
    """The cases of one model in one file."""

    cases: list[UnitCase]

    def collect(self) -> Iterator[pytest.Item]:
        for case in self.cases:
            item: CaseItem = CaseItem.from_parent(self, name=case.test.name)
            item.case = case
            yield item


class CaseItem(pytest.Item):
    """One case."""

    case: UnitCase

    def runtest(self) -> None:
        file = self.getparent(UnitTestFile)
        assert file is not None
        result = file.case_session.run(self.case)
        if result.status != "pass":
            raise CaseFailed(result)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *_: Any) -> Any:
        from runner.errors import AudienceError

        if isinstance(excinfo.value, CaseFailed):
            return "\n".join(excinfo.value.result.lines())
        if isinstance(excinfo.value, AudienceError):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, (self.case.location.line or 1) - 1, self.case.name
