"""Offline check of a bundle."""

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
    """The sound content of a bundle.

    Attributes:
        run: id of the run.
        author: name of the silo that signed the bundle.
        records: number of records, by silo name.
        unchained: number of records that continue a journal whose beginning the bundle leaves out.
            They are signed; only a node with the beginning can check the chain.
        snapshots: number of snapshots, each with the digest that its name says.
        forked: names of silos that, as the bundle proves, signed two histories.
    """

    run: bytes
    author: str
    records: Mapping[str, int]
    unchained: int
    snapshots: int
    forked: Sequence[str]


def audit(bundle: CarriedBundle, manifest: Manifest) -> Audit:
    """Check every record and every snapshot of a bundle with a valid label.

    Raises:
        PeerError: the first record or snapshot that is not valid.
    """
    journals = Journals(manifest)
    counts = {silo.name: 0 for silo in manifest.roster}
    unchained, named = 0, dict[bytes, set[int]]()
    for message in bundle.messages():
        for envelope in message.entries:
            sealed = open_entry(envelope)
            outcome = journals.offer(sealed)
            if outcome is Offered.FOREIGN:
                raise PeerError("it holds an entry of another run, or of a silo outside the roster")
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
    """The snapshots that a record names."""
    if not isinstance(body, Expert | Student | Checkpoint):
        return []
    delta = None if isinstance(body, Checkpoint) else body.delta
    return [body.snapshot] if delta is None else [body.snapshot, delta.coded]


def _sound_snapshots(bundle: CarriedBundle, named: Mapping[bytes, set[int]]) -> int:
    """The number of snapshots in the bundle, after a check of each against its name."""
    if damage := bundle.damage(named=named):
        raise PeerError(damage)
    return len(bundle.snapshots())
