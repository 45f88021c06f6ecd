"""Scenario files: variants, and mistakes told with file, line, field and fix."""

from pathlib import Path

import pytest

from dcfm_node.errors import ConfigError
from dcfm_node.simulation.faults import draw
from dcfm_node.simulation.scenario import Scenario, load

TEXT = """title = "x"
crashes = 3

[variant.more]
crashes = 5
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT)
    return path


def test_a_variant_is_laid_over_its_file_and_changes_over_both(file: Path) -> None:
    assert load(str(file)).crashes == 3
    assert load(f"{file}:more").crashes == 5
    assert load(f"{file}:more", {"nodes": 5}) == Scenario(title="x", crashes=5, nodes=5)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("crashs = 3", "mine.toml:1: crashs: unknown setting"),
        ("\nloss = 2.0", "mine.toml:2: loss"),
        ("deaths = 1", "a strict run waits for dead silos for ever"),
        ('participation = "tolerant"\ndeaths = 6', "no majority stays sound"),
        ("[variant.bad]\nloss = 2.0", "mine.toml:2: variant.bad.loss"),
        ("nodes = 3", "no variant 'bad'"),
    ],
)
def test_a_mistake_is_told_where_it_is(file: Path, text: str, told: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"fix: ") as raised:
        load(f"{file}:bad" if "bad" in text or "bad" in told else str(file))
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("zzz", "choose one of calm, clocks, "),
        ("leavrs", "did you mean 'leavers'?"),
        ("disks", "did you mean 'disks-lost' or 'disks-full'?"),
        ("leavers:tolerent", "did you mean 'tolerant'?"),
        ("leavers:zzz", "choose one of paper, tolerant"),
    ],
)
def test_a_name_that_is_none_is_answered_with_the_nearest_or_with_all(name: str, fix: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(name)
    assert raised.value.fix.startswith(fix)


def test_the_same_seed_draws_the_same_faults_and_another_seed_others() -> None:
    scenario = load("everything")
    assert draw(scenario, 1) == draw(scenario, 1) != draw(scenario, 2)
    assert [fault.at for fault in draw(scenario, 1)] == sorted(f.at for f in draw(scenario, 1))


def test_disks_are_harmed_one_at_a_time() -> None:
    """Each in its own share of the time, so that the last has recovered."""
    scenario = load("disks-damaged")
    for seed in range(20):
        times = [f.at for f in draw(scenario, seed)]
        room = scenario.quiet_s / len(times)
        assert [int(at // room) for at in times] == list(range(5))
