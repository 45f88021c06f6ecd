"""What becomes of entries offered to a chain, and what a peer is sent (SPEC 3.3, 3.4, 4.4)."""

from typing import Any

from dcfm_node.methods.fedflow.schedule import Fedflow
from dcfm_node.records import entries as rec
from dcfm_node.records.settings import Training
from dcfm_node.swarm.journal import Journals
from dcfm_node.wire import envelope as env
from dcfm_node.wire.canonical import sha256
from vectors.common import (
    MANIFEST,
    RUN,
    SIGNERS,
    SNAPSHOT,
    STRANGER,
    Json,
    case,
    entry,
    make_manifest,
    plain,
)
from vectors.swarm import joining


def chain_case(name: str, clause: str, offers: list[env.Sealed]) -> Json:
    journals = Journals(MANIFEST)
    outcomes = [journals.offer(sealed).value for sealed in offers]
    head = journals.head(SIGNERS[0].key)
    steps = [[s.envelope.hex(), outcome] for s, outcome in zip(offers, outcomes, strict=True)]
    return case(name, clause, offers=steps, head=plain(head.model_dump()))


def chains() -> Json:
    def link(text: str, after: env.Sealed | None = None, epoch: int = 0) -> env.Sealed:
        seq = 0 if after is None else after.entry.seq + 1
        prev = RUN if after is None else after.digest
        body = joining() if after is None else rec.Withdraw(reason=text)
        return entry(body, epoch=epoch, seq=seq, prev=prev)

    a = link("a")
    b, b_other, b_later = link("b", a), link("other", a), link("later", a, 1)
    c, c_later = link("c", b), link("c", b_later, 1)
    c_back = link("back to epoch 0", b_later)
    loose = entry(rec.Withdraw(reason="loose"), seq=1, prev=sha256(b"loose"), epoch=1)
    first_loose = entry(joining(), prev=sha256(b""))
    no_join, again = entry(rec.Withdraw(reason="first")), entry(joining(), seq=1, prev=a.digest)
    stranger = rec.Entry(
        run=RUN,
        author=STRANGER.key,
        epoch=0,
        seq=0,
        prev=RUN,
        time_ms=0,
        body=rec.Withdraw(reason=""),
    )
    elsewhere = stranger.model_copy(update={"run": sha256(b"run"), "author": SIGNERS[0].key})
    foreign = env.seal_entry(elsewhere, SIGNERS[0])
    unchained = entry(rec.Withdraw(reason="unchained"), seq=1, prev=sha256(b"unchained"))
    far, far_other = (
        entry(rec.Withdraw(reason=text), seq=7, prev=sha256(b"far")) for text in ("far", "other")
    )
    c_other = link("other", b)
    proof = [("", [a, b, c]), ("forked", [a, b, c, b_other])]
    return {
        "answers": [
            made for name, held in proof for made in answers(name, held, [a, b, c, b_later])
        ],
        "budgets": [
            case(
                f"{len(made.roster)} silos, {made.method.name}",
                "3.3.6",
                manifest=env.manifest_bytes(made).hex(),
                bytes=most,
            )
            for made, most in BUDGETS
        ],
        "run": RUN.hex(),
        "author": SIGNERS[0].key.hex(),
        "manifest": env.manifest_bytes(MANIFEST).hex(),
        "cases": [
            chain_case("in order", "3.3.3", [a, b, c]),
            chain_case("known already", "3.3.4", [a, b, a, b]),
            chain_case("a gap, then what fills it", "3.3.3", [b, a, b]),
            chain_case("the first entry does not start from the run id", "3.3.3", [first_loose]),
            chain_case("prev is another digest", "3.3.3", [a, loose]),
            chain_case("a lower epoch after a higher one", "3.3.3", [a, b_later, c_back]),
            chain_case("a higher epoch goes on", "3.3.3", [a, b_later, c_later]),
            chain_case("a higher epoch replaces the tail", "3.3.4", [a, b, c, b_later, c_later]),
            chain_case("a replaced tail is stale", "3.3.4", [a, b_later, c_later, b, c]),
            chain_case(
                "a higher epoch that is not chained replaces nothing", "3.3.4", [a, b, loose]
            ),
            chain_case("a fork", "3.3.5", [a, b, c, b_other]),
            chain_case("a fork by an entry that is not chained", "3.3.5", [a, b, unchained]),
            chain_case("a fork by two entries that never fitted", "3.3.5", [a, far, far_other, b]),
            chain_case("of two forks the lower counts", "3.4", [a, b, c, c_other, b_other, b]),
            chain_case("nothing after a fork", "3.3.2", [a, b, b_other, b, c, b_later]),
            chain_case("what was before a fork stays", "3.4", [a, b, b_other, a]),
            chain_case("a stranger", "3.3.1", [env.seal_entry(stranger, STRANGER)]),
            chain_case("another run", "3.3.1", [foreign, a]),
            chain_case("a record that does not fit the run", "3.3.1", [no_join, a, again, b]),
            *built_on(),
        ],
    }


BUDGETS = [
    (MANIFEST, 2**22 + 8 * 4 + 2_048 * 4 * 5),
    (
        make_manifest(method=Fedflow(max_rounds=7, local=Training(steps=9))),
        2**22 + 32 + 2_048 * 7 * 5,
    ),
    (make_manifest(roster=MANIFEST.roster[:1]), 2**22 + 8 * 4 + 2_048 * 4),
]


