"""Where the repository's files are."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "dcfm_node"


def sources() -> list[Path]:
    """Every Python file of the package."""
    found = sorted(PACKAGE.rglob("*.py"))
    assert len(found) > 40
    return found


@cache
def tree_of(path: Path) -> ast.Module:
    """A source file's syntax tree, parsed once."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def offences(rule: Callable[[Path], object]) -> dict[str, object]:
    """What a rule finds in each source file that breaks it, by the file's name."""
    found = {str(path.relative_to(PACKAGE)): rule(path) for path in sources()}
    return {name: found for name, found in found.items() if found}


def imported(tree: ast.Module) -> Iterator[str]:
    """Dotted names of all that a module imports, anywhere in it."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield from (f"{module}.{name.name}" for name in names)


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter, in the repository's root."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
