"""Proof that a member signed two histories, to be shown to anyone, offline (SPEC 9.3)."""

from dataclasses import dataclass

from dcfm_node.errors import PeerError
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.messages import MAX_ENTRIES_BYTES, MAX_MANIFEST_BYTES
from dcfm_node.swarm.journal import Fork, built_on
from dcfm_node.wire.canonical import pack, unpack
from dcfm_node.wire.envelope import Sealed, decode_manifest, manifest_bytes, open_entry, run_id

FORMAT = "dcfm-node/fork/1"
MAX_BYTES = 3 * MAX_ENTRIES_BYTES + MAX_MANIFEST_BYTES + 1_024
"""No proof is larger: three envelopes, a manifest, and what is around them."""


@dataclass(frozen=True, slots=True)
class Proof:
    """Two entries of one author, of which no honest history holds both, and the run they are of.

    Attributes:
        witness: another member's entry that builds on the first, which the second takes back; None
            where both are of one epoch and number.
    """

    manifest: Manifest
    first: Sealed
    second: Sealed
    witness: Sealed | None = None

    @property
    def culprit(self) -> str:
        """The author's name on the roster."""
        return self.manifest.silo_name(self.first.entry.author)


def bundle(manifest: Manifest, fork: Fork, witness: Sealed | None = None) -> bytes:
    """Canonical bytes of all that a verifier needs.

    Args:
        witness: an entry that builds on what the fork takes back, if it does that.
    """
    said = [fork.first, fork.second, *([witness] if witness is not None else [])]
    entries = [sealed.envelope for sealed in said]
    return pack({"format": FORMAT, "manifest": manifest_bytes(manifest), "entries": entries})


def verify(data: bytes) -> Proof:
    """Check a proof.

    Raises:
        PeerError: why it proves nothing.
    """
    match unpack(data):
        case {"format": str(form), "manifest": bytes(encoded), "entries": tuple(entries)}:
            if form != FORMAT:
                raise PeerError(f"the proof's format is {form!r}, this version reads {FORMAT}")
        case _:
            raise PeerError("the proof is not a bundle of manifest and entries")
    manifest = decode_manifest(encoded)
    if not 2 <= len(entries) <= 3 or not all(isinstance(entry, bytes) for entry in entries):
        raise PeerError("a proof holds two entries, or three")
    first, second, *witness = map(open_entry, entries)
    if any(said.entry.run != run_id(manifest) for said in (first, second, *witness)):
        raise PeerError("an entry is of another run than the proof's manifest")
    if any(silo_of(manifest, said) is None for said in (first, second, *witness)):
        raise PeerError("the author is not on the run's roster")
    proof = Proof(manifest, first, second, *witness)
    if first.entry.author != second.entry.author:
        raise PeerError("the entries are not of one author")
    (_check_taken_back if witness else _check_two)(proof)
    return proof


def silo_of(manifest: Manifest, sealed: Sealed) -> str | None:
    """The name of an entry's author; None if it is on no roster."""
    return next((s.name for s in manifest.roster if s.key == sealed.entry.author), None)


def _check_two(proof: Proof) -> None:
    a, b = proof.first.entry, proof.second.entry
    if (a.epoch, a.seq) != (b.epoch, b.seq):
        raise PeerError("the entries are not of one author, epoch and number")
    if proof.first.digest == proof.second.digest:
        raise PeerError("the entries are one and the same")


def _check_taken_back(proof: Proof) -> None:
    first, second, witness = proof.first.entry, proof.second.entry, proof.witness
    if witness is None or witness.entry.author == first.author:
        raise PeerError("nobody else built on the entry that was taken back")
    if not (first.epoch < second.epoch and second.seq <= first.seq):
        raise PeerError("the second entry does not take back the first")
    if proof.first.digest not in built_on(witness):
        raise PeerError("the third entry does not build on the first")
