"""What a view says, as tables of entries and facts (SPEC 6.1, 6.2, 6.7, 7.1): one rule a case."""

from dcfm_node.records import entries as rec
from dcfm_node.wire import envelope as env
from dcfm_node.wire.canonical import sha256
from vectors.common import NAMES, Json, case, shared
from vectors.floors import floors, qualities
from vectors.plots import MANIFESTS, Plot
from vectors.readers import DIGESTS, KEYS


def firsts() -> list[Json]:
    """Which of several records of one author count (SPEC 6.1.1)."""
    found = []
    for name, rounds, counts in (("then a later", (0, 1), True), ("after a later", (1, 0), False)):
        plot = Plot()
        own = {round_: plot.expert(0, round_) for round_ in rounds}
        made = plot.student(0, [own[0], *plot.experts(0, "1234")])
        found.append(plot.told(f"an expert of round 0, {name}", "6.1.1", valid=_of(made, counts)))
    plot = Plot()
    unheard = plot.lease(1, [DIGESTS[0], DIGESTS[1], DIGESTS[2]])
    good = plot.lease(1, plot.votes("012", 1))
    facts = {"certified": {unheard.hex(): False, good.hex(): False}}
    found.append(plot.told("a second lease of a term", "6.1.1", **facts))
    plot = Plot()
    teachers = plot.experts(0, "0234")
    lease = plot.lead(1, 0)
    first = plot.student(0, teachers, lease=lease, missing=(KEYS[1],))
    plot.student(0, teachers, lease=lease, missing=(KEYS[1],), version="again")
    facts = {"valid": [first.hex()], "quarantined": [NAMES[1]]}
    found.append(plot.told("a second student under a lease", "6.1.1", **facts))
    for name, refuses in (("endorsed, then refused", False), ("refused, then endorsed", True)):
        plot = Plot()
        made = plot.student(0, plot.experts(0, "0123"), final=False, missing=(KEYS[4],))
        plot.endorse(made, 0, 1)
        for refusing in (refuses, not refuses):
            (plot.refuse if refusing else plot.endorse)(made, 4)
        phase = ["release", 0] if refuses else ["refine", 1]
        found.append(plot.told(name, "6.1.1", phase=phase, quarantined=[NAMES[4]]))
    for name, last, condemned in (
        ("the last verdict on an entry is another", "snapshot", False),
        ("the last verdict on an entry is the same", "score", True),
    ):
        plot = Plot()
        plot.rare("012")
        bad = plot.expert(0, 0)
        for judge, cause in ((1, "score"), (2, "score"), (1, last)):
            plot.judge(judge, 0, bad, cause)
        found.append(plot.told(name, "6.1.1", condemned={bad.hex(): condemned}))
    plot = Plot()
    teachers, lease = plot.experts(0), plot.lead(1, 0)
    made_of = [plot.checkpoint(1, lease, teachers, step) for step in range(9)]
    facts = {"checkpoints": {"0": [digest.hex() for digest in made_of[1:]]}}
    return [*found, plot.told("nine checkpoints under a lease", "6.1.1", **facts)]


def _of(student: bytes, counts: bool) -> list[str]:
    return [student.hex()] if counts else []


def quorums() -> list[Json]:
    """Leases, students and refusals of rosters of every size (SPEC 2.5, 6.1.3, 6.1.5)."""
    found = []
    for count, quorum in ((1, 1), (2, 2), (3, 2), (4, 3)):
        everyone = "0123"[:count]
        for voters in range(1, count + 1):
            plot = Plot(f"of {count}")
            votes = plot.votes(everyone[:voters], 0)
            lease = plot.lease(0, (votes + DIGESTS)[: max(voters, quorum)])
            facts = {"certified": {lease.hex(): voters >= quorum}}
            found.append(plot.told(f"{voters} of {count} vote", "6.1.3", **facts))
        for refusers in range(count + 1):
            plot = Plot(f"of {count}")
            plot.experts(0, everyone)
            lease = plot.lease(0, plot.votes(everyone, 0))
            teachers = [s.digest for s in plot.entries if s.entry.body.kind == "expert"]
            fields = {"round": 0, "term": 1, "lease": lease, "snapshot": _snapshot(b"student")}
            made = plot.say(0, _student(fields, teachers))
            plot.refuse(made, *range(refusers))
            rejected = count - refusers < quorum
            counts = not rejected or count == quorum  # with no silo to spare it stands, rejected
            facts = {"student": {"0": made.hex() if counts else None}}
            facts |= {"blamed": {"0": [NAMES[0]] if rejected else []}}
            found.append(plot.told(f"{refusers} of {count} refuse", "6.1.5", **facts))
    return found


