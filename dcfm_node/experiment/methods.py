"""All methods of the tables: their training in the lab, and their ways of sampling.

| name | what it is |
| --- | --- |
| `fedflow` | one flow, parameters averaged after a number of local steps |
| `ddm` | independent experts, a router by label or by a trained classifier |
| `dfd` | independent experts, weighted by their densities |
| `…+l` | the same with the local independence penalty (Eq. 10 of DCFM) |
| `all-local` | +L experts refined by Eq. 12 of DCFM, every term live: no cross-peer term |
| `dcfm-a` | the paper's rounds against peers, silos in turn; `…-at-once` all together |
| `dcfm-b` | one student of the Stage I experts |
| `dcfm-alternating` | student, all silos against it, student, ... |
| `pooled`, `oracle` | one model on all known data; one that also sees the held-out combinations |
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from torch import Tensor

from dcfm_node.domains.base import Split
from dcfm_node.errors import UserError
from dcfm_node.experiment.lab import Lab, Trained
from dcfm_node.experiment.results import Metrics
from dcfm_node.experiment.settings import RULES, Experiment, MethodName, Rule
from dcfm_node.flow.inpainting import Given
from dcfm_node.flow.sampling import Sampler, sample, sample_routed
from dcfm_node.methods.mixture.ensembles import Routing, sample_ensemble
from dcfm_node.records.manifest import Manifest
from dcfm_node.samples import Samples


class Draw(Protocol):
    """Draws samples (N, *shape) for labels (N, n) with a seed, and the guidance weights of a
    run; of some of their numbers can be given what they are."""

    def __call__(
        self, run: Manifest, labels: Tensor, seed: int, given: Given | None = None
    ) -> Tensor: ...


SWITCH = Sampler(switch=True)
Variants = Mapping[str, Draw]
"""Name -> way of sampling a method; always has `joint` and `composed`."""


@dataclass(frozen=True)
class Round:
    """A method after a round: ways of sampling and cost so far. In the alternating schedule, the
    cost also has the `objective` on hold-out data."""

    number: int
    variants: Variants
    cost: Metrics


@dataclass(frozen=True)
class Fitted:
    """A method after training.

    Attributes:
        cost: see `Ledger`.
        rounds: all rounds, for methods that have them.
        experts: the networks of the silos, in roster order, that others receive last; empty if
            there are none.
        student: the one network of all silos, if there is one and no other data made it.
    """

    variants: Variants
    cost: Metrics
    rounds: Sequence[Round] = ()
    experts: Sequence[Trained] = ()
    student: Trained | None = None


class Ledger:
    """The cost of a method so far.

    `cpu_seconds` of all silos together and of the elected one; `waiting_seconds` along the longest
    chain of pieces that wait for each other; `sent` and `received` by one silo, in networks of
    `parameters` float32 numbers.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._seconds = self._waiting = 0.0
        self._sent = self._received = 0
        self._trainings = 0

    def trained(self, *pieces: Trained, in_turn: bool = False, silos: int = 1) -> None:
        """Count pieces that were trained in parallel, or in turn.

        Args:
            silos: number of silos that share the work of each piece.
        """
        seconds = [piece.metrics["seconds"] for piece in pieces]
        self._seconds += sum(seconds)
        self._waiting += (sum(seconds) if in_turn else max(seconds)) / silos
        self._trainings += len(pieces)

    def exchanged(self, *, sent: int, received: int) -> None:
        """Count networks that a silo sent and received."""
        self._sent += sent
        self._received += received

    def read(self) -> Metrics:
        """The costs so far."""
        return {
            "cpu_seconds": self._seconds,
            "waiting_seconds": self._waiting,
            "sent": float(self._sent),
            "received": float(self._received),
            "trainings": float(self._trainings),
            "parameters": float(self._lab.parameters),
        }


def fit(method: MethodName, lab: Lab, settings: Experiment) -> Fitted:
    """Train a method, or load from disk what was trained before."""
    return _METHODS[method](lab, settings)


