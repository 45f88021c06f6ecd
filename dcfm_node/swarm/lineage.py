"""Lineage: the part of a student folder from which anyone can verify, offline, how the student was
made.

The bundle holds the manifest and every journal of the run. A verifier replays the trust rules:
signatures, chains, a majority's votes for the leader, existing teachers, endorsements (SPEC 9).
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
"""Most earlier runs in a lineage, nested one in the other."""


@dataclass(frozen=True, slots=True)
class Past:
    """A run whose records a lineage holds, verified."""

    student: Said[Student] | None
    """The student from which new silos of the next run start; None if the next run names none."""
    view: View
    run: bytes
    earlier: "Past | None" = None
    """The run that this one continues, if the bundle has it."""
    changed: Sequence[Changed] = ()
    """Silos whose key differs from the one in that run."""


@dataclass(frozen=True, slots=True)
class Lineage(Past):
    """A verified lineage: the student, and the view that contains it."""

    student: Said[Student]


def bundle(manifest: Manifest, journals: Journals, earlier: bytes | None = None) -> bytes:
    """Canonical bytes of everything that a verifier needs.

    Args:
        earlier: the bundle of the run that this one continues; None if there is none.
    """
    chains = journals.chains.values()
    entries = [sealed.envelope for chain in chains for sealed in chain]
    fields = {"format": FORMAT, "manifest": manifest_bytes(manifest), "entries": entries}
    return pack(fields if earlier is None else fields | {"continues": earlier})


@dataclass(frozen=True, slots=True)
class Replayed:
    """A lineage's records, each verified, before the digest of the model is known."""

    view: View
    run: bytes
    earlier: object
    """Its bundle of the run that this one continues; not read yet."""

    @property
    def sizes(self) -> frozenset[int]:
        """Sizes in bytes of all models that the lineage can prove."""
        return frozenset(said.body.snapshot.size for said in self.view.valid_students())

    def of_model(self, digest: bytes) -> Lineage:
        """The lineage of the model with this digest.

        Raises:
            PeerError: no elected leader published this model, or an earlier run does not fit.
        """
        found = self.past(digest, MAX_RUNS)
        if found.student is None:
            raise PeerError(
                "no elected node of this run published a student with this model's digest"
            )
        return Lineage(found.student, found.view, found.run, found.earlier, found.changed)

    def past(self, digest: bytes | None, runs: int) -> Past:
        """The run, with the newest valid student of that digest, if there is one."""
        valid = reversed(self.view.valid_students())
        student = next((said for said in valid if said.body.snapshot.digest == digest), None)
        return _joined(Past(student, self.view, self.run), self.earlier, runs)


def verify(data: bytes, model_digest: bytes) -> Lineage:
    """Verify a bundle and find the model with the digest `model_digest` in it (SPEC 9.2, 9.4).

    Raises:
        PeerError: a record does not hold, no elected leader published this model, or an earlier run
            does not fit; the message says which.
    """
    return replayed(data).of_model(model_digest)


def claimed(data: bytes) -> Manifest:
    """The manifest in a bundle. It reads nothing else and verifies nothing.

    Raises:
        PeerError: the bundle has none.
    """
    match unpack(data, 6 * len(data)):
        case {"format": str(), "manifest": bytes(encoded)}:
            return decode_manifest(encoded)
    raise PeerError("the lineage is not a bundle of manifest and entries")


def replayed(data: bytes) -> Replayed:
    """Verify a bundle's records by the rules by which a node accepts them.

    Raises:
        PeerError: the bundle is malformed, or a record does not hold; the message says which.
    """
    fields = unpack(data, 6 * len(data))
    match fields:
        case {"format": str(version), "manifest": bytes(encoded), "entries": tuple(entries)}:
            if version != FORMAT:
                found = f"{version[:40]!r}"
                raise PeerError(f"the lineage's format is {found}; this version reads {FORMAT}")
        case _:
            raise PeerError("the lineage is not a bundle of manifest and entries")
    manifest = decode_manifest(encoded)
    replica = Replica(manifest)
    for envelope in entries:
        if not isinstance(envelope, bytes):
            raise PeerError("the lineage holds something that is not an entry")
        sealed = open_entry(envelope)
        outcome = replica.fold(sealed)
        if outcome is not Offered.NEW:
            name = manifest.silo_name(sealed.entry.author)
            why = replica.journals.flaw(sealed) if outcome is Offered.UNFIT else outcome.value
            raise PeerError(f"entry {sealed.entry.seq} of {name} does not chain: {why}")
    return Replayed(replica.view, replica.journals.run, fields.get("continues"))


def _joined(found: Past, earlier: object, runs: int) -> Past:
    """Add the lineage of the run that this one continues, if the bundle has it."""
    continues = found.view.manifest.continues
    if earlier is None:
        return found
    if continues is None or not isinstance(earlier, bytes):
        raise PeerError(
            "it has an earlier lineage that is not bytes, or its run continues no other"
        )
    if not runs:
        raise PeerError(f"it contains more than {MAX_RUNS} earlier runs")
    named, told = continues.student, replayed(earlier)
    if told.run != continues.run:
        raise PeerError("its earlier lineage belongs to another run than the one that it continues")
    before = told.past(named.digest if named is not None else None, runs - 1)
    if named is not None and before.student is None:
        raise PeerError("its earlier lineage lacks the student from which it starts")
    try:
        changed = changed_keys(before.view.manifest, found.view.manifest)
    except ValueError as error:
        raise PeerError(f"it does not fit the run that it continues: {error}") from error
    return replace(found, earlier=before, changed=changed)
