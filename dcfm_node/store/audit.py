"""What a bundle is worth, found out offline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dcfm_node.errors import PeerError
from dcfm_node.records.entries import Body, Checkpoint, Expert, Snapshot, Student
from dcfm_node.records.manifest import Manifest
from dcfm_node.store.bundles import CarriedBundle
from dcfm_node.swarm.journal import Journals, Offered
from dcfm_node.wire.envelope import open_entry


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found sound.

    Attributes:
        author: who signed the bundle, by name.
        records: how many records of each silo, by name.
        unchained: records that continue a journal whose beginning the bundle leaves out: signed,
            and chained only by who holds the rest.
        snapshots: how many lie in it, each named by its digest.
        forked: silos that the bundle proves to have signed two histories.
    """

    run: bytes
    author: str
    records: Mapping[str, int]
    unchained: int
    snapshots: int
    forked: Sequence[str]


def audit(bundle: CarriedBundle, manifest: Manifest) -> Audit:
    """Check every record and every snapshot of a bundle whose label holds.

    Raises:
        PeerError: the first thing that does not hold.
    """
    journals = Journals(manifest)
    counts = {silo.name: 0 for silo in manifest.roster}
    unchained, named = 0, dict[bytes, set[int]]()
    for message in bundle.messages():
        for envelope in message.entries:
            sealed = open_entry(envelope)
            outcome = journals.offer(sealed)
            if outcome is Offered.FOREIGN:
                raise PeerError("it holds an entry of another run or of a stranger")
            if outcome is Offered.UNFIT:
                name = manifest.silo_name(sealed.entry.author)
                raise PeerError(f"an entry of {name}: {journals.flaw(sealed)}")
            counts[manifest.silo_name(sealed.entry.author)] += 1
            unchained += outcome is Offered.GAP
            for snapshot in _snapshots(sealed.entry.body):
                named.setdefault(snapshot.digest, set()).add(snapshot.size)
    return Audit(
        run=journals.run,
        author=manifest.silo_name(bundle.label.author),
        records=counts,
        unchained=unchained,
        snapshots=_sound_snapshots(bundle, named),
        forked=[manifest.silo_name(key) for key in journals.forks],
    )


def _snapshots(body: Body) -> list[Snapshot]:
    """What a record names."""
    if not isinstance(body, Expert | Student | Checkpoint):
        return []
    delta = None if isinstance(body, Checkpoint) else body.delta
    return [body.snapshot] if delta is None else [body.snapshot, delta.coded]


def _sound_snapshots(bundle: CarriedBundle, named: Mapping[bytes, set[int]]) -> int:
    """How many snapshots the bundle holds, each of which is what its name says."""
    if damage := bundle.damage(named=named):
        raise PeerError(damage)
    return len(bundle.snapshots())
