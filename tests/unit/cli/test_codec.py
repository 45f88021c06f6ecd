"""A student's folder carries the codec of its run."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from dcfm_node.api.requests import StudentRequest
from dcfm_node.api.students import StudentFiles
from dcfm_node.cli import recorded
from dcfm_node.daemon.facts import student_facts
from dcfm_node.flow import networks
from dcfm_node.networks.codecs import fit_linear
from dcfm_node.records.manifest import Manifest
from dcfm_node.swarm.chunks import snapshot_of
from dcfm_node.swarm.lineage import bundle
from dcfm_node.wire.canonical import sha256
from tests.unit.cli.running import answering, run
from tests.unit.swarm.builders import Run, journals

CODEC = fit_linear(torch.randn(50, 2, generator=torch.Generator().manual_seed(0)), 1)


@pytest.fixture
def fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[object, ...]:
    """Arguments that fetch a student of a run with a linear codec; node.toml names its file."""
    made = Run(3, schedule="paper")
    codec = {"kind": "linear", "file": sha256(CODEC), "shape": (1,)}
    fields = made.manifest.model_dump() | {"sample_shape": (2,), "codec": codec}
    made.begin(Manifest.model_validate(fields, strict=False))
    made.publish_experts(0)
    weights = save(dict(networks.build(made.manifest).state_dict()))
    body = made.student(made.elect(0)).model_copy(update={"snapshot": snapshot_of(weights)})
    digest = made.authors[0].say(body).digest
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "model").write_bytes(weights)
    (tmp_path / "linear.bin").write_bytes(CODEC)
    (tmp_path / "node.toml").write_text('codec = "linear.bin"')
    files = StudentFiles(
        path="model",
        lineage=bundle(made.manifest, journals(made)).hex(),
        student=student_facts(made.view(), made.view().students[digest]),
    )
    monkeypatch.setattr(recorded, "call", answering({StudentRequest: files}, []))
    config, out = tmp_path / "node.toml", tmp_path / "student"
    return "student", "fetch", "--latest", "--out", out, "-c", config


def test_samples_are_decoded_with_the_codec_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fetch: tuple[object, ...]
) -> None:
    folder, out = tmp_path / "student", tmp_path / "samples.npz"
    assert [run(monkeypatch, *fetch), run(monkeypatch, *fetch)] == [0, 0]
    assert (folder / "codec.bin").read_bytes() == CODEC
    assert run(monkeypatch, "student", "verify", folder) == 0
    assert run(monkeypatch, "student", "sample", folder, "--out", out, "-n", 3) == 0
    (folder / "codec.bin").unlink()
    again = ("student", "sample", folder, "--out", out, "--force")
    assert run(monkeypatch, *again) == 2
    assert run(monkeypatch, *again, "--codec", tmp_path / "linear.bin") == 0


def test_samples_are_drawn_at_the_weights_that_are_asked_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fetch: tuple[object, ...],
) -> None:
    """The lineage's counts say which combinations are novel."""
    folder, out = tmp_path / "student", tmp_path / "samples.npz"
    assert run(monkeypatch, *fetch) == 0

    def drawn(*weights: str) -> tuple[dict[str, object], dict[str, np.ndarray]]:
        capsys.readouterr()
        options = ("--json", "--force", *weights)
        assert run(monkeypatch, "student", "sample", folder, "--out", out, *options) == 0
        with np.load(out) as file:
            return json.loads(capsys.readouterr().out), dict(file)

    told, plain = drawn()
    assert (told["guidance_known"], told["guidance_novel"]) == (1, 1)
    told, guided = drawn("--guidance", "1,3")
    assert (told["guidance_known"], told["guidance_novel"]) == (1, 3)
    known = (plain["horizontal"] == "left") & (plain["vertical"] == "top")  # what `Run` holds
    assert known.any()
    assert not known.all()
    assert np.allclose(plain["x"][known], guided["x"][known], atol=1e-5)
    assert (np.abs(plain["x"] - guided["x"]).max(axis=1) > 1e-4)[~known].all()
    assert run(monkeypatch, "student", "sample", folder, "--out", out, "--guidance", "much") == 2


def test_a_table_is_named_by_the_site_and_the_answer_says_what_n_means(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fetch: tuple[object, ...],
) -> None:
    folder, out, config = tmp_path / "student", tmp_path / "samples.csv", tmp_path / "site.toml"
    assert run(monkeypatch, *fetch) == 0
    (tmp_path / "t.csv").write_text("wind,horizontal,load,vertical\n1,left,2,top\n")
    config.write_text('name = "x"\n[data]\nformat = "csv"\npath = "t.csv"\n')
    for options, names in ((("-c", config), ["load", "wind"]), (("--force",), ["x1", "x2"])):
        capsys.readouterr()
        monkeypatch.chdir(folder)
        assert run(monkeypatch, "student", "sample", folder, "--out", out, "-n", 6, *options) == 0
        wrote, samples, columns, *_ = capsys.readouterr().out.splitlines()
        assert wrote == f"wrote 6 samples to {out}"
        assert samples == "samples   1 or 2 of each of 4 combinations, 3 of them novel"
        assert columns.startswith(f"columns   {', '.join(names)}: ")
        head, *rows = out.read_text().splitlines()
        assert head.split(",")[:2] == names
        assert len(rows) == 6
        assert len({tuple(row.split(",")[2:]) for row in rows}) == 4


def test_another_codec_is_neither_copied_nor_used(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fetch: tuple[object, ...],
) -> None:
    folder = tmp_path / "student"
    assert run(monkeypatch, *fetch) == 0
    (folder / "codec.bin").write_bytes(CODEC + b"0")
    assert run(monkeypatch, "student", "verify", folder) == 1
    out = tmp_path / "samples.npz"
    assert run(monkeypatch, "student", "sample", folder, "--out", out) == 1
    (tmp_path / "linear.bin").write_bytes(CODEC + b"0")
    assert run(monkeypatch, *fetch) == 1
    assert capsys.readouterr().err.count("not the run's codec") == 3
    assert not out.exists()
