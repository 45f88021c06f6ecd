"""SPEC 6.14.1: what a silo's judge measures of a student, here of made-up ones."""

import math
from dataclasses import replace
from itertools import product

import pytest
import torch

from dcfm_node.flow.committee import Committee
from dcfm_node.flow.judges import MAX_DRAWS, ByCommittee, Measured, ratios
from dcfm_node.flow.quality import by_combination, distance, measure
from dcfm_node.flow.stages import EncodedSamples
from dcfm_node.swarm.quality import announced, objects

SIZES = (3, 3)
SPACE = list(product(range(3), range(3)))
NOVEL = [(0, 2), (2, 0)]
KNOWN = [label for label in SPACE if label not in NOVEL]
EFFECTS = torch.tensor([[0.0, 2.0, 4.0], [0.0, 3.0, -3.0]])


def true(c, seed):
    """Real samples of labels: two features that an attribute each moves, and two that both do."""
    g = torch.Generator().manual_seed(seed)
    a, b = EFFECTS[0][c[:, 0]], EFFECTS[1][c[:, 1]]
    return torch.stack([a, b, a + b, a - b], 1) + 0.3 * torch.randn(len(c), 4, generator=g)


def samples(labels, each, seed):
    c = torch.tensor(labels).repeat_interleave(each, 0)
    return EncodedSamples(true(c, seed), c)


def silo(withheld=()):
    """A silo that holds four of the seven known combinations."""
    own = KNOWN[:4]
    known = [label for label in KNOWN if label not in withheld]
    return Measured.of(samples(own, 40, 1), samples(own, 12, 2), known, withheld, SIZES)


def swapped(c, seed):
    """Right for known combinations; those of the second value of a novel one for novel ones."""
    novel = torch.tensor([tuple(row) in NOVEL for row in c.tolist()])
    wrong = torch.stack([c[:, 0], (c[:, 1] + 1) % 3], 1)
    return torch.where(novel[:, None], true(wrong, seed), true(c, seed))


def noise(c, seed):
    return torch.randn(len(c), 4, generator=torch.Generator().manual_seed(seed))


def wild(c, seed):
    return true(c, seed) * 1e4


def broken(c, seed):
    return torch.full((len(c), 4), torch.nan)


def test_a_good_student_is_measured_as_good() -> None:
    figures = measure(true, silo(), seed=5)
    found = announced([figures] * 2, 2, final=True)
    assert found.known.value > 0.85
    assert found.novel.value > 0.85
    assert figures["known_distance"] < 0.05


def test_broken_draws_of_a_combination_that_the_silo_holds_are_seen() -> None:
    """The committee was trained on such draws, and takes them for right."""

    def broken_first(c, seed):
        x = true(c, seed)
        return torch.where((c == torch.tensor(KNOWN[0])).all(1)[:, None], x + 1.2, x)

    whole, broken = (measure(draw, silo(), seed=5) for draw in (true, broken_first))
    assert whole["known_rate"] > 0.95
    assert broken["known_rate"] < 0.85  # of four that the silo holds, one is wrong
    assert broken["judge_known"] > 0.9


def test_the_worst_novel_combination_is_told() -> None:
    def one_wrong(c, seed):
        novel = (c == torch.tensor(NOVEL[0])).all(1)
        return torch.where(novel[:, None], swapped(c, seed), true(c, seed))

    figures = measure(one_wrong, silo(), seed=5)
    assert figures["novel_worst"] == 0.0
    assert 0.3 < figures["novel_rate"] < 0.6


def test_ratios_compare_the_nearest_real_samples_of_the_same_and_of_other_combinations() -> None:
    c = torch.tensor([[0, 0], [0, 1]])
    real = EncodedSamples(torch.tensor([[0.0, 0.0], [4.0, 0.0]]), c)
    asked = torch.tensor([[0, 0], [0, 1], [0, 2]])
    found = ratios(EncodedSamples(torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]), asked), real)
    assert found.tolist() == pytest.approx([1 / 3, 3.0, 0.0])
    assert ratios(EncodedSamples(real.x, c), EncodedSamples(real.x[:1], c[:1])).tolist() == [0, 0]


def test_wrong_novel_draws_are_seen_by_a_judge_that_never_saw_their_combinations() -> None:
    figures = measure(swapped, silo(), seed=5)
    assert figures["known_rate"] > 0.85
    assert figures["judge_rate"] > 0.85
    assert figures["novel_rate"] == 0.0


