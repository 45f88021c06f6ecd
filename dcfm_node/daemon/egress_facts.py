"""What left a site, from its ledger and its journals, with names in place of keys. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import zip_longest

from dcfm_node.api.document import RunName
from dcfm_node.api.egress import (
    CountsTold,
    Egress,
    EgressGap,
    EgressKind,
    EgressLine,
    EgressTotal,
    Holding,
    OwnSnapshot,
)
from dcfm_node.records.carried import CARRIED
from dcfm_node.records.entries import Audit, Checkpoint, Endorse, Expert, Student, Verdict
from dcfm_node.store.archive import Archive
from dcfm_node.store.egress import Line, Span
from dcfm_node.swarm.bundle import snapshots as wanted
from dcfm_node.swarm.chunks import chunk_count
from dcfm_node.swarm.egress import Sum
from dcfm_node.wire.envelope import Sealed
from dcfm_node.words import utc


def egress_facts(
    silo: str,
    me: bytes,
    lines: Sequence[Line],
    spans: Sequence[Span],
    archives: Sequence[Archive],
    *,
    made_ms: int,
    since_ms: int | None = None,
    running: bool = False,
    told: Mapping[bytes, str] | None = None,
) -> Egress:
    """The whole answer.

    Args:
        me: this node's signing key.
        archives: the runs that the state folder keeps.
        since_ms: lines that end before it are left out of everything but `snapshots`.
        running: whether the daemon runs, so that the last span is still open.
        told: how label counts were published, by run.
    """
    names, mine = _Names(archives, lines), own_keys(silo, me, archives)
    recent = [line for line in lines if since_ms is None or line.sum.last_ms >= since_ms]
    kinds = dict.fromkeys(line.what.kind for line in recent)
    return Egress(
        silo=silo,
        key=me.hex(),
        made_ms=made_ms,
        since_ms=since_ms,
        begins_ms=min((line.sum.first_ms for line in lines), default=None),
        written_ms=max((span.written_ms for span in spans), default=None),
        gaps=tuple(
            gap
            for gap in _gaps(spans, running)
            if gap.until_ms is None or gap.until_ms >= (since_ms or 0)
        ),
        counts=tuple(_counts(mine, archives, told or {})),
        totals=tuple(_totals(recent, names, {me, *mine.values()})),
        snapshots=tuple(_snapshots(mine, lines, archives)),
        kinds=tuple(kind_told(kind) for kind in sorted(kinds)),
        lines=tuple(_line(line, names) for line in recent),
    )


def own_keys(silo: str, me: bytes, archives: Iterable[Archive]) -> dict[bytes, bytes]:
    """This silo's signing key in each run, by the run's id: it may have had another before."""
    found = {}
    for archive in archives:
        keys = {of.name: of.key for of in archive.manifest.roster}
        found[archive.journals.run] = me if me in keys.values() else keys.get(silo, me)
    return found


def kind_told(kind: str) -> EgressKind:
    """What a kind carries. What was not looked into may be anything."""
    if (of := CARRIED.get(kind)) is not None:
        return EgressKind(kind=kind, carries=of.what, derived=of.derived)
    what = "messages of any of the other kinds: more were sent at a time than could be sorted"
    return EgressKind(kind=kind, carries=what, derived="weights")


class _Names:
    """Names of silos and of whose weights they are, as far as the kept runs tell."""

    def __init__(self, archives: Iterable[Archive], lines: Iterable[Line]) -> None:
        self.silos: dict[bytes, str] = {}
        self.owners: dict[bytes, bytes] = {}
        for archive in archives:
            self.silos |= {silo.key: silo.name for silo in archive.manifest.roster}
            for sealed in _entries(archive):
                for digest in _named_snapshots(sealed):
                    self.owners.setdefault(digest, sealed.entry.author)
        self.silos |= {line.what.peer: line.name for line in lines if line.name}

    def of(self, key: bytes) -> str:
        return self.silos.get(key, key.hex()[:16])

    def owner(self, line: Line) -> bytes:
        """Whose record or weights a line is of; empty if it is of neither, or not known."""
        what = line.what
        return what.author or (self.owners.get(what.digest, b"") if what.digest else b"")


def _entries(archive: Archive) -> Iterator[Sealed]:
    for chain in archive.journals.chains.values():
        yield from chain


def _named_snapshots(sealed: Sealed) -> list[bytes]:
    """Digests under which the weights that a record publishes are sent."""
    body = sealed.entry.body
    if not isinstance(body, Expert | Student | Checkpoint):
        return []
    delta = None if isinstance(body, Checkpoint) else body.delta
    return [body.snapshot.digest, *([delta.coded.digest] if delta is not None else [])]


def _gaps(spans: Sequence[Span], running: bool) -> Iterator[EgressGap]:
    for span, after in zip_longest(spans, spans[1:]):
        assert span is not None
        if not span.closed and not (after is None and running):
            until = after.opened_ms if after is not None else None
            yield EgressGap(from_ms=span.written_ms, until_ms=until)


def _totals(lines: Iterable[Line], names: _Names, mine: Set[bytes]) -> Iterator[EgressTotal]:
    found: dict[tuple[str, str, str, str, bool | None], Sum] = {}
    for line in lines:
        what, of, owner = line.what, line.sum, names.owner(line)
        own = owner in mine if owner else None
        peer = names.of(what.peer) if what.peer else ""
        at = (peer, what.peer.hex(), what.plane, what.kind, own)
        total = found.setdefault(at, Sum(of.first_ms, of.last_ms))
        total.add(of.first_ms, of.items, of.size)
        total.add(of.last_ms, 0, 0)
    for (peer, key, plane, kind, own), of in sorted(found.items(), key=lambda item: str(item[0])):
        yield EgressTotal.model_validate(
            {
                "peer": peer,
                "key": key,
                "plane": plane,
                "kind": kind,
                "own": own,
                "items": of.items,
                "bytes": of.size,
                "first_ms": of.first_ms,
                "last_ms": of.last_ms,
            }
        )


def _line(line: Line, names: _Names) -> EgressLine:
    what, owner = line.what, names.owner(line)
    return EgressLine(
        first_ms=line.sum.first_ms,
        last_ms=line.sum.last_ms,
        run=line.run.hex(),
        peer=names.of(what.peer) if what.peer else "",
        key=what.peer.hex(),
        plane=what.plane,
        kind=what.kind,
        silo=names.of(owner) if owner else "",
        digest=what.digest.hex(),
        items=line.sum.items,
        bytes=line.sum.size,
    )


def _counts(
    mine: Mapping[bytes, bytes], archives: Iterable[Archive], told: Mapping[bytes, str]
) -> Iterator[CountsTold]:
    for archive in archives:
        if (join := archive.view.joins.get(mine[archive.journals.run])) is None:
            continue
        samples, least = sum(n for _, n in join.counts), min(n for _, n in join.counts)
        how = told.get(archive.journals.run, "exact")
        what = (
            f"{samples} samples of {len(join.counts)} combinations, the least count {least};"
            f" counts: {how}"
        )
        if join.moments is not None:
            what += (
                "; beside them, exact, the mean and the standard deviation of each feature"
                " (publish_moments)"
            )
        yield CountsTold(run=_run(archive), told=what)


def _run(archive: Archive) -> RunName:
    return RunName(name=archive.manifest.name, id=archive.journals.run.hex())


def _snapshots(
    mine: Mapping[bytes, bytes], lines: Sequence[Line], archives: Iterable[Archive]
) -> Iterator[OwnSnapshot]:
    sent: dict[tuple[bytes, bytes], int] = {}
    by_hand: set[tuple[bytes, bytes]] = set()
    for line in lines:
        if line.what.kind == "chunk" and line.what.digest:
            at = (line.what.digest, line.what.peer)
            sent[at] = sent.get(at, 0) + line.sum.items
            by_hand |= {at} if line.what.plane == "hand" else set()
    for archive in archives:
        yield from _of_run(mine[archive.journals.run], sent, by_hand, archive)


def _of_run(
    me: bytes,
    sent: Mapping[tuple[bytes, bytes], int],
    by_hand: set[tuple[bytes, bytes]],
    archive: Archive,
) -> Iterator[OwnSnapshot]:
    said, newest = _witnesses(archive), wanted(archive.view)
    roster = {silo.key: silo.name for silo in archive.manifest.roster if silo.key != me}
    for sealed in archive.journals.chains.get(me, ()):
        body = sealed.entry.body
        if not isinstance(body, Expert | Student | Checkpoint):
            continue
        digests = _named_snapshots(sealed)
        holders = []
        for key, name in (*roster.items(), (b"", "")):
            known = [
                _sent_how(sent.get((digest, key), 0), size, (digest, key) in by_hand)
                for digest, size in zip(digests, _sizes(body), strict=True)
            ]
            known += sorted(said.get(sealed.digest, {}).get(key, ()))
            known += sorted(said.get(body.snapshot.digest, {}).get(key, ()))
            if found := tuple(dict.fromkeys(how for how in known if how)):
                holders.append(Holding(silo=name, known_by=found))
        yield OwnSnapshot(
            digest=body.snapshot.digest.hex(),
            what=f"{body.kind} of round {body.round}",
            run=_run(archive),
            size_bytes=body.snapshot.size,
            published_ms=sealed.entry.time_ms,
            from_private_data=isinstance(body, Expert),
            newest=body.snapshot.digest in newest,
            holders=tuple(holders),
        )


def _sizes(body: Expert | Student | Checkpoint) -> list[int]:
    delta = None if isinstance(body, Checkpoint) else body.delta
    return [body.snapshot.size, *([delta.coded.size] if delta is not None else [])]


def _sent_how(chunks: int, size: int, by_hand: bool) -> str:
    if not chunks:
        return ""
    if by_hand:
        return "by hand"
    return "sent" if chunks >= chunk_count(size) else "sent in part"


def _witnesses(archive: Archive) -> dict[bytes, dict[bytes, set[str]]]:
    """By digest of an entry or a snapshot: silos whose records need the weights at hand, with the
    kinds of these records."""
    found: dict[bytes, dict[bytes, set[str]]] = {}
    for sealed in _entries(archive):
        body, author = sealed.entry.body, sealed.entry.author
        about: Sequence[bytes] = ()
        match body:
            case Audit():
                about = [digest for digest, _ in body.scores]
            case Student():
                about = body.teachers
            case Expert():
                about = body.parents
            case Endorse():
                about = [body.student]
            case Verdict(entry=bytes(entry), cause="score"):
                about = [entry]
            case _:
                pass
        for digest in about:
            found.setdefault(digest, {}).setdefault(author, set()).add(body.kind)
    return found


def period(found: Egress) -> str:
    """From when to when the ledger tells, in words."""
    if found.begins_ms is None or found.written_ms is None:
        return "nothing is recorded yet"
    begin = max(found.begins_ms, found.since_ms or 0)
    return f"{utc(begin)} to {utc(found.written_ms)} UTC"
