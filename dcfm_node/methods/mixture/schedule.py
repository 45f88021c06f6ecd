"""DDM and DFD: silos train once, alone, and the student is all experts together."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from dcfm_node.records.manifest import MAX_SILOS
from dcfm_node.records.settings import Training
from dcfm_node.swarm.method import OneShot


class Mixture(OneShot):
    """What both share."""

    ema: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.995
    """Decay of the weights' moving average, which is what is published."""
    top_k: Annotated[int, Field(ge=0, le=MAX_SILOS)] = 0
    """How many experts are kept at every step, the heaviest; 0 keeps all."""

    @property
    def ensemble(self) -> bool:
        return True

    @property
    def made(self) -> str:
        return f"put together ({self.name.upper()}, a mixture of all)"


class Ddm(Mixture):
    """Settings of DDM: experts weigh by label counts, or by a gating network."""

    code: ClassVar[str] = "dcfm_node.methods.mixture.learner:DdmLearner"
    name: Literal["ddm"] = "ddm"
    routing: Literal["label", "trained"] = "label"
    """`trained` weighs experts by a gating network, a classifier of x_t and t."""
    distil: Training | None = None
    """How the gating network is trained; None where `routing` is "label"."""

    @model_validator(mode="after")
    def _routed(self) -> Self:
        if (self.distil is not None) != (self.routing == "trained"):
            raise ValueError(
                "method.distil and method.routing do not fit together; give [method.distil] with"
                ' routing = "trained", and leave it out with "label"'
            )
        return self


class Dfd(Mixture):
    """Settings of DFD: experts weigh by their energies."""

    code: ClassVar[str] = "dcfm_node.methods.mixture.learner:DfdLearner"
    name: Literal["dfd"] = "dfd"
