"""SPEC 9.3: a fork is proven to anyone, offline, and nothing else passes for one."""

import pytest

from dcfm_node.errors import PeerError
from dcfm_node.records.messages import MAX_ENTRIES_BYTES, MAX_MANIFEST_BYTES
from dcfm_node.swarm.journal import Fork
from dcfm_node.swarm.proof import FORMAT, MAX_BYTES, bundle, verify
from dcfm_node.wire.canonical import pack, unpack
from dcfm_node.wire.envelope import Sealed, manifest_bytes
from tests.unit.swarm.builders import Author, Run


def forked(run: Run, author: Author) -> tuple[Sealed, Sealed]:
    return author.join(), author.join(at=0, distils=False)


def test_a_fork_is_proven_with_author_and_number() -> None:
    run = Run(3)
    one, other = forked(run, run.authors[1])
    found = verify(bundle(run.manifest, Fork(0, one, other)))
    assert found.culprit == "silo-0001"
    assert {found.first.digest, found.second.digest} == {one.digest, other.digest}


def test_what_is_no_fork_proves_nothing() -> None:
    run, other_run = Run(3), Run(4)
    one, other = forked(run, run.authors[1])
    later = run.authors[1].anew().join(epoch=5)
    foreign = run.authors[1].anew(other_run.id).join()
    outsiders = forked(run, Run(4).authors[3].anew(run.id))
    forged = Sealed(other.entry, other.digest, other.envelope[:-1] + b"\0")
    for first, second, why in [
        (one, one, "both entries are the same"),
        (one, later, "author, epoch or number"),
        (one, run.authors[2].join(), "differ in author"),
        (one, foreign, "another run"),
        (*outsiders, "roster"),
        (one, forged, "signature"),
    ]:
        with pytest.raises(PeerError, match=why):
            verify(bundle(run.manifest, Fork(0, first, second)))


@pytest.mark.parametrize(
    "change",
    [
        {"format": "dcfm-node/fork/0"},
        {"entries": ()},
        {"entries": (b"", b"")},
        {"entries": (1, 2)},
        {"manifest": b""},
        {"manifest": 5},
    ],
)
def test_a_bundle_of_another_form_is_refused(change: dict[str, object]) -> None:
    run = Run(3)
    whole = unpack(bundle(run.manifest, Fork(0, *forked(run, run.authors[1]))))
    assert whole["manifest"] == manifest_bytes(run.manifest)
    with pytest.raises(PeerError):
        verify(pack(whole | change))
    with pytest.raises(PeerError):
        verify(b"garbage")


def test_the_largest_proof_is_within_the_bound() -> None:
    parts = [bytes(MAX_MANIFEST_BYTES), (bytes(MAX_ENTRIES_BYTES),) * 2]
    largest = {"format": FORMAT, "manifest": parts[0], "entries": parts[1]}
    assert MAX_BYTES - 1_024 <= len(pack(largest)) <= MAX_BYTES
