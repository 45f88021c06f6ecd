"""The hospitals of the demo `chest-xray`: whose images each has, and what they are measured by."""

from itertools import pairwise
from pathlib import Path

import pytest
from rich.console import Console

from dcfm_node.config.node import load_node
from dcfm_node.demo import radiographs, report, run
from dcfm_node.demo.stage import Stage, Wish, prepare
from dcfm_node.domains import base as domains
from dcfm_node.domains.fitting import CodecFit
from dcfm_node.domains.space import REAL, Panel, Space
from dcfm_node.errors import DataError, UserError
from dcfm_node.samples import Samples
from tests.unit.domains.chest.radiographs import write

EFFUSION, MASS = 4, 9


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return write(tmp_path / "data")


@pytest.fixture
def staged(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(radiographs, "FIT", CodecFit(kind="linear", features=4))
    return run.staged(tmp_path / "demo", Wish("chest-xray", data=folder), Console(quiet=True))


def test_patients_are_shared_by_ranges_and_the_last_ones_are_nobodys(folder: Path) -> None:
    found = radiographs.shares(folder, 3)
    assert found.hospitals == ((279, 292), (293, 305), (306, 319))
    assert found.tested == (320, 330)
    ranges = [*found.hospitals, found.tested]
    assert all(before[1] < after[0] for before, after in pairwise(ranges))


def test_too_few_patients_are_told(tmp_path: Path) -> None:
    write(tmp_path, patients=12)
    assert len(radiographs.shares(tmp_path, 2).hospitals) == 2
    with pytest.raises(DataError, match="has 4 patients who are not public") as told:
        radiographs.shares(tmp_path, 4)
    assert "--silos" in told.value.fix


def test_only_the_first_patients_of_many_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(radiographs, "MOST", 20)
    assert radiographs.shares(folder, 2).tested == (287, 288)


def test_nodes_read_the_folder_in_place_and_one_codec(staged: Stage, folder: Path) -> None:
    configs = [load_node(node.config) for node in staged.nodes]
    assert {config.data.path for config in configs} == {folder}
    assert [config.data.patients for config in configs] == [(279, 292), (293, 305), (306, 319)]
    manifest = run.read_manifest(staged)
    assert manifest.flow_shape == (4,)
    (codec,) = {config.codec for config in configs}
    assert codec is not None
    assert codec.is_file()


def test_a_probe_is_novel_and_the_test_patients_measure(staged: Stage) -> None:
    manifest = run.read_manifest(staged)
    domain = domains.of(manifest)
    both = tuple(int(place in (EFFUSION, MASS)) for place in range(14))
    wish = Wish("chest-xray")
    found = run.split_of(staged, wish, manifest, domain, (both,))
    assert both in found.held_out
    assert both not in found.known
    assert both in found.complete.combinations
    whole = run.split_of(staged, wish, manifest, domain)
    assert both in whole.known
    assert [len(silo) for silo in whole.silos] == [28, 26, 28]
    assert len(found.reference) == len(found.patients) == 22
    assert len(set(found.patients.tolist())) == 11
    assert len(found.public) == 16


def test_without_a_folder_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs radiographs") as told:
        prepare(tmp_path / "out", Wish("chest-xray"))
    assert "--data FOLDER" in told.value.fix
    assert not (tmp_path / "out").exists()


def test_the_student_is_asked_for_what_seldom_occurs_together(staged: Stage) -> None:
    text = report.next_steps(staged, run.read_manifest(staged), "dcfm-node")
    assert "--where effusion=1 --where mass=1 -n 16 --out samples.png" in text


def test_the_picture_has_novel_combinations(staged: Stage) -> None:
    manifest = run.read_manifest(staged)
    domain = domains.of(manifest)
    public = domain.public(load_node(staged.nodes[0].config).data.path)
    novel = public.combinations[-1]
    panels = [Panel(REAL, public), Panel("student", Samples(public.x, public.c))]
    with_novel, without = (
        domain.draw(Space(manifest.attributes, held), panels, {}).tobytes()
        for held in ((novel,), ())
    )
    assert with_novel != without