def _single(lab: Lab, model: Trained) -> Variants:
    def draw(composed: bool) -> Draw:
        return lambda run, labels, seed, given=None: sample(
            run,
            model.weights,
            labels,
            counts=lab.counts,
            composed=composed,
            seed=seed,
            given=given,
            device=lab.device,
        )

    return {name: draw(name == "composed") for name in RULES}


def _routed(lab: Lab, experts: Sequence[Trained]) -> Variants:
    teachers = lab.teachers(experts)

    def draw(rule: Rule, sample_by: Callable[..., Tensor]) -> Draw:
        return lambda run, labels, seed, given=None: sample_by(
            run, teachers, labels, rule=rule, seed=seed, given=given, device=lab.device
        )

    switched = partial(sample_routed, sampler=SWITCH)
    return {
        **{name: draw(name, sample_routed) for name in RULES},
        "composed switch": draw("composed", switched),
    }


def _mixture(
    lab: Lab,
    experts: Sequence[Trained],
    *,
    rule: Rule,
    routing: Routing,
    router: Trained | None = None,
    top: int | None = None,
    sampler: Sampler | None = None,
) -> Draw:
    teachers = lab.teachers(experts)
    return lambda run, labels, seed, given=None: sample_ensemble(
        run,
        teachers,
        labels,
        rule=rule,
        routing=routing,
        top_k=top,
        gate=None if router is None else router.weights,
        seed=seed,
        given=given,
        sampler=sampler,
        device=lab.device,
    )


def _fedflow(lab: Lab, settings: Experiment, ci: bool) -> Fitted:
    ledger, given = Ledger(lab), settings.fedflow
    assert given is not None
    steps = given.steps_with_ci if ci and given.steps_with_ci else given.steps
    model = lab.federated(ci, given.averagings, steps)
    ledger.trained(model, silos=len(lab.silos))
    ledger.exchanged(sent=given.averagings, received=given.averagings)
    return Fitted(_single(lab, model), ledger.read(), student=model)


def _ddm(lab: Lab, settings: Experiment, ci: bool) -> Fitted:
    """`joint` is the mixture by label counts; top-1 uses the expert with the most samples."""
    ledger = Ledger(lab)
    experts = lab.local(ci)
    router = lab.router(experts)
    ledger.trained(*experts)
    ledger.trained(router)
    ledger.exchanged(sent=1, received=len(experts) - 1)
    mix = partial(_mixture, lab, experts)
    variants = {
        "joint": mix(rule="joint", routing="label"),
        "composed": mix(rule="composed", routing="label"),
        "joint top-1": mix(rule="joint", routing="label", top=1),
        "joint top-2": mix(rule="joint", routing="label", top=2),
        "joint trained": mix(rule="joint", routing="trained", router=router),
        "joint trained top-1": mix(rule="joint", routing="trained", router=router, top=1),
        "joint trained top-2": mix(rule="joint", routing="trained", router=router, top=2),
        "composed trained": mix(rule="composed", routing="trained", router=router),
        "joint switch": mix(rule="joint", routing="label", sampler=SWITCH),
        "composed switch": mix(rule="composed", routing="label", sampler=SWITCH),
        "joint trained switch": mix(rule="joint", routing="trained", router=router, sampler=SWITCH),
    }
    return Fitted(variants, ledger.read(), experts=experts)


def _dfd(lab: Lab, settings: Experiment, ci: bool) -> Fitted:
    ledger = Ledger(lab)
    experts = lab.local(ci)
    ledger.trained(*experts)
    ledger.exchanged(sent=1, received=len(experts) - 1)
    mix = partial(_mixture, lab, experts, routing="energy")
    variants = {"joint": mix(rule="joint"), "composed": mix(rule="composed")}
    return Fitted(variants, ledger.read(), experts=experts)


