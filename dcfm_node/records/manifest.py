"""The manifest of a run: the settings that all its nodes must share (SPEC 2).

The run id is the hash of its canonical bytes. Two nodes with different manifests do not work
together; `records.differing` says where they differ.
"""

import math
from collections.abc import Iterator
from itertools import pairwise, product
from typing import Annotated, ClassVar, Literal, Self

from pydantic import FailFast, Field, model_validator

from dcfm_node.plugins import BUILTIN, Kind
from dcfm_node.records.base import Digest, Extended, Key, Model, Name, Snapshot
from dcfm_node.records.moments import Scale, Standardise, groups
from dcfm_node.records.settings import (
    SECTIONS,
    AnyCodec,
    AnyDomain,
    AnyMethod,
    AnyNetwork,
    AnyPath,
    CodecSettings,
    DomainSettings,
    NetworkSettings,
    PathSettings,
    PluginCode,
    Section,
    Shape,
    Share,
    find,
    packages,
)

MAX_COMBINATIONS = 65_536
MAX_SILOS = 1_000

DOMAIN = find("domains", DomainSettings, "plain").model_validate({})
CODEC = find("codecs", CodecSettings, "identity").model_validate({})
NETWORK = find("networks", NetworkSettings, "mlp").model_validate({})
PATH = find("paths", PathSettings, "linear").model_validate({})
"""The sections of a manifest that does not set them."""


class Attribute(Extended):
    """One generative factor and the names of its values. The label `c_i` is an index into them."""

    later: ClassVar[tuple[str, ...]] = ("absent",)

    name: Name
    """The attribute's name: a word of a-z, 0-9, _ and -, at most 32 characters."""
    values: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=64)], ...],
        Field(min_length=2, max_length=1_000),
        FailFast(),
    ]
    """Names of the values that it has at any site, in order."""
    absent: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """The value that says that nothing is there, such as 0 of a finding: composition leaves it out
    (SPEC 6.15.2). Default: none; all values take part. Not written out where there is none."""

    @model_validator(mode="after")
    def _unique(self) -> Self:
        if len(set(self.values)) != len(self.values):
            raise ValueError(f"attribute {self.name!r} names a value twice")
        if self.absent is not None and self.absent not in self.values:
            raise ValueError(f"attribute {self.name!r} has no value {self.absent!r}")
        return self


Combination = Annotated[
    tuple[Annotated[int, Field(ge=0, le=999)], ...], Field(min_length=1, max_length=32), FailFast()
]
"""An index into the values of each attribute."""


class Policy(Model):
    """Who must take part, and how long the run waits."""

    participation: Literal["strict", "tolerant"] = "strict"
    """strict waits for every silo; tolerant continues with a quorum once the other silos stopped
    making progress."""
    stall_s: Annotated[float, Field(gt=0.0, le=1e6)] = 600.0
    """Seconds without progress (steps, bytes received, records) after which a silo is late."""
    duty_s: Annotated[float, Field(gt=0.0, le=1e8)] = 86_400.0
    """Longest time in seconds that the run waits for one silo's training, leading or snapshot,
    whatever progress it shows. It must be enough for one stage of an honest, slow silo."""
    max_share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """Most weight of one silo, as a share of all, whatever counts it states: in averages, in the
    routing to experts, in the start of students. An equal share is always allowed."""
    endorse_ratio: Annotated[float, Field(gt=0.0)] = 2.0
    """A silo refuses a student whose velocity error on its hold-out data exceeds its own expert's
    by more than this factor."""
    novel_floor: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    """No final student is released whose draws are expected to be right less often than this, of
    combinations trained on or of novel ones (SPEC 6.14). 0 measures nothing."""
    audit: bool = True
    """Whether every silo scores its peers' experts before use. No node uses a refused expert."""


class Transfer(Model):
    """The precision of snapshots, and how they travel."""

    precision: Literal["f32", "bf16"] = "f32"
    """bf16 halves snapshots: weights are rounded before they are published, and all silos continue
    training from the rounded weights."""
    delta: bool = False
    """Whether to publish each snapshot also as its lossless difference to the one that its training
    started from."""

    @property
    def width(self) -> int:
        """Bytes per number."""
        return 2 if self.precision == "bf16" else 4


