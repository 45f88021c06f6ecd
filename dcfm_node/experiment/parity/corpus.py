"""Texts that every machine with Python has: the docstrings of its standard library, in clusters."""

import ast
import json
import math
import platform
import re
import sysconfig
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dcfm_node.errors import UserError
from dcfm_node.experiment.results import write_json
from dcfm_node.samples import Floats

LEAST_BYTES = 200_000
"""A library with less text than this lacks its sources."""
SKIPPED = {"site-packages", "test", "tests", "idlelib", "lib2to3", "__pycache__", "ensurepip"}
HASHED, ROUNDS = 1_024, 20
"""Features of a module's words, and rounds of the clustering."""
SLACK = 1.1
"""A cluster holds at most so many times its equal share of the text."""
TEST_SHARE = 10
"""One of so many docstrings is held out to measure on, and another to judge draws by."""
ASCII, LETTERS = 128, 27
"""Tokens: bytes of ASCII; or letters without case, and a blank for all else."""


@dataclass(frozen=True)
class Corpus:
    """Windows of bytes, as tokens.

    Attributes:
        silos: of each cluster, equally many: (N, length).
        tests: held-out windows, (M, length).
        owners: the cluster of each of them, (M,).
        tokens: size of the alphabet.
        judge: further held-out text, (N,), that judges draws; empty if there is none.
    """

    silos: tuple[Floats, ...]
    tests: Floats
    owners: NDArray[np.int64]
    tokens: int = ASCII
    judge: Floats = field(default_factory=lambda: np.zeros(0, np.float32))


def corpus(
    silos: int,
    length: int,
    windows: int,
    tests: int,
    seed: int,
    *,
    tokens: int = ASCII,
    kept: Path | None = None,
) -> Corpus:
    """The standard library's docstrings, clustered by their words.

    Args:
        tokens: ASCII or LETTERS.
        kept: folder in which the docstrings are kept, since reading them takes a while.

    Raises:
        UserError: this Python has no sources of its standard library.
    """
    modules = _library(kept)
    if sum(map(len, (text for texts in modules.values() for text in texts))) < LEAST_BYTES:
        raise UserError(
            "this Python has no sources of its standard library",
            where=sysconfig.get_path("stdlib"),
            fix="use a Python that has them, such as python.org's or a distribution's",
        )
    rng = np.random.default_rng(seed)
    parts = {name: _parted(texts) for name, texts in sorted(modules.items())}
    several = {name: part for name, part in parts.items() if part[0]}
    owner = clusters({name: " ".join(part[0]) for name, part in several.items()}, silos, rng)
    cut: list[list[Floats]] = [[] for _ in range(silos)]
    held, owners = [], []
    for k, (train, test, _) in zip(owner, several.values(), strict=True):
        cut[k].append(windowed("\n".join(train), length, tokens))
        held.append(windowed("\n".join(test), length, tokens))
        owners.append(np.full(len(held[-1]), k))
    judge = encoded("\n".join(text for part in parts.values() for text in part[2]), tokens)
    each = [np.concatenate(some) for some in cut]
    many = min(windows, *map(len, each))
    chosen = tuple(some[rng.permutation(len(some))[:many]] for some in each)
    unseen, of = np.concatenate(held), np.concatenate(owners)
    order = rng.permutation(len(unseen))[:tests]
    return Corpus(chosen, unseen[order], of[order], tokens, judge)


def _library(kept: Path | None) -> dict[str, list[str]]:
    """The docstrings of this Python's library, read once for a folder and version."""
    file = kept and kept / f"texts-{platform.python_version()}.json"
    if file is not None and file.exists():
        found: dict[str, list[str]] = json.loads(file.read_text())
        return found
    found = docstrings(Path(sysconfig.get_path("stdlib")))
    if file is not None:
        write_json(file, found)
    return found


def docstrings(folder: Path) -> dict[str, list[str]]:
    """The docstrings of each module below a folder, by its name; of packages, one name for all.
    Blanks are single, and letters outside ASCII are question marks."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).parts
        if not SKIPPED.isdisjoint(parts):
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (OSError, SyntaxError, ValueError):  # a file for other versions of Python
            continue
        found.setdefault(parts[0].removesuffix(".py"), []).extend(_docstrings(tree))
    return found


def _docstrings(tree: ast.Module) -> Iterator[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)
    for node in ast.walk(tree):
        if isinstance(node, kinds) and (text := ast.get_docstring(node)):
            yield re.sub(r"\s+", " ", text).encode("ascii", "replace").decode()


def _parted(texts: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Texts to train on, to measure on and to judge draws by. The text itself decides, so copies
    stay together."""
    found: tuple[list[str], list[str], list[str]] = ([], [], [])
    for text in texts:
        part = zlib.crc32(text.encode()) % TEST_SHARE
        found[part + 1 if part < 2 else 0].append(text)
    return found


def encoded(text: str, tokens: int = ASCII) -> Floats:
    """The tokens of a text of ASCII, (N,)."""
    if tokens == ASCII:
        return np.frombuffer(text.encode(), np.uint8).astype(np.float32)
    plain = re.sub(r"[^a-z]+", "`", text.lower())  # the byte before a
    return np.frombuffer(plain.encode(), np.uint8).astype(np.float32) - ord("`")


def windowed(text: str, length: int, tokens: int = ASCII) -> Floats:
    """All whole windows of a text, (N, length)."""
    data = encoded(text, tokens)
    return data[: len(data) // length * length].reshape(-1, length)


def clusters(texts: Mapping[str, str], many: int, rng: np.random.Generator) -> list[int]:
    """A cluster for each text, by k-means of their words (tf-idf on the sphere) in which no cluster
    gets much more text than another."""
    sizes = np.array([len(text) for text in texts.values()])
    seen = np.stack([_words(text) for text in texts.values()])
    often = np.log(len(seen) / (1.0 + (seen > 0).sum(axis=0)))
    return balanced(np.log1p(seen) * np.maximum(often, 0.0), sizes, many, rng)


def balanced(
    points: NDArray[np.float64], sizes: NDArray[np.int64], many: int, rng: np.random.Generator
) -> list[int]:
    """A cluster for each point (N, d), by k-means on the sphere in which no cluster gets much more
    than its share of the sizes (N,)."""
    points = _unit(points)
    middles = points[rng.choice(len(points), many, replace=False, p=sizes / sizes.sum())]
    owner = np.zeros(len(points), np.int64)
    for _ in range(ROUNDS):
        near = points @ middles.T
        room = np.full(many, math.ceil(SLACK * sizes.sum() / many))
        # The surest first: those that lose most by another cluster.
        ranked = np.sort(near, axis=1)
        for i in np.argsort(ranked[:, -2] - ranked[:, -1]):
            wanted = [k for k in np.argsort(-near[i]) if room[k] >= sizes[i]]
            owner[i] = wanted[0] if wanted else int(np.argmax(room))
            room[owner[i]] -= sizes[i]
        sums = [(points * sizes[:, None])[owner == k].sum(axis=0) for k in range(many)]
        middles = _unit(np.stack(sums))
    return [int(k) for k in owner]


def _words(text: str) -> NDArray[np.float64]:
    found = np.zeros(HASHED)
    for word in re.findall(r"[a-z]{3,}", text.lower()):
        found[zlib.crc32(word.encode()) % HASHED] += 1
    return found


def _unit(points: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    return np.asarray(points / np.maximum(lengths, 1e-12))
