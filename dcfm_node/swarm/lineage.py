"""Lineage: what a student folder carries so that anyone can check, offline, whence it came.

The bundle is the manifest and every journal of the run. Whoever holds it replays the trust rules:
signatures, chains, a majority's votes for the leader, teachers that exist, endorsements (SPEC 9).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dcfm_node.errors import PeerError
from dcfm_node.records.entries import Student
from dcfm_node.records.manifest import Manifest
from dcfm_node.swarm.journal import Journals, Offered
from dcfm_node.swarm.replica import Replica
from dcfm_node.swarm.said import Said
from dcfm_node.swarm.succession import Changed, changed_keys
from dcfm_node.swarm.view import View
from dcfm_node.wire.canonical import pack, unpack
from dcfm_node.wire.envelope import decode_manifest, manifest_bytes, open_entry

FORMAT = "dcfm-node/lineage/1"
MAX_RUNS = 64
"""Runs before its own that a lineage may bear, one within the other."""


@dataclass(frozen=True, slots=True)
class Past:
    """A run whose records a lineage holds, verified."""

    student: Said[Student] | None
    """What the next run's newcomers start from; None where it names none."""
    view: View
    run: bytes
    earlier: "Past | None" = None
    """The run that this one goes on from, where the bundle has it."""
    changed: Sequence[Changed] = ()
    """Silos that go on under another key than in that run."""


@dataclass(frozen=True, slots=True)
class Lineage(Past):
    """A verified lineage: the student, and the view in which it stands."""

    student: Said[Student]


def bundle(manifest: Manifest, journals: Journals, earlier: bytes | None = None) -> bytes:
    """Canonical bytes of all that a verifier needs.

    Args:
        earlier: the bundle of the run that this one continues.
    """
    chains = journals.chains.values()
    entries = [sealed.envelope for chain in chains for sealed in chain]
    fields = {"format": FORMAT, "manifest": manifest_bytes(manifest), "entries": entries}
    return pack(fields if earlier is None else fields | {"continues": earlier})


@dataclass(frozen=True, slots=True)
class Replayed:
    """A lineage's records, each verified, before it is known which model they are about."""

    view: View
    run: bytes
    earlier: object
    """What it bears of the run that this one continues; unread."""

    @property
    def sizes(self) -> frozenset[int]:
        """In bytes, of the models that it may be about."""
        return frozenset(said.body.snapshot.size for said in self.view.valid_students())

    def of_model(self, digest: bytes) -> Lineage:
        """What it proves of the model with this digest.

        Raises:
            PeerError: which link of the lineage does not hold.
        """
        found = self.past(digest, MAX_RUNS)
        if found.student is None:
            raise PeerError(
                "no elected node of this run published a student with this model's digest"
            )
        return Lineage(found.student, found.view, found.run, found.earlier, found.changed)

    def past(self, digest: bytes | None, runs: int) -> Past:
        """Its run, with the newest valid student of that digest, if any is."""
        valid = reversed(self.view.valid_students())
        student = next((said for said in valid if said.body.snapshot.digest == digest), None)
        return _joined(Past(student, self.view, self.run), self.earlier, runs)


def verify(data: bytes, model_digest: bytes) -> Lineage:
    """Check a bundle against the digest of the model it came with.

    Raises:
        PeerError: which link of the lineage does not hold.
    """
    return replayed(data).of_model(model_digest)


def claimed(data: bytes) -> Manifest:
    """The manifest that a bundle bears. Nothing else of it is read, and nothing verified.

    Raises:
        PeerError: it bears none.
    """
    match unpack(data, 6 * len(data)):
        case {"format": str(), "manifest": bytes(encoded)}:
            return decode_manifest(encoded)
    raise PeerError("the lineage is not a bundle of manifest and entries")


def replayed(data: bytes) -> Replayed:
    """Check a bundle's records, by the rules by which a node takes them in.

    Raises:
        PeerError: which of them does not hold.
    """
    fields = unpack(data, 6 * len(data))
    match fields:
        case {"format": str(version), "manifest": bytes(encoded), "entries": tuple(entries)}:
            if version != FORMAT:
                found = f"{version[:40]!r}"
                raise PeerError(f"the lineage's format is {found}, this version reads {FORMAT}")
        case _:
            raise PeerError("the lineage is not a bundle of manifest and entries")
    manifest = decode_manifest(encoded)
    replica = Replica(manifest)
    for envelope in entries:
        if not isinstance(envelope, bytes):
            raise PeerError("the lineage holds something that is no entry")
        sealed = open_entry(envelope)
        outcome = replica.fold(sealed)
        if outcome is not Offered.NEW:
            name = manifest.silo_name(sealed.entry.author)
            why = replica.journals.flaw(sealed) if outcome is Offered.UNFIT else outcome.value
            raise PeerError(f"entry {sealed.entry.seq} of {name} does not chain: {why}")
    return Replayed(replica.view, replica.journals.run, fields.get("continues"))


def _joined(found: Past, earlier: object, runs: int) -> Past:
    """The same with the lineage of the run it continues, if the bundle has that."""
    continues = found.view.manifest.continues
    if earlier is None:
        return found
    if continues is None or not isinstance(earlier, bytes):
        raise PeerError("it bears an earlier lineage, where its run continues none, or no bytes")
    if not runs:
        raise PeerError(f"it goes back over more than {MAX_RUNS} runs")
    named, told = continues.student, replayed(earlier)
    if told.run != continues.run:
        raise PeerError("its earlier lineage is not of the run that it continues")
    before = told.past(named.digest if named is not None else None, runs - 1)
    if named is not None and before.student is None:
        raise PeerError("its earlier lineage lacks the student that it goes on from")
    try:
        changed = changed_keys(before.view.manifest, found.view.manifest)
    except ValueError as error:
        raise PeerError(f"it does not go on from the run it continues: {error}") from error
    return replace(found, earlier=before, changed=changed)