class Probes(Model):
    """Held combinations that no silo trains on, so that their owners can score what the student
    draws for them: a measure of how good novel combinations are (SPEC 6.12)."""

    share: Share = 0.15
    """Most of the held combinations, as a share; at least one where the others still determine the
    effect of every value. 0 withholds none."""
    margin: Annotated[int, Field(ge=1, le=1_000)] = 1
    """At least this many times the fewest combinations that determine all effects are left to train
    on, 1 to 1,000; default 1. Where few combinations are held, each that is withheld makes samples
    of the others worse."""


class Silo(Model):
    """One member of the roster."""

    name: Name
    key: Key


class Handover(Model):
    """A silo's old key names its new keys, so that its identity continues in the next run."""

    name: Name
    link_key: Key
    """The new Curve25519 public key. The new signing key is in the roster."""
    signature: Annotated[bytes, Field(min_length=64, max_length=64)]
    """Ed25519, with the old key (SPEC 2.7.2)."""


class Continues(Model):
    """The run that this one continues, with another roster, other keys or other settings."""

    run: Digest
    student: Snapshot | None
    """A student of that run, from which new silos start."""
    scale: Scale | None = None
    """That run's, which this one keeps: its networks know no other."""
    handovers: Annotated[tuple[Handover, ...], Field(max_length=MAX_SILOS), FailFast()] = ()
    replaced: Annotated[tuple[Name, ...], Field(max_length=MAX_SILOS), FailFast()] = ()
    """Silos that lost their old key. The members vouch for the new one."""


