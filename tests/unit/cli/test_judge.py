"""`student judge`: what a site's own data tell of each combination of a student."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from dcfm_node.cli.judge import document, judged_text
from dcfm_node.flow import networks
from dcfm_node.flow.quality import Verdict
from dcfm_node.records.manifest import Attribute, Manifest
from dcfm_node.store.journals import JournalStore
from dcfm_node.store.student import write_student
from dcfm_node.swarm.chunks import snapshot_of
from dcfm_node.swarm.lineage import Lineage, bundle
from dcfm_node.swarm.quality import Estimate
from dcfm_node.wire.envelope import manifest_bytes, run_id
from dcfm_node.worker import judging
from tests.unit.cli.running import run
from tests.unit.swarm.builders import Run, journals

VALUES = ("0", "1", "2")
NOVEL = [(0, 2), (2, 0)]
KNOWN = [label for label in product(range(3), range(3)) if label not in NOVEL]
NODE = 'name = "site"\n[data]\nformat = "npz"\npath = "data.npz"\n[worker]\ndevice = "cpu"\n'


def true(c: torch.Tensor, seed: int) -> torch.Tensor:
    """Real samples of labels: each attribute moves one number."""
    noise = torch.randn(len(c), 2, generator=torch.Generator().manual_seed(seed))
    return 2.0 * c.float() + 0.2 * noise


def both() -> tuple[Attribute, ...]:
    """The run's attributes."""
    return tuple(Attribute(name=name, values=VALUES) for name in ("row", "column"))


class Drawing:
    """In place of a method: draws as `true`, but those of one combination of another one."""

    def __init__(self, wrong: tuple[int, int], instead: tuple[int, int]) -> None:
        self.wrong, self.instead = torch.tensor(wrong), torch.tensor(instead)

    def sample(self, _: object, c: torch.Tensor, *, seed: int, **__: object) -> torch.Tensor:
        astray = (c == self.wrong).all(1)[:, None]
        return true(torch.where(astray, self.instead, c), seed)


@pytest.fixture(scope="module")
def lineage() -> tuple[Run, bytes]:
    """A run whose silos hold all known combinations, with a student; its model's bytes."""
    made = Run(3, schedule="paper")
    made.begin(Manifest.model_validate(made.manifest.model_dump() | {"attributes": both()}))
    for author in made.authors:
        author.join(counts=tuple((label, 9) for label in KNOWN))
    made.publish_experts(0)
    weights = save(dict(networks.build(made.manifest).state_dict()))
    body = made.student(made.elect(0)).model_copy(update={"snapshot": snapshot_of(weights)})
    made.authors[0].say(body)
    return made, weights


@pytest.fixture
def site(tmp_path: Path, lineage: tuple[Run, bytes]) -> Path:
    """A site's folder: a verified student, node.toml, and data of five known combinations."""
    made, weights = lineage
    (tmp_path / "weights").write_bytes(weights)
    write_student(
        tmp_path / "student",
        model=tmp_path / "weights",
        manifest=made.manifest,
        scale=None,
        lineage=bundle(made.manifest, journals(made)),
        card="",
    )
    c = torch.tensor(KNOWN[:5]).repeat_interleave(30, 0)
    np.savez(tmp_path / "data.npz", x=true(c, 1).numpy(), row=c[:, 0], column=c[:, 1])
    (tmp_path / "node.toml").write_text(NODE)
    return tmp_path


def judged(site: Path, monkeypatch: pytest.MonkeyPatch, *more: object) -> int:
    return run(monkeypatch, "student", "judge", site / "student", "-c", site / "node.toml", *more)


