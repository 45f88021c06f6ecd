"""Whatever a member signs, a peer sends or a client asks: a PeerError or an answer, no defect of
ours (SPEC 1.3)."""

import asyncio
import json
import random
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from dcfm_node.api.document import Document
from dcfm_node.api.requests import AnyRequest, Stopping, StopRequest
from dcfm_node.api.server import _reply
from dcfm_node.errors import PeerError
from dcfm_node.net import frames
from dcfm_node.records.base import MAX_METRIC, MAX_TERM
from dcfm_node.records.entries import (
    Audit,
    Body,
    Cause,
    Checkpoint,
    Endorse,
    Expert,
    Join,
    Lease,
    Refuse,
    Snapshot,
    Student,
    Verdict,
    Vote,
    Withdraw,
)
from dcfm_node.records.messages import Entries, Head, Mismatch, Sync
from dcfm_node.swarm import lineage, proof
from dcfm_node.swarm.effects import Held, LinkUp, Received, Tick, Unfit
from dcfm_node.swarm.journal import Fork
from dcfm_node.swarm.node import Node
from dcfm_node.wire.canonical import pack
from tests.property.strategies import mutated, values
from tests.unit.swarm.builders import Run

NAMES = [bytes([number]) * 32 for number in range(3)]
small = st.integers(0, 3)
metrics = st.dictionaries(
    st.sampled_from(["holdout_loss", "ci_gap", "joint"]),
    st.floats(-MAX_METRIC, MAX_METRIC) | st.sampled_from([-MAX_METRIC, 0.0, MAX_METRIC]),
)
terms = st.integers(1, 4) | st.sampled_from([1_000, 1_001, MAX_TERM])
rounds = small | st.just(10_000)
sizes = st.sampled_from([1, 1_000, 2**33])
causes: list[Cause] = ["snapshot", "quota", "score", "fork", "flood"]


def bodies(run: Run, said: list[bytes]) -> st.SearchStrategy[Body]:
    """Well-formed records that point at each other, at snapshots and at members, at random."""
    entry, key = st.sampled_from([*said, NAMES[0]]), st.sampled_from([*run.keys, bytes(32)])
    snapshot = st.builds(Snapshot, digest=st.sampled_from(NAMES), size=sizes)
    entries = st.lists(entry, min_size=1, max_size=4).map(tuple)
    shared: dict[str, Any] = {"term": terms, "round": rounds, "lease": entry, "snapshot": snapshot}
    label = st.lists(small, max_size=3).map(tuple)
    counts = st.lists(st.tuples(label, small), max_size=3).map(tuple)
    scores = st.lists(st.tuples(entry, metrics), max_size=3).map(tuple)
    parent = st.none() | st.sampled_from(NAMES)
    return st.one_of(
        st.builds(
            Join, name=st.just("x"), distils=st.booleans(), version=st.just(""), counts=counts
        ),
        st.builds(Expert, round=rounds, snapshot=snapshot, parents=st.just(()), metrics=metrics),
        st.builds(Audit, round=rounds, scores=scores),
        st.builds(Vote, term=terms, round=rounds, candidate=key),
        st.builds(Lease, term=terms, round=rounds, votes=entries),
        st.builds(Checkpoint, **shared, teachers=entries, step=small),
        st.builds(
            Student,
            **shared,
            teachers=entries,
            missing=st.lists(key, max_size=3).map(tuple),
            resumed=parent,
            final=st.booleans(),
            seed=small,
            version=st.just(""),
            metrics=metrics,
        ),
        st.builds(Endorse, student=entry, metrics=metrics),
        st.builds(Refuse, student=entry, reason=st.just(""), metrics=metrics),
        st.builds(
            Verdict,
            subject=key,
            cause=st.sampled_from(causes),
            entry=st.none() | entry,
            reason=st.just(""),
        ),
        st.builds(Withdraw, reason=st.just("")),
    )


@given(st.data())
def test_no_signed_record_ends_a_node_or_keeps_it_from_deciding(data: st.DataObject) -> None:
    method = data.draw(st.sampled_from(["dcfm", "fedflow", "ddm"]))
    run = Run(4, method=method, participation=data.draw(st.sampled_from(["strict", "tolerant"])))
    node = Node(run.authors[0].signer, run.manifest, (((0, 0), 1),), True, random.Random(0), 0)
    node.quota = 5_000
    for key in run.keys[1:]:
        node.handle(LinkUp(key), 0.0)
        heads = {run.keys[0]: Head(epoch=0, seq=-1, digest=run.id)}
        sync = Sync(run=run.id, version="", heads=heads, beats={}, reply=False)
        node.handle(Received(key, sync), 0.0)
    said: list[bytes] = []
    for second in range(data.draw(st.integers(1, 12))):
        author = data.draw(st.sampled_from(run.authors[1:]))
        at = data.draw(st.none() | st.integers(0, 2)) if author.journal else None
        epoch = author.journal[-1].entry.epoch if author.journal else 0
        sealed = author.say(data.draw(bodies(run, said)), epoch=epoch, at=at)
        said.append(sealed.digest)
        message = Entries(run=run.id, entries=(sealed.envelope,), beats=())
        node.handle(Received(author.key, message), float(second))
        for digest in list(node.fetching):
            event = data.draw(st.sampled_from([Held(digest), Unfit(digest, "bad"), Tick()]))
            node.handle(event, float(second))
    node.handle(Tick(), 10_000.0)
    view = node.replica.view
    assert node.step is not None
    assert view.last_term() <= 1_001 * len(said)
    assert not [entry for entry in said if len(view.verdicts.get(entry, ())) > 4]