def _snapshot(what: bytes) -> rec.Snapshot:
    return rec.Snapshot(digest=sha256(what), size=1_000)


def _student(fields: Json, teachers: list[bytes]) -> rec.Student:
    rest = {"missing": (), "resumed": None, "final": False, "seed": 0, "version": "", "metrics": {}}
    return rec.Student.model_validate(rest | fields | {"teachers": tuple(teachers)})


def members() -> list[Json]:
    """Silos that take no part any more (SPEC 6.1.2, 6.7.3)."""
    plot = Plot()
    plot.experts(0, "01")
    votes = plot.votes("012", 1)
    plot.leave(0)
    plot.say(2, rec.Vote(term=1, round=0, candidate=KEYS[2]))
    lease = plot.lease(1, votes)
    facts: Json = {"certified": {lease.hex(): True}, "active": [NAMES[1], NAMES[3], NAMES[4]]}
    facts |= {"missing": {"0": [NAMES[3], NAMES[4]]}, "quarantined": [NAMES[2]]}
    found = [plot.told("votes of who left, and of who voted twice", "6.1.2", **facts)]
    plot = Plot()
    made = plot.student(0, plot.experts(0, "0123"), missing=(KEYS[4],))
    plot.leave(4)
    facts = {"student": {"0": made.hex()}}
    found.append(plot.told("a silo leaves that taught nothing", "6.1.5", **facts))
    plot.leave(3)
    facts = {"valid": [made.hex()], "student": {"0": None}, "phase": ["distil", 0]}
    found.append(plot.told("a silo leaves that taught it", "6.1.5", **facts))
    for name, subjects, out in (
        ("a quorum names one silo", (0, 0, 0), True),
        ("a quorum names several", (0, 0, 3), False),
    ):
        plot = Plot()
        for entry in DIGESTS[:2]:
            for judge, subject in zip((1, 2, 4), subjects, strict=True):
                plot.judge(judge, subject, entry)
        facts = {"quarantined": [NAMES[0]] if out else []}
        found.append(plot.told(f"of two entries that nobody holds {name}", "6.7.3", **facts))
    plot = Plot()
    bad, *_ = plot.experts(0)
    made = plot.student(0, [bad], missing=tuple(KEYS[1:5]))
    for judge in (1, 2, 3):
        plot.judge(judge, 0, bad)
        plot.judge(judge, 1, made)
    facts = {"quarantined": [], "condemned": {bad.hex(): True, made.hex(): True}, "valid": []}
    found.append(plot.told("one entry each of two silos", "6.7.3", **facts))
    return found


def verdicts() -> list[Json]:
    """What verdicts do to a student or an expert (SPEC 6.1.4, 6.7.2)."""
    found = []
    plans: list[tuple[str, list[tuple[int, str]], bool]] = [
        ("two of five: snapshot", [(0, "snapshot"), (2, "snapshot")], True),
        ("three: snapshot", [(0, "snapshot"), (2, "snapshot"), (3, "snapshot")], False),
        ("three: quota", [(0, "quota"), (2, "quota"), (3, "quota")], False),
        ("three: score", [(0, "score"), (2, "score"), (3, "score")], False),
        ("three, each another", [(0, "score"), (2, "quota"), (3, "snapshot")], False),
        ("three: flood", [(0, "flood"), (2, "flood"), (3, "flood")], True),
        ("one silo three times", [(0, "score"), (0, "quota"), (0, "snapshot")], True),
        ("three, its author one of them", [(0, "quota"), (1, "quota"), (2, "quota")], False),
    ]
    for name, said, valid in plans:
        plot = Plot()
        made = plot.student(0, plot.experts(0))
        for judge, cause in said:
            plot.judge(judge, 1, made, cause)
        found.append(plot.told(f"a student, {name}", "6.1.4", valid=_of(made, valid)))
    rare: list[tuple[str, str, list[int], bool]] = [
        ("both comparers", "012", [1, 2], True),
        ("one of two comparers and another", "012", [1, 3], False),
        ("two of three comparers", "0123", [1, 2], True),
        ("two of four comparers", "01234", [1, 2], False),
        ("one comparer, the only one", "01", [1], False),
        ("its own silo and a comparer", "012", [0, 1], False),
        ("its own silo and both comparers", "012", [0, 1, 2], True),
    ]
    for name, holders, judges, condemned in rare:
        plot = Plot()
        plot.rare(holders)
        bad = plot.expert(0, 0)
        for judge in judges:
            plot.judge(judge, 0, bad, "score")
        found.append(plot.told(f"an expert, {name}", "6.7.2", condemned={bad.hex(): condemned}))
    for name, gone in (("who left", True), ("who is in quarantine", False)):
        plot = Plot()
        bad = plot.expert(0, 0)
        for judge in (1, 2, 3):
            plot.judge(judge, 0, bad, "quota")
        if gone:
            plot.leave(3)
        else:
            plot.votes("33", 1)
        found.append(plot.told(f"an expert, by one {name}", "6.7.2", condemned={bad.hex(): True}))
    return found


