"""DCFM: rounds of refinement, and a student distilled from all experts.

In the alternating schedule, a student is distilled after every round and all silos refine against
it. In the paper's schedule, silos refine in turn against their peers' experts, and one student is
distilled at the end (protocol/decisions/0002).
"""

from collections.abc import Mapping, Set
from statistics import median_low
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from dcfm_node.records.entries import Expert
from dcfm_node.records.guidance import Replay
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
    """First round after which training may stop early; default 1."""
    max_rounds: Rounds = 3
    """Last round, at least `min_rounds`; default 3."""
    tolerance: Annotated[float, Field(ge=0.0, le=1.0)] = 0.01
    """Training stops when a round lowers the hold-out objective (Eq. 14 of DCFM) by at most this
    fraction, 0 to 1; default 0.01."""
    refine: Training
    distil: Training
    replay: Replay = Replay()
    ema: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.995
    """Decay of the weights' moving average (EMA), 0 to below 1; default 0.995. Nodes publish the
    average."""

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
        """True for the paper's schedule: updates in turn converge. Simultaneous updates oscillate,
        because each silo adopts its peers' frozen offset."""
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
        """Refine against the newest student, or against the peers' experts."""
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
        """Whether training ends with this round (SPEC 6.5).

        It ends at the last round, or when the hold-out objective (Eq. 14 of DCFM) falls by at most
        the fraction `tolerance`, at the median of silos that trained this round and an earlier one.
        The median limits the effect of a silo that reports a false value. The objective is the sum
        of loss and gap, because the gap alone keeps halving when it is already negligible.
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
