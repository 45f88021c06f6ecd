"""The package's own domains: their sections of run.toml. Pure."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import FailFast, Field, FiniteFloat, model_validator

from dcfm_node.records.base import MAX_COUNT, Model, Name
from dcfm_node.records.settings import DomainSettings

Values = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=64)], ...],
    Field(max_length=32),
    FailFast(),
]
"""A combination as names: the value of each attribute, in order."""


class PlainSettings(DomainSettings):
    """Any files of a site, vectors or images, without a truth to evaluate samples against."""

    code: ClassVar[str] = "dcfm_node.domains.plain:Plain"
    kind: Literal["plain"] = "plain"


class Mode(Model):
    """One Gaussian mode: its combination and its centre."""

    values: Values
    """Its combination: the value of each attribute."""
    centre: Annotated[tuple[float, ...], Field(min_length=1, max_length=1_000), FailFast()]
    """Its mean, as many numbers as a sample has."""


class Partition(Model):
    """Which combinations each silo observes, a list per silo."""

    name: Name
    """What [data] and experiments call it."""
    silos: Annotated[
        tuple[Annotated[tuple[Values, ...], FailFast()], ...],
        Field(min_length=1, max_length=100),
        FailFast(),
    ]
    """For each silo, the combinations that it observes."""


class GaussiansSettings(DomainSettings):
    """A Gaussian mixture with one mode per combination; by default four modes in the plane."""

    code: ClassVar[str] = "dcfm_node.domains.gaussians:Gaussians"
    kind: Literal["gaussians"] = "gaussians"
    sigma: Annotated[float, Field(gt=0.0, le=1e6)] = 0.3
    """Standard deviation of every mode in every direction, in data units; default 0.3."""
    samples: Annotated[int, Field(ge=20, le=1_000_000)] = 1_000
    """Samples per silo; default 1000."""
    modes: Annotated[tuple[Mode, ...], Field(min_length=2, max_length=10_000), FailFast()] = tuple(
        Mode(values=(horizontal, vertical), centre=(x, y))
        for horizontal, x in (("left", -1.5), ("right", 1.5))
        for vertical, y in (("bottom", -1.5), ("top", 1.5))
    )
    held_out: Annotated[tuple[Values, ...], Field(min_length=1, max_length=65_536), FailFast()] = (
        ("right", "top"),
    )
    """Combinations that no silo observes; default top-right."""
    partitions: Annotated[tuple[Partition, ...], Field(max_length=16), FailFast()] = ()
    """Ways of sharing the other combinations. Default none: each silo sees one attribute vary."""

    def problem(self, shape: tuple[int, ...]) -> str:
        if {(len(mode.centre),) for mode in self.modes} == {shape}:
            return ""
        return f"domain.modes: a centre does not have sample_shape {list(shape)}; change either"


class TextSettings(DomainSettings):
    """Texts of the sites, as tokens: bytes of UTF-8, or words of a list. A sample has as many
    places as sample_shape says; the token 0 fills the rest. Needs path.kind = "discrete"."""

    code: ClassVar[str] = "dcfm_node.domains.text:Text"
    kind: Literal["text"] = "text"
    words: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=64, pattern=r"^\S+$")], ...],
        Field(max_length=4_095),
        FailFast(),
    ] = ()
    """Words that blanks separate in texts, at most 4095; path.tokens is their number plus 1.
    Default none: tokens are bytes, and path.tokens is 256."""

    @property
    def alphabet(self) -> int:
        return len(self.words) + 1 if self.words else 256

    @model_validator(mode="after")
    def _different(self) -> Self:
        if len(set(self.words)) != len(self.words):
            raise ValueError("domain.words has a word twice; remove it")
        return self


class Category(Model):
    """One column of a table of categories."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    """Its name in the tables of the sites."""
    values: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=256)], ...],
        Field(min_length=2, max_length=4_096),
        FailFast(),
    ]
    """What its cells may hold at any site, in order."""

    @model_validator(mode="after")
    def _different(self) -> Self:
        if len(set(self.values)) != len(self.values):
            raise ValueError(f"column {self.name!r} has a value twice; remove it")
        return self


class CategoriesSettings(DomainSettings):
    """Tables of categories of the sites: a token for each column, the place of its value. Needs
    path.kind = "discrete", with as many tokens as the column with most values has."""

    code: ClassVar[str] = "dcfm_node.domains.categories:Categories"
    kind: Literal["categories"] = "categories"
    column: Annotated[tuple[Category, ...], Field(min_length=1, max_length=4_096), FailFast()]
    """The columns of a sample, in order; sample_shape = [their number]."""

    @property
    def alphabet(self) -> int:
        return max(len(column.values) for column in self.column)

    @model_validator(mode="after")
    def _different(self) -> Self:
        names = [column.name for column in self.column]
        if len(set(names)) != len(names):
            raise ValueError("domain.column has a name twice; rename one")
        return self

    def problem(self, shape: tuple[int, ...]) -> str:
        if shape == (len(self.column),):
            return ""
        return f"domain.column: {len(self.column)} columns need sample_shape = [{len(self.column)}]"


class Channel(Model):
    """One row of a sample: a number of a column, and the range that becomes [-1, 1]."""

    column: Annotated[str, Field(min_length=1, max_length=256)]
    """Column of the recordings, such as observation.state."""
    index: Annotated[int, Field(ge=0, le=4_095)] = 0
    """Which of its numbers, from 0; default 0."""
    name: Annotated[str, Field(max_length=256)] = ""
    """What the recordings call this number, such as elbow.pos; a site whose recordings call it
    otherwise is refused. Default: not compared."""
    low: Annotated[FiniteFloat, Field(ge=-1e9, le=1e9)]
    """Value that becomes -1, in the unit of the recordings."""
    high: Annotated[FiniteFloat, Field(ge=-1e9, le=1e9)]
    """Value that becomes +1; above low."""

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.high - self.low < 1e-6:
            raise ValueError(f"high {self.high:g} is not above low {self.low:g}; correct either")
        return self


class TrajectoriesSettings(DomainSettings):
    """A robot's recorded episodes: a row for each channel, at evenly spaced times. All sites agree
    on the ranges, so no raw data is needed to scale them."""

    code: ClassVar[str] = "dcfm_node.domains.robots.trajectories:Trajectories"
    kind: Literal["trajectories"] = "trajectories"
    fps: Annotated[FiniteFloat, Field(gt=0.0, le=1e6)]
    """Frames a second of the recordings of every site."""
    channel: Annotated[tuple[Channel, ...], Field(min_length=1, max_length=256), FailFast()]
    """The rows of a sample, in order; a sample has sample_shape = [channels, horizon]."""

    @model_validator(mode="after")
    def _once(self) -> Self:
        places = [(channel.column, channel.index) for channel in self.channel]
        for column, index in places:
            if places.count((column, index)) > 1:
                raise ValueError(f"two channels are number {index} of {column!r}; remove one")
        return self

    def problem(self, shape: tuple[int, ...]) -> str:
        if len(shape) == 2 and shape[0] == len(self.channel) and shape[1] > 1:
            return ""
        return (
            f"domain.channel: {len(self.channel)} channels do not fit sample_shape {list(shape)};"
            f" set sample_shape = [{len(self.channel)}, horizon]"
        )


class SentencesSettings(DomainSettings):
    """Sentences of a small grammar: a topic chooses nouns and adjectives, a style all other words.
    A sample has eight tokens of 67; it needs path.kind = "discrete"."""

    code: ClassVar[str] = "dcfm_node.domains.sentences:Sentences"
    kind: Literal["sentences"] = "sentences"
    samples: Annotated[int, Field(ge=20, le=1_000_000)] = 2_000
    """Sentences per silo; default 2000."""
    partitions: Annotated[
        tuple[Literal["noniid", "iid"], ...], Field(min_length=1, max_length=2), FailFast()
    ] = ("noniid", "iid")
    """Ways of sharing the sentences: each silo sees two topics, or all three."""

    @property
    def alphabet(self) -> int:
        return 67

    def problem(self, shape: tuple[int, ...]) -> str:
        return "" if shape == (8,) else "sample_shape; sentences have 8 words, so set it to [8]"


class DigitsSettings(DomainSettings):
    """scikit-learn's 8 x 8 digits in six colours."""

    code: ClassVar[str] = "dcfm_node.domains.digits:Digits"
    kind: Literal["digits"] = "digits"


