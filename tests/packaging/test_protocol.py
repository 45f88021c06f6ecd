"""protocol/ is for every language, and what cites it cites what is there."""

import json
import re

import pytest

from tests.packaging.tree import PACKAGE, ROOT

PROTOCOL = ROOT / "protocol"
CITED = re.compile(r"SPEC (\d+(?:\.\d+)*)((?:(?:,| and| to) \d+(?:\.\d+)*)*)")
CLAUSE = re.compile(r"^(?:## |- )?(\d+(?:\.\d+)*) ", re.MULTILINE)


def clauses():
    found = CLAUSE.findall((PROTOCOL / "SPEC.md").read_text())
    assert len(found) > 60
    return found


def cited(text):
    """Numbers of clauses that a text names."""
    for first, rest in CITED.findall(text):
        yield from (first, *re.findall(r"\d+(?:\.\d+)*", rest))


def test_it_holds_no_python():
    files = [path for path in PROTOCOL.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".md", ".json"}


def test_clauses_are_numbered_once_and_in_order():
    numbers = [tuple(map(int, clause.split("."))) for clause in clauses()]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("folder", [PACKAGE, ROOT / "tests", PROTOCOL], ids=lambda path: path.name)
def test_cited_clauses_exist(folder):
    known = set(clauses())
    found = 0
    for path in (*folder.rglob("*.py"), *folder.rglob("*.md")):
        for number in cited(path.read_text(encoding="utf-8")):
            found += 1
            assert number in known, f"{path}: SPEC {number}"
    assert found


def test_citations_are_read():
    assert list(cited("(SPEC 4 to 7), SPEC 3.2, 3.6 and 4.6. 8.1")) == [
        "4",
        "7",
        "3.2",
        "3.6",
        "4.6",
    ]


def test_vectors_cite_clauses_that_exist():
    known = set(clauses())
    files = sorted((PROTOCOL / "vectors").glob("*.json"))
    assert len(files) >= 8
    for path in files:
        for number in re.findall(r'"clause": "([^"]+)"', path.read_text()):
            assert number in known, f"{path.name}: {number}"
        assert json.loads(path.read_text())


def test_documents_are_short():
    assert len((PROTOCOL / "SPEC.md").read_text().splitlines()) <= 450
    decisions = sorted((PROTOCOL / "decisions").glob("*.md"))
    for number, path in enumerate(decisions, 1):
        text = path.read_text()
        assert path.name.startswith(f"{number:04d}-")
        assert text.startswith(f"# {number} ")
        assert len(text.splitlines()) <= 40
        for part in ("**Context.**", "**What we saw.**", "**Decision.**", "**Consequences.**"):
            assert part in text, f"{path.name}: {part}"
