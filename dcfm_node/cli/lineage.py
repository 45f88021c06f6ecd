"""What a verified lineage says about a student, with the silos' names."""

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dcfm_node.api.verified import Card, Superseded, Verified
    from dcfm_node.store.card import Earlier
    from dcfm_node.swarm.lineage import Lineage


def verified(
    proven: "Lineage", *, compared: bool, unchecked: Sequence[str], card: "Card" = "none"
) -> "Verified":
    """The document that `student verify` prints.

    Args:
        compared: whether the run was compared with the operator's files.
        unchecked: files in the folder that are not part of the student.
        card: what README.md is, as in `Verified`.
    """
    from dcfm_node.api.document import RunName
    from dcfm_node.api.students import Expected
    from dcfm_node.api.verified import Verified
    from dcfm_node.student.facts import facts_of

    facts, floor = facts_of(proven), proven.view.manifest.policy.novel_floor
    shared = {f.name: getattr(facts, f.name) for f in fields(facts)}
    shared |= {"superseded": superseded_by(proven), "expected": Expected.of(facts.expected, floor)}
    return Verified(
        of_given_run=compared,
        run=RunName(name=proven.view.manifest.name, id=proven.run.hex()),
        **shared,
        unchecked=tuple(unchecked),
        card=card,
    )


def superseded_by(proven: "Lineage") -> "Superseded | None":
    """Why the student no longer counts, and which one counts instead; None if it counts.

    The lineage shows the state at the time when the folder was written.
    """
    from dcfm_node.api.verified import Newest, Superseded
    from dcfm_node.swarm.verdicts import superseding

    view = proven.view
    if not (why := superseding(view, proven.student.body)):
        return None
    newest = view.latest() or view.newest_student()
    if newest is None:
        return Superseded(by=dict(why), newest=None)
    said = newest.body
    released = view.released(newest)
    named = Newest(digest=said.snapshot.digest.hex(), round=said.round, released=released)
    return Superseded(by=dict(why), newest=named)


def superseded_text(superseded: "Superseded") -> str:
    """`superseded_by` as text."""
    lines = [f"SUPERSEDED: {silo} {why}" for silo, why in superseded.by.items()]
    newest = superseded.newest
    if newest is None:
        lines.append("          there was no other student when this folder was written")
    else:
        standing = "released" if newest.released else "not released yet"
        lines.append(
            f"          newest is {newest.digest[:12]} of round {newest.round}, {standing}"
        )
    return "\n".join([*lines, "          get it: dcfm-node student fetch --latest --out DIR"])


def earlier_text(earlier: "Earlier") -> str:
    """The earlier runs as text, the newest first."""
    from dcfm_node.store.card import INDIRECT, ask_for

    lines = [f"continues run {earlier.run}"]
    if not earlier.verified:
        lines.append(f"          {ask_for(earlier)}")
    elif earlier.student is not None:
        lines.append(
            f"          from student {earlier.student[:12]} of {', '.join(earlier.teachers)}"
        )
    lines += [f"          there, {silo} {why}" for silo, why in earlier.departed.items()]
    if earlier.departed:
        lines.append(f"          {INDIRECT}")
    lines += [f"new key   {name}: {how}" for name, how in earlier.changed_keys.items()]
    if earlier.continues is not None:
        lines.append(earlier_text(earlier.continues))
    return "\n".join(lines)
