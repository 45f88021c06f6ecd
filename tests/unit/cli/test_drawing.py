"""What a student's folder asks of memory, and what its model must be, before either is made."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

from dcfm_node.cli.drawing import available, check_model, check_room, draw
from dcfm_node.errors import Failed
from dcfm_node.flow import networks
from dcfm_node.records.manifest import Attribute, Manifest, Silo
from dcfm_node.records.moments import Scale
from dcfm_node.records.settings import Training

ALL = 10**15.0
"""Bytes of memory that no machine has: what is not refused for it is not refused at all."""


def manifest(shape: tuple[int, ...] = (4,), method: str = "dcfm", **network: Any) -> Manifest:
    stage = Training(steps=1)
    settings: dict[str, Any] = {"refine": stage, "distil": stage} if method == "dcfm" else {}
    return Manifest(
        name="x",
        sample_shape=shape,
        attributes=(Attribute(name="a", values=("0", "1")),),
        network={"kind": "mlp", "width": 8, "depth": 1, **network},
        method={"name": method, "local": stage, **settings},
        roster=(Silo(name="x", key=b"k" * 32),),
    )


def write(made: Manifest, path: Path, **changes: Any) -> Path:
    save_file(dict(networks.build(made).state_dict()) | changes, path)
    return path


def test_the_runs_own_network_is_drawn_from(tmp_path: Path) -> None:
    made = manifest()
    model, out = write(made, tmp_path / "model.safetensors"), tmp_path / "samples.npz"
    draw(made, model, {0: 1}, counts={}, count=3, seed=0, out=out, scale=None)
    assert out.stat().st_size > 0


def test_samples_are_drawn_in_the_units_of_the_data(tmp_path: Path) -> None:
    made = manifest()
    model, out = write(made, tmp_path / "model.safetensors"), tmp_path / "samples.npz"
    drawn = []
    for scale in (None, Scale(mean=(1013.0, 0.0, 0.0, 0.0), deviation=(9.0, 1.0, 0.01, 1.0))):
        draw(made, model, {0: 1}, counts={}, count=3, seed=0, out=out, scale=scale)
        drawn.append(np.load(out)["x"])
    z, x = drawn
    np.testing.assert_allclose(x, z * [9.0, 1.0, 0.01, 1.0] + [1013.0, 0.0, 0.0, 0.0], rtol=1e-6)


HUGE = 100_000_000


@pytest.mark.parametrize(
    "made",
    [
        manifest((HUGE, HUGE, HUGE), width=4_096),
        manifest((HUGE,), width=4_096, depth=16),
        manifest((HUGE, 1, 1), kind="unet", width=4_096, depth=16),
        manifest((HUGE,), "dfd", width=4_096),
    ],
    ids=["10^24 numbers", "a wide mlp", "a wide unet", "an ensemble"],
)
def test_a_network_that_no_snapshot_can_hold_is_refused_before_it_is_made(
    tmp_path: Path, made: Manifest
) -> None:
    model = write(manifest(), tmp_path / "model.safetensors")
    tracemalloc.start()
    with pytest.raises(Failed, match=r"more than the 8589934592 bytes|does not belong") as told:
        check_model(made, model, {"x": {}})
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < 64 << 20
    assert told.value.where == str(model)


def test_a_model_of_another_network_is_refused_by_its_header(tmp_path: Path) -> None:
    made = manifest()
    wider = write(manifest(width=16), tmp_path / "model.safetensors")
    with pytest.raises(Failed, match=r"does not fit the run's network: tensor .* has shape"):
        check_model(made, wider, {})
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(Failed, match="header"):
        check_model(made, tmp_path / "empty", {})
    with pytest.raises(Failed, match="a folder"):
        check_model(made, tmp_path, {})


@pytest.mark.parametrize(
    ("made", "count"),
    [
        (manifest((1, 100_000, 100_000), kind="unet"), 1),
        (manifest((1_000_000,)), 65_536),
        (manifest((HUGE, HUGE, HUGE)), 1),
    ],
)
def test_samples_that_do_not_fit_the_memory_are_told_in_gigabytes(
    made: Manifest, count: int
) -> None:
    with pytest.raises(Failed, match="GB of memory, and 16 GB are free") as told:
        check_room(made, count, 16e9)
    assert "-n" in told.value.fix
    assert told.value.exit_code == 1
    check_room(manifest((3, 32, 32), kind="unet", width=64), 64, 16e9)


def test_the_memory_that_is_free_is_known() -> None:
    assert 1e6 < available() < ALL