def test_the_combination_that_is_drawn_wrong_comes_first(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(judging, "learner_of", lambda _: Drawing((2, 0), (2, 1)))
    before = {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}
    assert judged(site, monkeypatch, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["schema"], told["silo"]) == ("dcfm-node/judged/1", "site")
    assert (told["passed"], told["failed"], told["unknown"]) == (6, 1, 2)
    worst, *others = told["combinations"]
    assert worst["values"] == {"row": "2", "column": "0"}
    assert (worst["kind"], worst["level"], worst["below"]) == ("novel", 1, True)
    assert worst["expected"]["value"] == 0.0
    assert worst["shown"]["row"] > 0.9
    assert worst["shown"]["column"] < 0.1
    assert all(row["expected"]["value"] > 0.8 for row in others[:6])
    assert [row["values"] for row in others[6:]] == [
        {"row": str(row), "column": str(column)} for row, column in KNOWN[5:]
    ]
    assert {row["why"] for row in others[6:]} == {"only other silos hold it"}
    assert {path: path.read_bytes() for path in site.rglob("*") if path.is_file()} == before


def test_an_untrained_student_is_below_the_floor_and_no_failure(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judged(site, monkeypatch) == 0
    out = capsys.readouterr().out
    assert (
        "of 9 combinations, 0 are expected at or above the floor of 50%, 5 below it, 4 are unknown"
        in out
    )
    assert out.count("only other silos hold it") == 2
    assert out.count("of real samples of combinations that it never saw, and 0.6 is needed") == 2


def test_data_of_another_run_are_the_operators_mistake(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(site / "data.npz", x=np.zeros((9, 3)), row=np.zeros(9, int), column=np.zeros(9, int))
    assert judged(site, monkeypatch) == 2
    (site / "data.npz").unlink()
    assert judged(site, monkeypatch) == 2
    assert "check the paths under [data]" in capsys.readouterr().err


def test_a_table_with_other_columns_than_the_student_is_refused(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its numbers would be read in another order, and every draw be found wrong."""
    monkeypatch.setattr(judging, "learner_of", lambda _: Drawing((2, 0), (2, 1)))
    (site / "student" / "columns.json").write_text('["load", "noise"]')
    (site / "node.toml").write_text(NODE.replace('"npz"', '"csv"').replace(".npz", ".csv"))
    with np.load(site / "data.npz") as data:
        rows = [[*x, a, b] for x, a, b in zip(data["x"], data["row"], data["column"], strict=True)]
    body = "\n".join(",".join(map(str, row)) for row in rows)
    (site / "data.csv").write_text(f"load,Noise,row,column\n{body}")
    assert judged(site, monkeypatch) == 2
    told = capsys.readouterr().err
    assert "numbers Noise, load; the run has the features load, noise" in told
    assert f"named as in {site / 'student' / 'columns.json'}" in told
    (site / "data.csv").write_text(f"load,noise,row,column\n{body}")
    assert judged(site, monkeypatch) == 0


@pytest.mark.parametrize("alike", [True, False])
def test_a_student_of_another_run_is_told_before_data_are_read(
    site: Path,
    lineage: tuple[Run, bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    alike: bool,
) -> None:
    theirs = lineage[0].manifest
    changed = {"name": "pumps"} if alike else {"name": "pumps", "attributes": theirs.attributes[:1]}
    own = theirs.model_copy(update=changed)
    (site / "state").mkdir()
    store = JournalStore(site / "state" / "journals.sqlite")
    store.enter(run_id(own), manifest_bytes(own))
    store.close()
    (site / "data.npz").write_bytes(b"no archive")
    assert judged(site, monkeypatch) == 2
    told = capsys.readouterr().err
    assert f"this student is of run {theirs.name!r}" in told
    assert f"takes part in run 'pumps' {run_id(own).hex()[:8]}" in told
    assert ("data.npz" in told) == alike


def test_a_changed_model_is_refused_before_data_are_read(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = site / "student" / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    (site / "data.npz").write_bytes(b"no archive")
    assert judged(site, monkeypatch) == 1
    assert "lineage" in capsys.readouterr().err


def test_unknown_combinations_come_last_and_below_is_by_the_expected_share(
    lineage: tuple[Run, bytes],
) -> None:
    made, _ = lineage
    view = made.view()
    (said,) = view.valid_students()
    half = Verdict((0, 0), "known", 0, Estimate(0.5, 0.4, 0.6), "", 9, (0.9, 0.6), 0.1)
    worse = Verdict((0, 1), "novel", 1, Estimate(0.49, 0.0, 1.0), "", 9, (0.6, 0.8), 0.0)
    none = Verdict((0, 2), "probe", 2, None, "nobody knows")
    judgement = judging.Judgement([none, half, worse], (((0, 0), 20), ((0, 1), 1)))
    found = document(Lineage(said, view, made.id), "site", judgement)
    assert [list(row.values.values()) for row in found.combinations] == [
        ["0", "1"],
        ["0", "0"],
        ["0", "2"],
    ]
    assert [row.below for row in found.combinations] == [True, False, False]
    assert (found.passed, found.failed, found.unknown) == (1, 1, 1)
    assert "judged on the data of site: 21 samples of 2 combinations; nothing" in judged_text(found)
    assert "note: these data are few" in judged_text(found)
    many = found.model_copy(update={"held": 5, "samples": 150})
    assert "note:" not in judged_text(many)
    *_, first, second, third = judged_text(found).split("\n")
    assert [" ".join(line.split()) for line in (first, second, third)] == [
        "0 1 novel, level 1 49% (0% to 100%) 60% 80% 0%",
        "0 0 trained on 50% (40% to 60%) 90% 60% 10%",
        "0 2 probe, level 2 cannot tell - - - nobody knows",
    ]


def test_pairs_of_values_that_never_meet_are_named(
    lineage: tuple[Run, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = lineage
    view = made.view()
    (said,) = view.valid_students()
    monkeypatch.setattr("dcfm_node.swarm.coverage.unmet", lambda label, met: ((0, 1),))
    labels = [(0, 1), (0, 2)]
    verdicts = [Verdict(label, "novel", 1, None, "nobody knows") for label in labels]
    found = document(Lineage(said, view, made.id), "site", judging.Judgement(verdicts, ()))
    assert [row.unmet for row in found.combinations] == [(("row", "column"),)] * 2
    said_of = judged_text(found)
    assert "no silo trains on row=0 with column=1: what only their meeting does" in said_of
    monkeypatch.setattr("dcfm_node.cli.judge.SHOWN", 1)
    assert "and on 1 more pairs of values" in judged_text(found)
