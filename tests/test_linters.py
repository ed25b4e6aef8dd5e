"""Linters are tests, so that one command is the whole check."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = ("tests/run", ".ci/run")


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("mypy",),
        ("lint-imports", "--no-cache"),
        ("shellcheck", *SCRIPTS),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_clean(command: tuple[str, ...]) -> None:
    program = Path(sys.executable).with_name(command[0])
    argv = [str(program) if program.exists() else command[0], *command[1:]]
    done = subprocess.run(argv, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_modules_stay_small() -> None:
    """A module that grows past 300 lines has a seam that nobody has looked for."""
    lengths = {path: len(path.read_text().splitlines()) for path in (ROOT / "nixadmin").rglob("*.py")}
    assert {str(path.relative_to(ROOT)): length for path, length in lengths.items() if length > 300} == {}


def test_real_hosts_are_independent_witnesses() -> None:
    """What asserts on real hosts must not share the mistakes of what it judges."""
    for path in (ROOT / "tests/real").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] == "nixadmin"], path
