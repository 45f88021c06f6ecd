"""DCFM: rounds of refinement, and a student distilled from all experts.

In the alternating schedule a student is distilled after every round, and all silos refine against
it; in the paper's, silos refine in turn against each other's experts, and one student is distilled
at the end (protocol/decisions/0002).
"""

from collections.abc import Mapping, Set
from statistics import median_low
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from dcfm_node.records.entries import Expert
from dcfm_node.records.settings import Training
from dcfm_node.swarm.effects import AuditExperts, Train, Waiting
from dcfm_node.swarm.method import AtHand, Method
from dcfm_node.swarm.said import Said

Rounds = Annotated[int, Field(ge=1, le=1_000)]


class Dcfm(Method):
    """Settings and rules of DCFM."""

    code: ClassVar[str] = "dcfm_node.methods.dcfm.learner:DcfmLearner"
    name: Literal["dcfm"] = "dcfm"
    schedule: Literal["alternating", "paper"] = "alternating"
    min_rounds: Rounds = 1
    """Convergence is judged from this round on."""
    max_rounds: Rounds = 3
    tolerance: Annotated[float, Field(ge=0.0, le=1.0)] = 0.01
    """Converged when a round lowers the hold-out objective (Eq. 14 of DCFM) by no more than this
    share."""
    refine: Training
    distil: Training
    ema: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.995
    """Decay of the weights' moving average, which is what is published."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_rounds > self.max_rounds:
            raise ValueError("method.min_rounds exceeds method.max_rounds; raise max_rounds")
        return self

    @property
    def last_round(self) -> int:
        return self.max_rounds

    @property
    def interim_students(self) -> bool:
        return self.schedule == "alternating"

    @property
    def in_turn(self) -> bool:
        """The paper's simultaneous update oscillates, because each silo adopts its peers' frozen
        offset; in turn it converges."""
        return self.schedule == "paper"

    @property
    def checkpoint_steps(self) -> int:
        return self.distil.steps

    @property
    def may_continue(self) -> bool:
        return True

    @property
    def title(self) -> str:
        return self.schedule

    @property
    def made(self) -> str:
        return "distilled"

    def train_round(self, run: AtHand, round_: int) -> Train | Waiting | AuditExperts:
        """Against the newest student, or from the own expert against its peers'."""
        if self.interim_students:
            student = run.student()
            if isinstance(student, Waiting):
                return student
            return Train("refine", round_, anchor=student)
        own = run.own_expert()
        if isinstance(own, Waiting):
            return own
        experts = run.experts(round_, audited=round_ - 1)
        if isinstance(experts, Waiting | AuditExperts):
            return experts
        peers = tuple((e.author, e.body.snapshot.digest) for e in experts if e.author != run.me)
        return Train("refine", round_, init=own, peers=peers)

    def finishes(
        self,
        experts: Mapping[bytes, Mapping[int, Said[Expert]]],
        round_: int,
        among: Set[bytes] | None = None,
    ) -> bool:
        """At the last round, or when rounds stopped paying: when the objective on hold-out data
        (Eq. 14 of DCFM) fell by no more than the fraction `tolerance` at the median of the silos
        that trained both this round and an earlier one.

        A silo's objective is its own to say, so each says no more than yes or no. The sum of loss
        and gap counts, not each: the gap goes on halving long after it weighs nothing beside the
        loss.
        """
        if round_ >= self.last_round:
            return True
        if round_ < self.min_rounds:
            return False
        left: list[float] = []
        for rounds in experts.values():
            said = rounds.get(round_)
            earlier = [r for r in rounds if 0 < r < round_]
            if said is None or not earlier or (among is not None and said.digest not in among):
                continue
            before, now = self._objective(rounds[max(earlier)].body), self._objective(said.body)
            left.append(now / before if before > 0 else 1.0)
        return bool(left) and median_low(left) >= 1 - self.tolerance

    def _objective(self, expert: Expert) -> float:
        metrics = expert.metrics
        return metrics.get("holdout_loss", 0.0) + self.refine.ci_weight * metrics.get("ci_gap", 0.0)
