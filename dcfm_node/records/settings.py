"""The sections of a manifest whose kind a name chooses (`dcfm_node.plugins`).

The model of a section is the pure half of a plugin. Its fields are its settings, its properties say
what follows from them, and `code` names the class that computes. That class is loaded only where
torch is.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import (
    Field,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from dcfm_node import plugins
from dcfm_node.records.base import Model, Name
from dcfm_node.records.guidance import Guidance

Positive = Annotated[int, Field(ge=1, le=100_000_000)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Reads = Literal["numbers", "tokens", "any"]
Shape = Annotated[tuple[Positive, ...], Field(min_length=1, max_length=3)]


class Section(Model):
    """The base of every section that a plugin provides."""

    code: ClassVar[str]
    """"module:attribute" of the class that computes. The worker loads it; the daemon never does."""

    @property
    def tag(self) -> str:
        """The name that it goes by: its kind, or the method's name."""
        return str(getattr(self, "kind", None) or getattr(self, "name", ""))

    def problem(self, shape: tuple[int, ...]) -> str:
        """Why the section does not fit samples of this shape: the setting, "; ", and what to do.
        Empty if it fits. A domain is asked for the samples' shape, all others for that which the
        flow sees: the codec's latent shape, if there is a codec."""
        return ""


class NetworkSettings(Section):
    """The velocity network that every silo and the student share (`dcfm_node.networks`)."""

    reads: ClassVar[Reads] = "any"
    """What its points are made of."""
    kind: Name
    predict: Literal["sample", "velocity"] = "sample"
    """`sample`: the network predicts x_1 and v = (x_1 - x) / max(1 - t, 0.05)."""

    @property
    def summary(self) -> str:
        """Its settings in a few words, for the model card."""
        return ""

    def least_numbers(self, shape: tuple[int, ...]) -> int:
        """Fewest weights that it has on samples of this shape; 0 if unknown."""
        return 0

    def widest(self, shape: tuple[int, ...]) -> int:
        """Numbers per sample in its widest layer; 0 if unknown."""
        return 0


class PathSettings(Section):
    """The probability path from noise to data (`dcfm_node.paths`)."""

    kind: Name

    @property
    def alphabet(self) -> int:
        """Number of different tokens, whole numbers from 0, in samples; 0 if they are numbers."""
        return 0

    def misfit(self, codec: "CodecSettings", network: NetworkSettings, method: Any) -> str:
        """Why these sections do not fit the path, as `problem`; empty if they fit."""
        return ""


class CodecSettings(Section):
    """The frozen encoder and decoder between samples and what the flow sees."""

    kind: Name

    @property
    def digest(self) -> bytes | None:
        """SHA-256 of the codec's file; None if it has none."""
        return None

    def unfit(self, shape: tuple[int, ...]) -> str:
        """As `problem`, for samples of this shape before they are encoded."""
        return ""

    def latent_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of an encoded sample, from the shape of a sample."""
        return shape


class DomainSettings(Section):
    """What the samples are, and how they are loaded, drawn and evaluated (`dcfm_node.domains`)."""

    kind: Name

    @property
    def alphabet(self) -> int:
        """The alphabet that the path needs for its samples (`PathSettings`); 0 if any serves."""
        return 0

    @property
    def notice(self) -> str:
        """What the model card must say about samples; empty if nothing."""
        return ""


class Training(Model):
    """One stage's optimiser settings."""

    steps: Positive
    batch: Annotated[int, Field(ge=1, le=65_536)] = 128
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] = 1e-3
    ci_weight: Annotated[float, Field(ge=0.0, le=1e6)] = 1.0
    """Lambda of Eqs. 11, 14 and 17 of DCFM."""
    ci_batch: Annotated[int, Field(ge=1, le=65_536)] = 32
    """Rows of the batch that bear the conditional-independence penalty."""
    product_share: Share = 0.0
    """Share of the penalty's labels drawn from the product space instead of the silo's own."""
    patience: Annotated[int, Field(ge=0, le=100)] = 0
    """Stop early once the CI gap has not fallen for this many twentieths of the steps; 0 never."""


