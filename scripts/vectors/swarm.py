"""Leases, students and ranks (SPEC 6.1, 6.7 and 7.1)."""

from copy import deepcopy
from typing import Any

from dcfm_node.records import entries as rec
from dcfm_node.swarm.election import rank
from dcfm_node.wire import envelope as env
from dcfm_node.wire.canonical import sha256
from vectors.common import (
    MANIFEST,
    NAMES,
    RUN,
    SIGNERS,
    SNAPSHOT,
    Json,
    case,
    entry,
)

LAST = MANIFEST.method.last_round


def joining(author: int = 0, **changes: Any) -> rec.Join:
    join = rec.Join(name=NAMES[author], distils=True, version="", counts=(((0, 0), 10),))
    return join.model_copy(update=changes)


class Story:
    """Entries of several authors, each chained to its author's last; who spoke joined before."""

    def __init__(self) -> None:
        self.entries: list[env.Sealed] = []
        self._last: dict[int, env.Sealed] = {}

    def say(self, author: int, body: Any) -> bytes:
        if author not in self._last and not isinstance(body, rec.Join):
            self.say(author, joining(author))
        last = self._last.get(author)
        seq, prev = (0, RUN) if last is None else (last.entry.seq + 1, last.digest)
        self._last[author] = sealed = entry(body, author, seq=seq, prev=prev)
        self.entries.append(sealed)
        return sealed.digest

    def vote(self, voters: str, candidate: int, term: int = 1, round_: int = LAST) -> list[bytes]:
        body = rec.Vote(term=term, round=round_, candidate=SIGNERS[candidate].key)
        return [self.say(int(voter), body) for voter in voters]

    def lease(self, author: int, votes: list[bytes], term: int = 1, round_: int = LAST) -> bytes:
        return self.say(author, rec.Lease(term=term, round=round_, votes=tuple(sorted(votes))))

    def experts(self) -> list[bytes]:
        """Every silo's expert of the last round."""
        body = rec.Expert(round=LAST, snapshot=SNAPSHOT, parents=(), metrics={})
        return [self.say(author, body) for author in range(len(NAMES))]

    def student(self, author: int, lease: bytes, taught: list[bytes], **changes: Any) -> bytes:
        fields = {
            "term": 1,
            "round": LAST,
            "lease": lease,
            "snapshot": SNAPSHOT,
            "teachers": tuple(taught),
            "missing": (),
            "resumed": None,
            "final": True,
            "seed": 0,
            "version": "",
            "metrics": {},
        }
        return self.say(author, rec.Student.model_validate(fields | changes))

    def told(self, name: str, clause: str, **expected: Any) -> Json:
        said = [sealed.envelope.hex() for sealed in self.entries]
        return case(name, clause, entries=said, **expected)


def leases() -> list[Json]:
    cases = []
    plans = [
        ("a bare majority", [("012", 1, 1, 0)], True),
        ("everyone", [("01234", 1, 1, 0)], True),
        ("one vote too few", [("01", 1, 1, 0)], False),
        ("votes for another", [("01", 1, 1, 0), ("234", 2, 1, 0)], False),
        ("votes of another term", [("01", 1, 1, 0), ("2", 1, 2, 0)], False),
        ("votes of another round", [("01", 1, 1, 0), ("2", 1, 1, 1)], False),
        ("a second vote in the term does not count", [("2", 3, 1, 0), ("012", 1, 1, 0)], False),
        ("a voter twice", [("01", 1, 1, 0), ("1", 1, 1, 0)], False),
        ("the highest term within reach", [("012", 1, 1_000, 0)], True),
        ("a term out of reach", [("012", 1, 1_001, 0)], False),
        ("a term within reach of another", [("3", 1, 999, 0), ("012", 1, 1_999, 0)], True),
    ]
    for name, votes, certified in plans:
        story = Story()
        digests = [digest for vote in votes for digest in story.vote(*vote)]
        lease = story.lease(1, digests, votes[-1][2] if "reach" in name else 1, 0)
        cases.append(story.told(name, "6.1.3", lease=lease.hex(), certified=certified))
    story = Story()
    lease = story.lease(3, story.vote("012", 1))
    cases.append(story.told("claimed by another", "6.1.3", lease=lease.hex(), certified=False))
    story = Story()
    votes = story.vote("012", 1)
    lease = story.lease(1, [*votes[:2], sha256(b"unheard")])
    cases.append(story.told("a vote not named", "6.1.3", lease=lease.hex(), certified=False))
    return cases