def _all_local(lab: Lab, settings: Experiment) -> Fitted:
    ledger = Ledger(lab)
    first = lab.local()
    experts = [lab.against_peers(first, k, 1, alone=True) for k in range(len(first))]
    ledger.trained(*first)
    ledger.trained(*experts)
    return Fitted(_routed(lab, experts), ledger.read(), experts=experts)


def _dcfm_a(lab: Lab, settings: Experiment, *, in_turn: bool) -> Fitted:
    ledger = Ledger(lab)
    experts = lab.local()
    ledger.trained(*experts)
    rounds = [Round(0, _routed(lab, experts), ledger.read())]
    for number in range(1, settings.paper_rounds + 1):
        experts = (lab.in_turn if in_turn else lab.at_once)(experts, number)
        ledger.exchanged(sent=1, received=len(experts) - 1)
        ledger.trained(*experts, in_turn=in_turn)
        rounds.append(Round(number, _routed(lab, experts), ledger.read()))
    return Fitted(rounds[-1].variants, ledger.read(), rounds, experts)


def _dcfm_b(lab: Lab, settings: Experiment) -> Fitted:
    ledger = Ledger(lab)
    experts = lab.local()
    student = lab.distil(experts, 0)
    ledger.trained(*experts)
    ledger.trained(student)
    ledger.exchanged(sent=1, received=1)
    return Fitted(_single(lab, student), ledger.read(), experts=experts, student=student)


def _alternating(lab: Lab, settings: Experiment) -> Fitted:
    ledger = Ledger(lab)
    experts = lab.local()
    ledger.trained(*experts)
    student: Trained | None = None
    rounds: list[Round] = []
    for number in range(settings.rounds + 1):
        if student is not None:
            starts = [student] * len(experts) if settings.expert_from == "student" else experts
            experts = lab.anchored(starts, student, number, live=settings.anchor_live)
            ledger.trained(*experts)
        student = lab.distil(experts, number, start=settings.student_from, before=student)
        ledger.trained(student)
        ledger.exchanged(sent=1, received=1)
        known = {**ledger.read(), "objective": _objective(lab, experts)}
        rounds.append(Round(number, _single(lab, student), known))
    return Fitted(rounds[-1].variants, ledger.read(), rounds, experts, student)


def _objective(lab: Lab, experts: Sequence[Trained]) -> float:
    """The objective that ends a run: Eq. 14 of DCFM on hold-out data, mean of silos (SPEC 6.5)."""
    weight = lab.manifest.method.stage("refine").ci_weight
    said = [expert.metrics for expert in experts]
    return sum(m["holdout_loss"] + weight * m["ci_gap"] for m in said) / len(said)


def _centralised(lab: Lab, settings: Experiment, data: Callable[[Split], Samples]) -> Fitted:
    ledger = Ledger(lab)
    model = lab.centralised(data(lab.split))
    ledger.trained(model)
    return Fitted(_single(lab, model), ledger.read())


def _complete(split: Split) -> Samples:
    if split.complete is None:
        raise UserError(
            "the domain does not provide samples of every combination", fix="leave out oracle"
        )
    return split.complete


_METHODS: dict[MethodName, Callable[[Lab, Experiment], Fitted]] = {
    "fedflow": partial(_fedflow, ci=False),
    "fedflow+l": partial(_fedflow, ci=True),
    "ddm": partial(_ddm, ci=False),
    "ddm+l": partial(_ddm, ci=True),
    "dfd": partial(_dfd, ci=False),
    "dfd+l": partial(_dfd, ci=True),
    "all-local": _all_local,
    "dcfm-a": partial(_dcfm_a, in_turn=True),
    "dcfm-a-at-once": partial(_dcfm_a, in_turn=False),
    "dcfm-b": _dcfm_b,
    "dcfm-alternating": _alternating,
    "pooled": partial(_centralised, data=lambda split: split.pooled),
    "oracle": partial(_centralised, data=_complete),
}