@pytest.mark.parametrize("garbage", [noise, wild, broken])
def test_a_judge_that_was_trained_on_garbage_does_not_read_it_as_right(garbage) -> None:
    figures = measure(garbage, silo(), seed=5)
    assert objects(figures, 0.5)
    assert all(value == value for value in figures.values())


def test_probes_are_measured_on_real_samples_and_never_taught_to_the_judge(monkeypatch) -> None:
    taught, fit = [], Committee.fit

    def spy(x, c, *given, **more):
        taught.append({tuple(row) for row in c.tolist()})
        return fit(x, c, *given, **more)

    monkeypatch.setattr(Committee, "fit", spy)
    probe = KNOWN[0]
    figures = measure(true, silo((probe,)), seed=5)
    assert taught == [set(KNOWN[1:])]
    assert figures["probe_rate"] > 0.8
    assert figures["judge_rate"] > 0.8
    assert figures["probe_distance"] < 0.1


def test_a_silo_of_probes_alone_still_measures() -> None:
    own = samples(KNOWN[:1], 30, 1)
    data = Measured.of(own, samples(KNOWN[:1], 9, 2), KNOWN[1:], KNOWN[:1], SIZES)
    figures = measure(true, data, seed=5)
    assert not {"known_rate", "judge_known"} & figures.keys()
    assert figures["judge_rate"] > 0.8


def test_the_same_seed_gives_the_same_figures() -> None:
    assert measure(true, silo(), seed=5) == measure(true, silo(), seed=5)


def test_distance_is_nothing_for_likes_and_one_apart() -> None:
    here, there = samples(KNOWN, 60, 1), samples(KNOWN, 60, 2)
    scale = torch.ones(4)
    assert distance(here, there, scale) < 0.03
    far = EncodedSamples(there.x + 1e3, there.c)
    assert distance(here, far, scale) > 0.99
    assert distance(samples(KNOWN[:1], 9, 1), samples(KNOWN[1:], 9, 1), scale) is None


def test_draws_that_are_all_the_same_as_real_samples_are_not_apart() -> None:
    same = EncodedSamples(torch.zeros(40, 4), torch.zeros(40, 2, dtype=torch.long))
    assert distance(same, same, torch.ones(4)) == 0.0


def test_judges_are_taught_a_bounded_number_of_alike_many_of_each(monkeypatch) -> None:
    monkeypatch.setattr("dcfm_node.flow.judges.MAX_TAUGHT", 12)
    many, few = samples(KNOWN[:1], 30, 1), samples(KNOWN[1:3], 5, 2)
    mixed = EncodedSamples(torch.cat([many.x, few.x]), torch.cat([many.c, few.c]))
    data = Measured.of(mixed, samples(KNOWN[:1], 12, 3), KNOWN, (), SIZES)
    labels, often = torch.unique(data.train.c, dim=0, return_counts=True)
    assert [tuple(label) for label in labels.tolist()] == KNOWN[:3]
    assert often.tolist() == [4, 4, 4]
    assert len(data.holdout.c) == 12


def test_numbers_that_nobody_standardised_are_measured_as_well() -> None:
    def large(c, seed):
        return 1e30 * true(c, seed)

    data, real = silo(), samples(KNOWN[:4], 40, 1)
    huge = Measured.of(EncodedSamples(1e30 * real.x, real.c), real, KNOWN, (), SIZES)
    figures = measure(large, huge, seed=5)
    assert all(math.isfinite(value) for value in figures.values())
    assert figures["novel_rate"] == pytest.approx(
        measure(true, data, seed=5)["novel_rate"], abs=0.05
    )


def told(draw, data):
    return {verdict.label: verdict for verdict in by_combination(draw, data, seed=5)}


def test_of_each_combination_the_judge_tells_which_attribute_fails() -> None:
    found = told(swapped, silo())
    assert list(found) == SPACE
    for label in NOVEL:
        wrong = found[label]
        assert (wrong.kind, wrong.level, wrong.draws) == ("novel", 1, 48)
        assert wrong.expected.value == 0.0
        assert wrong.values[0] > 0.9
        assert wrong.values[1] < 0.1
    good = [found[label].expected for label in KNOWN[:4]]
    assert all(one.low <= one.value <= one.high and one.value > 0.8 for one in good)


