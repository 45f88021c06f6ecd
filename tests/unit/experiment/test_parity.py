"""Experts of clusters of text against one network: clusters, bits, intervals, rows and tables."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcfm_node.errors import UserError
from dcfm_node.experiment import results, settings, show
from dcfm_node.experiment.lines import TrialSpec
from dcfm_node.experiment.parity import corpus as texts
from dcfm_node.experiment.parity import trial
from dcfm_node.experiment.parity.corpus import Corpus, clusters, docstrings, windowed
from dcfm_node.experiment.parity.ngram import Judge
from dcfm_node.experiment.parity.settings import LINEUP, OWN, POOLED, Parity
from dcfm_node.experiment.parity.show import interval
from dcfm_node.experiment.parity.trial import ParityTrial, compared
from dcfm_node.experiment.results import Results, Row

WORDS = ("alpha beta gamma delta", "socket server client port", "matrix vector number sum")


def made(seed: int = 0) -> Corpus:
    """Three clusters of texts, each of its own words."""
    rng = np.random.default_rng(seed)

    def drawn(k: int, many: int) -> np.ndarray[Any, Any]:
        text = " ".join(rng.choice(WORDS[k].split(), size=many * 4))
        return windowed(text, 8)[:many]

    tests = [drawn(k, 20) for k in range(3)]
    owners = np.repeat(np.arange(3), 20)
    judge = np.concatenate([drawn(k, 50) for k in range(3)]).ravel()
    return Corpus(tuple(drawn(k, 150) for k in range(3)), np.concatenate(tests), owners, 128, judge)


@pytest.mark.parametrize("path", ["autoregressive", "discrete"])
def test_a_trial_makes_a_row_for_each_way_and_keeps_them(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[int] = []

    def given(*sizes: int, tokens: int, kept: Path) -> Corpus:
        asked.append(sizes[-1])
        return made(sizes[-1])

    monkeypatch.setattr("dcfm_node.experiment.parity.trial.corpus", given)
    fields = settings.read("discrete", "quick").model_dump() | {"paths": (path,), "equal": "steps"}
    fields["local"] |= {"steps": 60, "learning_rate": 0.01}
    small = {"length": 8, "network": {"kind": "transformer", "width": 16, "depth": 1}}
    parity = Parity.model_validate(fields | small)
    spec = TrialSpec(
        experiment="discrete", preset="quick", partition=path, seed=0, out=tmp_path, device="cpu"
    )
    for _ in range(2):
        ParityTrial(spec, parity).run()
    assert asked == [0]
    rows = [results.read_row(path) for path in sorted((tmp_path / "rows").glob("*.json"))]
    found = {row.method: row.metrics for row in rows}
    assert found.keys() == set(LINEUP)
    assert found[POOLED]["excess"] == found[POOLED]["low"] == found[POOLED]["high"] == 0.0
    assert all(0.0 < one["bits"] < 7.0 for one in found.values())
    assert found[OWN]["low"] <= found[OWN]["excess"] <= found[OWN]["high"]
    # Words of other clusters are strange to an expert.
    assert found[OWN]["bits"] < found["all experts"]["bits"] + 0.2
    assert found[POOLED]["bits"] < found[POOLED]["unigram"]
    judged = {name: one for name, one in found.items() if name != OWN}
    # Words that run into each other are stranger to the judge than real ones.
    assert all(0.0 < one["real"] < one["judged"] for one in judged.values()), [*judged.values()]
    assert '"event":"measured"' in capsys.readouterr().out


def test_the_interval_is_of_the_ratio_of_paired_texts() -> None:
    rng = np.random.default_rng(1)
    pooled = rng.uniform(1.0, 5.0, 500)
    excess, low, high = compared(pooled * 1.05, pooled, 0)
    assert (excess, low, high) == pytest.approx((0.05, 0.05, 0.05))
    noisy = pooled * 1.05 + rng.normal(0.0, 0.5, 500)
    excess, low, high = compared(noisy, pooled, 0)
    assert low < excess < high
    assert high - low == pytest.approx(4 * 0.5 / pooled.mean() / np.sqrt(500), rel=0.2)


def test_clusters_follow_words_and_share_the_text() -> None:
    rng = np.random.default_rng(2)
    kinds = [i % 3 for i in range(30)]
    named = {
        f"m{i:02}": " ".join(rng.choice(WORDS[kind].split(), size=40))
        for i, kind in enumerate(kinds)
    }
    owner = clusters(named, 3, np.random.default_rng(3))
    pairs = set(zip(kinds, owner, strict=True))
    assert len(pairs) == 3
    assert sorted(np.bincount(owner)) == [10, 10, 10]


def test_a_cluster_with_most_of_the_texts_is_shared_out() -> None:
    named = {f"m{i:02}": WORDS[0] for i in range(20)} | {"x": WORDS[1], "y": WORDS[2]}
    owner = clusters(named, 2, np.random.default_rng(4))
    assert max(np.bincount(owner)) <= 13


def test_docstrings_are_read_from_sources_alone(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "test").mkdir()
    (tmp_path / "one.py").write_text('"""Module\n  öne."""\ndef f():\n    "Does it."\n')
    (tmp_path / "pack" / "two.py").write_text('class C:\n    """A class."""\n    x = "no"\n')
    (tmp_path / "test" / "three.py").write_text('"""Skipped."""\n')
    (tmp_path / "bad.py").write_text("def (:\n")
    assert docstrings(tmp_path) == {"one": ["Module ?ne.", "Does it."], "pack": ["A class."]}


def test_a_python_without_sources_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(UserError, match="no sources"):
        texts.corpus(3, 32, 100, 20, 0)


def test_the_standard_library_gives_silos_of_equal_size_and_held_out_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = texts.corpus(3, 64, 500, 50, 0, kept=tmp_path)
    monkeypatch.setattr(texts, "docstrings", None)  # whatever reads again fails
    again = texts.corpus(3, 64, 500, 50, 0, kept=tmp_path)
    assert np.array_equal(found.tests, again.tests)
    assert {silo.shape for silo in found.silos} == {(500, 64)}
    assert found.tests.shape == (50, 64)
    assert set(found.owners) == {0, 1, 2}
    assert found.tests.max() < 128
    trained = {row.tobytes() for silo in found.silos for row in silo}
    assert sum(row.tobytes() in trained for row in found.tests) <= 2


def test_pictures_are_told_by_words_and_curves_take_more_steps(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    fields = settings.read("discrete", "quick").model_dump()
    fields |= {"paths": ("digits", "autoregressive"), "curve": (2.0,), "tests": 100}
    fields["local"] |= {"steps": 150, "batch": 16, "learning_rate": 0.01}
    fields["network"] |= {"width": 16, "depth": 1}
    parity = Parity.model_validate(fields)
    assert parity.partitions == ("digits", "autoregressive", "autoregressive-x2")
    assert parity.asked("autoregressive-x2") == ("autoregressive", 2.0)
    spec = TrialSpec(
        experiment="discrete",
        preset="quick",
        partition="digits",
        seed=0,
        out=tmp_path,
        device="cpu",
    )
    ParityTrial(spec, parity).run()
    rows = [results.read_row(path) for path in sorted((tmp_path / "rows").glob("*.json"))]
    found = {row.method: row.metrics for row in rows}
    assert found[POOLED]["bits"] < 0.8 * found[POOLED]["unigram"]
    for name in (POOLED, "all experts", "top-1"):
        one = found[name]
        assert one["accuracy_low"] < one["accuracy"] < one["accuracy_high"]
    page = show.page(Results("discrete", "cpu", "a", "b", "c", tuple(rows), planned=4), parity)
    assert f"| pooled | {found[POOLED]['accuracy']:.0%} |" in page


def test_steps_are_multiplied_for_a_curve() -> None:
    given = Parity.model_validate(settings.read("discrete", "cpu").model_dump())
    local = trial.manifest(given, "autoregressive", 0, made(), 2.0).method.local
    assert (local.steps, local.batch) == (2 * given.local.steps, given.local.batch)


def test_an_n_gram_gives_probabilities_and_knows_its_own_text() -> None:
    rng = np.random.default_rng(5)
    text = rng.choice(4, size=4_000, p=(0.4, 0.3, 0.2, 0.1)).astype(np.float32)
    text[1::2] = (text[::2] + 1) % 4  # every other token follows from the one before
    judge = Judge(text, 5)
    table = 2.0 ** -judge._bits.reshape(-1, 5)
    np.testing.assert_allclose(table.sum(axis=1), 1.0)
    own, other = text[:400].reshape(-1, 8), rng.integers(5, size=(50, 8)).astype(np.float32)
    assert judge.order == 4
    assert judge.bits(own).mean() < 1.3
    assert judge.bits(other).mean() > 3.0


def test_letters_have_no_case_and_all_else_is_a_blank() -> None:
    assert texts.encoded("aZ, b", texts.LETTERS).tolist() == [1, 26, 0, 2]


def row(method: str, excess: float, seed: int, plain: float = 4.0) -> Row:
    bits = {"bits": 2.0 * (1 + excess), "excess": excess, "router_accuracy": 0.7, "unigram": plain}
    bounds = {"low": excess - 0.01, "high": excess + 0.01}
    return Row(method, "autoregressive", seed, "joint", bits | bounds, cost={"cpu_seconds": 9.0})


def test_tables_and_the_picture_say_who_is_at_parity(tmp_path: Path) -> None:
    given = settings.read("discrete", "cpu")
    assert isinstance(given, Parity)
    excess = dict(zip(LINEUP, (0.0, 0.011, 0.034, -0.05), strict=True))
    rows = tuple(row(name, e, seed) for seed in (0, 1) for name, e in excess.items())
    found = Results("discrete", "cpu", "abc", "a machine", "a command", rows, planned=16)
    page = show.page(found, given)
    lines = {line.split(" | ")[0].strip("| "): line for line in page.splitlines()}
    assert "| yes |" in lines["all experts"]
    assert "| no |" in lines["top-1"]
    assert "| no |" in lines[OWN]
    assert "+1.1%" in lines["all experts"]
    assert interval(rows[2]) == "+3.4% [+2.4%, +4.4%]"
    assert show.summary(found, given) in page.replace("## autoregressive\n\n", "autoregressive\n")
    little = tuple(row(name, e, 0, plain=2.1) for name, e in excess.items())
    assert "too little learned" in show.summary(replace(found, rows=little), given)
    pytest.importorskip("matplotlib")
    assert [p.name for p in show.write(tmp_path, found, given)][-1] == "parity.png"
    again = settings.of_results(given.model_dump(mode="json"))
    assert again == given