class ColouredMnistSettings(DomainSettings):
    """MNIST in ten colours; the command line or node.toml gives the folder of its files."""

    code: ClassVar[str] = "dcfm_node.domains.coloured_mnist:ColouredMnist"
    kind: Literal["coloured-mnist"] = "coloured-mnist"
    size: Annotated[int, Field(ge=7, le=64)] = 28
    """Height and width in pixels, default 28. Smaller images are means over squares of pixels: 14
    uses 2 x 2. If the squares do not fit, a black border is added first: two pixels on each side
    for 16."""
    per_combination: Annotated[int, Field(ge=1)] | None = None
    """Most training images of a combination. Default: as many as the rarest digit allows (542)."""
    references: Annotated[int, Field(ge=1)] | None = None
    """Most test images of a combination. Default: as many as the rarest digit allows (89)."""
    silos: Annotated[int, Field(ge=2, le=50)] = 5
    """Number of silos, 2 to 50; default 5."""
    concentration: Annotated[float, Field(gt=0.0, le=1e9)] = 0.1
    """Concentration of the Dirichlet distribution in `noniid`; default 0.1. Smaller: less even."""
    partitions: Annotated[
        tuple[Literal["iid", "noniid"], ...], Field(max_length=16), FailFast()
    ] = ("iid", "noniid")
    """Ways of sharing the images among silos, for `dcfm-node experiment`."""