def students() -> list[Json]:
    cases = []
    for name, author, changes in [
        ("valid", 1, {}),
        ("not the leader's", 2, {}),
        ("of another round", 1, {"round": 1}),
        ("of another term", 1, {"term": 2}),
        ("a teacher nobody knows", 1, {"teachers": (sha256(b"unheard"),)}),
    ]:
        story = Story()
        teachers = story.experts()
        lease = story.lease(1, story.vote("012", 1))
        made = story.student(author, lease, teachers, **changes)
        counts = [made.hex()] if name == "valid" else []
        cases.append(story.told(name, "6.1.4", valid=counts, released=None))
    story = Story()
    teachers = story.experts()
    one = story.lease(1, story.vote("012", 1))
    two = story.lease(2, story.vote("234", 2, 2), 2)
    second = story.student(2, two, teachers, term=2)
    first = story.student(1, one, teachers)
    valid = [first.hex(), second.hex()]
    cases.append(story.told("the later term fences", "6.1.5", valid=valid, released=None))
    name, early = "a quorum endorses that of the earlier term", deepcopy(story)
    for author in (0, 1, 2):
        early.say(author, rec.Endorse(student=first, metrics={}))
    first_counts = {"counts": first.hex(), "released": first.hex()}
    cases.append(early.told(name, "6.1.5", valid=valid, **first_counts))
    for author in (0, 1):
        story.say(author, rec.Endorse(student=second, metrics={}))
    cases.append(story.told("two of five endorse", "6.1.6", valid=valid, released=None))
    story.say(3, rec.Endorse(student=second, metrics={}))
    cases.append(story.told("a quorum endorses", "6.1.6", valid=valid, released=second.hex()))
    story.say(0, rec.Withdraw(reason="moving"))
    name = "its teacher's silo withdrew"
    cases.append(story.told(name, "6.1.5", valid=valid, counts=None, released=None))
    return cases + refused_teachers() + rejected_students()


def rejected_students() -> list[Json]:
    story, valid, cases = Story(), [], []
    teachers = story.experts()
    for term in (1, 2, 3):
        lease = story.lease(term, story.vote("012", term, term), term)
        valid.append(story.student(term, lease, teachers, term=term))
        for number, said in ((2, "one of five refuses"), (3, "two refuse"), (4, "three refuse")):
            story.say(number, rec.Refuse(student=valid[-1], reason="", metrics={}))
            counts = valid[-1] if number < 4 or term == 3 else None
            cases.append(
                story.told(
                    f"student {term}: {said}",
                    "6.1.5",
                    valid=[digest.hex() for digest in valid],
                    counts=counts.hex() if counts else None,
                    released=None,
                )
            )
    return cases


def refused_teachers() -> list[Json]:
    story = Story()
    bad, *others = story.experts()
    made = story.student(1, story.lease(1, story.vote("012", 1)), [bad, *others])
    cases = []
    for number, valid in ((1, True), (2, True), (3, False)):
        verdict = rec.Verdict(subject=SIGNERS[0].key, cause="score", entry=bad, reason="")
        story.say(number, verdict)
        name = f"{number} of five refuse its teacher"
        counts = {} if valid else {"counts": None}
        cases.append(story.told(name, "6.7.2", valid=[made.hex()], **counts, released=None))
    return cases + teachers_of_rare_data()