class Masks(Model):
    """Label masking (Eq. 8 of DCFM): weights of three kinds of labels. Any positive scale."""

    full: Annotated[float, Field(gt=0.0)] = 0.6
    """Weight of the full label."""
    marginal: Annotated[float, Field(gt=0.0)] = 0.3
    """Weight of one attribute alone."""
    null: Annotated[float, Field(gt=0.0)] = 0.1
    """Weight of no label."""


class MethodSettings(Section):
    """What every method has (`dcfm_node.methods`). The properties describe the simplest method:
    silos train once, and their experts make one network. A method overrides what differs.
    `dcfm_node.swarm.method.Method` adds the rules that need the run's records."""

    name: Name
    masks: Masks = Masks()
    local: Training
    solver_steps: Annotated[int, Field(ge=1, le=1_000)] = 25
    """Steps of the ODE solver, in sampling and for the teachers' paths (Eq. 15 of DCFM)."""
    solver: Literal["euler", "midpoint", "heun", "rk4", "adams", "tau-leaping"] = "heun"
    """Solver that carries noise to samples; "tau-leaping" is for tokens, and "euler" for all."""
    composed: bool = True
    """Whether the student is sampled by composing its marginals (Eq. 5 of DCFM), or by its joint
    head."""
    guidance: Guidance = Guidance()
    seed: Annotated[int, Field(ge=0, le=2**31)] = 0

    @property
    def last_round(self) -> int:
        """The last possible round of training. Round 0 is the first, Stage I."""
        return 0

    @property
    def interim_students(self) -> bool:
        """Whether a student is distilled after every round, to refine against."""
        return False

    @property
    def in_turn(self) -> bool:
        """Whether silos refine one after the other."""
        return False

    @property
    def one_round(self) -> bool:
        """Whether only experts of one round are combined. Earlier ones are then kept for silos that
        are behind."""
        return False

    @property
    def ensemble(self) -> bool:
        """Whether the student is all experts together, mixed during sampling."""
        return False

    @property
    def needs_energies(self) -> bool:
        """Whether it reads densities of samples, which paths of tokens do not give."""
        return False

    @property
    def switches(self) -> bool:
        """Whether a step of an ensemble's sampler can follow one expert, drawn by the router."""
        return False

    @property
    def checkpoint_steps(self) -> int:
        """Distillation steps that checkpoints cover, so that another leader can resume; 0: none."""
        return 0

    @property
    def may_continue(self) -> bool:
        """Whether a run of the method may continue an earlier one."""
        return False

    @property
    def title(self) -> str:
        """The method's name in status."""
        return self.name

    @property
    def made(self) -> str:
        """How the student is made, such as "distilled": the model card adds "from the experts"."""
        return f"made ({self.name})"

    @property
    def decay(self) -> float:
        """Decay of the moving average of weights, which is published; 0 means no average."""
        return float(getattr(self, "ema", 0.0))

    def stage(self, stage: str) -> Training:
        """Settings of the stage "local", "refine" or "distil".

        Raises:
            ValueError: the method has no such stage.
        """
        found = getattr(self, stage, None)
        if not isinstance(found, Training):
            raise ValueError(f"method {self.name!r} has no stage {stage!r} as it is set")
        return found


class PluginCode(Model):
    """Third-party code that decides in a run. All nodes must have the same version."""

    kind: Literal["methods", "paths", "networks", "codecs", "domains"]
    name: Name
    distribution: Annotated[str, Field(min_length=1, max_length=64)]
    version: Annotated[str, Field(min_length=1, max_length=64)]

    @classmethod
    def of(cls, kind: plugins.Kind, name: str) -> Self | None:
        """The installed code of a name; None if this package provides it."""
        found = plugins.origin(kind, name)
        return None if found is None else cls(kind=kind, name=name, **found._asdict())