def blamed() -> list[Json]:
    """Who may be why a student was rejected (SPEC 6.1.7), and what is gone on from (6.4.4.1)."""
    plot = Plot()
    teachers, lease = plot.experts(0), plot.lead(2, 0)
    begun = plot.checkpoint(2, lease, teachers, 500)
    name = {"checkpoints": {"0": [begun.hex()]}, "blamed": {"0": []}}
    found = [plot.told("a leader's checkpoint", "6.4.4.1", **name)]
    later = plot.lead(1, 0, term=2)
    resumed = sha256(b"step", (500).to_bytes(4, "big"))
    made = plot.student(0, teachers, lease=later, term=2, resumed=resumed)
    plot.refuse(made, 0, 3)
    facts: Json = {"blamed": {"0": []}, "student": {"0": made.hex()}}
    found.append(plot.told("two of five refuse what went on from it", "6.1.7", **facts))
    plot.refuse(made, 4)
    facts = {"blamed": {"0": [NAMES[1], NAMES[2]]}, "student": {"0": None}}
    facts |= {"checkpoints": {"0": []}, "phase": ["distil", 0]}
    found.append(plot.told("three of five refuse what went on from it", "6.1.7", **facts))
    return found


def phases() -> list[Json]:
    """The phase, given who is suspected (SPEC 6.2)."""
    found = []

    def told(plot: Plot, name: str, stage: str, round_: int, late: str = "") -> None:
        facts = {"suspected": [NAMES[int(silo)] for silo in late], "phase": [stage, round_]}
        found.append(plot.told(f"{plot.name}, {name}", "6.2.1" if late else "6.2", **facts))

    for name, after in (
        ("strict", ("distil", 0)),
        ("paper", ("refine", 1)),
        ("fedflow", ("refine", 1)),
    ):
        plot = Plot(name)
        told(plot, "nothing is said", "local", 0)
        plot.experts(0, "0123")
        told(plot, "one expert is missing", "local", 0)
        plot.expert(4, 1)
        told(plot, "the missing one is of a later round", *after)
    for name, experts, late, phase in (
        ("a quorum is there, all others suspected", "012", "34", ("distil", 0)),
        ("a quorum is there, one of the others suspected", "012", "3", ("local", 0)),
        ("less than a quorum is there, all others suspected", "01", "234", ("local", 0)),
    ):
        plot = Plot()
        plot.experts(0, experts)
        told(plot, name, *phase, late)
    plot = Plot("strict")
    plot.experts(0, "012")
    told(plot, "a quorum is there, all others suspected", "local", 0, "34")
    plot = Plot()
    plot.experts(0, "012")
    plot.lead(1, 0)
    told(plot, "a leader was elected", "distil", 0)
    plot = Plot("strict")
    made = plot.student(0, plot.experts(0))
    told(plot, "a student counts", "release", 0)
    plot.endorse(made, 0, 1)
    told(plot, "two of five endorse it", "release", 0)
    plot.endorse(made, 2)
    told(plot, "a quorum endorses it", "refine", 1)
    last = plot.student(3, plot.experts(3), lease=plot.lead(1, 3, 2), term=2, final=True)
    plot.endorse(last, 0, 1, 2)
    told(plot, "a quorum endorses the final one", "done", 3)
    plot.leave(2)
    told(plot, "a teacher's silo leaves when all is done", "distil", 3)
    plot = Plot("fedflow")
    plot.experts(0)
    plot.experts(1)
    told(plot, "the last round is trained", "distil", 1)
    return found


def terms() -> list[Json]:
    """Terms that count, and how often a round was tried (SPEC 7.1)."""
    found = []
    for name, said, last in (
        ("no vote", [], 0),
        ("the highest within reach", [1_000], 1_000),
        ("out of reach", [1_001], 0),
        ("within reach of another", [1_000, 2_000], 2_000),
        ("out of reach of another", [1_000, 2_001], 1_000),
        ("what closes the gap comes later", [2_001, 1_001, 1_000], 2_001),
    ):
        plot = Plot()
        for number, term in enumerate(said):
            plot.votes(str(number), 1, term)
        found.append(plot.told(name, "7.1.1", last_term=last))
    plot = Plot()
    plot.votes("01", 1, 1)
    plot.votes("012", 1, 2)
    plot.votes("01", 1, 3)
    plot.votes("2", 1, 3, 1)
    plot.votes("0123", 1, 4)
    for term, attempts in ((1, 0), (2, 0), (3, 1), (4, 1), (5, 2)):
        found.append(plot.told(f"term {term}", "7.1", attempts=[0, term, attempts]))
    return found


