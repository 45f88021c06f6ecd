"""Radiographs: read, left out, and shared among silos by patient."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from dcfm_node.data.spec import RadiographsData
from dcfm_node.domains.base import SplitSpec, named
from dcfm_node.domains.chest import table
from dcfm_node.domains.chest.chest import Chest
from dcfm_node.domains.chest.images import FAULTY
from dcfm_node.domains.chest.sharing import firsts
from dcfm_node.domains.settings import ChestSettings
from dcfm_node.errors import DataError, UserError
from dcfm_node.records.manifest import Manifest
from tests.unit.data.manifests import manifest
from tests.unit.domains.chest.radiographs import COMBINATIONS, SIDE, shade, split_of, write

NIH = Path(os.environ.get("DCFM_DATA", Path(__file__).parents[5] / "shared" / "data")) / "nih"
PARTITIONS = ("iid", "noniid", "views", "patients")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path)


def run(**changes: object) -> Manifest:
    settings = ChestSettings(size=SIDE)
    attributes = tuple((one.name, one.values) for one in table.ATTRIBUTES)
    return manifest((1, SIDE, SIDE), attributes, domain=settings, **changes)


def whose(x: np.ndarray, folder: Path) -> list[int]:
    """The patient of each image."""
    archive = np.load(folder / "small.npz")
    names = zip(archive["image"], archive["name"], strict=True)
    known = {image.tobytes(): int(name[:8]) for image, name in names}
    return [known[image.tobytes()] for image in x]


@pytest.mark.parametrize("partition", PARTITIONS)
def test_no_patient_is_in_two_places(folder: Path, partition: str) -> None:
    split = split_of(folder, partition, partitions=PARTITIONS)
    parts = [*(silo.x for silo in split.silos), split.reference.x, split.public.x]
    patients = [set(whose(x, folder)) for x in parts]
    assert len(split.silos) == 3
    assert all(patients)
    assert sum(map(len, patients)) == len(set.union(*patients)) == 60
    assert patients[-1] == set(range(271, 279))
    assert sorted(patients[-2]) == [*range(283, 331, 5)]
    assert split.patients.tolist() == whose(split.reference.x, folder)


@pytest.mark.parametrize("partition", PARTITIONS)
def test_every_training_image_goes_to_one_silo_with_its_label(folder: Path, partition: str) -> None:
    split = split_of(folder, partition, partitions=PARTITIONS)
    dealt = [image.tobytes() for silo in split.silos for image in silo.x]
    assert sorted(dealt) == sorted(image.tobytes() for image in split.complete.x)
    for silo, together in zip(split.silos, split.together, strict=True):
        for image, label in zip(silo.x, silo.c.tolist(), strict=True):
            assert np.median(image) == shade(table.named(tuple(label)))
        assert together.tolist() == firsts(np.array(whose(silo.x, folder))).tolist()


def test_feasible_is_what_is_frequent_in_the_whole_table(folder: Path) -> None:
    split = split_of(folder)
    assert sorted(map(table.named, split.feasible)) == sorted(COMBINATIONS)
    assert split.held_out == ()
    rarer = split_of(folder, frequency=0.001)
    assert [table.named(c) for c in rarer.held_out] == ["Hernia|Mass"], "in the table, no image"


def test_views_and_patients_are_ranges(folder: Path) -> None:
    views = split_of(folder, "views", silos=2, partitions=PARTITIONS)
    in_bed = [np.mean([patient % 2 == 0 for patient in whose(s.x, folder)]) for s in views.silos]
    assert in_bed[0] < 0.1 < 0.9 < in_bed[1]
    ranges = [whose(s.x, folder) for s in split_of(folder, "patients", partitions=PARTITIONS).silos]
    assert max(ranges[0]) < min(ranges[1])
    assert max(ranges[1]) < min(ranges[2])


def test_noniid_is_less_even_than_iid(folder: Path) -> None:
    def spread(partition: str) -> float:
        split = split_of(folder, partition)
        return float(np.std([[Counter(map(tuple, s.c.tolist()))[c] for c in split.feasible]
                             for s in split.silos]))  # fmt: skip

    assert spread("noniid") > 1.5 * spread("iid")


def test_no_silo_holds_a_novel_combination(folder: Path) -> None:
    split = split_of(folder, novel=1)
    (novel,) = split.held_out
    assert sum(novel) == 2
    assert novel not in split.known
    assert novel in split.complete.combinations
    assert np.array(split.known).any(axis=0).tolist() == np.array(split.feasible).any(0).tolist()
    with pytest.raises(UserError, match="only 2 combinations can be novel, not 3"):
        split_of(folder, novel=3)


def test_a_split_is_a_function_of_its_seed(folder: Path) -> None:
    first, again, other = (split_of(folder, "noniid", seed) for seed in (3, 3, 4))
    for one, two in zip(first.silos, again.silos, strict=True):
        assert np.array_equal(one.x, two.x)
    assert [len(s) for s in first.silos] != [len(s) for s in other.silos]
    assert np.array_equal(first.reference.x, other.reference.x)


def test_files_give_what_an_archive_gives(tmp_path: Path) -> None:
    for name in ("archive", "files"):
        (tmp_path / name).mkdir()
    one = split_of(write(tmp_path / "archive"))
    two = split_of(write(tmp_path / "files", archive=False))
    assert np.array_equal(one.complete.x, two.complete.x)
    assert np.array_equal(one.complete.c, two.complete.c)


def test_images_are_resized_by_area(folder: Path) -> None:
    small, full = split_of(folder, size=8).complete.x, split_of(folder).complete.x
    assert small.shape[1:] == (1, 8, 8)
    assert small.dtype == np.uint8
    assert np.abs(small.mean(axis=(1, 2, 3)) - full.mean(axis=(1, 2, 3))).max() < 0.51


def test_a_node_leaves_out_what_it_may_not_train_on(folder: Path) -> None:
    kept = sorted(table.read_entries(folder / "Data_Entry_2017_v2020.csv").values(), key=str)
    listed = sorted({e.findings for e in kept} - {kept[-1].findings, (1,) * 14})
    wanted = RadiographsData(format="radiographs", path=folder, patients=(271, 300))
    edema = next(c for c in listed if table.named(c) == "Edema")
    given = run(feasible=tuple(c for c in listed if c != edema))
    data = Chest(ChestSettings(size=SIDE)).load(given, wanted)
    assert (
        len(data.train) + len(data.holdout)
        == 44 - Counter(e.findings == edema and 279 <= e.patient <= 300 for e in kept)[True]
    )
    assert "16 public" in data.notes[0]
    assert "not feasible" in data.notes[0]
    sides = [set(whose(part.x, folder)) for part in (data.train, data.holdout)]
    assert sides[0].isdisjoint(sides[1]), "hold-out patients are others"
    assert data.together is not None
    for part, of in zip((data.train, data.holdout), data.together, strict=True):
        told = set(zip(whose(part.x, folder), of.tolist(), strict=True))
        assert len(told) == len(set(of.tolist())) == len(set(whose(part.x, folder)))
    only = RadiographsData(format="radiographs", path=folder, view="AP")
    ap = Chest(ChestSettings(size=SIDE)).load(run(), only)
    assert {patient % 2 for patient in whose(ap.train.x, folder)} == {0}


def test_faulty_images_are_left_out_by_name(tmp_path: Path) -> None:
    assert len(FAULTY) == 15
    folder = write(tmp_path, first=2_170)  # 00002180_000.png is among them
    split = split_of(folder, public=())
    assert len(split.complete) + len(split.reference) == 119
    assert not len(split.public)


def test_a_run_says_what_composition_leaves_out() -> None:
    chest, every = (Chest(ChestSettings(composed=which)) for which in ("present", "all"))
    assert {one.absent for one in chest.attributes(())} == {"0"}
    assert {one.absent for one in every.attributes(())} == {None}
    assert every.attributes(chest.attributes(())) == chest.attributes(())
    with pytest.raises(ValueError, match="are not those of the domain"):
        chest.attributes(chest.attributes(())[1:])


def test_settings_are_checked() -> None:
    with pytest.raises(ValidationError, match=r"write \[first, last\]"):
        ChestSettings(public=(5, 3))
    with pytest.raises(ValueError, match="less than or equal"):
        ChestSettings(public=(0, 2**64))  # a manifest's bytes hold no such number
    with pytest.raises(ValidationError, match=r"write \[first, last\]"):
        RadiographsData(format="radiographs", path=Path(), patients=(5,))
    with pytest.raises(ValidationError, match=r"domain.size: radiographs have sample_shape"):
        manifest((1, 32, 32), domain=ChestSettings())


def test_data_need_a_folder_and_the_domain() -> None:
    with pytest.raises(UserError, match="no folder is given"):
        Chest(ChestSettings()).check(None)
    with pytest.raises(DataError, match="does not read radiographs"):
        spec = RadiographsData(format="radiographs", path=Path())
        named("plain").load(manifest((1, 12, 12)), spec)


@pytest.mark.skipif(not (NIH / "chest64.npz").exists(), reason="needs the data folder's nih")
def test_the_real_radiographs() -> None:
    split = Chest(ChestSettings()).split(SplitSpec(source=NIH))
    assert len(split.feasible) == 54
    assert not np.array(split.feasible)[:, table.FINDINGS.index("Hernia")].any()
    assert max(map(sum, split.feasible)) == 3
    sizes = [len(split.public), len(split.complete), len(split.reference)]
    assert sum(sizes) == 10_414
    assert sizes[0] == 904
    assert sum(map(len, split.silos)) == sizes[1]
    assert split.complete.x.shape[1:] == (1, 64, 64)
    assert len(split.known) == 54
