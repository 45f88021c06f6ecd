"""protocol/ is for every language, and what cites it cites what is there."""

import json
import re

import pytest

from tests.packaging.tree import PACKAGE, ROOT

PROTOCOL = ROOT / "protocol"
CITED = re.compile(r"SPEC (\d+(?:\.\d+)*)((?:(?:,| and| to) \d+(?:\.\d+)*)*)")
MAX_CLAUSE_WORDS, MAX_SENTENCE_WORDS, MAX_ROW_WORDS = 120, 45, 75
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


def wordy(text):
    """Clauses, sentences and rows of tables that have too many words. Blocks of code have none."""
    prose, found = {"": []}, []
    for line in re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S).splitlines():
        number = next(iter(CLAUSE.findall(line)), "" if line.startswith("#") else None)
        present = list(prose)[-1] if number is None else number
        if line.startswith("|"):
            found += [f"row of {present}"] if len(line.split()) > MAX_ROW_WORDS else []
        else:
            prose.setdefault(present, []).extend(line.split())
    for number, words in prose.items():
        found += [number] if number and len(words) > MAX_CLAUSE_WORDS else []
        sentences = re.split(r"(?<=[.:;]) ", " ".join(words))
        long = [s for s in sentences if number and len(s.split()) > MAX_SENTENCE_WORDS]
        found += [f"{number}: {s}" for s in long]
    return found


def test_clauses_sentences_and_rows_are_short():
    assert wordy((PROTOCOL / "SPEC.md").read_text(encoding="utf-8")) == []


def test_what_is_too_long_is_found():
    long = "word " * (MAX_SENTENCE_WORDS + 1)
    text = f"## 1 A\n\n1.1 {long}.\n\n| {long * 3} |\n\n1.2 {'few words. ' * MAX_CLAUSE_WORDS}\n"
    assert [what.split(":")[0] for what in wordy(text)] == ["row of 1.1", "1.1", "1.2"]
    assert wordy(f"1.1 A\n\n```\n{long}\n```\n") == []


def test_decisions_are_short():
    decisions = sorted((PROTOCOL / "decisions").glob("*.md"))
    for number, path in enumerate(decisions, 1):
        text = path.read_text()
        assert path.name.startswith(f"{number:04d}-")
        assert text.startswith(f"# {number} ")
        assert len(text.splitlines()) <= 40
        for part in ("**Context.**", "**What we saw.**", "**Decision.**", "**Consequences.**"):
            assert part in text, f"{path.name}: {part}"
