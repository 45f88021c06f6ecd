"""What a bundle carries to a peer without a link: a label, entries, and a list of snapshots (SPEC
10).

Entries have the form of control messages, so that the rules and bounds of a link apply to a bundle.
"""

from collections.abc import Iterator, Mapping

from dcfm_node import __version__
from dcfm_node.errors import PeerError
from dcfm_node.records.differing import differences
from dcfm_node.records.entries import Snapshot
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.messages import Bundle, Entries, Head
from dcfm_node.swarm.answers import as_many_as_fit
from dcfm_node.swarm.journal import Journals
from dcfm_node.swarm.view import View
from dcfm_node.wire.envelope import decode_manifest, manifest_bytes, open_bundle, run_id


def messages(journals: Journals, since: Mapping[bytes, Head]) -> Iterator[Entries]:
    """The entries that a holder of these heads lacks, with proofs of forks."""
    rest = journals.missing(since)
    first = next(rest, None)
    while first is not None:
        fitting, first = as_many_as_fit(first, rest)
        yield Entries(run=journals.run, entries=fitting, beats=())


def snapshots(view: View) -> dict[bytes, Snapshot]:
    """Snapshots that every node should hold (SPEC 5.2), by digest. If the method combines
    experts of one round, all from the slowest silo's round on: a silo that is behind combines
    older ones."""
    students = [said for said in (view.newest_student(), view.latest()) if said is not None]
    found = {said.body.snapshot.digest: said.body.snapshot for said in students}
    active = [key for key in view.active() if key in view.newest_experts]
    if view.manifest.method.one_round and active:
        slowest = min(view.newest_experts[key].body.round for key in active)
        rounds = (said for key in active for said in view.experts[key].values())
        experts = (said.body for said in rounds if said.body.round >= slowest)
        found |= {body.snapshot.digest: body.snapshot for body in experts}
    return found | dict(view.newest_snapshots())


def label(
    manifest: Manifest,
    author: bytes,
    journals: Journals,
    held: Mapping[bytes, bool],
    entries: bytes,
) -> Bundle:
    """A bundle's label, not signed yet.

    Args:
        held: digests of snapshots on the author's disk that its run still needs, and whether each
            is in the bundle.
        entries: SHA-256 of the file that holds the messages.
    """
    return Bundle(
        run=journals.run,
        author=author,
        version=__version__,
        manifest=manifest_bytes(manifest),
        heads=journals.heads(),
        held=dict(held),
        entries=entries,
    )


def read_label(envelope: bytes, manifest: Manifest) -> Bundle:
    """Verify a label for a run.

    Raises:
        PeerError: the label is malformed, belongs to another run, or no silo of the roster signed
            it.
    """
    bundle = open_bundle(envelope)
    theirs = decode_manifest(bundle.manifest, like=manifest)
    if run_id(theirs) != bundle.run:
        raise PeerError("its manifest belongs to another run than the one that it names")
    if theirs != manifest:
        fields = ", ".join(differences(manifest, theirs))
        raise PeerError(f"it belongs to another run; the manifest differs in: {fields}")
    if all(silo.key != bundle.author for silo in manifest.roster):
        raise PeerError(f"its author {bundle.author.hex()[:8]} is not on the roster of the run")
    return bundle
