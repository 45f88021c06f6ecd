"""configs/experiments/*.toml: what an experiment poses, trains and measures."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, ValidationError, model_validator

from dcfm_node.config import toml
from dcfm_node.config.advice import closest
from dcfm_node.data.names import at_home
from dcfm_node.errors import ConfigError, Failed
from dcfm_node.experiment.costs.settings import Costs
from dcfm_node.experiment.task import Combination, Task
from dcfm_node.files import shipped
from dcfm_node.methods.dcfm.schedule import Dcfm
from dcfm_node.records.base import Model, Name
from dcfm_node.records.manifest import NETWORK, Attribute, Manifest, Policy, Silo
from dcfm_node.records.settings import AnyNetwork

MethodName = Literal[
    "fedflow",
    "fedflow+l",
    "ddm",
    "ddm+l",
    "dfd",
    "dfd+l",
    "all-local",
    "dcfm-a",
    "dcfm-a-at-once",
    "dcfm-a-own-snapshot",
    "dcfm-b",
    "dcfm-alternating",
    "pooled",
    "oracle",
]
Rule = Literal["joint", "composed"]
Start = Literal["experts", "student", "fresh"]
Values = tuple[str, ...]
FilePath = Annotated[Path, Field(strict=False), AfterValidator(at_home)]
Positive = Annotated[int, Field(ge=1, le=10_000_000)]


class Mode(Model):
    """One Gaussian mode: its attributes' values, in order, and where it lies."""

    values: Values
    centre: tuple[float, ...]


class Partition(Model):
    """Who observes what: per silo, its list of combinations."""

    name: Name
    silos: Annotated[tuple[tuple[Values, ...], ...], Field(min_length=1, max_length=100)]


class Geometry(Model):
    """Gaussian modes, one per combination, in any dimension."""

    sigma: Annotated[float, Field(gt=0.0)]
    samples: Annotated[int, Field(ge=20, le=1_000_000)] = 2_000
    """Per silo."""
    modes: Annotated[tuple[Mode, ...], Field(min_length=2)]
    held_out: Annotated[tuple[Values, ...], Field(min_length=1)]
    """Combinations that no silo observes."""
    partitions: Annotated[tuple[Partition, ...], Field(min_length=1)]


class Problem(Model):
    """One of several geometries of an experiment, with attributes of its own."""

    name: Name
    attribute: Annotated[tuple[Attribute, ...], Field(min_length=2, max_length=32)]
    geometry: Geometry

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _check_geometry(self.geometry, self.attribute)
        return self


@dataclass(frozen=True)
class Posed:
    """A geometry and who observes what of it."""

    attributes: tuple[Attribute, ...]
    geometry: Geometry
    silos: tuple[tuple[Values, ...], ...]


class Images(Model):
    """MNIST in colours; its folder is named on the command line."""

    size: Annotated[int, Field(ge=7, le=64)] = 28
    """Height and width."""
    per_combination: Annotated[int, Field(ge=1)] | None = None
    """Training images of each combination at most."""
    silos: Annotated[int, Field(ge=2, le=50)] = 5
    concentration: Annotated[float, Field(gt=0.0)] = 0.1
    """Of the Dirichlet distribution by which `noniid` deals each combination."""
    partitions: tuple[Literal["iid", "noniid"], ...] = ("iid", "noniid")
    inception: FilePath | None = None
    """A TorchScript feature network to measure FID with, instead of the one trained here."""


class FedFlow(Model):
    """Federated averaging, in the units that its cost is counted in."""

    averagings: Positive
    steps: Positive
    """Local steps before each."""
    steps_with_ci: Positive | None = None
    """The same for "+l", whose steps cost more; `steps` if not given."""


class Paper(Model):
    """One figure that the paper prints, to stand beside ours."""

    method: MethodName
    partition: Name
    metric: str
    value: float


class Scheme(Model):
    """A method under another name and with other settings."""

    name: Name
    method: MethodName
    change: dict[str, Any] = Field(default_factory=dict)
    """Laid over the experiment's settings."""


