"""`student judge`: how well a site's training samples are told from its hold-out by networks."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from dcfm_node.config.node import load_node
from dcfm_node.domains import base as domains
from dcfm_node.flow import networks
from dcfm_node.records.entries import Audit
from dcfm_node.records.manifest import Manifest
from dcfm_node.store.snapshots import snapshot_path
from dcfm_node.store.student import write_student
from dcfm_node.swarm.chunks import snapshot_of
from dcfm_node.swarm.lineage import bundle
from dcfm_node.worker import judging
from tests.unit.cli.running import run
from tests.unit.cli.test_judge import KNOWN, NODE, Drawing, both, true
from tests.unit.flow.test_membership import remembering
from tests.unit.swarm.builders import Run, expert, journals

HELD = "holdout = 0.4\n"


@pytest.fixture(scope="module")
def made() -> tuple[Run, list[bytes]]:
    """A run with a student, and the bytes of its silos' experts; the last are the student's."""
    made = Run(3, schedule="paper")
    made.begin(Manifest.model_validate(made.manifest.model_dump() | {"attributes": both()}))
    first = networks.build(made.manifest).state_dict()
    files = [save({name: part + k for name, part in first.items()}) for k in range(4)]
    for author in made.authors:
        author.join(counts=tuple((label, 9) for label in KNOWN))
    for author, file in zip(made.authors, files, strict=False):
        author.say(expert(0).model_copy(update={"snapshot": snapshot_of(file)}))
        author.say(Audit(round=0, scores=()))
    body = made.student(made.elect(0)).model_copy(update={"snapshot": snapshot_of(files[3])})
    made.authors[0].say(body)
    return made, files


@pytest.fixture
def site(tmp_path: Path, made: tuple[Run, list[bytes]]) -> Path:
    """The folder of the first silo, which holds its own expert and another one."""
    ran, files = made
    (tmp_path / "weights").write_bytes(files[3])
    write_student(
        tmp_path / "student",
        model=tmp_path / "weights",
        manifest=ran.manifest,
        scale=None,
        lineage=bundle(ran.manifest, journals(ran)),
        card="",
    )
    for file in files[:2]:
        path = snapshot_path(tmp_path / "state", snapshot_of(file).digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file)
    c = torch.tensor(KNOWN[:5]).repeat_interleave(30, 0)
    apart = 10.0 * torch.randn(len(c), 2, generator=torch.Generator().manual_seed(2))
    np.savez(tmp_path / "data.npz", x=(true(c, 1) + apart).numpy(), row=c[:, 0], column=c[:, 1])
    name = ran.manifest.roster[0].name
    (tmp_path / "node.toml").write_text(
        NODE.replace('"site"', f'"{name}"').replace("[worker]", HELD + "[worker]")
    )
    return tmp_path


@pytest.fixture
def by_heart(site: Path, made: tuple[Run, list[bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    """The silo's expert draws copies of its training samples; all other networks know nothing."""
    manifest = made[0].manifest
    first = networks.build(manifest).state_dict()
    data = load_node(site / "node.toml").data
    copies = remembering(torch.from_numpy(domains.of(manifest).load(manifest, data).train.x))

    def nothing(x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        return torch.zeros_like(x)

    def load(_: object, weights: networks.Weights, device: object) -> object:
        return copies if all(torch.equal(weights[name], first[name]) for name in first) else nothing

    monkeypatch.setattr(networks, "load", load)
    monkeypatch.setattr(judging, "learner_of", lambda _: Drawing((2, 0), (2, 1)))


def judged(site: Path, monkeypatch: pytest.MonkeyPatch, *more: object) -> int:
    return run(monkeypatch, "student", "judge", site / "student", "-c", site / "node.toml", *more)


@pytest.mark.usefixtures("by_heart")
def test_an_expert_that_copies_is_seen_through_and_a_student_that_knows_nothing_is_not(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}
    assert judged(site, monkeypatch, "--json") == 0
    told = json.loads(capsys.readouterr().out)["remembered"]
    assert {path: path.read_bytes() for path in site.rglob("*") if path.is_file()} == before
    found = {(one["network"], one["calibrated"]): one for one in told}
    assert found.keys() == {(who, how) for who in ("student", "expert") for how in (False, True)}
    assert found["expert", False]["auc"]["low"] > 0.8
    assert found["expert", False]["rate_10"]["value"] > 0.5
    assert found["student", False]["auc"]["low"] < 0.5 < found["student", False]["auc"]["high"]
    assert found["student", True]["auc"]["value"] == 0.5, "as little as the other silo's expert"
    assert {one["rate_01"] for one in told} == {None}, "60 hold-out samples are too few"
    assert judged(site, monkeypatch) == 0
    out = capsys.readouterr().out
    assert "  by the expert: right in " in out
    assert "  by the student, beside the other silos' experts: right in 50% (50% to 50%)" in out


@pytest.mark.usefixtures("by_heart")
def test_networks_that_are_not_at_hand_or_damaged_are_left_out(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own, *_ = sorted((site / "state" / "snapshots").iterdir())
    for file in (site / "state" / "snapshots").iterdir():
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    own.unlink()
    assert judged(site, monkeypatch, "--json") == 0
    told = json.loads(capsys.readouterr().out)["remembered"]
    assert [(one["network"], one["calibrated"]) for one in told] == [("student", False)]


@pytest.mark.usefixtures("by_heart")
def test_a_site_that_trained_no_expert_has_no_members(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    node = site / "node.toml"
    node.write_text(NODE.replace("[worker]", HELD + "[worker]"))
    assert judged(site, monkeypatch, "--json") == 0
    assert json.loads(capsys.readouterr().out)["remembered"] == []
    node.write_text(NODE)
    assert judged(site, monkeypatch) == 0
    assert "told from its hold-out ones" not in capsys.readouterr().out