def test_each_combination_alone_says_what_all_say_together() -> None:
    """The same judge; draws differ."""

    def one_wrong(c, seed):
        novel = (c == torch.tensor(NOVEL[0])).all(1)
        return torch.where(novel[:, None], swapped(c, seed), true(c, seed))

    figures, found = measure(one_wrong, silo(), seed=5), told(one_wrong, silo())
    values = [found[label].expected.value for label in NOVEL]
    assert sum(values) / 2 == pytest.approx(figures["novel_rate"], abs=0.05)
    assert min(values) == figures["novel_worst"]


def test_draws_that_show_their_values_and_are_unlike_real_ones_are_told_apart() -> None:
    def astray(c, seed):
        first = (c == torch.tensor(KNOWN[0])).all(1)[:, None]
        return true(c, seed) + first * torch.tensor([-2.0, -3.0, -5.0, 1.0])

    worst = told(astray, silo())[KNOWN[0]]
    assert worst.expected.value < 0.1
    assert worst.unlike > 0.9
    assert min(worst.values) > 0.9


def test_an_interval_of_an_unseen_combination_holds_what_each_reader_says(monkeypatch) -> None:
    opinions = Committee.opinions

    def one_denies(self, x, c):
        found = opinions(self, x, c)
        return torch.column_stack([found, torch.zeros(len(c), dtype=torch.bool)])

    agreed = told(true, silo())
    monkeypatch.setattr(Committee, "opinions", one_denies)
    denied = told(true, silo())
    for label in NOVEL:
        assert denied[label].expected.low == 0.0 < agreed[label].expected.low
        assert denied[label].expected.value == agreed[label].expected.value
    assert [denied[label] for label in KNOWN] == [agreed[label] for label in KNOWN]


def test_a_judge_says_nothing_of_known_combinations_that_only_others_hold() -> None:
    found = told(true, silo())
    for label in KNOWN[4:]:
        assert (found[label].kind, found[label].level) == ("known", 0)
        assert (found[label].expected, found[label].draws) == (None, 0)
        assert "only other silos" in found[label].why


def test_garbage_is_not_taken_for_samples_and_does_not_spoil_a_judge() -> None:
    found = told(noise, silo())
    assert all(found[label].expected.value < 0.1 for label in (*KNOWN[:4], *NOVEL))


def test_a_judge_that_cannot_be_trusted_on_unseen_combinations_says_nothing_of_them(
    monkeypatch,
) -> None:
    monkeypatch.setattr(ByCommittee, "trusted", lambda judge, holdout: (1.0, 0.5))
    found = told(true, silo())
    assert all(found[label].expected is None for label in NOVEL)
    assert all("and 0.6 is needed" in found[label].why for label in NOVEL)
    assert all(found[label].expected.value > 0.9 for label in KNOWN[:4])


def test_a_judge_without_a_combination_to_leave_out_says_so() -> None:
    known = [(0, 0), (0, 1), (1, 0)]
    data = Measured.of(samples(known, 30, 1), samples(known, 9, 2), known, (), (2, 2))
    found = told(true, data)
    assert found[1, 1].expected is None
    assert "no data here show" in found[1, 1].why


def test_a_value_that_nobody_holds_is_not_judged() -> None:
    found = told(true, Measured.of(*[samples(KNOWN, 20, 1)] * 2, KNOWN, (), (3, 4)))
    assert {label for label, one in found.items() if "does not follow" in one.why} == {
        (row, 3) for row in range(3)
    }
    assert [found[label].why for label in NOVEL] == ["", ""]


def test_a_silo_judges_its_own_probe_and_samples_that_no_teacher_holds() -> None:
    probe, own = KNOWN[0], samples([*KNOWN[:4], NOVEL[0]], 40, 1)
    data = Measured.of(own, own, KNOWN[1:], [probe], SIZES)
    found = told(true, data)
    assert found[probe].kind == "probe"
    assert found[NOVEL[0]].kind == "novel"
    assert min(found[probe].expected.value, found[NOVEL[0]].expected.value) > 0.8


def test_no_more_draws_are_made_than_are_allowed(monkeypatch) -> None:
    monkeypatch.setattr("dcfm_node.flow.judges.MAX_DRAWS", 40)
    asked = []

    def counted(c, seed):
        asked.append(len(c))
        return true(c, seed)

    data = silo()
    told(counted, data)
    assert max(asked) <= 40 < MAX_DRAWS
    monkeypatch.setattr("dcfm_node.flow.judges.MAX_DRAWS", 4)
    found = told(true, data).values()
    assert sum(one.draws for one in found) == 4
    assert [one.why for one in found].count("there are too many combinations to draw each") == 2


