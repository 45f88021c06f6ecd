"""What an exported student draws without torch is what it draws with it."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

import dcfm_node
from dcfm_node.errors import Failed
from dcfm_node.flow.codec import codec_of, decoded
from dcfm_node.flow.files import load_weights
from dcfm_node.flow.sampling import run_guide, solve, student_field
from dcfm_node.networks.autoencoder import fit_autoencoder
from dcfm_node.networks.settings import AutoencoderSettings
from dcfm_node.student.sampler import Sampler, trajectory
from dcfm_node.wire.canonical import sha256
from tests.packaging.tree import python
from tests.unit.cli.running import run as dcfm
from tests.unit.student.made import ATTRIBUTES, make

KINDS = {
    "mlp": ((2,), {}, "adams", True),
    "mixer": ((2, 9), {}, "heun", False),
    "unet": ((1, 6, 5), {"predict": "velocity", "depth": 2}, "midpoint", False),
}


def solve_in_torch(student: dcfm_node.Student, x0: np.ndarray, c: np.ndarray) -> torch.Tensor:
    run = student.manifest
    guide = run_guide(run, student.counts.values(), "cpu")
    field = student_field(run, load_weights(student.model), "cpu", guide=guide)
    draws = torch.Generator()
    return solve(run, field, torch.tensor(c), torch.tensor(x0), draws=draws, device="cpu")


def in_torch(student: dcfm_node.Student, x0: np.ndarray, c: np.ndarray) -> np.ndarray:
    run, z = student.manifest, solve_in_torch(student, x0, c)
    found: np.ndarray = decoded(codec_of(run, None), z, student.lineage.view.scale).numpy()
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_numpy_sampler_draws_what_torch_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """For each network, a solver, guidance that differs for novel combinations and in time."""
    shape, more, solver, scaled = KINDS[kind]
    guidance = {"known": 1.3, "novel": 2.0, "from_t": 0.2, "shares": (1.0, 0.5)}
    student = dcfm_node.load_student(
        make(
            tmp_path / "student",
            scaled=scaled,
            method={"solver": solver, "solver_steps": 6, "guidance": guidance},
            sample_shape=shape,
            network={"kind": kind, "width": 8, "depth": 1} | more,
        )
    )
    files = ["sampler.json", "sampler.py", "velocity.onnx"]
    if kind == "mixer":
        arguments = (tmp_path / "student", "--onnx", tmp_path / "onnx")
        assert dcfm(monkeypatch, "student", "export", *arguments) == 0
        assert dcfm(monkeypatch, "student", "export", *arguments) == 1
    else:
        assert student.export_onnx(tmp_path / "onnx") == files
    assert sorted(path.name for path in (tmp_path / "onnx").iterdir()) == files
    sampler = Sampler(tmp_path / "onnx")
    c = sampler.labels(7, {})
    x0 = np.random.default_rng(0).standard_normal((7, *shape), np.float32)
    want = in_torch(student, x0, c)
    np.testing.assert_allclose(sampler.solve(x0, c), want, rtol=1e-5, atol=2e-5)
    assert np.abs(want - x0).max() > 0.01
    with pytest.raises(Failed, match="exists already"):
        student.export_onnx(tmp_path / "onnx")
    if kind != "mlp":
        return
    x, labels = sampler.sample(n=5, seed=1, colour="red")
    assert (x.shape, labels["colour"].tolist()) == ((5, 2), ["red"] * 5)
    assert labels["n"].tolist() == ["one", "two", "three", "one", "two"]
    with pytest.raises(ValueError, match="no value 'green'"):
        sampler.sample(n=1, colour="green")
    with pytest.raises(ValueError, match="no attribute 'size'"):
        sampler.sample(n=1, size="big")
    run_alone(tmp_path, x)


def test_sets_of_feasible_combinations_are_exported(tmp_path: Path) -> None:
    """Composition leaves absent values out, and the sampler draws feasible combinations alone."""
    absent = [one | {"absent": one["values"][0]} for one in ATTRIBUTES]
    feasible = ((0, 0), (0, 1), (1, 0), (2, 1))
    shown = {"attributes": absent, "feasible": feasible, "method": {"composed": True}}
    student = dcfm_node.load_student(make(tmp_path / "student", **shown))
    student.export_onnx(tmp_path / "onnx")
    sampler = Sampler(tmp_path / "onnx")
    c = sampler.labels(4, {})
    assert c.tolist() == list(map(list, feasible))
    assert sampler.labels(3, {"colour": "blue"}).tolist() == [[0, 1], [2, 1], [0, 1]]
    with pytest.raises(ValueError, match="no feasible combination"):
        sampler.labels(1, {"n": "two", "colour": "blue"})
    x0 = np.random.default_rng(0).standard_normal((4, 2), np.float32)
    want = in_torch(student, x0, c)
    np.testing.assert_allclose(sampler.solve(x0, c), want, rtol=1e-5, atol=2e-5)


def test_an_autoencoder_is_exported(tmp_path: Path) -> None:
    images = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    settings = AutoencoderSettings(file=bytes(32), channels=2, width=8, halvings=1)
    data = fit_autoencoder(images, settings, steps=2)
    (tmp_path / "codec").write_bytes(data)
    section = settings.model_copy(update={"file": sha256(data)})
    network = {"kind": "mixer", "width": 8, "depth": 1}
    shown = {"sample_shape": (1, 8, 8), "codec": section, "network": network}
    student = dcfm_node.load_student(make(tmp_path / "student", **shown))
    student.export_onnx(tmp_path / "onnx", codec=tmp_path / "codec")
    sampler = Sampler(tmp_path / "onnx")
    x0, c = np.zeros((5, 2, 4, 4), np.float32), sampler.labels(5, {})
    z = solve_in_torch(student, x0, c)
    want = decoded(codec_of(student.manifest, tmp_path / "codec"), z, None).numpy()
    np.testing.assert_allclose(sampler.solve(x0, c), want, rtol=1e-4, atol=1e-4)


def run_alone(folder: Path, x: np.ndarray) -> None:
    """The exported file needs neither torch nor this package."""
    alone = (
        "import sys, runpy; sys.modules['torch'] = sys.modules['dcfm_node'] = None;"
        f"sys.argv = ['sampler.py', '-n', '5', '--seed', '1', '--where', 'colour=red',"
        f" '--out', {str(folder / 'x.npz')!r}];"
        f"runpy.run_path({str(folder / 'onnx' / 'sampler.py')!r}, run_name='__main__')"
    )
    done = python(alone)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"wrote 5 samples to {folder / 'x.npz'}\n"
    with np.load(folder / "x.npz") as file:
        np.testing.assert_array_equal(file["x"], x)
    assert python(alone).returncode == 2, "it replaces nothing"
    settings = json.loads((folder / "onnx" / "sampler.json").read_text())
    assert settings["format"] == "dcfm-node/onnx/1"
    assert "Sampler" in runpy.run_path(str(folder / "onnx" / "sampler.py"))


@pytest.mark.parametrize("solver", ["euler", "midpoint", "heun", "rk4", "adams"])
def test_the_solvers_are_those_of_torch(solver: str) -> None:
    from dcfm_node.paths.solvers import integrate

    x0 = np.linspace(-1, 1, 6, dtype=np.float32).reshape(3, 2)
    *_, got = trajectory(lambda x, t: np.cos(3 * x) * np.float32(t + 0.5), x0, 5, solver)

    def field(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch.cos(3 * x) * (t + 0.5).unsqueeze(1)

    want = integrate(field, torch.tensor(x0), 5, solver).numpy()
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_an_unknown_solver_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown solver 'x'"):
        next(trajectory(lambda x, t: x, np.zeros((1, 2), np.float32), 1, "x"))


def test_an_ensemble_is_not_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dcfm_node.methods.dcfm.schedule import Dcfm

    student = dcfm_node.load_student(make(tmp_path / "student"))
    monkeypatch.setattr(Dcfm, "ensemble", property(lambda _: True), raising=False)
    with pytest.raises(Failed, match="is an ensemble of experts"):
        student.export_onnx(tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()
