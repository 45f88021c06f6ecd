"""Several students at once, in Python and by `student compose`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import dcfm_node
from dcfm_node.errors import ConfigError, Failed
from dcfm_node.flow.losses import VelocityField
from dcfm_node.flow.method import Learner
from dcfm_node.records.moments import Scale
from dcfm_node.student.loaded import Student
from tests.unit.cli.running import run
from tests.unit.student.made import make

SIZES = ({"name": "n", "values": ("one", "two")}, {"name": "size", "values": ("big", "small")})
LAWS = {"n": (1.0, 0.6), "size": (-0.4, 1.0)}
"""Mean and deviation of both numbers of a student's samples, by its last attribute."""
UNITS = Scale(mean=(0.5, -0.5), deviation=(0.5, 2.0))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    made = tmp_path_factory.mktemp("students")
    one = make(made / "a")
    return one, make(made / "b", attributes=SIZES, scaled=True, scale=UNITS)


@pytest.fixture
def both(folders: tuple[Path, Path]) -> dcfm_node.Composition:
    return dcfm_node.compose(*map(dcfm_node.load_student, folders))


def gaussian(
    learner: Learner, tensors: Mapping[str, Tensor], *, counts: Any, device: Any
) -> VelocityField:
    """In place of a network: the exact velocity of N(m, s²) in the units of the run's data. The
    values one and two of n move m by 0 and 2."""
    names = [one.name for one in learner.manifest.attributes]
    mean, deviation = LAWS["size" if "size" in names else "n"]
    before = learner.manifest.continues
    scale = None if before is None else before.scale
    centre = torch.tensor(scale.mean if scale else (0.0, 0.0))
    unit = torch.tensor(scale.deviation if scale else (1.0, 1.0))

    def velocity(x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        moved = 2.0 * (c[:, :1] == 1)
        m, s, t = (mean + moved - centre) / unit, deviation / unit, t[:, None]
        slope = (t * s**2 - (1 - t)) / ((1 - t) ** 2 + (t * s) ** 2)
        return m + slope * (x - t * m)

    return velocity


@pytest.mark.parametrize("turned", [False, True])
def test_the_product_of_two_gaussian_students_has_its_mean_and_covariance(
    both: dcfm_node.Composition, monkeypatch: pytest.MonkeyPatch, turned: bool
) -> None:
    """One of them standardises its data, the other does not."""
    monkeypatch.setattr(Learner, "field", gaussian)
    if turned:
        both = dcfm_node.compose(*reversed(both.students))
    drawn = both.sample("A and B", n=4_000, correct="smc")
    precision = sum(s**-2 for _, s in LAWS.values())
    mean = sum(m * s**-2 for m, s in LAWS.values()) / precision
    np.testing.assert_allclose(drawn.x.mean(axis=0), mean, atol=0.07)
    np.testing.assert_allclose(np.cov(drawn.x.T), np.eye(2) / precision, atol=0.06)
    assert set(drawn["students"]) == {"A and B"}


def test_a_mixture_has_the_same_share_of_each_side(
    both: dcfm_node.Composition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Learner, "field", gaussian)
    drawn = both.sample("A.n=two or B", n=2_000, guidance=1.0)
    for name, (mean, deviation) in (("A", (3.0, 0.6)), ("B", (-0.4, 1.0))):
        own = drawn.x[drawn["students"] == name]
        assert len(own) == 1_000
        np.testing.assert_allclose(own.mean(axis=0), mean, atol=0.15)
        np.testing.assert_allclose(own.std(axis=0), deviation, atol=0.1)
    assert set(drawn["A.n"]) == {"two", "any"}


def test_a_guide_counts_by_its_attributes_alone(both: dcfm_node.Composition) -> None:
    """Guided by itself, a student's law is that of both attributes (Eq. 5 of DCFM)."""
    twins = dcfm_node.compose(both.students[0], both.students[0])
    drawn = twins.sample("A.n=one and B.colour=red", n=8, guidance=1.0)
    alone = both.students[0].sample("n=one^1 and colour=red^1", n=8)
    np.testing.assert_allclose(drawn.x, alone.x, atol=1e-5)
    assert drawn.novel.tolist() == [False] * 8
    assert both.sample("A.n=three and size=big", n=2).novel.all()


def test_an_ensemble_takes_part_unless_it_needs_energies(tmp_path: Path) -> None:
    from dcfm_node.flow.method import learner_of
    from tests.training.settings import manifest

    with pytest.raises(ConfigError, match="needs all its experts along a whole path"):
        learner_of(manifest(method={"name": "dfd"})).field({}, counts={})


def test_students_with_other_samples_or_columns_are_refused(
    both: dcfm_node.Composition, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="student B cannot be composed: its samples have"):
        other = make(tmp_path / "c", sample_shape=(3,))
        dcfm_node.compose(both.students[0], dcfm_node.load_student(other))
    one, two = both.students
    pair = (
        Student(one.model, one.lineage, columns=("load", "wind")),
        Student(two.model, two.lineage, columns=("wind", "load")),
    )
    with pytest.raises(ConfigError, match="the columns of student B are not those of A"):
        dcfm_node.compose(*pair)


@pytest.mark.parametrize(("mean", "deviation"), [(1e38, 1.0), (0.0, 1e-44), (0.0, 1e30)])
def test_students_whose_units_float32_does_not_hold_together_are_refused(
    both: dcfm_node.Composition, tmp_path: Path, mean: float, deviation: float
) -> None:
    far = Scale(mean=(mean, mean), deviation=(deviation, deviation))
    other = dcfm_node.load_student(make(tmp_path / "far", scaled=True, scale=far))
    for pair in ((both.students[0], other), (other, both.students[0])):
        with pytest.raises(ConfigError, match="lie too far from those of another student"):
            dcfm_node.compose(*pair).sample("A and B", n=2)


def test_samples_that_are_no_numbers_are_not_given(
    both: dcfm_node.Composition, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> VelocityField:
        return lambda x, t, c: torch.full_like(x, torch.nan)

    monkeypatch.setattr(Learner, "field", broken)
    with pytest.raises(Failed, match="something else than finite numbers"):
        both.sample("A and B", n=2)


def test_the_command_draws_writes_and_shows_what_is_wrong(
    folders: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "x.npz"
    command = ("student", "compose", *folders, "--out", out)
    asked = ("--where", "A.n=one^1.6 and not size=big^0.5", "-n", 40, "--correct", "smc")
    assert run(monkeypatch, *command, *asked, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "dcfm-node/composed/1"
    assert [one["name"] for one in found["students"]] == ["A", "B"]
    assert (found["count"], found["correct"], found["all_novel"]) == (40, "smc", False)
    with np.load(out) as drawn:
        assert np.isfinite(drawn["x"]).all()
        assert set(drawn["A.n"].tolist()) == {"one"}
        assert set(drawn["size"].tolist()) == {"small"}
    assert run(monkeypatch, *command, "--where", "n=one", "--force") == 2
    assert "--where, column 1: A and B have 'n'" in capsys.readouterr().err
    assert run(monkeypatch, "student", "compose", folders[0], "--out", out, "--force") == 2
    assert "1 student given" in capsys.readouterr().err
    model = folders[1] / "model.safetensors"
    whole = model.read_bytes()
    model.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        assert run(monkeypatch, *command, "--force") == 1
        assert str(folders[1]) in capsys.readouterr().err
    finally:
        model.write_bytes(whole)
