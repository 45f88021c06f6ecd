"""What every reader checks of a writer (SPEC 3.7 and 6.8): of each clause a record, or a student,
that keeps it and one that breaks it alone."""

from collections.abc import Callable
from typing import Any

from dcfm_node.methods.fedflow.schedule import Fedflow
from dcfm_node.records import entries as rec
from dcfm_node.records import manifest as man
from dcfm_node.records.moments import Moments, Scale
from dcfm_node.records.settings import Training
from dcfm_node.wire import envelope as env
from dcfm_node.wire.canonical import sha256
from vectors.common import MANIFEST, SIGNERS, STRANGER, Json, case, make_manifest

PREPARING = make_manifest(probes=man.Probes(), standardise="auto")
TOLERANT = make_manifest(policy=man.Policy(participation="tolerant"))
FEDFLOW = make_manifest(
    method=Fedflow(max_rounds=2, local=Training(steps=1_000)),
    policy=man.Policy(participation="tolerant"),
)
LISTED = make_manifest(feasible=((0, 0), (0, 1), (1, 0)))
MANIFESTS = {
    "strict": MANIFEST,
    "tolerant": TOLERANT,
    "fedflow": FEDFLOW,
    "prepares": PREPARING,
    "listed": LISTED,
}
KEYS = [signer.key for signer in SIGNERS]
MANY = (((0, 1), 32),)
DIGESTS = [sha256(bytes([number])) for number in range(8)]


class Tale:
    """What the silos of a run say, one after the other."""

    def __init__(self, manifest: man.Manifest) -> None:
        self.manifest, self.run = manifest, env.run_id(manifest)
        self.entries: list[env.Sealed] = []
        self._last: dict[int, env.Sealed] = {}

    def say(self, author: int, body: Any) -> bytes:
        if author not in self._last and not isinstance(body, rec.Join):
            self.say(author, join(author))
        last = self._last.get(author)
        made = rec.Entry(
            run=self.run,
            author=KEYS[author],
            epoch=0,
            seq=0 if last is None else last.entry.seq + 1,
            prev=self.run if last is None else last.digest,
            time_ms=0,
            body=body,
        )
        self._last[author] = sealed = env.seal_entry(made, SIGNERS[author])
        self.entries.append(sealed)
        return sealed.digest

    def experts(self, round_: int, authors: str = "01234", **metrics: float) -> list[bytes]:
        return [self.expert(int(author), round_, **metrics) for author in authors]

    def expert(self, author: int, round_: int, **metrics: float) -> bytes:
        snapshot = rec.Snapshot(digest=sha256(bytes([author, round_])), size=1_000)
        body = rec.Expert(round=round_, snapshot=snapshot, parents=(), metrics=metrics)
        return self.say(author, body)

    def lead(self, author: int, round_: int, term: int = 1) -> bytes:
        ballot = rec.Vote(term=term, round=round_, candidate=KEYS[author])
        votes = sorted(self.say(voter, ballot) for voter in range(3))
        return self.say(author, rec.Lease(term=term, round=round_, votes=tuple(votes)))

    def student(self, round_: int, teachers: list[bytes], **changes: Any) -> bytes:
        """By silo 1, which leads term 1 unless a lease is given."""
        lease = changes.pop("lease", None) or self.lead(1, round_)
        fields = student(round=round_, lease=lease, teachers=tuple(teachers), **changes)
        return self.say(1, rec.Student.model_validate(fields))

    def judge(self, judge: int, subject: int, entry: bytes, cause: str = "snapshot") -> bytes:
        fields = {"subject": KEYS[subject], "cause": cause, "entry": entry, "reason": ""}
        return self.say(judge, rec.Verdict.model_validate(fields))


def join(author: int = 0, **changes: Any) -> rec.Join:
    name = MANIFEST.roster[author].name
    fields = {"name": name, "distils": True, "version": "", "counts": (((0, 1), 3),)}
    return rec.Join.model_validate(fields | changes)


def moments(**changes: Any) -> Moments:
    return Moments.model_validate({"mean": (0.0, 1e6), "deviation": (1.0, 0.0)} | changes)


def student(**changes: Any) -> Json:
    fields = {"term": 1, "round": 0, "lease": DIGESTS[0], "teachers": (DIGESTS[1],), "missing": ()}
    fields |= {"resumed": None, "final": False, "seed": 0, "version": "", "metrics": {}}
    return fields | {"snapshot": rec.Snapshot(digest=DIGESTS[2], size=1_000)} | changes