SECTIONS: dict[plugins.Kind, str] = {
    "domains": "domain",
    "codecs": "codec",
    "networks": "network",
    "paths": "path",
    "methods": "method",
}
"""The fields of a run that name plugins, in the manifest's order, by kind."""


def packages(fields: Mapping[str, Any]) -> tuple[PluginCode, ...]:
    """The packages that provide sections, as installed here; empty if ours provides all."""
    named = ((kind, fields.get(field)) for kind, field in SECTIONS.items())
    found = (PluginCode.of(kind, section.tag) for kind, section in named if section is not None)
    return tuple(code for code in found if code is not None)


def other_versions(needed: Iterable[PluginCode]) -> tuple[str, ...]:
    """What is installed here in another version than a manifest names, in words."""
    pairs = ((code, PluginCode.of(code.kind, code.name)) for code in needed)
    return tuple(
        f"{code.distribution} {code.version}, not {here.version}" if here else code.distribution
        for code, here in pairs
        if here != code
    )


AnySection = TypeVar("AnySection", bound=Section)


def find(kind: plugins.Kind, base: type[AnySection], name: str) -> type[AnySection]:
    """The model of a section.

    Raises:
        ValueError: no installed package provides it, or what it provides is not a model of this
            kind.
    """
    model = plugins.find(kind, name)
    if isinstance(model, type) and issubclass(model, base):
        return model
    raise ValueError(f"dcfm_node.{kind}:{name} does not name a {base.__name__}; ask its author")


def chosen(kind: plugins.Kind, base: type[AnySection], tag: str, default: str) -> WrapValidator:
    """Validates a section by the model that its `tag` names, or `default` if it names none.

    A validation context lists the (kind, name) of other packages that may be used; None allows all
    that are installed. A peer must not make this node load code that its own run does not use.
    """
    section = kind.removesuffix("s")

    def choose(
        value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> AnySection:
        given = dict(value) if isinstance(value, base) else value
        name = given.get(tag, default) if isinstance(given, dict) else default
        if not isinstance(name, str):
            known = ", ".join(plugins.names(kind))
            raise ValueError(f"{section}.{tag} is not text; choose one of {known}")
        own = name in plugins.BUILTIN[kind]
        if not own and info.context is not None and (kind, name) not in info.context:
            raise ValueError(f"{section}.{tag} is {name!r}, which this node's run does not use")
        try:
            model = find(kind, base, name)
        except ValueError as error:
            fix = error.fix if isinstance(error, plugins.PluginError) else plugins.ASK_AUTHOR
            what = error.what if isinstance(error, plugins.PluginError) else str(error)
            raise ValueError(f"{section}.{tag} is {name!r}: {what}; {fix}") from error
        if isinstance(value, base) and type(value) is not model:
            raise ValueError(f"{section}.{tag} is {name!r}, its settings {type(value).__name__}")
        try:
            if info.mode == "json":  # whose arrays become tuples
                return model.model_validate_json(json.dumps(given))
            return model.model_validate(given)
        except ValidationError:
            raise
        except Exception as error:  # whatever another package's validators raise
            if own:
                raise
            raise ValueError(
                f"{section} cannot be read: {type(error).__name__}: {error}"
            ) from error

    return WrapValidator(choose)


AnyNetwork = Annotated[
    SerializeAsAny[NetworkSettings], chosen("networks", NetworkSettings, "kind", "mlp")
]
AnyPath = Annotated[SerializeAsAny[PathSettings], chosen("paths", PathSettings, "kind", "linear")]
AnyCodec = Annotated[
    SerializeAsAny[CodecSettings], chosen("codecs", CodecSettings, "kind", "identity")
]
AnyDomain = Annotated[
    SerializeAsAny[DomainSettings], chosen("domains", DomainSettings, "kind", "plain")
]
AnyMethod = Annotated[
    SerializeAsAny[MethodSettings], chosen("methods", MethodSettings, "name", "dcfm")
]