class Manifest(Extended):
    """A run. The roster is sorted by name, so that all nodes write the same bytes."""

    later: ClassVar[tuple[str, ...]] = ("feasible",)

    name: Name
    sample_shape: Shape
    """(features,) for vectors, (channels, length) for series, (channels, height, width) for
    images."""
    attributes: Annotated[tuple[Attribute, ...], Field(min_length=1, max_length=32), FailFast()]
    domain: AnyDomain = DOMAIN
    codec: AnyCodec = CODEC
    standardise: Standardise = "auto"
    """Which numbers of an encoded sample share a mean and a deviation, by which all silos
    standardise their data: "feature", "channel", or "none". "auto": features of vectors; images
    stay as they are."""
    network: AnyNetwork = NETWORK
    path: AnyPath = PATH
    method: AnyMethod
    plugins: Annotated[tuple[PluginCode, ...], FailFast()] = Field(
        default_factory=packages, max_length=5
    )
    """The packages of the sections that this package does not provide, in the order of the
    sections."""
    policy: Policy = Policy()
    transfer: Transfer = Transfer()
    probes: Probes = Probes()
    roster: Annotated[tuple[Silo, ...], Field(min_length=1, max_length=MAX_SILOS), FailFast()]
    continues: Continues | None = None
    feasible: Annotated[
        tuple[Combination, ...], Field(max_length=MAX_COMBINATIONS), FailFast()
    ] = ()
    """The combinations that can occur, in ascending order. Empty, the default, means all. Not
    written out where it is empty (SPEC 2.1.2)."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if math.prod(self.cardinalities) > MAX_COMBINATIONS:
            raise ValueError(f"the attribute space has more than {MAX_COMBINATIONS} combinations")
        names = [attribute.name for attribute in self.attributes]
        if len(set(names)) != len(names):
            raise ValueError("two attributes have the same name")
        silos = [silo.name for silo in self.roster]
        if silos != sorted(set(silos)) or len({silo.key for silo in self.roster}) != len(silos):
            raise ValueError("the roster must be sorted by name, each name and key once")
        if self.policy.duty_s < self.policy.stall_s:
            raise ValueError("policy.duty_s is below policy.stall_s")
        foreign = [(kind, name) for kind, name, _ in self.sections() if name not in BUILTIN[kind]]
        if [(code.kind, code.name) for code in self.plugins] != foreign:
            raise ValueError("plugins must name exactly the packages that the sections need")
        if problem := self._unfit_feasible():
            raise ValueError(problem)
        if problem := self._unfit_section():
            raise ValueError(problem)
        shares = len(self.method.guidance.shares)
        if shares not in (0, len(self.attributes)):
            raise ValueError(
                f"method.guidance.shares has {shares} numbers; give one for each of the"
                f" {len(self.attributes)} attributes, or none"
            )
        if (before := self.continues) is None:
            return self
        if not self.method.may_continue:
            raise ValueError(
                f"method.name is {self.method.name!r}; a run of this method cannot be continued"
            )
        if before.scale is not None and (many := len(before.scale.mean)) != self._groups:
            raise ValueError(f"continues.scale has {many} groups; the run has {self._groups}")
        return self

    def _unfit_feasible(self) -> str:
        """Why the feasible combinations do not fit the attributes; empty if they fit."""
        sizes, listed = self.cardinalities, self.feasible
        for label in listed:
            if len(label) != len(sizes) or any(v >= n for v, n in zip(label, sizes, strict=True)):
                return f"feasible: {list(label)} is not a combination of the attributes' values"
        if any(one >= other for one, other in pairwise(listed)):
            return "feasible must list combinations in ascending order, each once"
        return ""

    def _unfit_section(self) -> str:
        """Why a section does not fit the samples; empty if all fit."""
        try:
            if unfit := self.codec.unfit(self.sample_shape):
                return unfit
            # A domain has samples; what the others have went through the codec.
            shape = {"domains": self.sample_shape}
            found = (
                part.problem(shape.get(kind, self.flow_shape)) for kind, _, part in self.sections()
            )
            misfit = self.path.misfit(self.codec, self.network, self.method)
            return next(filter(None, found), misfit or self._unread_tokens())
        except Exception as error:  # whatever another package's section raises
            if not self.plugins:
                raise
            return f"a section of another package fails: {type(error).__name__}: {error}"

    def _unread_tokens(self) -> str:
        """Why the path does not fit the domain's samples; empty if it does."""
        if (many := self.domain.alphabet) in (0, self.path.alphabet):
            return ""
        return f'path: domain {self.domain.kind!r} needs kind = "discrete" and tokens = {many}'

    def sections(self) -> Iterator[tuple[Kind, str, Section]]:
        """Kind, name and settings of each section that a plugin provides."""
        for kind, field in SECTIONS.items():
            section: Section = getattr(self, field)
            yield kind, section.tag, section

    @property
    def flow_shape(self) -> tuple[int, ...]:
        """Shape of what the flow sees, which is an encoded sample."""
        return self.codec.latent_shape(self.sample_shape)

    @property
    def groups(self) -> int:
        """How many means and deviations silos state in their joins; 0 if none."""
        return 0 if self.continues is not None else self._groups

    @property
    def standardises(self) -> bool:
        """Whether the run standardises its data, where silos state what by (SPEC 6.13)."""
        before = self.continues
        return before.scale is not None if before is not None else self._groups > 0

    @property
    def _groups(self) -> int:
        if self.path.alphabet:
            return 0
        return groups(self.standardise, self.sample_shape, self.flow_shape)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """|C_i|, the number of values of each attribute."""
        return tuple(len(attribute.values) for attribute in self.attributes)

    @property
    def absent(self) -> tuple[int, ...]:
        """Of each attribute, the index of the value that is absent, or -1; empty if none has
        one."""
        found = [a.values.index(a.absent) if a.absent else -1 for a in self.attributes]
        return tuple(found) if any(index >= 0 for index in found) else ()

    @property
    def combinations(self) -> int:
        """How many combinations can occur."""
        return len(self.feasible) or math.prod(self.cardinalities)

    def space(self) -> Iterator[tuple[int, ...]]:
        """The combinations that can occur, in ascending order."""
        return iter(self.feasible) if self.feasible else product(*map(range, self.cardinalities))

    def guided(self, known: float, novel: float) -> Self:
        """The same run, sampled with other guidance weights."""
        guidance = self.method.guidance.model_copy(update={"known": known, "novel": novel})
        method = self.method.model_copy(update={"guidance": guidance})
        return self.model_copy(update={"method": method})

    @property
    def quorum(self) -> int:
        """The number of silos that make a majority of the roster."""
        return len(self.roster) // 2 + 1

    @property
    def prepares(self) -> bool:
        """Whether silos agree on a preparation before anyone trains (SPEC 6.11)."""
        return self.probes.share > 0.0 or self.groups > 0

    @property
    def audits(self) -> bool:
        """Whether experts are audited. With one or two silos, no quorum could refuse one."""
        return self.policy.audit and len(self.roster) > 2

    def silo_name(self, key: bytes) -> str:
        """The roster's name of a key; for an unknown key, its first eight hex digits."""
        return next((silo.name for silo in self.roster if silo.key == key), key.hex()[:8])