class CubeSettings(DomainSettings):
    """Plans of a robot arm that picks a cube up and puts it down elsewhere (OGBench's cube-single).

    A sample is a plan of `horizon` keyframes. Episodes are read from files: a node's [data] has
    format = "episodes"; experiments take the folder from the command line.
    """

    code: ClassVar[str] = "dcfm_node.domains.robots.cube:Cube"
    kind: Literal["cube"] = "cube"
    horizon: Annotated[int, Field(ge=8, le=256)] = 32
    """Keyframes of a plan, evenly spaced in time, 8 to 256; default 32. sample_shape is
    [17, horizon]."""
    silos: Annotated[int, Field(ge=2, le=50)] = 4
    """Number of silos, 2 to 50; default 4."""
    concentration: Annotated[float, Field(gt=0.0, le=1e9)] = 0.1
    """Concentration of the Dirichlet distribution in `noniid`; default 0.1. Smaller: less even."""
    partitions: Annotated[
        tuple[Literal["iid", "noniid"], ...], Field(max_length=16), FailFast()
    ] = ("iid", "noniid")
    """Ways of sharing the plans among silos, for `dcfm-node experiment`."""

    def problem(self, shape: tuple[int, ...]) -> str:
        if shape == (17, self.horizon):
            return ""
        return (
            f"domain.horizon: plans have sample_shape [17, {self.horizon}], not {list(shape)};"
            " change either"
        )


SYNTHETIC = "Drawn images are synthetic and no evidence about any patient."
"""What every picture and model card of radiographs says."""


class ChestSettings(DomainSettings):
    """Chest radiographs with 14 findings, each present (1) or absent (0), as in NIH ChestX-ray14.

    A node's [data] has format = "radiographs"; experiments take the folder from the command line.
    """

    code: ClassVar[str] = "dcfm_node.domains.chest.chest:Chest"
    kind: Literal["chest-xray"] = "chest-xray"
    size: Annotated[int, Field(ge=8, le=1_024)] = 64
    """Height and width in pixels, 8 to 1024; default 64. Images of another size are resized by
    area. sample_shape is [1, size, size]."""
    public: Annotated[
        tuple[Annotated[int, Field(ge=0, le=MAX_COUNT)], ...], Field(max_length=2)
    ] = (1, 278)
    """First and last id of patients whose images no silo holds: codec and evaluation learn from
    them. Empty: none. Default: 1 to 278, which suits the images of NIH ChestX-ray14."""
    frequency: Annotated[float, Field(ge=0.0, le=1.0)] = 0.001
    """Least share of a table's rows that a combination must have to be feasible (section 6.3 of
    DCFM), 0 to 1; default 0.001. For `dcfm-node experiment`; a run lists them."""
    composed: Literal["present", "all"] = "present"
    """Which terms Eq. 5 of DCFM adds up: of the findings that are present (and of all where none
    is), or of all 14, absent ones too. For `dcfm-node experiment`; a run's attributes say it."""
    novel: Annotated[int, Field(ge=0, le=1_000)] = 0
    """Number of feasible combinations of two findings or more that no silo holds; default 0."""
    steps: Annotated[int, Field(ge=1, le=1_000_000)] = 300
    """Training steps of each network that evaluates samples, 1 to 1000000; default 300. For
    `dcfm-node experiment`."""
    silos: Annotated[int, Field(ge=2, le=50)] = 5
    """Number of silos, 2 to 50; default 5."""
    concentration: Annotated[float, Field(gt=0.0, le=1e9)] = 0.1
    """Concentration of the Dirichlet distribution in `noniid`; default 0.1. Smaller: less even."""
    partitions: Annotated[
        tuple[Literal["iid", "noniid", "views", "patients"], ...],
        Field(min_length=1, max_length=16),
        FailFast(),
    ] = ("iid", "noniid")
    """Ways of sharing the patients among silos, for `dcfm-node experiment`: evenly, in Dirichlet
    shares of combinations, by the view of most of their images, or by ranges of ids."""

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.public and (len(self.public) != 2 or self.public[0] > self.public[1]):
            raise ValueError("public is a first and a last id; write [first, last], or []")
        return self

    @property
    def notice(self) -> str:
        return f"{SYNTHETIC} Use them for no diagnosis and no treatment."

    def problem(self, shape: tuple[int, ...]) -> str:
        if shape == (1, self.size, self.size):
            return ""
        return (
            f"domain.size: radiographs have sample_shape [1, {self.size}, {self.size}], not"
            f" {list(shape)}; change either"
        )
