"""The shape of the code is a promise: what imports what, how large things are, what tools say."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "lmboot"
MODULES = sorted(PACKAGE.rglob("*.py"))

MOST_LINES = 450
MOST_LINES_OF_A_FUNCTION = 50
LARGER = {  # one format, one protocol, one tree: in two files they would be harder to read
    "gguf.py": 600,
    "process.py": 550,
    "runtime/guest/guest_sys.py": 500,
    "supervisor.py": 550,
    "workspace.py": 500,
}


def tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a development tool of this very environment."""
    command = [str(Path(sys.executable).with_name(name)), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_import_goes_down_the_tree() -> None:
    found = tool("lint-imports")

    assert found.returncode == 0, found.stdout


def test_ruff_finds_nothing() -> None:
    found = tool("ruff", "check")

    assert found.returncode == 0, found.stdout


def test_every_file_is_formatted() -> None:
    found = tool("ruff", "format", "--check")

    assert found.returncode == 0, found.stdout


def test_types_fit() -> None:
    found = tool("mypy")

    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_types_fit_on_other_systems(system: str) -> None:
    found = tool("mypy", f"--platform={system}", f"--cache-dir=.mypy_cache/{system}", "-plmboot")

    assert found.returncode == 0, found.stdout + found.stderr


# Modules of the standard library that Windows does not have: importing one there is a failure
# that no checker of types sees.
NOT_ON_WINDOWS = {"fcntl", "grp", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"}
NEVER_ON_WINDOWS = {
    *("supervisor.py", "enclosure.py", "holdings.py", "inside.py", "keeper.py", "spawning.py"),
    *("control.py", "lentgroup.py", "served.py", "runtime/guest/admit.py"),
    *("runtime/guest/become.py", "runtime/guest/confine.py", "runtime/guest/serve.py"),
}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_can_be_imported_on_windows(module: Path) -> None:
    """What it imports at once, outside any condition, is there on every system."""
    if str(module.relative_to(PACKAGE)) in NEVER_ON_WINDOWS:
        assert "assert sys.platform" in module.read_text("utf-8")
        return
    at_once = ast.Module(
        [
            node
            for node in ast.parse(module.read_text("utf-8")).body
            if isinstance(node, ast.Import | ast.ImportFrom)
        ],
        [],
    )

    assert imports_of(at_once) & NOT_ON_WINDOWS == set()


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_can_be_read_in_one_sitting(module: Path) -> None:
    lines = module.read_text("utf-8").count("\n")

    assert lines <= LARGER.get(str(module.relative_to(PACKAGE)), MOST_LINES)


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{module.relative_to(ROOT)}:{function.lineno} {function.name}"
        for module in MODULES
        for function in functions(module)
        if (function.end_lineno or 0) - function.lineno >= MOST_LINES_OF_A_FUNCTION
    ]

    assert long == []


def functions(module: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def imported(module: Path) -> set[str]:
    return imports_of(ast.parse(module.read_text("utf-8")))


def imports_of(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + (node.module or ""))
    return names


@pytest.mark.parametrize("module", sorted((PACKAGE / "runtime" / "guest").glob("*.py")))
def test_the_guest_needs_nothing_but_the_standard_library(module: Path) -> None:
    roots = {name.split(".")[0] for name in imported(module)}

    # `_host` is the portable sandbox's own door, `_pipes` the launcher on Windows.
    assert roots - sys.stdlib_module_names <= {"_host", "_pipes"}


PARTS = (
    *("census", "cgroups", "enclosure", "holdings", "inside", "keeper"),
    *("control", "lentgroup", "served", "service"),
    *("libproc", "spawning", "supervisor", "system"),
)


@pytest.mark.parametrize("module", [*PARTS, "__init__"])
def test_the_supervisor_and_its_parts_need_nothing_but_the_standard_library(module: str) -> None:
    """It runs isolated (-I -S), as another user, and before anything else is imported."""
    names = imported(PACKAGE / f"{module}.py") - {"lmboot", *(f"lmboot.{part}" for part in PARTS)}

    assert {name.split(".")[0] for name in names} - sys.stdlib_module_names == set()


def test_tkinter_is_the_windows_alone() -> None:
    users = {
        module.relative_to(PACKAGE).parts[0]
        for module in MODULES
        if {name.split(".")[0] for name in imported(module)} & {"tkinter", "tkinterdnd2"}
    }

    assert users <= {"gui"}


@pytest.mark.parametrize("heavy", ["asyncio", "httpx", "pydantic", "rich", "prompt_toolkit"])
def test_help_and_version_import_nothing_heavy(heavy: str) -> None:
    program = f"import lmboot.cli.main, sys; sys.exit({heavy!r} in sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False)

    assert done.returncode == 0
