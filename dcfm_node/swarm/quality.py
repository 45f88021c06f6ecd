"""What a student's draws are expected to be worth, from the figures that silos publish, and who
objects to its release (SPEC 6.14). Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Literal

TRUST = 0.6
"""A judge must read at least this share of real samples of combinations that it never saw."""
Read = Callable[[Mapping[str, float]], "Estimate | None"]
FAR = 0.3
"""Beyond this distance from real samples, a student's draws are worth less, however they read."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share, such as of draws that are right in all attributes, and its interval; 0 to 1."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.0%} ({self.low:.0%} to {self.high:.0%})"


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one silo says of a student, across the floor from what is announced.

    Attributes:
        kind: the combinations that it says this of.
        value: the share of draws that it expects to be right, 0 to 1.
    """

    silo: str
    kind: Literal["known", "novel"]
    value: float

    def __str__(self) -> str:
        return f"{self.silo} says {self.value:.0%} of {self.kind} combinations"


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a student's draws are expected to be worth.

    Attributes:
        known, novel: of combinations that silos train on, and of all others; None if unmeasured.
            They can only rise while silos are awaited.
        why: why one is unmeasured; empty if none is.
        judged: how many silos have judged the student.
        awaited: how many others may still decide on it; 0 once it is decided.
        dissent: silos that do not agree; empty while any is awaited.
    """

    known: Estimate | None
    novel: Estimate | None
    why: str
    judged: int = 0
    awaited: int = 0
    dissent: tuple[Opinion, ...] = ()

    def __str__(self) -> str:
        """The shares of draws that are expected to be right, in words."""
        known, novel = map(self._part, (self.known, self.novel))
        if self.known is None:
            return f"{self.so_far}{known}"
        shares = f"{self.so_far}combinations trained on {known}, novel ones {novel}"
        return "; but ".join([shares, *([", ".join(map(str, self.dissent))] * bool(self.dissent))])

    def _part(self, found: Estimate | None) -> str:
        if found is None:
            return f"unmeasured: {self.why}"
        return f"at least {found.value:.0%}" if self.awaited else str(found)

    @property
    def so_far(self) -> str:
        """That not all have judged yet, to begin a sentence; empty if that decides nothing."""
        of = self.judged + self.awaited
        return f"{self.judged} of {of} silos have judged so far: " if self.awaited else ""

    def below(self, floor: float) -> bool:
        """Whether a measured value is below the floor, and stays so."""
        measured = [found for found in (self.known, self.novel) if found is not None]
        return not self.awaited and any(found.value < floor for found in measured)


def dissent(
    told: Mapping[str, Mapping[str, float]], found: Announcement, floor: float
) -> Iterator[Opinion]:
    """Silos whose own word is across the floor from what is announced.

    Args:
        told: the figures of each silo that scored the student, by name.
    """
    parts: tuple[tuple[Literal["known", "novel"], Estimate | None, Read], ...] = (
        ("known", found.known, known_quality),
        ("novel", found.novel, novel_quality),
    )
    for silo, figures in told.items():
        for kind, together, read in parts:
            own = read(figures)
            if together and own and (together.value < floor) is not (own.value < floor):
                yield Opinion(silo, kind, own.value)


def known_quality(figures: Mapping[str, float]) -> Estimate | None:
    """What one silo's figures say of known combinations: the share of draws that it finds
    right, no more than the share of real samples that it finds right, and less where draws lie
    farther than FAR from real ones. None if it did not measure them."""
    if "known_rate" not in figures:
        return None
    rate = min(figures["known_rate"], figures.get("judge_known", 1.0))
    distance = figures.get("known_distance", 0.0)
    return estimate(rate, figures.get("known_error", 0.0), distance=distance)


def novel_quality(figures: Mapping[str, float]) -> Estimate | None:
    """What one silo's figures say of novel combinations: the share of draws that it finds
    right. The interval grows with the spread over combinations and with the judge's own errors on
    real samples of combinations that it never saw. None if it did not measure them, or its judge
    cannot be trusted."""
    trust = figures.get("judge_rate", 0.0)
    if "novel_rate" not in figures or trust < TRUST:
        return None
    return estimate(figures["novel_rate"], figures.get("novel_error", 0.0), min(trust, 1.0))


def estimate(rate: float, error: float, trust: float = 1.0, *, distance: float = 0.0) -> Estimate:
    """A rate within two standard errors, were its judge wrong in the share 1 - trust of cases; less
    where draws lie farther than FAR from real samples."""
    rate *= min(1.0, FAR / max(distance, FAR))
    rate, error = max(0.0, min(1.0, rate)), max(0.0, error)
    low, high = rate * trust - 2 * error, rate + (1 - rate) * (1 - trust) + 2 * error
    return Estimate(rate, max(0.0, low), min(1.0, high))


def objects(figures: Mapping[str, float], floor: float) -> bool:
    """Whether a silo's figures speak against the release of a student: one is below the floor."""
    found = (known_quality(figures), novel_quality(figures))
    return any(estimate is not None and estimate.value < floor for estimate in found)


def announced(
    told: Sequence[Mapping[str, float]], quorum: int, *, final: bool, novel: bool = True
) -> Announcement:
    """What all silos' figures say together: of values and of bounds, the quorum-th highest each. So
    some honest silo says at least as much, whoever lies and whoever measured nothing.

    Args:
        told: the figures of each silo that scored the student.
        quorum: as many silos must have measured a value.
        final: whether the student is final; no other is measured.
        novel: whether there are combinations that no silo trains on.
    """
    if not final:
        return Announcement(None, None, "only final students are measured")
    of_known = [found for figures in told if (found := known_quality(figures)) is not None]
    of_novel = [found for figures in told if (found := novel_quality(figures)) is not None]
    if len(of_known) < quorum:
        why = f"{len(of_known)} of the {quorum} silos that are needed have measured it"
        return Announcement(None, None, why)
    if len(of_novel) < quorum:
        why = _untrusted(told, quorum) if novel else "the silos train on every combination"
        return Announcement(_together(of_known, quorum), None, why)
    return Announcement(_together(of_known, quorum), _together(of_novel, quorum), "")


def _untrusted(told: Iterable[Mapping[str, float]], quorum: int) -> str:
    """Why too few silos could measure novel combinations."""
    tried = [figures for figures in told if "novel_rate" in figures]
    rates = [figures["judge_rate"] for figures in tried if "judge_rate" in figures]
    if tried and not rates:
        return "no silo's data can show whether its judge reads combinations that it never saw"
    if rates and (usual := median_low(rates)) < TRUST:
        return (
            f"the silos' judges read {usual:.2f} of real samples of combinations that"
            f" they never saw, and {TRUST:g} is needed to trust them"
        )
    return (
        f"{len(rates)} of the {quorum} silos that are needed could judge them: the judges of the"
        " others never learned how some value looks"
    )


def _together(found: Sequence[Estimate], quorum: int) -> Estimate:
    def of(part: Callable[[Estimate], float]) -> float:
        return sorted(map(part, found), reverse=True)[quorum - 1]

    return Estimate(of(lambda e: e.value), of(lambda e: e.low), of(lambda e: e.high))
