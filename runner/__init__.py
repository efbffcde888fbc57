"""Turns a folder of SQL models into push-audience CSV files, from one database snapshot.

What a notebook or a scheduler's Python needs is exported here; each is loaded when it is first
used. A run of the demo, whose server is started by `reach`:

    import runner

    target = runner.load_target(project_dir, "demo")
    settings = runner.Settings(project_dir=project_dir, audience="layer3-behavior", target=target)
    result = runner.run(settings, reach=runner.reach)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runner.clock import parse_as_of
    from runner.demo.demo import reach
    from runner.errors import (
        AudienceError,
        ConnectionLost,
        DatabaseError,
        DataTestError,
        DeadlinePassed,
        ExportError,
        LockedError,
        ParameterError,
        ProfileError,
        ProjectError,
        UsageError,
    )
    from runner.files.clean import Removed, clean
    from runner.files.document import RunResult
    from runner.files.history import History, read_history
    from runner.files.manifest import PastRun
    from runner.files.verify import Finding, verify
    from runner.project.audience import Audience
    from runner.project.json_schema import write_schemas
    from runner.project.load import load_project
    from runner.project.nodes import Project
    from runner.project.targets import Target, load_target
    from runner.runs.data_tests import TestReport, run_data_tests
    from runner.runs.phases import run
    from runner.runs.settings import Settings
    from runner.sql.compile import CompiledAudience, compile_audience, compile_model
    from runner.sql.plan import Plan
    from runner.sql.psql_script import psql_script
    from runner.tools.check import Check, check
    from runner.tools.compare.compare import compare
    from runner.tools.compare.differences import Comparison
    from runner.tools.docs.page import Page, docs_page, write_page
    from runner.tools.explain.explain import Explanation, explain
    from runner.tools.show import Preview, show
    from runner.tools.trace.trace import Answer, trace
    from runner.tools.unit_tests.mutations import Mutant, check_mutations
    from runner.tools.unit_tests.unit_tests import CaseResult, open_case_session, run_unit_tests

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "Audience",
    "AudienceError",
    "CaseResult",
    "Check",
    "Comparison",
    "CompiledAudience",
    "ConnectionLost",
    "DataTestError",
    "DatabaseError",
    "DeadlinePassed",
    "Explanation",
    "ExportError",
    "Finding",
    "History",
    "LockedError",
    "Mutant",
    "Page",
    "ParameterError",
    "PastRun",
    "Plan",
    "Preview",
    "ProfileError",
    "Project",
    "ProjectError",
    "Removed",
    "RunResult",
    "Settings",
    "Target",
    "TestReport",
    "UsageError",
    "check",
    "check_mutations",
    "clean",
    "compare",
    "compile_audience",
    "compile_model",
    "docs_page",
    "explain",
    "load_project",
    "load_target",
    "open_case_session",
    "parse_as_of",
    "psql_script",
    "reach",
    "read_history",
    "run",
    "run_data_tests",
    "run_unit_tests",
    "show",
    "trace",
    "verify",
    "write_page",
    "write_schemas",
]

_MODULES = {
    "runner.clock": ("parse_as_of",),
    "runner.demo.demo": ("reach",),
    "runner.errors": (
        "AudienceError", "ConnectionLost", "DataTestError", "DatabaseError", "DeadlinePassed",
        "ExportError", "LockedError", "ParameterError", "ProfileError", "ProjectError",
        "UsageError",
    ),
    "runner.files.clean": ("Removed", "clean"),
    "runner.files.document": ("RunResult",),
    "runner.files.history": ("History", "read_history"),
    "runner.files.manifest": ("PastRun",),
    "runner.files.verify": ("Finding", "verify"),
    "runner.project.audience": ("Audience",),
    "runner.project.json_schema": ("write_schemas",),
    "runner.project.load": ("load_project",),
    "runner.project.nodes": ("Project",),
    "runner.project.targets": ("Target", "load_target"),
    "runner.runs.data_tests": ("TestReport", "run_data_tests"),
    "runner.runs.phases": ("run",),
    "runner.runs.settings": ("Settings",),
    "runner.sql.compile": ("CompiledAudience", "compile_audience", "compile_model"),
    "runner.sql.plan": ("Plan",),
    "runner.sql.psql_script": ("psql_script",),
    "runner.tools.check": ("Check", "check"),
    "runner.tools.compare.compare": ("compare",),
    "runner.tools.compare.differences": ("Comparison",),
    "runner.tools.docs.page": ("Page", "docs_page", "write_page"),
    "runner.tools.explain.explain": ("Explanation", "explain"),
    "runner.tools.show": ("Preview", "show"),
    "runner.tools.trace.trace": ("Answer", "trace"),
    "runner.tools.unit_tests.mutations": ("Mutant", "check_mutations"),
    "runner.tools.unit_tests.unit_tests": ("CaseResult", "open_case_session", "run_unit_tests"),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

if not TYPE_CHECKING:  # a checker would take any name for an export

    def __getattr__(name: str) -> Any:
        """An export, loaded when it is first used: `import runner` alone loads nothing else."""
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_MODULE_OF[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