def answers(name: str, held: list[env.Sealed], said: list[env.Sealed]) -> list[Json]:
    """What of one author's chain is sent to a peer with some head (SPEC 4.4). `said` are the three
    entries of the chain, and one of a higher epoch that is not held."""
    a, b, c, later = said
    forked = len(held) > 3
    chain, proof = ([a], [b, held[3]]) if forked else ([a, b, c], [])
    found = []

    def told(what: str, head: Json | None, sent: list[env.Sealed]) -> None:
        fields = None if head is None else plain({"epoch": 0, "forked": -1} | head)
        offers = [sealed.envelope.hex() for sealed in held]
        found.append(
            case(
                f"{name or 'whole'}: {what}",
                "4.4.1" if forked else "4.4.2",
                held=offers,
                head=fields,
                sent=[sealed.envelope.hex() for sealed in sent],
            )
        )

    told("no head", None, proof + chain)
    told("an empty journal", {"seq": -1, "digest": RUN}, proof + chain)
    told("the first entry", {"seq": 0, "digest": a.digest}, proof + chain[1:])
    told(
        "another tail, shorter",
        {"seq": 1, "digest": sha256(b"tail")},
        proof + (chain if not forked else []),
    )
    told("another tail, longer", {"seq": 7, "digest": sha256(b"tail")}, proof)
    told("a tail of a later epoch", {"seq": 1, "epoch": 1, "digest": later.digest}, proof)
    told("all", {"seq": 2, "digest": c.digest}, proof)
    told("knows this fork", {"seq": 0, "digest": a.digest, "forked": 1}, chain[1:])
    told("knows a lower fork", {"seq": -1, "digest": RUN, "forked": 0}, chain)
    told("knows a higher fork", {"seq": 0, "digest": a.digest, "forked": 2}, proof + chain[1:])
    return found


def built_on() -> list[Json]:
    """An entry taken back by a later epoch: replaced, or a fork where others built (SPEC 3.4)."""
    join = entry(joining())
    found = []

    def told(
        name: str, said: Any, others: list[Any], *, clause: str = "3.4.3", late: bool = False
    ) -> None:
        first = entry(said, seq=1, prev=join.digest)
        taken = entry(rec.Withdraw(reason="lost"), seq=1, epoch=1, prev=join.digest)
        ends: dict[int, env.Sealed] = {}
        told_by = []
        for author, make in others:
            if author not in ends:
                ends[author] = entry(joining(author), author)
                told_by.append(ends[author])
            last = ends[author]
            body = make(first, told_by)
            ends[author] = made = entry(body, author, seq=last.entry.seq + 1, prev=last.digest)
            told_by.append(made)
        offers = [join, first, *told_by, taken]
        if late:
            offers = [entry(joining(), epoch=1), *told_by, first]
        found.append(chain_case(name, clause, offers))

    def vote(first: env.Sealed, said: list[env.Sealed]) -> rec.Vote:
        return rec.Vote(term=1, round=0, candidate=SIGNERS[1].key)

    def lease(first: env.Sealed, said: list[env.Sealed]) -> rec.Lease:
        votes = [s.digest for s in (first, *said) if s.entry.body.kind == "vote"]
        votes += [sha256(b"unheard"), sha256(b"of")][: max(0, 3 - len(votes))]
        return rec.Lease(term=1, round=0, votes=tuple(sorted(votes)))

    def student(first: env.Sealed, said: list[env.Sealed]) -> rec.Student:
        claim = next(s for s in said if s.entry.body.kind == "lease")
        fields = {"term": 1, "round": 0, "lease": claim.digest, "snapshot": SNAPSHOT}
        rest = {"missing": (), "resumed": None, "final": False, "seed": 0, "version": ""}
        teachers = {"teachers": (first.digest,), "metrics": {}}
        return rec.Student.model_validate(fields | rest | teachers)

    def endorse(first: env.Sealed, said: list[env.Sealed]) -> rec.Endorse:
        return rec.Endorse(student=first.digest, metrics={})

    def refuse(first: env.Sealed, said: list[env.Sealed]) -> rec.Refuse:
        return rec.Refuse(student=first.digest, reason="", metrics={})

    own = vote(join, [])
    expert = rec.Expert(round=0, snapshot=SNAPSHOT, parents=(), metrics={})
    fields = {"term": 1, "round": 0, "lease": sha256(b"lease"), "teachers": (sha256(b"expert"),)}
    rest = {"missing": (), "resumed": None, "final": False, "seed": 0, "version": ""}
    published = rec.Student.model_validate(fields | rest | {"snapshot": SNAPSHOT, "metrics": {}})
    won, alone = [(1, vote), (2, vote), (1, lease)], [(1, vote), (1, lease)]
    told("a vote that a certified lease needs", own, won)
    told("a vote that no certified lease needs", own, alone)
    told("such a vote, heard after a shorter later chain", own, won, clause="3.3.4", late=True)
    told("another, heard after a shorter later chain", own, alone, clause="3.3.4", late=True)
    others = [(2, vote), (3, vote), (1, vote), (1, lease)]
    told("an expert that an elected leader's student names", expert, [*others, (1, student)])
    told("an expert that nobody's student names", expert, others)
    told(
        "an expert that a student of a lease without a quorum names", expert, [*alone, (1, student)]
    )
    told(
        "a student that three of four others judged",
        published,
        [(1, endorse), (2, refuse), (3, endorse)],
    )
    told("a student that two of four others judged", published, [(1, endorse), (2, refuse)])
    return found