# Records


def records() -> list[Json]:
    def made(**changes: Any) -> rec.Student:
        return rec.Student.model_validate(student(**changes))

    def expert(**changes: Any) -> rec.Expert:
        fields = {"round": 0, "parents": (), "metrics": {}} | changes
        snapshot = rec.Snapshot(digest=DIGESTS[2], size=1_000)
        return rec.Expert.model_validate(fields | {"snapshot": snapshot})

    def vote(candidate: bytes, round_: int = 0) -> rec.Vote:
        return rec.Vote(term=1, round=round_, candidate=candidate)

    def lease(votes: list[bytes]) -> rec.Lease:
        return rec.Lease(term=1, round=0, votes=tuple(votes))

    def checkpoint(step: int) -> rec.Checkpoint:
        fields = {key: student()[key] for key in ("term", "round", "lease", "teachers", "snapshot")}
        return rec.Checkpoint.model_validate(fields | {"step": step})

    def audit(scores: list[tuple[bytes, dict[str, float]]]) -> rec.Audit:
        return rec.Audit(round=0, scores=tuple(scores))

    def verdict(cause: str, entry: bytes | None, subject: bytes = KEYS[1]) -> rec.Verdict:
        fields = {"subject": subject, "cause": cause, "entry": entry, "reason": ""}
        return rec.Verdict.model_validate(fields)

    def accept(
        joins: list[bytes], probes: tuple[rec.Label, ...] = (), scale: Scale | None = None
    ) -> rec.Accept:
        made = rec.Preparation(joins=tuple(joins), probes=probes, scale=scale)
        return rec.Accept(term=1, preparation=made)

    ascending = sorted(DIGESTS[:5])
    plans: list[tuple[str, Any, list[Any]]] = [
        ("3.7.2", join(), [join(1)]),
        ("3.7.3", join(counts=(((0, 0), 1), ((1, 1), 2))), [
            join(counts=(((0, 1), 3), ((0, 2), 1))),
            join(counts=(((1_000, 1_000), 500),)),
            join(counts=(((0,), 3),)),
            join(counts=(((0, 1, 0), 3),)),
            join(counts=(((0, 1), 3), ((0, 1), 3))),
            join(counts=()),
        ]),
        ("3.7.4", join(counts=(((0, 1), 2**40),)), [
            join(counts=(((0, 1), 0),)),
            join(counts=(((0, 1), 2**40 + 1),)),
        ]),
        ("3.7.5", expert(round=3), [expert(round=4), vote(KEYS[1], 4), made(round=10_000)]),
        ("3.7.6", vote(KEYS[4]), [
            vote(STRANGER.key),
            verdict("flood", None, STRANGER.key),
        ]),
        ("3.7.7", lease(ascending[:3]), [
            lease(ascending[:2]),
            lease([ascending[1], ascending[0], ascending[2]]),
            lease([ascending[0], ascending[0], ascending[1]]),
            lease(sorted(DIGESTS[:6])),
        ]),
        ("3.7.8", made(teachers=tuple(DIGESTS[:5])), [
            made(teachers=(DIGESTS[0], DIGESTS[0])),
            made(teachers=tuple(DIGESTS[:6])),
        ]),
        ("3.7.9", made(missing=(KEYS[1], KEYS[3])), [
            made(missing=(KEYS[3], KEYS[1])),
            made(missing=(KEYS[1], KEYS[1])),
        ]),
        ("3.7.10", made(seed=0), [made(seed=1)]),
        ("3.7.11", checkpoint(1_000), [checkpoint(1_001)]),
        ("3.7.12", expert(parents=tuple(DIGESTS[:6])), [expert(parents=tuple(DIGESTS[:7]))]),
        ("3.7.13", audit([(DIGESTS[0], {}), (DIGESTS[1], {})]), [
            audit([(DIGESTS[0], {}), (DIGESTS[0], {})]),
            audit([(digest, {}) for digest in DIGESTS[:6]]),
        ]),
        ("3.7.14", expert(metrics={"ci_gap.0/x-y": 1.0}), [
            expert(metrics={"\x1b[31mEVIL\n": 1.0}),
            expert(metrics={"": 1.0}),
            audit([(DIGESTS[0], {"two words": 1.0})]),
            rec.Endorse(student=DIGESTS[0], metrics={"caf\u00e9": 1.0}),
        ]),
        ("3.7.15", verdict("score", DIGESTS[0]), [
            verdict(cause, None) for cause in ("snapshot", "quota", "score")
        ]),
    ]  # fmt: skip
    found = [
        _record("a join first", "3.7.1", join(), True),
        _record("an expert first", "3.7.1", expert(), False, seq=0),
        _record("a join again", "3.7.1", join(), False, seq=1),
        _record("a missing silo of no roster", "3.7.6", made(missing=(STRANGER.key,)), False),
        _record("a checkpoint", "3.7.11", checkpoint(1), False, "fedflow"),
        _record("went on from one", "3.7.11", made(resumed=DIGESTS[0]), False, "fedflow"),
    ]
    for fits, body in (
        (True, accept(ascending, ((0, 0), (0, 1)))),
        (True, accept(ascending, scale=Scale(mean=(0.0, 1.0), deviation=(1.0, 2.0)))),
        (False, accept(ascending, scale=Scale(mean=(0.0,), deviation=(1.0,)))),
        (False, accept(ascending[:2])),
        (False, accept(sorted(DIGESTS[:6]))),
        (False, accept(ascending[::-1])),
        (False, accept([*ascending[:2], *ascending[1:3]])),
        (False, accept(ascending, ((0, 1), (0, 0)))),
        (False, accept(ascending, ((0, 2),))),
        (False, accept(ascending, ((0,),))),
    ):
        number = len(found)
        found.append(_record(f"what is accepted, {number}", "3.7.17", body, fits, "prepares"))
    for number, (fits, body) in enumerate(
        (
            (True, join(counts=MANY, moments=moments())),
            (False, join(moments=moments())),
            (False, join(counts=MANY, moments=moments(mean=(0.0,)))),
            (False, join(counts=MANY, moments=moments(deviation=(1.0, 1.0, 1.0)))),
        )
    ):
        found.append(_record(f"moments, {number}", "3.7.16", body, fits, "prepares"))
    found += [
        _record("no groups", "3.7.16", join(counts=MANY, moments=moments()), False),
        _record("nothing to prepare", "3.7.17", accept(ascending), False),
        _record("a vote of the preparation", "3.7.5", vote(KEYS[1], 10_000), True, "prepares"),
        _record("no vote of the preparation", "3.7.5", vote(KEYS[1], 10_000), False),
    ]
    for what, label in (("feasible", (1, 0)), ("not feasible", (1, 1))):
        counts = join(counts=((label, 1),))
        name = f"join of what is {what}"
        found.append(_record(name, "3.7.3", counts, what == "feasible", "listed"))
    for clause, fits, breaks in plans:
        found.append(_record(f"{fits.kind} that fits", clause, fits, True))
        for number, body in enumerate(breaks):
            found.append(_record(f"{body.kind} that does not, {number + 1}", clause, body, False))
    return found


