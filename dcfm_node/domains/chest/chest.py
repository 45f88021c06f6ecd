"""Chest radiographs with 14 findings (section 6.3 of DCFM), split by patient."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dcfm_node.data import source as files
from dcfm_node.data.raw import Raw
from dcfm_node.data.source import SiloData
from dcfm_node.data.spec import DataSpec, RadiographsData
from dcfm_node.domains.base import Domain, Evaluator, Split, SplitSpec
from dcfm_node.domains.chest import table
from dcfm_node.domains.chest.images import FAULTY, Folder, open_folder
from dcfm_node.domains.chest.sharing import Cohort, firsts, novel_combinations, shares
from dcfm_node.domains.chest.table import Entry
from dcfm_node.domains.settings import ChestSettings
from dcfm_node.domains.space import Attributes, Holders, Panel, Space
from dcfm_node.errors import DataError, UserError
from dcfm_node.records.manifest import Manifest
from dcfm_node.samples import Combination, Labels, Samples

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from PIL.Image import Image


TEST = 5
"""Every fifth patient is tested on, and trains nothing."""


@dataclass(frozen=True, kw_only=True)
class ChestSplit(Split):
    """A split of radiographs.

    Attributes:
        public: images of the public patients, which no silo holds.
        patients: the patient of each reference image, (M,).
    """

    public: Samples
    patients: Labels


class Chest(Domain[ChestSettings]):
    """Radiographs (1, size, size), bytes, with an attribute of values 0 and 1 for each finding."""

    own_attributes = table.ATTRIBUTES
    each = 8

    def attributes(self, named: Attributes) -> Attributes:
        """The 14 findings. A run says itself whether composition leaves out absent ones.

        Raises:
            ValueError: a run names others.
        """
        super().attributes(tuple(one.model_copy(update={"absent": None}) for one in named))
        absent = "0" if self.settings.composed == "present" else None
        return named or tuple(
            one.model_copy(update={"absent": absent}) for one in self.own_attributes
        )

    def partitions(self) -> tuple[str, ...]:
        """As in the settings: by default `iid` and `noniid`."""
        return self.settings.partitions

    def public(self, source: Path | None) -> Samples:
        """The images of the public patients.

        Raises:
            UserError: no folder is given, or it has no image of a public patient.
        """
        folder = open_folder(_named(source))
        listed = frozenset(table.feasible(_findings(folder), self.settings.frequency))
        kept = [
            entry
            for entry in folder.entries
            if is_public(entry, self.settings)
            and entry.image not in FAULTY
            and entry.findings in listed
        ]
        if not kept:
            raise self._no_public(str(source))
        return Samples(folder.read(kept, self.settings.size), _labels(kept))

    def check(self, source: Path | None) -> None:
        """Check that the folder has a table, without reading it.

        Raises:
            UserError: no folder is given, it has no table, or a package is missing.
        """
        super().check(source)
        table.find_table(_named(source))

    def load(self, manifest: Manifest, source: DataSpec) -> SiloData:
        """Read, check and split a silo's private data; hold-out patients are others than those
        trained on.

        Images are left out, and counted in the notes, that are known to be faulty, are of public
        patients, or show a combination that the run does not list as feasible.

        Raises:
            DataError: the data cannot be read or do not fit the run.
        """
        if not isinstance(source, RadiographsData):
            return super().load(manifest, source)
        self.check_attributes(manifest.attributes, str(source.path))
        folder = open_folder(source.path)
        low, high = source.patients or (0, 2**63)
        mine = [
            entry
            for entry in folder.entries
            if low <= entry.patient <= high and source.view in (None, entry.view)
        ]
        kept, notes = self._usable(folder, mine, manifest.feasible)
        x = folder.read(kept, self.settings.size)
        raw = Raw(
            x,
            {},
            lambda row: f"{source.path}: {kept[row].image}",
            str(source.path),
            notes,
            together=firsts(np.array([entry.patient for entry in kept], np.int64)),
        )
        return files.prepared(raw, _labels(kept), source, manifest)

    def split(self, spec: SplitSpec) -> ChestSplit:
        """Share the training patients among silos.

        `complete` and `reference` are all images of the training and of the test patients, the
        same for every seed. Feasible are the combinations that are frequent in the table.

        Raises:
            UserError: no folder is given, or it has too few patients.
        """
        settings, attributes = self.settings, self.attributes(spec.attributes)
        partition = spec.partition or settings.partitions[0]
        found = cohorts(_named(spec.source), settings)
        rng = np.random.default_rng(spec.seed)
        novel = novel_combinations(found.feasible, settings.novel, rng)
        train = found.train
        if novel:
            hidden = (train.samples.c[:, None] == np.array(novel)).all(axis=2).any(axis=1)
            train = train[~hidden]
        silos = spec.silos or settings.silos
        held = [
            train[rows] for rows in shares(train, partition, silos, settings.concentration, rng)
        ]
        known = {c for silo in held for c in silo.samples.combinations}
        return ChestSplit(
            attributes,
            (1, settings.size, settings.size),
            tuple(silo.samples for silo in held),
            tuple(c for c in found.feasible if c not in known),
            found.train.samples,
            found.test.samples,
            shown=found.public.samples,
            feasible=found.feasible,
            together=tuple(firsts(silo.patients) for silo in held),
            public=found.public.samples,
            patients=found.test.patients,
        )

    def evaluator(
        self, split: Split, *, folder: Path, seed: int, device: str, features: Path | None = None
    ) -> Evaluator:
        """An evaluator whose feature network learned from the public images.

        Raises:
            UserError: the split has no public image, or no test image with a finding.
        """
        from dcfm_node.domains.chest.evaluation import ChestEvaluator

        assert isinstance(split, ChestSplit)
        if not len(split.public):
            raise self._no_public("the folder")
        return ChestEvaluator(
            split,
            folder,
            steps=self.settings.steps,
            seed=seed,
            device=device,
            inception=features,
        )

    def _no_public(self, where: str) -> DataError:
        return DataError(
            f"holds no image of the public patients {list(self.settings.public)}",
            where=where,
            fix="set public under [domain] to a range of patients whose images are public",
        )

    def draw(
        self, space: Space, panels: "Sequence[Panel]", holders: Holders, title: str = ""
    ) -> "Image":
        """The first samples of each model, in a column for each combination (Figure 8 of DCFM)."""
        from dcfm_node.domains.chest import views

        return views.draw(space, panels, title)

    def sheet(self, space: Space, samples: Samples) -> "Image":
        """All samples of one model, a row for each combination."""
        from dcfm_node.domains.chest import views

        return views.sheet(space, samples)

    def _usable(
        self, folder: Folder, entries: "Sequence[Entry]", feasible: tuple[Combination, ...]
    ) -> tuple[list[Entry], tuple[str, ...]]:
        """The entries that a silo may train on, and a note on those that it may not."""
        listed, why = frozenset(feasible), dict.fromkeys(("faulty", "public", "not feasible"), 0)
        kept = []
        for entry in entries:
            if entry.image in FAULTY:
                why["faulty"] += 1
            elif is_public(entry, self.settings):
                why["public"] += 1
            elif listed and entry.findings not in listed:
                why["not feasible"] += 1
            else:
                kept.append(entry)
        told = ", ".join(f"{many} {what}" for what, many in why.items() if many)
        return kept, (f"{folder.path}: images left out: {told}",) if told else ()


@dataclass(frozen=True)
class Cohorts:
    """The usable images of a folder in three parts, which share no patient, and the feasible
    combinations."""

    public: Cohort
    train: Cohort
    test: Cohort
    feasible: tuple[Combination, ...]


def cohorts(folder: Path, settings: ChestSettings) -> Cohorts:
    """The parts of a folder.

    Raises:
        DataError: the folder cannot be read, or a part has no image.
    """
    public = settings.public or (1, 0)
    return _cohorts(folder, settings.size, (public[0], public[1]), settings.frequency)


@lru_cache(1)
def _cohorts(folder: Path, size: int, public: tuple[int, int], frequency: float) -> Cohorts:
    there = open_folder(folder)
    feasible = table.feasible(_findings(there), frequency)
    listed = frozenset(feasible)
    kept = [e for e in there.entries if e.image not in FAULTY and e.findings in listed]
    x = there.read(kept, size)
    patients = np.array([entry.patient for entry in kept], np.int64)
    views = np.array([entry.view for entry in kept], np.str_)
    whole = Cohort(Samples(x, _labels(kept)), patients, views)
    given = (patients >= public[0]) & (patients <= public[1])
    tested = np.isin(patients, np.unique(patients[~given])[TEST - 1 :: TEST])
    parts = Cohorts(whole[given], whole[~given & ~tested], whole[tested], feasible)
    for part, what in ((parts.train, "training"), (parts.test, "test")):
        if not len(part):
            raise DataError(
                f"holds no {what} image of {len(kept)} usable ones",
                where=str(folder),
                fix=f"give images of at least {TEST} patients who are not public",
            )
    return parts


def is_public(entry: Entry, settings: ChestSettings) -> bool:
    """Whether an image is of a public patient."""
    return bool(settings.public) and settings.public[0] <= entry.patient <= settings.public[1]


def _findings(folder: Folder) -> "Iterator[Combination]":
    return (entry.findings for entry in folder.table)


def _labels(entries: "Sequence[Entry]") -> Labels:
    labels = np.array([entry.findings for entry in entries], np.int64)
    return labels.reshape(-1, len(table.FINDINGS))


def _named(folder: Path | None) -> Path:
    if folder is None:
        raise UserError(
            "the domain 'chest-xray' needs radiographs, but no folder is given",
            fix="give --data FOLDER, with the table Data_Entry_2017*.csv and the images of NIH"
            " ChestX-ray14",
        )
    return folder
