"""The interface of a domain and its data types: a split among silos, panels of samples."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from dcfm_node.data import source as files
from dcfm_node.data.source import SiloData
from dcfm_node.data.spec import BuiltinData, DataSpec, EpisodesData, RadiographsData
from dcfm_node.domains.space import Attributes, Holders, Panel, Space
from dcfm_node.errors import DataError, UserError
from dcfm_node.plugins import make
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.settings import DomainSettings, find
from dcfm_node.samples import Combination, Floats, Labels, Samples, Stored, joined, unit

if TYPE_CHECKING:
    from PIL.Image import Image


class Redraw(Protocol):
    """Draws the same samples again, of which some numbers are given (inpainting): which, (*shape),
    and what they are, (N, *shape). Returns (N, *shape)."""

    def __call__(self, mask: NDArray[np.bool_], values: Floats) -> Floats: ...


Settings = TypeVar("Settings", bound=DomainSettings)


class Cells(NamedTuple):
    """A table of samples: names of columns, and a row of words for each sample."""

    names: tuple[str, ...]
    rows: list[list[str]]


@dataclass(frozen=True)
class SplitSpec:
    """How to share a domain's samples among silos.

    Attributes:
        attributes: of the run or experiment; empty takes the domain's own.
        partition: one of `Domain.partitions`; empty takes the first.
        silos: number of silos; None takes the number in the domain's settings.
        seed: decides the split; default 0.
        source: folder of the domain's files, if it reads files.
    """

    attributes: Attributes = ()
    partition: str = ""
    silos: int | None = None
    seed: int = 0
    source: Path | None = None


@dataclass(frozen=True)
class Split:
    """One way of sharing a domain's samples among silos, drawn with one seed.

    Attributes:
        silos: the private data D_k of every silo.
        held_out: the combinations that no silo holds ("novel"); all others are "known".
        complete: training samples of every combination, which only the oracle sees.
        reference: samples of every combination, not used in training; None if the evaluator does
            not need them.
        shown: public samples, which pictures show beside drawn ones; None if there are none.
        feasible: the combinations that can occur, as in the manifest; empty means all.
        together: of each silo, the index of the first sample (N,) that must be on the same side of
            its hold-out, such as of the same patient; empty means that samples are independent.
    """

    attributes: Attributes
    sample_shape: tuple[int, ...]
    silos: tuple[Samples, ...]
    held_out: tuple[Combination, ...]
    complete: Samples | None = None
    reference: Samples | None = None
    shown: Samples | None = None
    feasible: tuple[Combination, ...] = ()
    together: tuple[Labels, ...] = ()

    @property
    def space(self) -> Space:
        """The attribute space of the split, without data."""
        return Space(self.attributes, self.held_out)

    @property
    def sides(self) -> Sequence[Labels | None]:
        """`together` of each silo; None where samples are independent."""
        return self.together or (None,) * len(self.silos)

    @property
    def known(self) -> list[Combination]:
        """The combinations that at least one silo holds, sorted."""
        return sorted({c for silo in self.silos for c in silo.combinations})

    @property
    def pooled(self) -> Samples:
        """All silos' data in one place, for baselines only."""
        return joined(self.silos)

    def holders(self, names: Sequence[str]) -> Holders:
        """Which silos hold each combination, the novel ones last.

        Args:
            names: the silos' names, in the order of `silos`.
        """
        found: dict[Combination, list[str]] = {c: [] for c in (*self.known, *self.held_out)}
        for name, silo in zip(names, self.silos, strict=True):
            for combination in silo.combinations:
                found[combination].append(name)
        return found


class Evaluator(ABC):
    """Measures samples against the truth of one split; prepared once, used often."""

    @abstractmethod
    def right(self, samples: Samples) -> NDArray[np.bool_]:
        """Which samples show every value of their labels, (N,)."""

    def measure(self, samples: Samples) -> dict[str, float]:
        """Metrics of a set of samples: `accuracy`, and others of the domain, such as `fid`.

        Callers measure known and novel combinations separately and add "known" or "novel" to the
        names.
        """
        return {"accuracy": float(self.right(samples).mean())}

    def measure_redrawn(self, samples: Samples, redraw: Redraw) -> dict[str, float]:
        """More metrics of samples, which need the model that drew them; default none.

        An experiment asks for them only for the way of sampling that it chose.

        Args:
            redraw: draws these samples again, from the same noise.
        """
        return {}

    def measure_together(self, samples: Samples) -> dict[str, float]:
        """Metrics of samples of known and novel combinations together; default none.

        An experiment asks for them only for the way of sampling that it chose.
        """
        return {}

    def features(self, samples: Samples) -> NDArray[np.floating[Any]]:
        """What `distance` compares, (N, d): the samples' numbers, unless a domain has better."""
        return unit(samples.x).reshape(len(samples.x), -1)

    def distance(self, samples: Samples, real: Samples) -> float:
        """How far samples are from real ones whose labels have the same proportions: the Fréchet
        distance of features and labels together."""
        from dcfm_node.domains.distances import joint_frechet_distance

        drawn, true = self.features(samples), self.features(real)
        return joint_frechet_distance(drawn, samples.c, true, real.c)