def teachers_of_rare_data() -> list[Json]:
    """Two of five refuse an expert, which are too few for a quorum."""
    plans: list[tuple[str, str, str, dict[str, Any]]] = [
        ("the two that can compare it refuse it", "012", "12", {"counts": None}),
        ("two of the three that can compare it refuse it", "0123", "12", {"counts": None}),
        ("two of the four that can compare it refuse it", "01234", "12", {}),
        ("one of the two that can compare it refuses it, and one that cannot", "012", "13", {}),
        ("two that cannot compare it refuse it, as nobody can", "0", "12", {}),
    ]
    cases = []
    for name, holders, judges, counts in plans:
        story = Story()
        for number in range(5):
            label = (0, 0) if str(number) in holders else (1, 1)
            story.say(number, joining(number, counts=((label, 7),)))
        bad, *others = story.experts()
        made = story.student(1, story.lease(1, story.vote("012", 1)), [bad, *others])
        for judge in judges:
            verdict = rec.Verdict(subject=SIGNERS[0].key, cause="score", entry=bad, reason="")
            story.say(int(judge), verdict)
        cases.append(story.told(name, "6.7.2", valid=[made.hex()], **counts, released=None))
    return cases


def quarantines() -> list[Json]:
    """Each breaks a rule once; silo 0 is the culprit."""
    student = sha256(b"student")
    other = SNAPSHOT.model_copy(update={"digest": sha256(b"other")})

    def expert(round_: int, snapshot: rec.Snapshot) -> rec.Expert:
        return rec.Expert(round=round_, snapshot=snapshot, parents=(), metrics={})

    def vote(term: int) -> rec.Vote:
        return rec.Vote(term=term, round=0, candidate=SIGNERS[1].key)

    plans: list[tuple[str, list[Any], str | None]] = [
        ("votes of two terms", [vote(1), vote(2)], None),
        ("two votes of a term", [vote(1), vote(1)], "double_vote"),
        ("a vote out of reach", [vote(2**40)], "term"),
        ("experts of two rounds", [expert(0, SNAPSHOT), expert(1, other)], None),
        ("two experts of a round", [expert(0, SNAPSHOT), expert(0, other)], "replay"),
        ("an old expert again", [expert(0, SNAPSHOT), expert(1, SNAPSHOT)], "replay"),
        (
            "endorsed and refused",
            [
                rec.Endorse(student=student, metrics={}),
                rec.Refuse(student=student, reason="", metrics={}),
            ],
            "contradiction",
        ),
    ]
    cases = []
    for name, said, cause in plans:
        story = Story()
        for body in said:
            story.say(0, body)
        cases.append(story.told(name, "6.7", cause=cause))
    for refused, cause in ((1, None), (2, "score")):
        story = Story()
        for number in range(refused):
            snapshot = SNAPSHOT.model_copy(update={"digest": sha256(bytes([number]))})
            entry = story.say(0, expert(number, snapshot))
            for judge in (1, 2, 3):
                verdict = rec.Verdict(subject=SIGNERS[0].key, cause="score", entry=entry, reason="")
                story.say(judge, verdict)
        name = f"a quorum refused {refused} of its experts"
        cases.append(story.told(name, "6.7.3", cause=cause))
    return cases


def elections() -> Json:
    ranks = [
        case(
            f"round {round_}, attempt {attempt}",
            "7.1",
            round=round_,
            attempt=attempt,
            order=sorted(
                ([s.key.hex(), rank(RUN, round_, attempt, s.key).hex()] for s in MANIFEST.roster),
                key=lambda pair: pair[1],
            ),
        )
        for round_, attempt in ((0, 0), (0, 1), (1, 0), (10_000, 2**40))
    ]
    hexed = env.manifest_bytes(MANIFEST).hex()
    return {
        "manifest": hexed,
        "round": LAST,
        "ranks": ranks,
        "leases": leases(),
        "students": students(),
        "quarantines": quarantines(),
    }
