"""Experiments' files: presets, schemes, geometries, and errors that name the place."""

from pathlib import Path

import pytest

from dcfm_node.errors import ConfigError
from dcfm_node.experiment import settings
from dcfm_node.experiment.costs.settings import Costs
from tests.unit.experiment import tiny


@pytest.mark.parametrize("name", settings.names())
def test_every_shipped_experiment_loads_under_each_of_its_presets(name: str) -> None:
    for preset in settings.presets(name):
        found = settings.read(name, preset)
        assert found.name == name
        assert found.seeds > 0
        assert settings.of_results(found.model_dump(mode="json")) == found


def test_costs_are_an_experiment_of_their_own_kind() -> None:
    assert isinstance(settings.read("costs", "cpu"), Costs)
    with pytest.raises(ConfigError, match="kind"):
        settings.load("costs", "cpu")


def test_a_preset_lies_over_the_file(tmp_path: Path) -> None:
    path = tiny.write(tmp_path)
    assert settings.load(path, "cpu").method.local.steps == 4
    assert settings.load(path, "long").method.local.steps == 6
    assert settings.load(path, "long").method.local.batch == 8


def test_a_scheme_changes_its_own_settings_alone(tmp_path: Path) -> None:
    change = "change = { method = { distil = { steps = 9 } } }"
    scheme = f'[[scheme]]\nname = "slow"\nmethod = "dcfm-b"\n{change}'
    path = tiny.write(tmp_path, top=scheme)
    lineup = settings.load(path, "cpu").lineup
    method, changed = lineup["slow"]
    assert (method, changed.method.distil.steps) == ("dcfm-b", 9)
    assert lineup["dcfm-b"][1].method.distil.steps == 4


def test_results_carry_settings_that_load_again(tmp_path: Path) -> None:
    given = settings.load(tiny.write(tmp_path), "cpu")
    assert settings.of_results(given.model_dump(mode="json")) == given


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"silo": "top"}, "observes held-out"),
        ({"silo": "topp"}, "no value 'topp'"),
        ({"held_out": '["right"]'}, "needs 2 values"),
        ({"top": "eech = 3"}, "eech"),
        ({"steps": 0}, "steps"),
        ({"top": '[[scheme]]\nname = "dcfm-b"\nmethod = "ddm"'}, "have the same name"),
    ],
)
def test_a_mistake_is_told_with_its_file(tmp_path: Path, change: dict[str, str], said: str) -> None:
    path = tiny.write(tmp_path, **change)  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as told:
        settings.load(path, "cpu")
    assert said in str(told.value)
    assert "tiny.toml" in str(told.value)


def test_a_mistake_of_a_preset_names_the_preset(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"preset\.wrong\.method\.local\.steps"):
        settings.load(tiny.write(tmp_path), "wrong")


def test_an_unknown_name_or_preset_is_told_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gaussians"):
        settings.load("gausians", "cpu")
    with pytest.raises(ConfigError, match="cpu, long, wrong"):
        settings.load(tiny.write(tmp_path), "gpu")
