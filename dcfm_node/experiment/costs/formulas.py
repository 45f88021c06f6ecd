"""Expected costs of methods, by Tables 3 and 4 of DCFM and by the design of our nodes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dcfm_node.experiment.costs.settings import Communication, MethodName, StageName


@dataclass(frozen=True)
class Formula:
    """A function of K silos, T averagings and R rounds, as text and as code."""

    text: str
    of: Callable[[int, int, int], float]

    def __call__(self, given: Communication) -> float:
        return self.of(given.silos, given.averagings, given.rounds)

    def said(self, given: Communication) -> str:
        """The formula with its value, "2 T = 8"; a constant unchanged."""
        return self.text if self.text.isdigit() else f"{self.text} = {self(given):.3g}"


PAPER: Mapping[MethodName, Formula] = {
    "fedflow": Formula("2 T", lambda k, t, r: 2 * t),
    "ddm": Formula("K - 1", lambda k, t, r: k - 1),
    "dfd": Formula("K - 1", lambda k, t, r: k - 1),
    "dcfm-a": Formula("R (K - 1) + R", lambda k, t, r: r * (k - 1) + r),
    "dcfm-b": Formula("2", lambda k, t, r: 2),
}
"""Table 3 of DCFM: units that a client sends and receives. The alternating schedule is ours."""

EXCHANGES: Mapping[MethodName, Formula] = {
    "fedflow": Formula("T", lambda k, t, r: t),
    "ddm": Formula("1", lambda k, t, r: 1),
    "dfd": Formula("1", lambda k, t, r: 1),
    "dcfm-a": Formula("R + 1", lambda k, t, r: r + 1),
    "dcfm-b": Formula("1", lambda k, t, r: 1),
    "dcfm-alternating": Formula("R + 1", lambda k, t, r: r + 1),
}
"""Number of times that our nodes publish experts, including Stage I."""

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
"""Units that a silo receives with our nodes, on average; on average it sends as many."""

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
"""Why our nodes differ from the paper's formula."""


@dataclass(frozen=True)
class Passes:
    """Evaluations of the network per row of a batch, forward and backward."""

    forward: float
    backward: float

    @property
    def work(self) -> float:
        """Cost relative to plain flow matching; a backward pass counts as two forward passes."""
        return (self.forward + 2 * self.backward) / 3


TABLE_4: Mapping[StageName, Passes] = {
    "plain": Passes(1, 1),
    "+l": Passes(4, 4),
    "dcfm-a": Passes(4, 2),
    "dcfm-b": Passes(5, 4),
}
"""Table 4 of DCFM, with the penalty on every row."""
NEEDED: Mapping[StageName, Passes] = {**TABLE_4, "anchored": Passes(4, 2.5)}
"""Also with our anchored penalty: each of three terms is live with probability 0.5."""


def needed(stage: StageName, share: float) -> Passes:
    """Least evaluations per row if a share (0 to 1) of the rows has the penalty.

    One term of Eq. 12 of DCFM is the silo's own, the others are its peers'. If the matching term
    and the penalty need the same label at a point, it is evaluated once. Real draws cost more:
    further own terms (1.6 of three with two silos, 1.1 with five), marginal labels in the matching
    term where the penalty uses a peer's term, and the teachers' paths of Eq. 15 of DCFM.
    """
    # Without the penalty, DCFM-B still evaluates a teacher for the target.
    borne, alone = NEEDED[stage], Passes(2 if stage == "dcfm-b" else 1, 1)
    return Passes(
        share * borne.forward + (1 - share) * alone.forward,
        share * borne.backward + (1 - share) * alone.backward,
    )
