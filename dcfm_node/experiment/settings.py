"""configs/experiments/*.toml: what an experiment poses, trains and measures."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from dcfm_node.config import toml
from dcfm_node.data.spec import FilePath
from dcfm_node.domains.base import Domain, Split, SplitSpec, made
from dcfm_node.errors import ConfigError, Failed
from dcfm_node.experiment.costs.settings import Costs
from dcfm_node.files import shipped
from dcfm_node.methods.dcfm.schedule import Dcfm
from dcfm_node.records.base import Model, Name
from dcfm_node.records.manifest import NETWORK, Attribute, Manifest, Policy, Silo
from dcfm_node.records.settings import AnyDomain, AnyNetwork

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
    "dcfm-b",
    "dcfm-alternating",
    "pooled",
    "oracle",
]
Rule = Literal["joint", "composed"]
Start = Literal["experts", "student", "fresh"]
Positive = Annotated[int, Field(ge=1, le=10_000_000)]


class Problem(Model):
    """A domain, with the attributes that it is posed with."""

    name: Name
    attribute: Annotated[tuple[Attribute, ...], Field(max_length=32)] = ()
    """The domain's own if absent."""
    domain: AnyDomain

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self.made.attributes(self.attribute)
        return self

    @cached_property
    def made(self) -> Domain[Any]:
        """The domain with its settings."""
        return made(self.domain)

    def split(self, partition: str, seed: int, source: Path | None = None) -> Split:
        """One draw of one partition, see `Domain.split`."""
        return self.made.split(SplitSpec(self.attribute, partition, seed=seed, source=source))


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

    It poses one problem, its own domain, or several. Rows call every way of sharing one of them
    among silos a partition.
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
    """Measure after every round, not only after the last."""
    paper_rounds: Positive = 2
    """Rounds of `dcfm-a`, silos in turn."""
    rounds: Positive = 2
    """Rounds of `dcfm-alternating`."""
    student_from: Start = "experts"
    """What a student's training starts from: the mean of its teachers' weights, the student before,
    or the run's initial weights."""
    expert_from: Literal["student", "expert"] = "student"
    """What an expert's anchored round starts from: the interim student, or the expert itself."""
    anchor_live: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    """Probability that a term of the anchored penalty is the silo's own."""
    attribute: tuple[Attribute, ...] = ()
    domain: AnyDomain | None = None
    problem: tuple[Problem, ...] = ()
    inception: FilePath | None = None
    """A TorchScript feature network to measure FID with, instead of the domain's own."""
    network: AnyNetwork = NETWORK
    method: Dcfm
    fedflow: FedFlow | None = None
    paper: tuple[Paper, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.domain is None) == (not self.problem):
            raise ValueError("give either [domain] or [[problem]]")
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
    def posed(self) -> dict[str, tuple[Problem, str]]:
        """Problem and partition by the name that rows give them; several problems lend theirs."""
        if self.domain is not None:
            only = Problem(name=self.name, attribute=self.attribute, domain=self.domain)
            return {partition: (only, partition) for partition in only.made.partitions()}
        return {
            one.name if len(one.made.partitions()) == 1 else f"{one.name}-{partition}": (
                one,
                partition,
            )
            for one in self.problem
            for partition in one.made.partitions()
        }

    @property
    def partitions(self) -> tuple[str, ...]:
        """Names, in the file's order."""
        return tuple(self.posed)

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

    def manifest(self, split: Split, seed: int) -> Manifest:
        """The run that silos of this split would agree on; their keys are placeholders."""
        roster = (
            Silo(name=f"silo-{k:03}", key=k.to_bytes(32, "big")) for k in range(len(split.silos))
        )
        return Manifest(
            name=self.name,
            sample_shape=split.sample_shape,
            attributes=split.attributes,
            network=self.network,
            method=self.method.model_copy(update={"seed": seed}),
            policy=Policy(),
            roster=tuple(roster),
        )


class _File(Model):
    """The file: the experiment, and by preset what changes."""

    preset: dict[str, dict[str, Any]] = Field(default_factory=dict)


Kind = TypeVar("Kind", Experiment, Costs)


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
    found = toml.read(path, "name a TOML file that exists")
    return replace(found, values=_present(found.values))


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
    text = json.dumps(_present(_retired(document)))
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


def _present(values: Any) -> Any:
    """Settings of earlier versions as they are written now: [geometry] and [images] are domains."""
    if isinstance(values, list | tuple):
        return type(values)(map(_present, values))
    if not isinstance(values, Mapping):
        return values
    found = {key: _present(value) for key, value in values.items()}
    if geometry := found.pop("geometry", None):
        usual = {"kind": "gaussians"} | ({"samples": 2_000} if "modes" in geometry else {})
        found["domain"] = usual | geometry
    if images := found.pop("images", None):
        if inception := images.pop("inception", None):
            found["inception"] = inception
        found["domain"] = {"kind": "coloured-mnist"} | images
    return found


def _retired(document: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of earlier results without what was withdrawn since, so that they can be shown.

    These are arms that found nothing (protocol/decisions 0002 and 0010), and settings of other
    methods that every manifest once held.
    """
    found = {key: value for key, value in document.items() if key != "weigh_gaps"}
    if isinstance(method := found.get("method"), dict):
        found["method"] = {k: v for k, v in method.items() if k not in ("routing", "top")}
    for scheme in found.get("scheme", ()):
        if scheme.get("method") == "dcfm-a-own-snapshot":
            scheme["method"] = "dcfm-a-at-once"
        scheme.get("change", {}).pop("weigh_gaps", None)
    return found


def _tables(a: object, b: object) -> bool:
    return isinstance(a, Mapping) and isinstance(b, Mapping)
