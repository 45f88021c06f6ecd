"""protocol/CONFORMANCE.md: every rule of SPEC has a row, and every row names what there is."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.packaging.tree import PACKAGE, ROOT, tree_of

TABLE = re.compile(
    r"^\| (\d+(?:\.\d+)+) \| ([^|]+) \| ([^|]+) \| `([^`|]+)` \| `([^`|]+)` \|$", re.M
)
CLAUSE = re.compile(r"(?:- )?(\d+(?:\.\d+)+)\b")
SPEC = (ROOT / "protocol" / "SPEC.md").read_text(encoding="utf-8")
ROWS = TABLE.findall((ROOT / "protocol" / "CONFORMANCE.md").read_text(encoding="utf-8"))
CITED = [pytest.param(*row, id=row[0]) for row in ROWS]


def clauses(text: str) -> dict[str, str]:
    """The numbered clauses of a text, each with all its lines: up to the next number or heading."""
    found: dict[str, list[str]] = {}
    present: list[str] = []
    for line in text.splitlines():
        begun = CLAUSE.match(line)
        if begun:
            present = found.setdefault(begun[1], [])
        elif line.startswith("#"):
            present = []
        present.append(line)
    return {number: "\n".join(lines) for number, lines in found.items()}


def binding(text: str) -> list[str]:
    """Numbers of the clauses that hold a MUST."""
    return [number for number, clause in clauses(text).items() if re.search(r"\bMUST\b", clause)]


def without_a_row(text: str, rows: list[str]) -> list[str]:
    return [number for number in binding(text) if number not in rows]


@cache
def defined(path: Path) -> frozenset[str]:
    """Dotted names of a file's functions, classes and methods, and of what it assigns."""

    def names(body: list[ast.stmt], prefix: str = "") -> list[str]:
        found = []
        for node in body:
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    found.append(prefix + name)
                case ast.ClassDef(name=name):
                    found += [prefix + name, *names(node.body, f"{prefix}{name}.")]
                case ast.Assign(targets=[ast.Tuple(elts=targets)]) | ast.Assign(targets=targets):
                    found += [prefix + to.id for to in targets if isinstance(to, ast.Name)]
        return found

    return frozenset(names(tree_of(path).body))


def code(name: str) -> bool:
    """Whether `room.module.name` is something of the package."""
    room, module, what = name.split(".", 2)
    path = PACKAGE / room / f"{module}.py"
    return path.exists() and what in defined(path)


def shown(name: str) -> bool:
    """Whether `path::test` is a test."""
    path, _, test = name.partition("::")
    file = ROOT / "tests" / f"{path}.py"
    return test.startswith("test_") and file.exists() and test in defined(file)


def test_every_binding_clause_has_a_row():
    assert len(binding(SPEC)) > 40
    assert without_a_row(SPEC, [row[0] for row in ROWS]) == []


def test_rows_are_in_order_and_none_is_malformed():
    lines = (ROOT / "protocol" / "CONFORMANCE.md").read_text(encoding="utf-8").splitlines()
    assert len(ROWS) == sum(line.startswith("| ") for line in lines) - 2
    numbers = [tuple(map(int, row[0].split("."))) for row in ROWS]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize(("number", "binds", "reader", "where", "test"), CITED)
def test_a_row_names_what_there_is(number, binds, reader, where, test):
    assert number in clauses(SPEC)
    assert code(where), where
    assert shown(test), test
    known = {"writer", "reader", "both", "transport", "operators", "verifier"}
    assert binds in known


MADE_UP = """\
## 1 Things

1.1 **Writers.** They MUST write, and
what they write MUST be short.

- 1.1.1 A reader may look.
- 1.1.2 It goes on,
  and MUST NOT stop.

1.2 Nothing here, MUSTARD aside.

# MUST of no clause
"""


def test_a_clause_without_a_row_is_found():
    """Also where its MUST stands on a later line; what it says in words alone binds nobody."""
    assert binding(MADE_UP) == ["1.1", "1.1.2"]
    assert without_a_row(MADE_UP, ["1.1"]) == ["1.1.2"]
    assert without_a_row(MADE_UP, ["1.1", "1.1.2"]) == []


def test_what_there_is_not_is_found():
    assert code("swarm.admission.flaw") and code("swarm.exchange.Exchange.hear")
    assert not code("swarm.admission.flow") and not code("swarm.missing.flaw")
    assert shown("vectors/test_reader_vectors::test_records")
    assert not shown("vectors/test_reader_vectors::test_recordings")
    assert not shown("vectors/test_no_such::test_records")