@pytest.mark.parametrize("amplitude", [10.0, 30.0, 1e6])
def test_wild_draws_of_one_combination_do_not_blind_a_judge(amplitude) -> None:
    """A leader may count a combination alone and draw it so. Its wrong novel draws are still seen:
    a silo that cannot measure them would not object."""
    alone = torch.tensor(KNOWN[-1])

    def hiding(c, seed):
        wild = amplitude * torch.randn(len(c), 4, generator=torch.Generator().manual_seed(seed))
        return torch.where((c == alone).all(1)[:, None], wild, swapped(c, seed))

    figures = measure(hiding, silo(), seed=5)
    assert figures["judge_rate"] > 0.85
    assert figures["known_rate"] > 0.85
    assert objects(figures, 0.5)
    assert figures["novel_rate"] == 0.0


FAR = torch.tensor([[0.0, 2.0, 4.0, 0.0], [40.0, 3.0, -3.0, 0.0]])
ALONE = [label for label in SPACE if label[1] != 0 or label[0] == 0]


def strong(c, seed):
    """As `true`; the first value of the second attribute, which is in one known combination alone,
    lies farther away than the others lie apart."""
    g = torch.Generator().manual_seed(seed)
    a, b = FAR[0][c[:, 0]], FAR[1][c[:, 1]]
    return torch.stack([a, b, a + b, a - b], 1) + 0.3 * torch.randn(len(c), 4, generator=g)


def of_strong(own):
    c = torch.tensor(own).repeat_interleave(40, 0)
    return Measured.of(*(EncodedSamples(strong(c, k), c) for k in (1, 2)), ALONE, (), SIZES)


def test_a_judge_says_nothing_of_a_value_whose_only_draws_it_could_not_learn_from() -> None:
    """They lie too far from all others: it does not know how the value looks."""
    lacks = of_strong([(0, 1), (0, 2), (1, 1), (1, 2)])
    figures, found = measure(strong, lacks, seed=5), told(strong, lacks)
    assert not {"novel_rate", "novel_error", "novel_worst"} & figures.keys()
    assert figures["judge_rate"] > 0.9
    assert not objects(figures, 0.5)
    for label in ((1, 0), (2, 0)):
        assert found[label].expected is None
        assert "too far from all others" in found[label].why
    holds = of_strong([(0, 0), (0, 1), (1, 1)])
    assert measure(strong, holds, seed=5)["novel_rate"] > 0.9


def test_what_a_judge_cannot_read_does_not_count_where_it_reads_others() -> None:
    known = [label for label in ALONE if label != (2, 2)]
    c = torch.tensor([(0, 1), (0, 2), (1, 1), (1, 2)]).repeat_interleave(40, 0)
    parts = (EncodedSamples(strong(c, k), c) for k in (1, 2))
    data = Measured.of(*parts, known, (), SIZES)
    assert measure(strong, data, seed=5)["novel_rate"] > 0.9
    swapped_last = measure(
        lambda c, seed: strong((c + (c == 2).all(1)[:, None]) % 3, seed), data, seed=5
    )
    assert swapped_last["novel_rate"] < 0.1


def exactly(data):
    """What a domain would say: each attribute is in one of the first two features."""
    effects = (EFFECTS[0], EFFECTS[1])
    read = [(data.x[:, i, None] - of).abs().argmin(1) for i, of in enumerate(effects)]
    return torch.stack(read, 1) == data.c


def test_a_domain_that_can_tell_judges_without_a_committee(monkeypatch) -> None:
    monkeypatch.setattr("dcfm_node.flow.judges.Committee", None)
    found = measure(swapped, replace(silo(), shows=exactly), seed=3)
    assert found["known_rate"] > 0.99 and found["novel_rate"] < 0.01
    assert found["judge_known"] > 0.99 and found["judge_rate"] > 0.99


def test_a_domain_judges_every_combination_and_says_which_value_fails() -> None:
    verdicts = told(swapped, replace(silo(), shows=exactly))
    assert all(verdict.why == "" for verdict in verdicts.values())
    assert all(verdicts[label].expected.value > 0.9 for label in KNOWN)
    assert verdicts[NOVEL[0]].values == (1.0, 0.0)


def test_a_domain_that_does_not_know_a_silos_data_is_not_trusted() -> None:
    other = replace(silo(), shows=lambda data: torch.zeros(data.c.shape, dtype=torch.bool))
    found = measure(true, other, seed=3)
    assert found["judge_rate"] == 0.0 and announced([found] * 3, 2, final=True).novel is None
