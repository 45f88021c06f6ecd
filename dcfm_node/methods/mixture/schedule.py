"""DDM and DFD: silos train once and alone, and the student is the ensemble of all experts."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from dcfm_node.records.manifest import MAX_SILOS
from dcfm_node.records.settings import Training
from dcfm_node.swarm.method import OneShot


class Mixture(OneShot):
    """Settings and rules that DDM and DFD share."""

    ema: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.995
    """Decay of the weights' moving average (EMA), 0 to below 1; default 0.995. Nodes publish the
    average."""
    top_k: Annotated[int, Field(ge=0, le=MAX_SILOS)] = 0
    """Number of experts, those of largest weight, used at every step; 0, the default, uses all."""

    @property
    def ensemble(self) -> bool:
        return True

    @property
    def made(self) -> str:
        return f"put together ({self.name.upper()}, a mixture of all)"


class Ddm(Mixture):
    """Settings of DDM: label counts or a gating network weight the experts."""

    code: ClassVar[str] = "dcfm_node.methods.mixture.learner:DdmLearner"
    name: Literal["ddm"] = "ddm"
    routing: Literal["label", "trained"] = "label"
    """`trained` weights experts by a gating network, a classifier of x_t and t. Default `label`."""
    distil: Training | None = None
    """Training of the gating network; None if `routing` is "label"."""

    @property
    def switches(self) -> bool:
        return True

    @model_validator(mode="after")
    def _routed(self) -> Self:
        if (self.distil is not None) != (self.routing == "trained"):
            raise ValueError(
                "method.distil and method.routing do not fit together; give [method.distil] with"
                ' routing = "trained", and leave it out with "label"'
            )
        return self


class Dfd(Mixture):
    """Settings of DFD: energies weight the experts."""

    code: ClassVar[str] = "dcfm_node.methods.mixture.learner:DfdLearner"
    name: Literal["dfd"] = "dfd"

    @property
    def needs_energies(self) -> bool:
        return True
