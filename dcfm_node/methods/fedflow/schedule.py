"""FedFlow (Tun et al., 2023): silos train a part of `local.steps`, average parameters, repeat."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from dcfm_node.swarm.effects import AuditExperts, Train, Waiting
from dcfm_node.swarm.method import AtHand, Method


class Fedflow(Method):
    """Settings and rules of FedFlow."""

    code: ClassVar[str] = "dcfm_node.methods.fedflow.learner:FedflowLearner"
    name: Literal["fedflow"] = "fedflow"
    max_rounds: Annotated[int, Field(ge=1, le=1_000)] = 3
    """Number of averagings, 1 to 1000, at equal intervals of `local.steps`; default 3."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.local.patience:
            raise ValueError(
                "method.local.patience is not 0; 'fedflow' always takes all steps; set it to 0"
            )
        if self.max_rounds > self.local.steps:
            raise ValueError("method.max_rounds exceeds method.local.steps; average less often")
        return self

    @property
    def last_round(self) -> int:
        return self.max_rounds - 1

    @property
    def one_round(self) -> bool:
        return True

    @property
    def made(self) -> str:
        return "averaged (FedFlow)"

    def train_round(self, run: AtHand, round_: int) -> Train | Waiting | AuditExperts:
        """Train from the average of the previous round's experts."""
        experts = run.experts(round_ - 1, audited=round_ - 1)
        if isinstance(experts, Waiting | AuditExperts):
            return experts
        averaged = tuple((e.author, e.body.snapshot.digest) for e in experts)
        return Train("refine", round_, peers=averaged)
