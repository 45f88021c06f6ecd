"""Settings in configs/experiments/*.toml: problem, training and evaluation of an experiment."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator

from dcfm_node.config import toml
from dcfm_node.data.spec import FilePath
from dcfm_node.domains.base import Domain, Split, SplitSpec, made
from dcfm_node.domains.fitting import CodecFit
from dcfm_node.errors import ConfigError, Failed
from dcfm_node.experiment.algebra.settings import Algebra
from dcfm_node.experiment.costs.settings import Costs
from dcfm_node.experiment.discovery.settings import Discovery
from dcfm_node.experiment.earlier import present, retired
from dcfm_node.experiment.factorised.settings import Factorised
from dcfm_node.experiment.parity.settings import Parity
from dcfm_node.experiment.penalty.settings import Penalty
from dcfm_node.experiment.strangers.settings import Strangers
from dcfm_node.experiment.switching.settings import Switching
from dcfm_node.files import shipped
from dcfm_node.methods.dcfm.schedule import Dcfm
from dcfm_node.records.base import Model, Name
from dcfm_node.records.manifest import (
    CODEC,
    NETWORK,
    PATH,
    Attribute,
    Manifest,
    Policy,
    Probes,
    Silo,
)
from dcfm_node.records.moments import Standardise
from dcfm_node.records.settings import AnyCodec, AnyDomain, AnyNetwork, AnyPath

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
RULES: tuple[Rule, ...] = ("joint", "composed")
DEFAULT_RULES: dict[MethodName, Rule] = {
    "fedflow": "joint",
    "ddm": "joint",
    "dfd": "joint",
    "pooled": "joint",
    "oracle": "joint",
}
"""Sampling rules of the baselines' authors; all other methods use Eq. 5 of DCFM."""
Start = Literal["experts", "student", "fresh"]
Positive = Annotated[int, Field(ge=1, le=10_000_000)]


class Problem(Model):
    """A domain and the attributes to use in it."""

    name: Name
    attribute: Annotated[tuple[Attribute, ...], Field(max_length=32)] = ()
    """Attributes; the domain's own if absent."""
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
        """One split of one partition, see `Domain.split`."""
        return self.made.split(SplitSpec(self.attribute, partition, seed=seed, source=source))


class FedFlow(Model):
    """Settings of federated averaging."""

    averagings: Positive
    """Number of averagings."""
    steps: Positive
    """Local steps before each averaging."""
    steps_with_ci: Positive | None = None
    """The same for "fedflow+l", whose steps cost more. Default: `steps`."""


class Choice(Model):
    """One rule that chooses how every method is sampled, on known hold-out data alone: the guidance
    weight, and `joint` or `composed`, whose samples are closest (`Evaluator.distance`)."""

    weights: Annotated[tuple[Annotated[float, Field(ge=0.0, le=100.0)], ...], Field(min_length=1)]
    """Weights w of known combinations to choose from."""
    novel_factor: Annotated[float, Field(ge=0.0, le=100.0)] = 1.0
    """Weight of novel combinations: 1 + novel_factor (w - 1), 0 to 100; default 1, the same."""


class Paper(Model):
    """One value from the paper, to show beside ours."""

    method: MethodName
    partition: Name
    metric: str
    value: float


class Scheme(Model):
    """A method with another name and other settings."""

    name: Name
    method: MethodName
    change: dict[str, Any] = Field(default_factory=dict)
    """Settings that replace those of the experiment."""

    @field_validator("change", mode="after")
    @classmethod
    def _as_in_results(cls, change: dict[str, Any]) -> dict[str, Any]:
        """Tables of TOML and of results.json alike."""
        found: dict[str, Any] = json.loads(json.dumps(change))
        return found


