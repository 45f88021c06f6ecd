"""From one run to the next: what continues when a roster, keys or settings change (SPEC 2.7)."""

from dataclasses import dataclass

from dcfm_node.records.entries import Expert
from dcfm_node.records.manifest import Manifest
from dcfm_node.swarm.view import View
from dcfm_node.wire.envelope import handed_over, run_id


@dataclass(frozen=True, slots=True)
class Changed:
    """A silo of the old roster whose key has changed.

    Attributes:
        how: "handed over" if its old key signed the new one; "replaced" if the new roster's members
            vouch for it.
    """

    name: str
    how: str


def changed_keys(old: Manifest, new: Manifest) -> list[Changed]:
    """The silos that continue under another key.

    Raises:
        ValueError: a key changed without a valid hand-over and is not listed as replaced; or the
            runs train different networks or attributes.
    """
    continues = new.continues
    if continues is None:
        return []
    for field in ("sample_shape", "attributes", "network", "transfer"):
        if getattr(old, field) != getattr(new, field):
            raise ValueError(f"{field} differs from that of the run it continues")
    before = {silo.name: silo.key for silo in old.roster}
    said = {handover.name: handover for handover in continues.handovers}
    found = []
    for silo in new.roster:
        key, handover = before.get(silo.name, silo.key), said.get(silo.name)
        if key == silo.key:
            continue
        if silo.name in continues.replaced:
            found.append(Changed(silo.name, "replaced"))
        elif handover is not None and handed_over(
            key, silo.key, handover.link_key, handover.signature
        ):
            found.append(Changed(silo.name, "handed over"))
        else:
            raise ValueError(f"the old key of {silo.name} did not hand over to its new one")
    return found


def check_student(old: View, new: Manifest) -> None:
    """Check that the new run names a counting student of the old one, or none, and its scale.

    Raises:
        ValueError: the old run has no such student, or it is superseded; or its scale is another.
    """
    if new.continues is not None and new.continues.scale != old.scale:
        raise ValueError("continues.scale is not the scale of the run it continues")
    named = new.continues.student if new.continues is not None else None
    if named is not None and all(s.body.snapshot != named for s in old.counting_students()):
        raise ValueError(
            "no counting student of the earlier run has the digest that continues.student names"
        )


def inherited(old: View, name: str) -> Expert | None:
    """The first record of a silo that continues: its newest expert, as its expert of round 0. None
    if it has none."""
    key = next((silo.key for silo in old.manifest.roster if silo.name == name), None)
    if key is None or key not in old.active():
        return None
    said = old.latest_expert(key)
    if said is None:
        return None
    snapshot = said.body.snapshot
    return Expert(round=0, snapshot=snapshot, parents=(snapshot.digest,), metrics=said.body.metrics)


def went_on(view: View) -> list[str]:
    """Names of silos that brought an expert from the run that this one continues."""
    first = ((silo.name, view.experts.get(silo.key, {}).get(0)) for silo in view.manifest.roster)
    return [name for name, e in first if e and e.body.snapshot.digest in e.body.parents]


def begins_anew(old: Manifest, new: Manifest) -> bool:
    """Whether a run has the name of a node's earlier run but does not continue it."""
    continued = new.continues.run if new.continues is not None else None
    return old.name == new.name and run_id(old) not in (run_id(new), continued)
