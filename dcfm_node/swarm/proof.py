"""Proof that a member signed two histories. Anyone can check it offline (SPEC 9.3)."""

from dataclasses import dataclass

from dcfm_node.errors import PeerError
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.messages import MAX_ENTRIES_BYTES, MAX_MANIFEST_BYTES
from dcfm_node.swarm.journal import Fork
from dcfm_node.wire.canonical import pack, unpack
from dcfm_node.wire.envelope import Sealed, decode_manifest, manifest_bytes, open_entry, run_id

FORMAT = "dcfm-node/fork/1"
MAX_BYTES = 2 * MAX_ENTRIES_BYTES + MAX_MANIFEST_BYTES + 1_024
"""Most bytes of a proof: two envelopes, a manifest, and the fields around them."""


@dataclass(frozen=True, slots=True)
class Proof:
    """Two different entries of one author, epoch and number, and the manifest of their run."""

    manifest: Manifest
    first: Sealed
    second: Sealed

    @property
    def culprit(self) -> str:
        """The author's name on the roster."""
        return self.manifest.silo_name(self.first.entry.author)


def bundle(manifest: Manifest, fork: Fork) -> bytes:
    """Canonical bytes of everything that a verifier needs."""
    entries = [fork.first.envelope, fork.second.envelope]
    return pack({"format": FORMAT, "manifest": manifest_bytes(manifest), "entries": entries})


def verify(data: bytes) -> Proof:
    """Check a proof.

    Raises:
        PeerError: the bytes do not prove a fork; the message says why.
    """
    match unpack(data):
        case {"format": str(form), "manifest": bytes(encoded), "entries": tuple(entries)}:
            if form != FORMAT:
                raise PeerError(f"the proof's format is {form!r}; this version reads {FORMAT}")
        case _:
            raise PeerError("the proof is not a bundle of manifest and entries")
    manifest = decode_manifest(encoded)
    match entries:
        case (bytes(one), bytes(other)):
            first, second = open_entry(one), open_entry(other)
        case _:
            raise PeerError("a proof must hold two entries")
    a, b = first.entry, second.entry
    if {a.run, b.run} != {run_id(manifest)}:
        raise PeerError("an entry belongs to another run than the proof's manifest")
    if a.author not in (silo.key for silo in manifest.roster):
        raise PeerError("the author is not on the run's roster")
    if (a.author, a.epoch, a.seq) != (b.author, b.epoch, b.seq):
        raise PeerError("the entries differ in author, epoch or number")
    if first.digest == second.digest:
        raise PeerError("both entries are the same")
    return Proof(manifest, first, second)