class Experiment(Model):
    """A whole experiment, as one of its presets has it.

    Its domain is one geometry, several (`problem`), or images; rows call each a partition.
    """

    name: Name
    title: str
    seeds: Positive = 1
    each: Annotated[int, Field(ge=2, le=100_000)] = 500
    """Samples asked of every combination."""
    methods: tuple[MethodName, ...] = ()
    scheme: tuple[Scheme, ...] = ()
    """More methods, with settings of their own."""
    columns: tuple[str, ...] = ()
    """Metrics that the Markdown table shows."""
    rules: dict[MethodName, Rule] = Field(default_factory=dict)
    """How a method is sampled where this says otherwise than `methods.DEFAULT_RULES`."""
    curves: bool = False
    """Measure after every round, not after the last alone."""
    paper_rounds: Positive = 2
    """Rounds of `dcfm-a`, silos in turn."""
    rounds: Positive = 2
    """Rounds of `dcfm-alternating`."""
    student_from: Start = "experts"
    """What a student's training starts from: the mean of its teachers' weights, the student before,
    or the run's initial weights."""
    weigh_gaps: bool = False
    """A student listens to a silo by its samples over its CI gap, and not by its samples alone."""
    expert_from: Literal["student", "expert"] = "student"
    """What an expert's anchored round starts from: the interim student, or the expert itself."""
    anchor_live: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    """Probability that a term of the anchored penalty is the silo's own."""
    attribute: tuple[Attribute, ...] = ()
    geometry: Geometry | None = None
    problem: tuple[Problem, ...] = ()
    images: Images | None = None
    network: AnyNetwork = NETWORK
    method: Dcfm
    fedflow: FedFlow | None = None
    paper: tuple[Paper, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        domains = (self.geometry is not None, bool(self.problem), self.images is not None)
        if sum(domains) != 1:
            raise ValueError("give one of [geometry], [[problem]] and [images]")
        if self.geometry is not None:
            _check_geometry(self.geometry, self.attribute)
        if self.fedflow is None and any(name.startswith("fedflow") for name in self.methods):
            raise ValueError("give [fedflow] its averagings and steps")
        if len(set(self.partitions)) != len(self.partitions):
            raise ValueError("two partitions bear one name")
        # Making it validates every scheme's settings.
        if len(self.lineup) != len(self.methods) + len(self.scheme):
            raise ValueError("two methods or schemes bear one name")
        if not self.lineup:
            raise ValueError("name methods, or give a [[scheme]]")
        return self

    @property
    def posed(self) -> dict[str, Posed]:
        """Geometries by partition; several problems lend their names."""
        if self.geometry is not None:
            return {
                p.name: Posed(self.attribute, self.geometry, p.silos)
                for p in self.geometry.partitions
            }
        return {
            problem.name
            if len(problem.geometry.partitions) == 1
            else f"{problem.name}-{p.name}": Posed(problem.attribute, problem.geometry, p.silos)
            for problem in self.problem
            for p in problem.geometry.partitions
        }

    @property
    def partitions(self) -> tuple[str, ...]:
        """Names, in the file's order."""
        return tuple(self.posed) if self.images is None else self.images.partitions

    @property
    def lineup(self) -> dict[str, tuple[MethodName, "Experiment"]]:
        """Every method and scheme by its name in the tables, with the settings it runs under."""
        plain = {str(method): (method, self) for method in self.methods}
        below = self.model_dump(exclude={"scheme"})
        return plain | {
            scheme.name: (
                scheme.method,
                Experiment.model_validate(
                    laid_over(below, {**scheme.change, "methods": (scheme.method,)})
                ),
            )
            for scheme in self.scheme
        }

    def manifest(self, task: Task, seed: int) -> Manifest:
        """The run that silos of this task would agree on; their keys are placeholders."""
        roster = (
            Silo(name=f"silo-{k:03}", key=k.to_bytes(32, "big")) for k in range(len(task.silos))
        )
        return Manifest(
            name=self.name,
            sample_shape=task.sample_shape,
            attributes=tuple(
                Attribute(name=name, values=values) for name, values in task.attributes
            ),
            network=self.network,
            method=self.method.model_copy(update={"seed": seed}),
            policy=Policy(),
            roster=tuple(roster),
        )


class _File(Model):
    """The file: the experiment, and by preset what changes."""

    preset: dict[str, dict[str, Any]] = Field(default_factory=dict)


Kind = TypeVar("Kind", Experiment, Costs)


def combination(values: Values, attributes: tuple[Attribute, ...]) -> Combination:
    """Names of values to indices.

    Raises:
        ValueError: another number of values than attributes, or a value that an attribute lacks.
    """
    if len(values) != len(attributes):
        raise ValueError(f"{list(values)} needs {len(attributes)} values, one per attribute")
    for value, attribute in zip(values, attributes, strict=True):
        if value not in attribute.values:
            raise ValueError(
                f"attribute {attribute.name!r} has no value {value!r} "
                f"({closest(value, attribute.values)})"
            )
    return tuple(a.values.index(v) for v, a in zip(values, attributes, strict=True))


def _check_geometry(given: Geometry, attributes: tuple[Attribute, ...]) -> None:
    modes = [combination(mode.values, attributes) for mode in given.modes]
    if len(set(modes)) != len(modes):
        raise ValueError("geometry.modes gives a combination twice")
    if len({len(mode.centre) for mode in given.modes}) != 1:
        raise ValueError("geometry.modes: every centre needs the same number of coordinates")
    held_out = {combination(values, attributes) for values in given.held_out}
    for partition in given.partitions:
        held = {combination(v, attributes) for silo in partition.silos for v in silo}
        if not all(partition.silos):
            raise ValueError(f"geometry.partitions: a silo of {partition.name!r} observes nothing")
        if both := held & held_out:
            raise ValueError(f"geometry.partitions: {partition.name!r} observes held-out {both}")
        if missing := (held | held_out) - set(modes):
            raise ValueError(f"geometry.modes has no centre for {sorted(missing)}")


def names() -> tuple[str, ...]:
    """The experiments that come with the package, sorted."""
    return tuple(sorted(path.stem for path in shipped("experiments").glob("*.toml")))


def read(name: str, preset: str) -> Experiment | Costs:
    """A shipped experiment by name, or any by the path of its TOML file, under a preset.

    Raises:
        ConfigError: no such experiment or preset, or what is wrong with the file and where.
    """
    return load_costs(name, preset) if "kind" in _document(name).values else load(name, preset)


def load(name: str, preset: str) -> Experiment:
    """As `read`, one that trains methods and measures what they draw."""
    return _load(name, preset, Experiment)


def load_costs(name: str, preset: str) -> Costs:
    """As `read`, one that measures what methods cost."""
    return _load(name, preset, Costs)


def _load(name: str, preset: str, kind: type[Kind]) -> Kind:
    document = _document(name)
    values = dict(document.values)
    path, text = document.path, document.text
    presets = toml.Document(path, text, {"preset": values.pop("preset", {})}).parse(_File)
    if preset not in presets.preset:
        known = ", ".join(presets.preset) or "none"
        raise ConfigError(f"no preset {preset!r}", where=str(path), fix=f"it has {known}")
    # The file as it stands first, so that an error names the line; then with the preset laid over.
    toml.Document(path, text, values).parse(kind)
    try:
        return kind.model_validate(laid_over(values, presets.preset[preset]))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = document.where("preset", preset, *first["loc"])
        raise ConfigError(first["msg"], where=place, fix="change or remove it") from None


def _document(name: str) -> toml.Document:
    path = toml.shipped(name, shipped("experiments"), "experiment")
    return toml.read(path, "name a TOML file that exists")


def title(name: str) -> str:
    """What a shipped experiment is, in a line."""
    return str(_shipped(name)["title"])


def presets(name: str) -> tuple[str, ...]:
    """A shipped experiment's presets."""
    return tuple(_shipped(name)["preset"])


def of_results(document: Mapping[str, Any]) -> Experiment | Costs:
    """The settings that results.json carries.

    Raises:
        Failed: they are of another version.
    """
    text = json.dumps(document)
    try:
        return (Costs if "kind" in document else Experiment).model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise Failed(
            f"its settings are of another version: {first['msg']}",
            where=f"settings.{field}",
            fix="run the experiment again, or read it with the version that made it",
        ) from None


def _shipped(name: str) -> dict[str, Any]:
    return toml.read(shipped("experiments") / f"{name}.toml", "").values


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with others over them, table by table."""
    both = {k: laid_over(below[k], v) for k, v in above.items() if _tables(below.get(k), v)}
    return {**below, **above, **both}


def _tables(a: object, b: object) -> bool:
    return isinstance(a, Mapping) and isinstance(b, Mapping)