def _record(
    name: str,
    clause: str,
    body: Any,
    fits: bool,
    manifest: str = "strict",
    *,
    seq: int | None = None,
) -> Json:
    run = env.run_id(MANIFESTS[manifest])
    first = 0 if isinstance(body, rec.Join) else 1
    entry = rec.Entry(
        run=run,
        author=KEYS[0],
        epoch=0,
        seq=first if seq is None else seq,
        prev=run,
        time_ms=0,
        body=body,
    )
    envelope = env.seal_entry(entry, SIGNERS[0]).envelope.hex()
    return case(f"{clause}: {name}", clause, manifest=manifest, envelope=envelope, fits=fits)


# Students


def whole(tale: Tale) -> bytes:
    return tale.student(0, tale.experts(0))


def silo_twice(tale: Tale) -> bytes:
    first, second = tale.experts(0), tale.experts(1)
    return tale.student(1, [first[0], *second[:4]], missing=(KEYS[4],))


def later_round(tale: Tale) -> bytes:
    tale.expert(0, 0)
    teachers = [tale.expert(0, 1), *tale.experts(0, "1234")]
    return tale.student(0, teachers, missing=(KEYS[0],))


def averaged(tale: Tale) -> bytes:
    tale.experts(0)
    return tale.student(1, tale.experts(1, "1234"), missing=(KEYS[0],), final=True)


def two_rounds_averaged(tale: Tale) -> bytes:
    first = tale.experts(0)
    teachers = [first[0], *tale.experts(1, "1234")]
    return tale.student(1, teachers, missing=(KEYS[0],), final=True)