def weights() -> list[Json]:
    """What silos weigh by their sample counts (SPEC 6.9)."""
    unit = 65_536
    plans: list[tuple[str, float, list[list[int]], list[list[int]]]] = [
        ("all within their share", 0.5, [[3, 2], [5]], [[3, 2], [5]]),
        ("one above its share", 0.5, [[60, 30], [10]], [[436_907, 218_453], [10 * unit]]),
        ("an equal share is the least", 0.1, [[90], [10]], [[10 * unit], [10 * unit]]),
        ("one of three above its share", 0.5, [[98], [1], [1]], [[2 * unit], [unit], [unit]]),
        ("two of three above theirs", 0.4, [[98], [49], [1]], [[2 * unit], [2 * unit], [unit]]),
        ("alone", 0.5, [[7]], [[7]]),
        ("a label of less than a part", 0.5, [[1, 2**39], [1]], [[1, unit], [unit]]),
    ]
    return [
        case(name, "6.9", max_share={"$float": repr(share)}, counts=counts, weighed=weighed)
        for name, share, counts, weighed in plans
    ]


def scales() -> list[Json]:
    """The scale of one group, from samples, means and deviations of silos (SPEC 6.13)."""
    near, root2, most = [50, 0.0, 1.0], 1.4142135623730951, 2.0**128
    plans: list[tuple[str, str, list[list[float]], tuple[float, float]]] = [
        ("alone", "6.13.3", [[40, 1e12, 1e9]], (1e12, 1e9)),
        ("two means", "6.13.3", [near, [50, 2.0, 1.0]], (1.0, root2)),
        ("one above its share", "6.13.4", [[900, 0.0, 1.0], [40, 2.0, 1.0]], (1.0, root2)),
        ("far above", "6.13.2", [near, [50, 20.0, 1.0], [50, most, most]],
         (83.33333333333333, 159.7588460426805)),
        ("far below", "6.13.2", [near, near, [50, -most, most]],
         (-3.3333333333333335, 7.4981479194679945)),
        ("one that varies", "6.13.2", [[50, 5.0, 0.0], [50, 5.0, 0.0], [50, 9.0, 2.0]],
         (6.333333333333333, 2.211083193570267)),
        ("two that vary", "6.13.2", [[50, 0.0, 0.0], [50, 0.0, 0.0], near, [50, 0.0, 30.0]],
         (0.0, 15.008331019803634)),
        ("a tiny word", "6.13.2", [near, [50, 0.0, 1e-9]], (0.0, 0.7071067811865476)),
        ("two in the middle", "6.13.2", [near, near, [50, 3.0, 1.0], [50, 100.0, 1.0]],
         (10.75, 16.96135312998347)),
        ("two say something", "6.13.2",
         [[50, 1e6, 0.5], [50, 1e6, 0.5], [50, 1e6, 1e3], [50, 1e6, 3e4]],
         (1e6, 15008.331023967989)),
        ("none that varies", "6.13.2", [[50, 0.0, 0.0], [50, 0.0, 0.0], [50, 3.0, 0.0]],
         (1.0, root2)),
        ("constant", "6.13.3", [[50, -3.0, 0.0], [50, -3.0, 0.0]], (-3.0, 1.0)),
        ("constant to rounding", "6.13.3", [[50, 1e6, 0.5], [50, 1e6, 0.5]], (1e6, 1.0)),
        ("hardly constant", "6.13.3", [[50, 1e6, 2.0], [50, 1e6, 2.0]], (1e6, 2.0)),
        ("tiny", "6.13.3", [[50, 0.0, 1e-29], [50, 0.0, 1e-29]], (0.0, 1e-29)),
        ("nothing", "6.13.3", [[50, 0.0, 1e-31], [50, 0.0, 1e-31]], (0.0, 1.0)),
    ]  # fmt: skip

    def written(*numbers: float) -> list[Json]:
        return [{"$float": repr(float(number))} for number in numbers]

    return [
        case(name, clause, silos=[[many, *written(*of)] for many, *of in silos], scale=written(*to))
        for name, clause, silos, to in plans
    ]


def views() -> Json:
    manifests = {name: env.manifest_bytes(made).hex() for name, made in MANIFESTS.items()}
    cases = [*firsts(), *quorums(), *members(), *verdicts(), *blamed(), *phases(), *floors()]
    made = shared([*cases, *terms()])
    return {
        "manifests": manifests,
        **made,
        "weights": weights(),
        "scales": scales(),
        "qualities": qualities(),
    }