class Experiment(Model):
    """A whole experiment with one of its presets.

    It has one problem (`domain`) or several (`problem`). A partition is one way to share
    the samples of a problem among silos.
    """

    name: Name
    title: str
    seeds: Positive = 1
    each: Annotated[int, Field(ge=2, le=100_000)] = 500
    """Samples of every combination, 2 to 100000; default 500."""
    methods: tuple[MethodName, ...] = ()
    scheme: tuple[Scheme, ...] = ()
    """More methods, each with its own settings."""
    columns: tuple[str, ...] = ()
    """Metrics in the Markdown table."""
    intervals: bool = False
    """Whether the columns are shares of samples; the table then shows their 95 % intervals over the
    samples of all seeds, in place of a deviation over seeds. Default false."""
    rules: dict[MethodName, Rule] = Field(default_factory=dict)
    """Method -> sampling rule at a guidance weight of 1, where it differs from `DEFAULT_RULES`."""
    guidance: Choice | None = None
    """Choice of guidance weights. Default: none, all weights are 1."""
    curves: bool = False
    """Measure after every round, not only after the last. Default false."""
    membership: bool = False
    """Measure how well training samples are told from hold-out ones by the networks of a method
    (`flow.membership`). Default false."""
    paper_rounds: Positive = 2
    """Rounds of `dcfm-a`, in which silos refine in turn; default 2."""
    rounds: Positive = 2
    """Rounds of `dcfm-alternating`; default 2."""
    student_from: Start = "experts"
    """Initial weights of a student: the mean of its teachers' weights (default), the previous
    student's, or the run's initial weights."""
    expert_from: Literal["student", "expert"] = "student"
    """Initial weights of an anchored round: the interim student's (default) or the expert's own."""
    anchor_live: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    """Probability that a term of the anchored penalty is the silo's own, 0 to 1; default 0.5."""
    attribute: tuple[Attribute, ...] = ()
    domain: AnyDomain | None = None
    problem: tuple[Problem, ...] = ()
    inception: FilePath | None = None
    """TorchScript feature network for the FID. Default: the domain's own network."""
    codec: AnyCodec = CODEC
    fit: CodecFit | None = None
    """A codec to fit to the domain's public samples, and to use in place of `codec`. Default:
    none."""
    standardise: Standardise = "auto"
    network: AnyNetwork = NETWORK
    path: AnyPath = PATH
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
            raise ValueError("two partitions have the same name; rename one")
        # Making it validates every scheme's settings.
        if len(self.lineup) != len(self.methods) + len(self.scheme):
            raise ValueError("two methods or schemes have the same name; rename one")
        if not self.lineup:
            raise ValueError("name methods, or give a [[scheme]]")
        return self

    @property
    def posed(self) -> dict[str, tuple[Problem, str]]:
        """Name in the rows -> problem and partition."""
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
        """Names of the partitions, in the file's order."""
        return tuple(self.posed)

    @property
    def lineup(self) -> dict[str, tuple[MethodName, "Experiment"]]:
        """Name in the tables -> method and settings, for every method and scheme."""
        plain = {str(method): (method, self) for method in self.methods}
        below = self.model_dump(mode="json", exclude={"scheme"})
        return plain | {
            scheme.name: (
                scheme.method,
                Experiment.model_validate_json(
                    json.dumps(laid_over(below, {**scheme.change, "methods": [scheme.method]}))
                ),
            )
            for scheme in self.scheme
        }

    def rule(self, method: MethodName) -> Rule:
        """The way to sample a method at a guidance weight of 1."""
        return self.rules.get(method, DEFAULT_RULES.get(method, "composed"))

    def manifest(self, split: Split, seed: int) -> Manifest:
        """The run of this split's silos, with placeholder keys."""
        roster = (
            Silo(name=f"silo-{k:03}", key=k.to_bytes(32, "big")) for k in range(len(split.silos))
        )
        return Manifest(
            name=self.name,
            sample_shape=split.sample_shape,
            attributes=split.attributes,
            codec=self.codec,
            standardise=self.standardise,
            network=self.network,
            path=self.path,
            method=self.method.model_copy(update={"seed": seed}),
            policy=Policy(),
            probes=Probes(share=0.0),  # the split itself holds combinations back
            roster=tuple(roster),
            feasible=split.feasible,
        )


class _File(Model):
    """The file: the experiment, and the changes of each preset."""

    preset: dict[str, dict[str, Any]] = Field(default_factory=dict)


Given = (
    Experiment | Costs | Strangers | Penalty | Switching | Parity | Algebra | Factorised | Discovery
)
"""An experiment of any kind."""
Kind = TypeVar("Kind", bound=Model)
Other = type[Costs | Strangers | Penalty | Switching | Parity | Algebra | Factorised | Discovery]
OTHERS: Mapping[object, Other] = {
    "costs": Costs,
    "strangers": Strangers,
    "penalty": Penalty,
    "switching": Switching,
    "parity": Parity,
    "algebra": Algebra,
    "factorised": Factorised,
    "discovery": Discovery,
}
"""`kind` in the file -> what it holds. Without it, the file is an `Experiment`."""


def names() -> tuple[str, ...]:
    """Names of the package's experiments, sorted."""
    return tuple(sorted(path.stem for path in shipped("experiments").glob("*.toml")))


def read(name: str, preset: str) -> Given:
    """Read a shipped experiment by name, or any by the path of its TOML file, with a preset.

    Raises:
        ConfigError: the experiment or preset does not exist, or the file is invalid.
    """
    kind = _document(name).values.get("kind")
    return load(name, preset) if kind is None else _load(name, preset, OTHERS.get(kind, Costs))


def load(name: str, preset: str) -> Experiment:
    """As `read`, for an experiment that trains methods and measures samples."""
    return _load(name, preset, Experiment)


def load_costs(name: str, preset: str) -> Costs:
    """As `read`, for an experiment that measures costs."""
    return _load(name, preset, Costs)


def _load(name: str, preset: str, kind: type[Kind]) -> Kind:
    document = _document(name)
    values = dict(document.values)
    path, text = document.path, document.text
    presets = toml.Document(path, text, {"preset": values.pop("preset", {})}).parse(_File)
    if preset not in presets.preset:
        known = ", ".join(presets.preset) or "none"
        raise ConfigError(f"no preset {preset!r}", where=str(path), fix=f"it has {known}")
    # First the file without preset, so that an error names the line; then with the preset.
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
    return replace(found, values=present(found.values))


def title(name: str) -> str:
    """The title of a shipped experiment."""
    return str(_shipped(name)["title"])


def presets(name: str) -> tuple[str, ...]:
    """A shipped experiment's presets."""
    return tuple(_shipped(name)["preset"])


def of_results(document: Mapping[str, Any]) -> Given:
    """Read the settings in results.json.

    Raises:
        Failed: they are from another version.
    """
    text = json.dumps(present(retired(document)))
    try:
        found: type[Given] = OTHERS.get(document.get("kind"), Experiment)
        return found.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise Failed(
            f"its settings are from another version: {first['msg']}",
            where=f"settings.{field}",
            fix="run the experiment again, or read it with the version that made it",
        ) from None


def _shipped(name: str) -> dict[str, Any]:
    return toml.read(shipped("experiments") / f"{name}.toml", "").values


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge settings table by table; values of `above` replace those of `below`."""
    both = {k: laid_over(below[k], v) for k, v in above.items() if _tables(below.get(k), v)}
    return {**below, **above, **both}


def _tables(a: object, b: object) -> bool:
    return isinstance(a, Mapping) and isinstance(b, Mapping)