def without_a_word(tale: Tale) -> bytes:
    return tale.student(0, tale.experts(0)[:4])


def withdrew(tale: Tale) -> bytes:
    made = tale.student(0, tale.experts(0)[:4])
    tale.say(4, rec.Withdraw(reason=""))
    return made


def its_own_expert(tale: Tale) -> bytes:
    """What a lying leader would have: nobody missing, one teacher, and the end."""
    return tale.student(0, tale.experts(0)[1:2], final=True)


def taught_and_missing(tale: Tale) -> bytes:
    return tale.student(0, tale.experts(0), missing=(KEYS[2],))


def left_out(tale: Tale) -> bytes:
    return tale.student(0, tale.experts(0)[:4], missing=(KEYS[4],))


def leader_could_not_load(tale: Tale) -> bytes:
    teachers = tale.experts(0)
    tale.judge(1, 4, teachers[4])
    return tale.student(0, teachers[:4], missing=(KEYS[4],))


def leader_says_so_later(tale: Tale) -> bytes:
    teachers = tale.experts(0)
    made = tale.student(0, teachers[:4], missing=(KEYS[4],))
    tale.judge(1, 4, teachers[4])
    return made


def leader_dislikes(tale: Tale) -> bytes:
    teachers = tale.experts(0)
    tale.judge(1, 4, teachers[4], "score")
    return tale.student(0, teachers[:4], missing=(KEYS[4],))


def given_up(tale: Tale) -> bytes:
    teachers = tale.experts(0)
    tale.judge(4, 4, teachers[4])
    return tale.student(0, teachers[:4], missing=(KEYS[4],))


def condemned(tale: Tale) -> bytes:
    teachers = tale.experts(0)
    for judge in range(3):
        tale.judge(judge, 4, teachers[4], "score")
    return tale.student(0, teachers[:4], missing=(KEYS[4],))


def round_left_out(tale: Tale) -> bytes:
    teachers = tale.experts(0, "0123")
    tale.expert(4, 1)
    return tale.student(0, teachers, missing=(KEYS[4],))


def ends_early(tale: Tale) -> bytes:
    return tale.student(0, tale.experts(0), final=True)


def last_round(tale: Tale) -> bytes:
    return tale.student(3, tale.experts(3), final=True)


def hides_the_end(tale: Tale) -> bytes:
    return tale.student(3, tale.experts(3))


def converged(tale: Tale) -> bytes:
    """Four silos stopped gaining; one says that it gained a billion."""
    tale.experts(1, "0123", holdout_loss=1.0)
    tale.expert(4, 1, holdout_loss=1e9)
    teachers = tale.experts(2, "0123", holdout_loss=0.999)
    teachers.append(tale.expert(4, 2, holdout_loss=1.0))
    return tale.student(2, teachers, final=True)


def not_converged(tale: Tale) -> bytes:
    """Four silos gain; one says that it lost a billion."""
    tale.experts(1, "0123", holdout_loss=1.0)
    tale.expert(4, 1, holdout_loss=1.0)
    teachers = tale.experts(2, "0123", holdout_loss=0.5)
    teachers.append(tale.expert(4, 2, holdout_loss=1e9))
    return tale.student(2, teachers, final=True)


def nothing_measured(tale: Tale) -> bytes:
    tale.experts(1)
    return tale.student(2, tale.experts(2), final=True)


def only_the_gap_falls(tale: Tale) -> bytes:
    tale.experts(1, holdout_loss=1.0, ci_gap=1.0)
    return tale.student(2, tale.experts(2, holdout_loss=1.0, ci_gap=0.5), final=True)


def half_of_four_gain(tale: Tale) -> bytes:
    """The lower of the two middle ratios decides."""
    tale.experts(1, "0123", holdout_loss=1.0)
    teachers = tale.experts(2, "01", holdout_loss=0.5) + tale.experts(2, "23", holdout_loss=1.0)
    return tale.student(2, teachers, missing=(KEYS[4],), final=True)


def gains_the_tolerance(tale: Tale) -> bytes:
    tale.experts(1, holdout_loss=1.0)
    return tale.student(2, tale.experts(2, holdout_loss=0.99), final=True)


def gains_a_little_more(tale: Tale) -> bytes:
    tale.experts(1, holdout_loss=1.0)
    return tale.student(2, tale.experts(2, holdout_loss=0.9899), final=True)


