"""Sentences of a small grammar: a topic chooses the nouns and adjectives, a style all other words.

    sentence = [opening] [adjective] noun link [adjective] noun ending [tail]

Each part in brackets is there or not with equal odds, and each word is drawn uniformly, so
sentences have four to eight words, and a word's place does not tell which part it is. Every part
belongs to one attribute. So p(c | x) = p(topic | x) p(style | x) (Eq. 1 of DCFM), and whether a
sentence is right can be read exactly.
"""

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dcfm_node.domains.base import Domain, Evaluator, Split, SplitSpec
from dcfm_node.domains.settings import SentencesSettings
from dcfm_node.domains.space import Attributes
from dcfm_node.errors import UserError
from dcfm_node.records.manifest import Attribute
from dcfm_node.samples import Combination, Floats, Labels, Samples, Stored

LENGTH = 8
"""Words of the longest sentence; shorter ones end with the token 0."""
TOPICS = {
    "sea": {"A": "salty grey deep calm", "N": "wave gull sail shore tide crab"},
    "kitchen": {"A": "warm sweet fresh clean", "N": "pot spoon bread stove apple knife"},
    "forest": {"A": "dark mossy green old", "N": "oak owl fern path fox root"},
}
STYLES = {
    "plain": {"O": "the a this", "L": "meets has sees", "E": "today here again", "T": "! . ;"},
    "polite": {
        "O": "dear kindly please",
        "L": "greets thanks joins",
        "E": "gladly indeed sir",
        "T": "thanks-again yours truly",
    },
    "poetic": {
        "O": "oh lo behold",
        "L": "haunts kisses mourns",
        "E": "forever nevermore alas",
        "T": "o-night o-star o-heart",
    },
}
OPTIONAL = "OAaT"
"""Parts that may be missing: opening, the two adjectives, tail."""
FORM = re.compile("(O?)(A?)NL(A?)NE(T?)_*")
WORDS = (
    "",
    *(
        word
        for part in (*TOPICS.values(), *STYLES.values())
        for text in part.values()
        for word in text.split()
    ),
)
"""Token -> word."""


class Sentences(Domain[SentencesSettings]):
    """Topics x styles, of which one style of each topic is never seen."""

    own_attributes = (
        Attribute(name="topic", values=tuple(TOPICS)),
        Attribute(name="style", values=tuple(STYLES)),
    )

    def partitions(self) -> tuple[str, ...]:
        """`noniid`: each silo sees two topics. `iid`: each sees all."""
        return self.settings.partitions

    def split(self, spec: SplitSpec) -> Split:
        """The seed decides which combinations are held out."""
        attributes, silos = self.attributes(spec.attributes), spec.silos or len(TOPICS)
        if silos > 100:
            raise UserError(f"{silos} silos", where="--silos", fix="choose at most 100")
        many, rng = len(TOPICS), np.random.default_rng(spec.seed)
        every = [(topic, style) for topic in range(many) for style in range(many)]
        held_out = tuple(c for c in every if c[1] == (c[0] + spec.seed) % many)
        known = [c for c in every if c not in held_out]
        apart = (spec.partition or self.partitions()[0]) == "noniid"
        held = [[c for c in known if not apart or (c[0] - k) % many < 2] for k in range(silos)]

        def draw(combinations: Sequence[Combination], rows: int) -> Samples:
            c = np.array(combinations, dtype=np.int64)[rng.integers(len(combinations), size=rows)]
            return Samples(drawn(c, rng), c)

        rows = self.settings.samples
        return Split(
            attributes,
            (LENGTH,),
            tuple(draw(combinations, rows) for combinations in held),
            held_out,
            draw(every, rows * silos),
        )

    def evaluator(
        self, split: Split, *, folder: Path, seed: int, device: str, features: Path | None = None
    ) -> "GrammarEvaluator":
        """An evaluator that parses sentences."""
        return GrammarEvaluator(split.attributes)

    def text(self, x: Stored) -> list[str]:
        """Sentences of tokens (N, LENGTH)."""
        return [" ".join(filter(None, (WORDS[int(i)] for i in row))) for row in x]


class GrammarEvaluator(Evaluator):
    """A sentence is right if the grammar of its topic and style gives it."""

    def __init__(self, attributes: Attributes) -> None:
        self._parts = {
            (i, j): _parts(TOPICS[topic], STYLES[style])
            for i, topic in enumerate(attributes[0].values)
            for j, style in enumerate(attributes[1].values)
        }

    def right(self, samples: Samples) -> NDArray[np.bool_]:
        """Which sentences their labels' grammar gives, (N,)."""
        return np.array([form is not None for form in self.forms(samples)], np.bool_)

    def measure(self, samples: Samples) -> dict[str, float]:
        """`accuracy`; `forms`, the total variation distance (0 to 1) of the right sentences' forms,
        by which optional parts they have, from the uniform law of the grammar; and `words`, the
        same for their nouns. Without right sentences both are 1."""
        forms = self.forms(samples)
        known = [form for form in forms if form is not None]
        nouns = [
            (word, tuple(label))
            for row, label, form in zip(samples.x, samples.c.tolist(), forms, strict=True)
            if form is not None
            for word in row.tolist()
            if self._parts[tuple(label)][int(word)] == "N"
        ]
        spread = len(samples.combinations) * len(TOPICS["sea"]["N"].split())
        return {
            **super().measure(samples),
            "forms": _variation(known, 2 ** len(OPTIONAL)),
            "words": _variation(nouns, spread),
        }

    def forms(self, samples: Samples) -> list[str | None]:
        """Which optional parts a sentence has; None if it is not right."""
        tokens = samples.x.astype(np.int64)
        found: list[str | None] = []
        for row, label in zip(tokens, samples.c.tolist(), strict=True):
            parts = self._parts[tuple(label)]
            matched = FORM.fullmatch("".join(parts[word] for word in row))
            found.append(matched and "".join("+" if part else "-" for part in matched.groups()))
        return found

    def features(self, samples: Samples) -> Floats:
        """Which word is at each place, (N, LENGTH * words)."""
        return np.eye(len(WORDS), dtype=np.float32)[samples.x.astype(np.int64)].reshape(
            len(samples), -1
        )


def drawn(c: Labels, rng: np.random.Generator) -> Floats:
    """One sentence of the grammar for every label of c (N, 2): (N, LENGTH)."""
    topics, styles = list(TOPICS.values()), list(STYLES.values())
    x = np.zeros((len(c), LENGTH), np.float32)
    for row, (topic, style) in enumerate(c.tolist()):
        words = topics[topic] | styles[style]
        order = ("O", "A", "N", "L", "a", "N", "E", "T")
        kept = [part.upper() for part in order if part not in OPTIONAL or rng.random() < 0.5]
        chosen = [rng.choice(words[part].split()) for part in kept]
        x[row, : len(chosen)] = [WORDS.index(word) for word in chosen]
    return x


def _parts(topic: dict[str, str], style: dict[str, str]) -> str:
    """Token -> letter of its part in the grammar of one combination; ? for words of others."""
    part = {word: letter for letter, text in (topic | style).items() for word in text.split()}
    return "".join(["_", *(part.get(word, "?") for word in WORDS[1:])])


def _variation(found: Sequence[Hashable], many: int) -> float:
    """Total variation distance of what was found from the uniform law over `many`."""
    if not found:
        return 1.0
    times = np.array(list(Counter(found).values()))
    shares = times / len(found)
    return float((np.abs(shares - 1 / many).sum() + (many - len(shares)) / many) / 2)
