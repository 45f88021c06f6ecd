"""What methods should cost, by the paper's Tables 3 and 4 and by what our nodes do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dcfm_node.experiment.costs.settings import Communication, MethodName, StageName


@dataclass(frozen=True)
class Formula:
    """Of K silos, T averagings and R rounds, as it is written and as it is computed."""

    text: str
    of: Callable[[int, int, int], float]

    def __call__(self, given: Communication) -> float:
        return self.of(given.silos, given.averagings, given.rounds)

    def said(self, given: Communication) -> str:
        """ "2 T = 8", and a constant as it is."""
        return self.text if self.text.isdigit() else f"{self.text} = {self(given):.3g}"


PAPER: Mapping[MethodName, Formula] = {
    "fedflow": Formula("2 T", lambda k, t, r: 2 * t),
    "ddm": Formula("K - 1", lambda k, t, r: k - 1),
    "dfd": Formula("K - 1", lambda k, t, r: k - 1),
    "dcfm-a": Formula("R (K - 1) + R", lambda k, t, r: r * (k - 1) + r),
    "dcfm-b": Formula("2", lambda k, t, r: 2),
}
"""Table 3: units that a client sends and receives. The alternating schedule is ours."""

EXCHANGES: Mapping[MethodName, Formula] = {
    "fedflow": Formula("T", lambda k, t, r: t),
    "ddm": Formula("1", lambda k, t, r: 1),
    "dfd": Formula("1", lambda k, t, r: 1),
    "dcfm-a": Formula("R + 1", lambda k, t, r: r + 1),
    "dcfm-b": Formula("1", lambda k, t, r: 1),
    "dcfm-alternating": Formula("R + 1", lambda k, t, r: r + 1),
}
"""How often our nodes publish experts, Stage I included."""

_ENSEMBLE = Formula("2 (K - 1)", lambda k, t, r: 2 * (k - 1))
OURS: Mapping[MethodName, Formula] = {
    "fedflow": Formula("(T + 1/K) (K - 1)", lambda k, t, r: (t + 1 / k) * (k - 1)),
    "ddm": _ENSEMBLE,
    "dfd": _ENSEMBLE,
    "dcfm-a": Formula("(R + 1 + 1/K) (K - 1)", lambda k, t, r: (r + 1 + 1 / k) * (k - 1)),
    "dcfm-b": Formula("(1 + 1/K) (K - 1)", lambda k, t, r: (1 + 1 / k) * (k - 1)),
    "dcfm-alternating": Formula(
        "(R + 1) (1 + 1/K) (K - 1)", lambda k, t, r: (r + 1) * (1 + 1 / k) * (k - 1)
    ),
}
"""Units that a silo receives of our nodes, in the mean; in the mean it sends as many."""

NOTES: Mapping[MethodName, str] = {
    "fedflow": "there is no server: each silo fetches its K - 1 peers' parameters at every"
    " averaging and averages by itself, and the last average from the elected node.",
    "ddm": "every silo, not one client alone, fetches its K - 1 peers' experts, and then the"
    " released student, which is one file of all K experts.",
    "dfd": "as ddm; the energies that weigh the experts come from the same networks.",
    "dcfm-a": "Stage I's experts are exchanged as well as those of R rounds, the last round's go to"
    " every silo so that none is lost with its author, and the run ends with a student.",
    "dcfm-b": "every silo holds every expert, so that any may be elected to distil and none is lost"
    " with its author; the elected node alone would need them.",
    "dcfm-alternating": "(ours) R + 1 times DCFM-B; with experts held by the elected node alone it"
    " would be one up and one down each time, 2 (R + 1).",
}
"""Why our nodes differ from the paper's formula, in a sentence."""


@dataclass(frozen=True)
class Passes:
    """Evaluations of a batch's row with the network, forward and backward."""

    forward: float
    backward: float

    @property
    def work(self) -> float:
        """Over plain flow matching's; a backward pass counts as two forward."""
        return (self.forward + 2 * self.backward) / 3


TABLE_4: Mapping[StageName, Passes] = {
    "plain": Passes(1, 1),
    "+l": Passes(4, 4),
    "dcfm-a": Passes(4, 2),
    "dcfm-b": Passes(5, 4),
}
"""The paper's, where every row bears the penalty."""
NEEDED: Mapping[StageName, Passes] = {**TABLE_4, "anchored": Passes(4, 2.5)}
"""And of our anchored penalty: each of three terms is the silo's own half the time."""


def needed(stage: StageName, share: float) -> Passes:
    """What a batch needs at least where a share of its rows bears the penalty.

    One term of Eq. 12 is the silo's own, the others are its peers'; a label that the matching term
    and the penalty both ask about at the same point is evaluated once. What is drawn costs more:
    own terms beyond the first (1.6 of three with two silos, 1.1 with five), marginal labels that
    are matched where the penalty takes a peer's term, and the teachers' paths of Eq. 15.
    """
    # Without the penalty DCFM-B still asks a teacher for the target.
    borne, alone = NEEDED[stage], Passes(2 if stage == "dcfm-b" else 1, 1)
    return Passes(
        share * borne.forward + (1 - share) * alone.forward,
        share * borne.backward + (1 - share) * alone.backward,
    )