def compared_with_stage_one(tale: Tale) -> bytes:
    tale.experts(0, holdout_loss=1.0)
    return tale.student(1, tale.experts(1, holdout_loss=1.0), final=True)


def others_do_not_count(tale: Tale) -> bytes:
    """Of five that published, the two that gained teach."""
    tale.experts(1, holdout_loss=1.0)
    gained = tale.experts(2, "01", holdout_loss=0.5)
    tale.experts(2, "234", holdout_loss=1.0)
    return tale.student(2, gained, missing=tuple(KEYS[2:5]), final=True)


def resumed(tale: Tale) -> bytes:
    return _resumed(tale, tale.experts(0))


def resumed_of_others(tale: Tale) -> bytes:
    teachers = tale.experts(0)
    return _resumed(tale, teachers, teachers[::-1])


def resumed_of_nobody(tale: Tale) -> bytes:
    return tale.student(0, tale.experts(0), resumed=DIGESTS[3])


def resumed_of_no_leader(tale: Tale) -> bytes:
    teachers = tale.experts(0)
    return _resumed(tale, teachers, claimed=DIGESTS[4])


def _resumed(
    tale: Tale, teachers: list[bytes], begun: list[bytes] | None = None, claimed: bytes = b""
) -> bytes:
    """Silo 2 led, published how far it was, and was lost; silo 1 goes on."""
    lease = claimed or tale.lead(2, 0)
    body = rec.Checkpoint(
        term=1,
        round=0,
        lease=lease,
        snapshot=rec.Snapshot(digest=DIGESTS[3], size=1_000),
        teachers=tuple(begun or teachers),
        step=500,
    )
    tale.say(2, body)
    later = tale.lead(1, 0, term=2)
    return tale.student(0, teachers, lease=later, term=2, resumed=DIGESTS[3])


STUDENTS: list[tuple[str, str, Callable[[Tale], bytes], bool]] = [
    ("6.8.1", "strict", whole, True),
    ("6.8.1", "tolerant", silo_twice, False),
    ("6.8.1", "tolerant", later_round, False),
    ("6.8.2", "fedflow", averaged, True),
    ("6.8.2", "fedflow", two_rounds_averaged, False),
    ("6.8.3", "strict", without_a_word, False),
    ("6.8.3", "tolerant", without_a_word, False),
    ("6.8.3", "strict", withdrew, True),
    ("6.8.3", "strict", its_own_expert, False),
    ("6.8.4", "tolerant", taught_and_missing, False),
    ("6.8.5", "strict", left_out, False),
    ("6.8.5", "tolerant", left_out, True),
    ("6.8.5", "strict", leader_could_not_load, True),
    ("6.8.5", "strict", leader_says_so_later, False),
    ("6.8.5", "strict", leader_dislikes, False),
    ("6.8.5", "strict", given_up, True),
    ("6.8.5", "strict", condemned, True),
    ("6.8.5", "strict", round_left_out, True),
    ("6.8.6", "strict", ends_early, False),
    ("6.8.6", "strict", last_round, True),
    ("6.8.6", "strict", hides_the_end, False),
    ("6.8.6", "strict", converged, True),
    ("6.8.6", "strict", not_converged, False),
    ("6.8.6", "strict", nothing_measured, True),
    ("6.8.6", "strict", only_the_gap_falls, False),
    ("6.8.6", "tolerant", half_of_four_gain, False),
    ("6.8.6", "strict", gains_the_tolerance, True),
    ("6.8.6", "strict", gains_a_little_more, False),
    ("6.8.6", "strict", compared_with_stage_one, False),
    ("6.8.6", "tolerant", others_do_not_count, False),
    ("6.8.7", "strict", resumed, True),
    ("6.8.7", "strict", resumed_of_others, False),
    ("6.8.7", "strict", resumed_of_nobody, False),
    ("6.8.7", "strict", resumed_of_no_leader, False),
]


def students() -> list[Json]:
    found = []
    for clause, name, tell, counts in STUDENTS:
        tale = Tale(MANIFESTS[name])
        made = tell(tale)
        found.append(
            case(
                f"{clause}, {name}: {tell.__name__.replace('_', ' ')}",
                clause,
                manifest=name,
                entries=[sealed.envelope.hex() for sealed in tale.entries],
                student=made.hex(),
                counts=counts,
            )
        )
    return found


def readers() -> Json:
    manifests = {name: env.manifest_bytes(made).hex() for name, made in MANIFESTS.items()}
    return {"manifests": manifests, "records": records(), "students": students()}
