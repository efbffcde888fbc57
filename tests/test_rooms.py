"""The rooms of `runner/`: what each lets others import, and what `import runner` offers."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import runner
from tests.support import AS_OF, ROOT, Database, published

ROOM_FOLDERS = sorted(path.parent for path in (ROOT / "runner").rglob("__init__.py"))
CLOSED_ROOMS = [
    path for path in ROOM_FOLDERS if path != ROOT / "runner" and path.name != "commands"
]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in (ROOT / "runner").rglob("*.py")}


@cache
def public(room: str) -> list[str]:
    """The modules that a room's `__all__` names."""
    tree = ast.parse(MODULES[room].read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def imported(path: Path) -> Iterator[str]:
    """Every module of ours that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            for name in node.names:
                below = f"{node.module}.{name.name}"
                yield below if below in MODULES else node.module


def doors(importer: str, module: str) -> Iterator[tuple[str, str]]:
    """Each room that is entered on the way to a module, and what is taken from it."""
    parts = module.split(".")
    for length in range(2, len(parts)):
        room = ".".join(parts[:length])
        if importer != room and not importer.startswith(f"{room}."):
            yield room, parts[length]


IMPORTS = [(name, module) for name, path in sorted(MODULES.items()) for module in imported(path)]


def test_no_room_reaches_into_what_another_keeps_to_itself() -> None:
    wrong = [
        f"{importer} imports {module}: {room} does not list {taken}"
        for importer, module in IMPORTS
        for room, taken in doors(importer, module)
        if taken not in public(room)
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", CLOSED_ROOMS, ids=lambda folder: module_name(folder / "x")[:-2])
def test_a_room_says_what_belongs_there_and_lists_only_what_others_use(folder: Path) -> None:
    room = module_name(folder / "__init__.py")
    assert ast.get_docstring(ast.parse(MODULES[room].read_text()))
    used = {
        taken
        for importer, module in IMPORTS
        for entered, taken in doors(importer, module)
        if entered == room
    }
    assert public(room) == sorted(used)


def test_import_runner_loads_nothing_else() -> None:
    program = (
        "import sys; before = set(sys.modules); import runner\n"
        "loaded = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(loaded - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "['runner']"


@pytest.mark.parametrize("name", runner.__all__)
def test_each_export_can_be_imported(name: str) -> None:
    assert getattr(runner, name).__name__ == name
    assert name in dir(runner)


def test_the_exports_that_type_checkers_see_are_those_that_are_loaded() -> None:
    tree = ast.parse((ROOT / "runner" / "__init__.py").read_text())
    (checking,) = (
        node for node in tree.body if isinstance(node, ast.If) and node.body[0].lineno < 60
    )
    seen = {
        name.name: node.module
        for node in checking.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert seen == runner._MODULE_OF
    assert sorted(seen) == sorted(runner.__all__)


def test_a_name_that_is_not_exported_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'rum'"):
        runner.rum  # type: ignore[attr-defined]  # noqa: B018


def test_a_plain_script_runs_an_audience_and_looks_at_it(golden: Database, tmp_path: Path) -> None:
    """As a notebook does: a few calls, and values that can be asked."""
    profile = golden.profile(tmp_path / "profile")
    script = tmp_path / "script.py"
    script.write_text(f"""
from pathlib import Path
import runner

project = runner.load_project(Path({str(ROOT)!r}))
target = runner.load_target(Path({str(profile)!r}), None)
as_of = runner.parse_as_of({AS_OF.isoformat()!r})
out = Path({str(tmp_path / "out")!r})
assert all(check.is_ok for check in runner.check(project, target))
settings = runner.Settings(
    project_dir=project.root, audience="layer3-behavior", target=target, as_of=as_of, output_dir=out
)
result = runner.run(settings, reach=runner.reach)
assert isinstance(result, runner.RunResult) and result.status == "success"
assert runner.compare(out, out).is_equal
assert not any(finding.problem for finding in runner.verify(out))
(past,) = runner.read_history(out, "layer3-behavior", 5).runs
assert past.document.audience_size == result.audience_size
shown = runner.show(project, "layer3_candidates", target, as_of=as_of, limit=3, unmask=True)
answer = runner.trace(project, "layer3-behavior", target, [shown.rows[0][0]], {{}}, as_of)
assert answer.traces[0].fate in ("exported", "withheld", "left out")
assert runner.explain(project, "layer3-behavior", target, as_of=as_of).steps
compiled = runner.compile_audience(project, "layer3-behavior", {{}}, as_of)
assert runner.run_data_tests(compiled, target, [], shows_rows=False).success
try:
    runner.load_project(out)
except runner.UsageError as problem:
    print(result.audience_size, type(problem).__name__)
""")
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "216"
    assert len(published(tmp_path / "out")) == 8


def test_python_m_runner_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "runner", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"push-audiences {runner.__version__}"