class Domain(ABC, Generic[Settings]):
    """What the samples of a run are, made from `[domain]` in its run.toml.

    A domain shares its samples among silos (`split`) and evaluates the samples of models
    (`evaluator`). A domain whose data are the sites' own files raises UserError in both. The
    defaults of `load` and `draw` fit vectors and images. A domain keeps no state. Its module must
    not import torch or other large packages at the top, because the control process imports it.

    Attributes:
        own_attributes: the attribute space, if the domain fixes it; else empty.
        requires: module that the domain needs -> name of its distribution.
        each: samples of every combination in an evaluation; default 100.
        shown: samples of every combination in a picture; default 4.
        compared: what `Evaluator.distance` measures, and when it is least.
    """

    own_attributes: ClassVar[Attributes] = ()
    requires: ClassVar[Mapping[str, str]] = {}
    each: ClassVar[int] = 100
    shown: ClassVar[int] = 4
    compared: ClassVar[tuple[str, str]] = (
        "distance from hold-out data",
        "closest to the silos' hold-out data",
    )

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abstractmethod
    def split(self, spec: SplitSpec) -> Split:
        """Share the domain's samples among silos. The same specification gives the same split.

        Raises:
            UserError: the samples cannot be shared in this way.
            ValueError: the attributes do not fit (`attributes`).
        """

    @abstractmethod
    def evaluator(
        self, split: Split, *, folder: Path, seed: int, device: str, features: Path | None = None
    ) -> Evaluator:
        """Prepare the evaluator of a split.

        Args:
            folder: cache for results that take long to prepare.
            seed: of all random draws in the evaluation.
            device: torch device of the evaluator's networks.
            features: a TorchScript network that the user trusts, for distances between images.

        Raises:
            UserError: a file or package is missing.
        """

    def public(self, source: Path | None) -> Samples:
        """Samples that no silo holds, which everybody may see: codecs are fitted to them.

        Args:
            source: folder of the domain's files, if it reads files.

        Raises:
            UserError: the domain has none, or they cannot be read.
        """
        raise UserError(
            f"the domain {self.settings.kind!r} has no public samples",
            fix="choose another domain, or a codec that needs no file",
        )

    def partitions(self) -> tuple[str, ...]:
        """Names of the ways to share the samples in `split`; the first is the default."""
        return ("noniid",)

    def attributes(self, named: Attributes) -> Attributes:
        """The attributes that a run or an experiment names, or the domain's own if it names none.

        Raises:
            ValueError: they do not fit the domain or its settings.
        """
        if named and self.own_attributes and named != self.own_attributes:
            known = "; ".join(f"{a.name} = {list(a.values)}" for a in self.own_attributes)
            raise ValueError(f"the attributes are not those of the domain: {known}")
        return named or self.own_attributes

    def check_attributes(self, named: Attributes, where: str) -> None:
        """Raises DataError, which names the data, if a run's attributes do not fit the domain."""
        try:
            self.attributes(named)
        except ValueError as error:
            fix = "give run.toml these attributes, or the domain other settings"
            raise DataError(str(error), where=where, fix=fix) from error

    def check(self, source: Path | None) -> None:
        """Check, without loading anything, that `split` and `draw` have what they need.

        Args:
            source: folder of the domain's files, if it reads files.

        Raises:
            UserError: a package or a file is missing.
        """
        self.check_packages()

    def check_packages(self) -> None:
        """Check that the packages are installed that `split` and `draw` need.

        Raises:
            UserError: one is not.
        """
        wanted = {"matplotlib": "matplotlib", **self.requires}
        if missing := [name for module, name in wanted.items() if find_spec(module) is None]:
            raise UserError(
                f"the domain {self.settings.kind!r} needs {' and '.join(missing)}, which is not"
                " installed",
                fix="pip install 'dcfm-node[demo]'",
            )

    def load(self, manifest: Manifest, source: DataSpec) -> SiloData:
        """Read, check and split a silo's private data, given by `[data]` in node.toml.

        The default reads every format; for `format = "builtin"` it takes the silo's share of
        `split`.

        Raises:
            DataError: the data cannot be read or do not fit the run.
        """
        if isinstance(source, EpisodesData | RadiographsData):
            kind = "cube" if isinstance(source, EpisodesData) else "chest-xray"
            raise DataError(
                f"the run's domain {self.settings.kind!r} does not read {source.format}",
                where="data.format",
                fix=f'choose another format, or a run whose [domain] is kind = "{kind}"',
            )
        if not isinstance(source, BuiltinData):
            return files.load(source, manifest)
        return files.checked(_share(manifest, source), source, manifest)

    def measured(self, x: Stored) -> Stored:
        """Samples (N, *sample_shape) in the units of the sites' files, as tables and archives of a
        student's samples have them. The default: as they are."""
        return x

    def shows(self, x: Stored, c: Labels) -> NDArray[np.bool_] | None:
        """Which of the values in labels (N, n) samples (N, *sample_shape) show: booleans (N, n).
        The default: None, their numbers alone do not tell."""
        return None

    def text(self, x: Stored) -> list[str] | None:
        """Samples (N, *sample_shape) of tokens as texts. The default: None, they are not text."""
        return None

    def cells(self, x: Stored) -> Cells | None:
        """Samples of tokens as a table. The default: a column of texts, if they are text."""
        texts = self.text(x)
        return None if texts is None else Cells(("text",), [[text] for text in texts])

    def draw(
        self,
        space: Space,
        panels: Sequence[Panel],
        holders: Holders,
        title: str = "",
    ) -> "Image":
        """Draw samples of several models side by side. The default draws images as tables
        of one sample per combination, and vectors as points or lines. It needs matplotlib."""
        from dcfm_node.domains import pictures, texts

        if (lines := [self.text(panel.samples.x) for panel in panels])[0] is not None:
            return texts.draw(space, panels, lines, title)
        return pictures.draw(space, panels, holders, title)

    def sheet(self, space: Space, samples: Samples) -> "Image":
        """Draw all samples of one model, as `dcfm-node student sample --out FILE.png` does.

        The default writes its values beside each combination. Images need no matplotlib.
        """
        from dcfm_node.domains import grid, panels, pictures, tiles

        if self.text(samples.x) is not None:
            return self.draw(space, [Panel("", samples)], {})
        if samples.x.ndim == 4:
            if grid.fits(samples):
                return grid.sheet(space, samples)
            return tiles.sheet(space, samples)
        few = len(samples.combinations) <= len(panels.KNOWN) + 1
        plane = samples.x.ndim == 2 and samples.x.shape[1] <= 3 and not space.features
        if few and plane and panels.alike(unit(samples.x)):
            return self.draw(space, [Panel("", samples)], {})
        return pictures.sheet(space, samples)


