"""What `student judge` says of how much networks remember of a silo's training samples."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dcfm_node.api.judged import Remembered, Told

if TYPE_CHECKING:
    from dcfm_node.swarm.quality import Estimate
    from dcfm_node.worker import membership


def remembered(found: "Sequence[membership.Told]") -> tuple[Remembered, ...]:
    """The figures as a document."""
    return tuple(
        Remembered(
            network=one.network,
            calibrated=one.calibrated,
            auc=_told(one.found.auc),
            rate_01=_rate(one, 0.01),
            rate_10=_rate(one, 0.1),
        )
        for one in found
    )


def remembered_lines(found: Sequence[Remembered]) -> list[str]:
    """A line for each figure; none without any."""
    if not found:
        return []
    return [
        "training samples of this site told from its hold-out ones, by anyone who has both the"
        " network and a sample:",
        *map(_line, found),
    ]


def _line(one: Remembered) -> str:
    beside = ", beside the other silos' experts" if one.calibrated else ""
    rates = [
        f"finds {_text(rate)} of them with {wrong} of others (chance: {wrong})"
        for rate, wrong in ((one.rate_01, "1%"), (one.rate_10, "10%"))
        if rate is not None
    ]
    told = f"right in {_text(one.auc)} of pairs (chance: 50%)"
    return f"  by the {one.network}{beside}: " + "; ".join([told, *rates])


def _text(of: Told) -> str:
    return f"{of.value:.0%} ({of.low:.0%} to {of.high:.0%})"


def _told(of: "Estimate") -> Told:
    return Told(value=of.value, low=of.low, high=of.high)


def _rate(one: "membership.Told", wrong: float) -> Told | None:
    found = one.found.rates.get(wrong)
    return None if found is None else _told(found)
