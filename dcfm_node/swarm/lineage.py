"""Lineage: what a student folder carries so that anyone can check, offline, whence it came.

The bundle is the manifest and every journal of the run. Whoever holds it replays the trust rules:
signatures, chains, a majority's votes for the leader, teachers that exist, endorsements (SPEC 9).
"""

from dataclasses import dataclass

from dcfm_node.errors import PeerError
from dcfm_node.records.entries import Student
from dcfm_node.records.manifest import Manifest
from dcfm_node.swarm.journal import Journals, Offered
from dcfm_node.swarm.view import Said, View
from dcfm_node.wire.canonical import pack, unpack
from dcfm_node.wire.envelope import decode_manifest, manifest_bytes, open_entry, run_id

FORMAT = "dcfm-node/lineage/1"


@dataclass(frozen=True, slots=True)
class Lineage:
    """A verified lineage: the student, and the view in which it stands."""

    student: Said[Student]
    view: View
    run: bytes


def bundle(manifest: Manifest, journals: Journals) -> bytes:
    """Canonical bytes of all that a verifier needs."""
    chains = journals.chains.values()
    entries = [sealed.envelope for chain in chains for sealed in chain]
    return pack({"format": FORMAT, "manifest": manifest_bytes(manifest), "entries": entries})


def verify(data: bytes, model_digest: bytes) -> Lineage:
    """Check a bundle against the SHA-256 of the model it came with.

    Raises:
        PeerError: which link of the lineage does not hold.
    """
    match unpack(data):
        case {"format": str(version), "manifest": bytes(encoded), "entries": tuple(entries)}:
            if version != FORMAT:
                raise PeerError(f"the lineage's format is {version!r}, this version reads {FORMAT}")
        case _:
            raise PeerError("the lineage is not a bundle of manifest and entries")
    manifest = decode_manifest(encoded)
    journals = Journals(run_id(manifest), (silo.key for silo in manifest.roster))
    view = View(manifest)
    for envelope in entries:
        if not isinstance(envelope, bytes):
            raise PeerError("the lineage holds something that is no entry")
        sealed = open_entry(envelope)
        outcome = journals.offer(sealed)
        if outcome is not Offered.NEW:
            name = manifest.silo_name(sealed.entry.author)
            raise PeerError(f"entry {sealed.entry.seq} of {name} does not chain: {outcome.value}")
        view.add(sealed)
    for student in reversed(view.valid_students()):
        if student.body.snapshot.digest == model_digest:
            return Lineage(student, view, journals.run)
    raise PeerError("no elected node of this run published a student with this model's digest")
