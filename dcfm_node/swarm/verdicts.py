"""The verdicts a node publishes on members that broke a rule (SPEC 6.7): each once, and a bounded
number."""

from collections.abc import Callable, Mapping, Sequence

from dcfm_node.records.entries import Body, Cause, Refuse, Student, Verdict
from dcfm_node.swarm.effects import Unfit
from dcfm_node.swarm.view import View


def on_claims(view: View, me: bytes, peers: Sequence[bytes]) -> list[Body]:
    """Verdicts on peers that claim to hold more of this node's journal but do not show it."""
    reason = "says that it holds more of this node's journal than it has"
    return [body for peer in peers for body in once(view, me, peer, "head", reason)]


def on_unfit(view: View, event: Unfit) -> list[Body]:
    """A verdict on every expert, and a refusal of every student, that names a bad snapshot; or a
    verdict on the one entry that names it wrongly."""

    def named(digest: bytes, entry: bytes) -> bool:
        return digest == event.digest and event.entry in (None, entry)

    # Only students of elected leaders: others do not count, and could make every node write without
    # end.

    verdicts: list[Body] = [
        Verdict(subject=e.author, cause=event.cause, entry=e.digest, reason=event.reason[:500])
        for e in view.expert_entries.values()
        if named(e.body.snapshot.digest, e.digest)
    ]
    for student in view.elected_students():
        if named(student.body.snapshot.digest, student.digest):
            reason = event.reason[:500]
            verdicts += [
                Verdict(
                    subject=student.author, cause=event.cause, entry=student.digest, reason=reason
                ),
                Refuse(student=student.digest, reason=reason, metrics={}),
            ]
    return verdicts


def over_quota(view: View, me: bytes, quota: int | None) -> list[Body]:
    """Verdicts on entries that name a snapshot larger than `quota` bytes. No node requests such a
    snapshot."""
    if quota is None:
        return []
    out = view.quarantined()  # a quarantined member could make every node write for ever
    experts, students = view.expert_entries.values(), view.elected_students()
    named = {e.digest: e.body.snapshot for e in experts if e.author not in out}
    named |= {s.digest: s.body.snapshot for s in students if s.author not in out}
    found: list[Body] = []
    for entry, snapshot in named.items():
        if snapshot.size > quota and me not in view.verdicts.get(entry, ()):
            reason = f"{snapshot.size} bytes, where no snapshot of this run has over {quota}"
            found += on_unfit(view, Unfit(snapshot.digest, reason, "quota", entry))
    return found


def given_up(
    view: View, me: bytes, *, lost: Callable[[bytes], bool], live: Callable[[bytes], bool]
) -> list[Body]:
    """The verdict by which a silo of a strict run gives up its own lost expert (SPEC 6.4.5). All
    others wait for that expert, so this node publishes it once every silo is live and none has
    it."""
    said = view.newest_experts.get(me)
    if said is None or me in view.verdicts.get(said.digest, {}):
        return []
    if not lost(said.body.snapshot.digest) or not all(live(k) for k in view.active() if k != me):
        return []
    reason = "lost with its silo's disk, and nobody else has it"
    return [Verdict(subject=me, cause="snapshot", entry=said.digest, reason=reason)]


def owed(view: View, me: bytes, quota: int | None, malformed: Mapping[bytes, str]) -> list[Body]:
    """Verdicts that this node owes and has not published yet.

    Args:
        quota: most bytes of a snapshot of this run; None if unknown.
        malformed: by peer, why its input could not be opened.
    """
    sent = [v for peer, why in malformed.items() for v in once(view, me, peer, "malformed", why)]
    return [*on_proof(view, me), *over_quota(view, me, quota), *sent]


def on_proof(view: View, me: bytes) -> list[Verdict]:
    """Verdicts on faults that members' own records prove, if this node has not published them: one
    for each cause."""
    return [
        Verdict(subject=author, cause=fault.cause, entry=fault.entry, reason=fault.why)
        for author, faults in view.proven().items()
        for fault in {fault.cause: fault for fault in reversed(faults)}.values()
        if author != me and me not in view.accusations.get((author, fault.cause), ())
    ]


def once(view: View, me: bytes, subject: bytes, cause: Cause, reason: str) -> list[Verdict]:
    """A verdict on what a member did on its links, if this node has not published one. It proves
    nothing."""
    if subject == me or me in view.accusations.get((subject, cause), ()):
        return []
    return [Verdict(subject=subject, cause=cause, entry=None, reason=reason[:500])]


def superseding(view: View, student: Student) -> Mapping[str, str]:
    """Silos that superseded a student by leaving, by quarantine or by a refused expert: name, then
    the reason in words."""
    gone, refused = departed(view), "taught it an expert that too many refused"
    names = map(view.manifest.silo_name, view.superseded(student))
    return {name: gone.get(name, refused) for name in names}


def departed(view: View) -> Mapping[str, str]:
    """Silos that withdrew or are in quarantine: name, then the reason in words, in roster order."""
    found = {}
    for silo in view.manifest.roster:
        if silo.key in view.withdrawn:
            found[silo.name] = f"withdrew: {view.withdrawn[silo.key].reason}"
        elif silo.key in view.quarantined():
            found[silo.name] = f"is in quarantine: {view.quarantined()[silo.key]}"
    return found


def told(view: View) -> Mapping[bytes, Sequence[tuple[Cause, str, tuple[bytes, ...]]]]:
    """Accusations by member, for the operator: (cause, one reason, keys of the accusers)."""
    found: dict[bytes, list[tuple[Cause, str, tuple[bytes, ...]]]] = {}
    for (subject, cause), said in view.accusations.items():
        reason = next(iter(said.values())).body.reason
        found.setdefault(subject, []).append((cause, reason, tuple(said)))
    return found