def made(settings: DomainSettings) -> Domain[Any]:
    """The domain of `[domain]` in a run.toml.

    Raises:
        PluginError: the code cannot be loaded or is not a domain.
    """
    return make(settings.code, Domain, settings)  # type: ignore[type-abstract]


def of(manifest: Manifest) -> Domain[Any]:
    """The domain of a run."""
    return made(manifest.domain)


def named(kind: str) -> Domain[Any]:
    """The domain with this name and its default settings.

    Raises:
        ValueError: no installed package provides it.
        UserError: its settings have no defaults.
    """
    model = find("domains", DomainSettings, kind)
    try:
        return made(model.model_validate({"kind": kind}))
    except ValidationError as error:
        settings = ", ".join(str(one["loc"][0]) for one in error.errors() if one["loc"])
        raise UserError(
            f"the domain {kind!r} has no default for {settings}",
            fix="set them under [domain] of a run.toml, or choose another domain",
        ) from error


def queries(combinations: Sequence[Combination], each: int) -> Labels:
    """Every combination `each` times, (len * each, n)."""
    return np.repeat(np.array(combinations, dtype=np.int64), each, axis=0)


def _share(manifest: Manifest, source: BuiltinData) -> Samples:
    """One silo's share of a domain's own data."""
    domain = of(manifest) if manifest.domain.kind == source.name else named(source.name)
    spec = SplitSpec(manifest.attributes, silos=source.silos, seed=source.seed, source=source.path)
    domain.check_attributes(spec.attributes, f"builtin {source.name}")
    return domain.split(spec).silos[source.silo]
