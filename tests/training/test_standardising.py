"""The worker standardises data, so that nothing depends on the units that they come in."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dcfm_node.data.spec import NpzData
from dcfm_node.flow.codec import unstandardised
from dcfm_node.flow.files import load_weights
from dcfm_node.flow.sampling import sample
from dcfm_node.records.moments import Scale, pooled
from dcfm_node.wire.envelope import manifest_bytes
from dcfm_node.worker.jobs import JobRunner
from dcfm_node.worker.messages import Job, Ready, Setup
from tests.training.settings import manifest

OFFSET = np.array([1013.0, 285.0, 6.0, 0.02])
UNITS = np.array([9.0, 6.0, 2.0, 0.004])
"""hPa, K, m/s and a share."""
RUN = manifest(shape=(4,))
LABELS = torch.tensor([[0, 1]] * 64)
Weather = Callable[[str, float], JobRunner]


@pytest.fixture
def weather(tmp_path: Path) -> Weather:
    """The worker of a silo whose data are 0 or 1 times in physical units."""

    def made(name: str, physical: float) -> JobRunner:
        rng = np.random.default_rng(0)
        c = rng.integers(2, size=(200, 2))
        x = np.repeat(c, 2, axis=1) * 2.0 - 1.0 + 0.2 * rng.standard_normal((200, 4))
        if physical:
            x = OFFSET + UNITS * x
        np.savez(tmp_path / f"{name}.npz", x=x.astype(np.float32), c=c)
        data = NpzData(format="npz", path=tmp_path / f"{name}.npz")
        setup = Setup(manifest=manifest_bytes(RUN).hex(), data=data, device="cpu")
        return JobRunner(setup, lambda line: None, torch.device("cpu"))

    return made


def scale_of(ready: Ready) -> Scale:
    assert ready.moments is not None
    scale = pooled([(1.0, ready.moments)])
    assert scale is not None
    return scale


def trained(runner: JobRunner, scale: Scale | None, out: Path) -> np.ndarray:
    """Samples of an expert, in the units of the data."""
    job = Job(
        key="local-0",
        kind="train",
        silo="silo-0",
        seed=1,
        output=out,
        checkpoint=out.with_suffix(".checkpoint"),
        scale=scale,
    )
    runner.run(job)
    z = sample(RUN, load_weights(out), LABELS, seed=0)
    return np.asarray(unstandardised(z, scale).numpy(), np.float64)


def test_data_in_physical_units_train_as_data_in_unit_scale(
    weather: Weather, tmp_path: Path
) -> None:
    unit, physical = weather("unit", 0.0), weather("physical", 1.0)
    scales = scale_of(unit.ready()), scale_of(physical.ready())
    ours = trained(unit, scales[0], tmp_path / "unit.safetensors")
    theirs = trained(physical, scales[1], tmp_path / "physical.safetensors")
    np.testing.assert_allclose((theirs - OFFSET) / UNITS, ours, atol=2e-3)
    raw = trained(physical, None, tmp_path / "raw.safetensors")
    assert np.abs((raw - OFFSET) / UNITS - ours).max() > 10.0


def test_the_data_are_standardised_once_for_each_scale(weather: Weather, tmp_path: Path) -> None:
    runner = weather("physical", 1.0)
    scale, raw = scale_of(runner.ready()), runner._train.x
    trained(runner, scale, tmp_path / "a.safetensors")
    first = runner._train.x
    torch.testing.assert_close(first.mean(0), torch.zeros(4), rtol=0, atol=1e-3)
    torch.testing.assert_close(first.std(0, correction=0), torch.ones(4), rtol=1e-3, atol=0)
    trained(runner, scale, tmp_path / "b.safetensors")
    assert runner._train.x is first
    trained(runner, None, tmp_path / "c.safetensors")
    assert runner._train.x is raw


def test_the_worker_warns_of_a_scale_only_for_a_run_without_one(weather: Weather) -> None:
    assert all(one.unscaled for one in weather("physical", 1.0).ready().warnings)
