"""Sentences: what the grammar gives is right, and nothing else is."""

from pathlib import Path

import numpy as np
import pytest

from dcfm_node.domains.base import SplitSpec, made, queries
from dcfm_node.domains.sentences import LENGTH, WORDS, Sentences, drawn
from dcfm_node.domains.settings import SentencesSettings
from dcfm_node.domains.space import Panel
from dcfm_node.samples import Samples

DOMAIN = Sentences(SentencesSettings(samples=300))
SPLIT = DOMAIN.split(SplitSpec())
JUDGE = DOMAIN.evaluator(SPLIT, folder=Path(), seed=0, device="cpu")
EVERY = queries([(i, j) for i in range(3) for j in range(3)], 200)


def said(sentence: str, label: tuple[int, int]) -> bool:
    words = [WORDS.index(word) for word in sentence.split()]
    x = np.array([words + [0] * (LENGTH - len(words))], np.float32)
    return bool(JUDGE.right(Samples(x, np.array([label])))[0])


def test_the_grammars_own_sentences_are_right_and_follow_its_law() -> None:
    real = Samples(drawn(EVERY, np.random.default_rng(0)), EVERY)
    found = JUDGE.measure(real)
    assert found["accuracy"] == 1.0
    assert found["forms"] < 0.1
    assert found["words"] < 0.1
    for shift in (1, 2):
        other = Samples(real.x, np.stack([(EVERY[:, 0] + shift) % 3, EVERY[:, 1]], axis=1))
        assert not JUDGE.right(other).any()
        other = Samples(real.x, np.stack([EVERY[:, 0], (EVERY[:, 1] + shift) % 3], axis=1))
        assert not JUDGE.right(other).any()


@pytest.mark.parametrize(
    ("sentence", "right"),
    [
        ("wave meets gull today", True),
        ("the deep wave has calm gull here !", True),
        ("the wave has gull", False),
        ("wave meets oak today", False),
        ("wave greets gull today", False),
        ("deep deep wave meets gull today", False),
        ("meets wave gull today", False),
        ("", False),
    ],
)
def test_a_sentence_is_right_by_the_grammar(sentence: str, right: bool) -> None:
    assert said(sentence, (0, 0)) is right


def test_a_hole_in_a_sentence_is_wrong() -> None:
    x = np.zeros((1, LENGTH), np.float32)
    words = [WORDS.index(word) for word in ("wave", "meets", "gull", "today")]
    x[0, [0, 1, 3, 4]] = words
    assert not JUDGE.right(Samples(x, np.array([(0, 0)])))[0]
    assert JUDGE.measure(Samples(x, np.array([(0, 0)]))) == {
        "accuracy": 0.0,
        "forms": 1.0,
        "words": 1.0,
    }


def test_one_narrow_form_is_far_from_the_grammars_law() -> None:
    x = np.zeros((50, LENGTH), np.float32)
    x[:, :4] = [WORDS.index(word) for word in ("wave", "meets", "gull", "today")]
    found = JUDGE.measure(Samples(x, np.zeros((50, 2), np.int64)))
    assert found["accuracy"] == 1.0
    assert found["forms"] == pytest.approx(15 / 16)
    assert found["words"] == pytest.approx(4 / 6)


def test_nobody_holds_what_is_held_out_and_silos_see_two_topics() -> None:
    assert SPLIT.held_out == ((0, 0), (1, 1), (2, 2))
    assert [{c[0] for c in silo.combinations} for silo in SPLIT.silos] == [{0, 1}, {1, 2}, {0, 2}]
    assert SPLIT.known == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
    other = DOMAIN.split(SplitSpec(seed=1, partition="iid"))
    assert other.held_out == ((0, 1), (1, 2), (2, 0))
    assert all(len(silo.combinations) == 6 for silo in other.silos)
    assert len(SPLIT.silos[0]) == 300


def test_sentences_are_shown_as_text() -> None:
    texts = DOMAIN.text(SPLIT.silos[0].x[:3])
    assert all(4 <= len(text.split()) <= LENGTH for text in texts)
    pytest.importorskip("matplotlib")
    image = DOMAIN.draw(SPLIT.space, [Panel("real", SPLIT.silos[0][:40])], {}, "sentences")
    assert image.size[0] > 300
    ink = (np.asarray(image.convert("L")) < 128).mean(axis=1)
    assert (ink[len(ink) // 2 :] > 0).mean() > 0.3, "lines of text down to the bottom"
    assert DOMAIN.sheet(SPLIT.space, SPLIT.silos[0][:40]).size == pytest.approx(image.size, abs=60)


def test_the_grammar_fits_its_settings() -> None:
    assert SentencesSettings().problem((LENGTH,)) == ""
    assert "[8]" in SentencesSettings().problem((9,))
    assert isinstance(made(SentencesSettings()), Sentences)
    assert len(set(WORDS)) == len(WORDS) == 67