heads = st.builds(
    Head,
    epoch=st.integers(0, 2**53),
    seq=st.integers(-1, 100_000),
    digest=st.binary(min_size=32, max_size=32),
    forked=st.integers(-1, 100_000),
)
RUN = Run(3)
COUNTS = (((0, 0), 1),)


counts = st.integers(0, 2**53)


@given(st.lists(st.tuples(heads, st.tuples(counts, counts), st.booleans()), max_size=40))
def test_no_sync_ends_a_node_nor_keeps_it_silent_for_ever(
    told: list[tuple[Head, tuple[int, int], bool]],
) -> None:
    """SPEC 3.5.2, 3.5.3, 4.6.2: what peers claim of our own journal, heartbeats and epochs."""
    node = Node(RUN.authors[0].signer, RUN.manifest, COUNTS, True, random.Random(0), 0)
    me = RUN.keys[0]
    for key in RUN.keys[1:]:
        node.handle(LinkUp(key), 0.0)
    for head, heartbeat, reply in told:
        sync = Sync(run=RUN.id, version="", heads={me: head}, beats={me: heartbeat}, reply=reply)
        node.handle(Received(RUN.keys[1], sync), 1.0)
    late = 1.0 + RUN.manifest.policy.stall_s
    for key, when in ((RUN.keys[1], 1.0), (RUN.keys[2], 1.0), (RUN.keys[2], late)):
        node.handle(Tick(), when)
        honest = Sync(
            run=RUN.id,
            version="",
            heads={me: Head(epoch=0, seq=-1, digest=RUN.id)},
            beats={me: (0, max(0, node.exchange.recovery.epoch))},
            reply=False,
        )
        if key == RUN.keys[2] or not told:
            node.handle(Received(key, honest), when)
    assert node.exchange.recovery.writable
    node.handle(Tick(), 5.0 + RUN.manifest.policy.stall_s)
    assert node.replica.journals.chains[me]


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_no_manifest_of_another_run_ends_a_node(manifest: bytes, run: bytes) -> None:
    node = Node(RUN.authors[0].signer, RUN.manifest, COUNTS, True, random.Random(0), 0)
    wrong = Mismatch(run=run.ljust(32)[:32], version="", manifest=manifest, reason="")
    node.handle(Received(RUN.keys[1], wrong), 1.0)


@given(st.lists(st.binary(max_size=200) | values.map(pack), max_size=4))
def test_no_frames_on_the_bulk_plane_raise_anything_else(parts: list[bytes]) -> None:
    try:
        frames.decode(parts)
    except PeerError as error:
        assert str(error)


FORKED = RUN.authors[1].join(), RUN.authors[1].join(at=0, distils=False)
PROOF = proof.bundle(RUN.manifest, Fork(0, *FORKED))


@given(st.data())
def test_no_bundle_raises_anything_else(data: st.DataObject) -> None:
    given_ = data.draw(st.binary(max_size=300) | values.map(pack)) or mutated(data.draw, PROOF)
    for verify in (proof.verify, lambda bundle: lineage.verify(bundle, bytes(32))):
        try:
            verify(given_)
        except PeerError as error:
            assert str(error)


@given(st.data())
def test_no_mutation_of_a_proof_proves_another_thing(data: st.DataObject) -> None:
    changed = mutated(data.draw, PROOF)
    try:
        found = proof.verify(changed)
    except PeerError:
        return
    assert changed == PROOF
    assert found.culprit == "silo-0001"


asked = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)


@given(st.binary(max_size=300) | asked.map(lambda value: json.dumps(value).encode()))
@example(b"[" * 65_000)
@example(b'{"command": ' + b"[" * 60_000)
@example(b'{"command": []}')
@example(b'{"command": "stop", "grace_s": 1}')
@example(b'{"command": "journal", "silo": "x"}')
def test_the_control_api_answers_anything(line: bytes) -> None:
    def handler(request: AnyRequest) -> Document:
        if isinstance(request, StopRequest):
            return Stopping(grace_s=request.grace_s)
        raise LookupError(request.command)

    assert isinstance(json.loads(asyncio.run(_reply(line, handler))), dict)
