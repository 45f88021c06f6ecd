"""What is wrong with a run and with this node in it: silos, links, students. Pure.

What the machine does to the node is said by its own parts: `disk`, `troubles`, `runner`, `network`;
what silos do not hold, by `covered`.
"""

from collections.abc import Iterator, Mapping, Sequence

from dcfm_node.api.problems import THIS_NODE, THIS_RUN, Code, Problem
from dcfm_node.api.status import Elections, SiloStatus
from dcfm_node.api.students import StudentFacts
from dcfm_node.daemon.advice import what_to_try
from dcfm_node.daemon.eta import Rates
from dcfm_node.daemon.facts import student_facts
from dcfm_node.data.oddities import DataWarning
from dcfm_node.net.peers import Failure, Way
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.moments import Outlier, outliers
from dcfm_node.swarm.effects import DISK_FULL, Waiting
from dcfm_node.swarm.node import Node
from dcfm_node.swarm.quality import known_quality, novel_quality
from dcfm_node.swarm.view import View

DISK_FULL_S = 60.0
"""A silo's disk counts as full for so long after it said so: what it then tries hides it."""
BUNDLE_DAYS = 7
"""A silo that takes part by bundle is absent when no bundle has told of it for so many days."""


def run_problems(
    node: Node,
    silos: Sequence[SiloStatus],
    released: StudentFacts | None,
    features: Sequence[str] = (),
    *,
    now: float,
) -> list[Problem]:
    """Everything of the run that makes the node degraded.

    Args:
        features: names of the numbers of a sample, if they are known.
    """
    view = node.replica.view
    whole = released is not None and released.outcome == "COMPLETE"
    up_s = _up_s(node, now)
    here = [silo for silo in silos if not silo.withdrawn]
    found = [problem for silo in here for problem in _silo(silo, whole, up_s)]
    if len(view.active()) < node.manifest.quorum:
        what = "so many silos withdrew that the others are not a quorum: nobody can be elected"
        found.append(Code.QUORUM_LOST.problem(THIS_RUN, what))
    found += [*_own_journal(node), *_invalid(view), *_rejected(view), *_incomplete(view)]
    found += other_units(view, features)
    action = node.step.action if node.step is not None else None
    if isinstance(action, Waiting) and action.broken:
        found.append(Code.METHOD_FAILED.problem(THIS_NODE, action.why))
    phase = node.step.phase if node.step is not None else None
    poor = list(_below_floor(view))
    found += [*poor, *_unmeasured(view)]
    if phase is not None and phase.stage == "done" and released is None and not poor:
        what = "the run ended without a released student"
        found.append(Code.STUDENT_MISSING.problem(THIS_RUN, what))
    return found


def _up_s(node: Node, now: float) -> float:
    """Seconds since this node's first event: before it, nobody could be heard."""
    started_at = node.exchange.liveness.started_at
    return now - started_at if started_at is not None else 0.0


def _silo(silo: SiloStatus, whole: bool, up_s: float) -> Iterator[Problem]:
    """What is wrong with one silo.

    Args:
        whole: whether a student of every silo is released.
        up_s: for how many seconds this node has been up.
    """
    name = silo.name
    if silo.forked:
        what = f"{name} signed two histories; its later records do not count"
        yield Code.PEER_FORKED.problem(name, what)
    if silo.quarantined:
        yield Code.PEER_QUARANTINED.problem(name, f"{name} is in quarantine: {silo.quarantined}")
    elif silo.condemned:
        what = f"too many silos refused {name}'s expert of round {silo.expert_round}"
        yield Code.EXPERT_REFUSED.problem(name, what)
    for said in silo.verdicts:
        if said.cause == "score" and whole and not silo.condemned:
            continue  # It is of a past expert; the student has a good one of every silo.
        what = f"{name} is accused by {', '.join(said.by)} ({said.cause}): {said.reason}"
        yield Code.PEER_ACCUSED.problem(name, what)
    yield from _absence(silo, up_s)


def _absence(silo: SiloStatus, up_s: float) -> Iterator[Problem]:
    """Why a silo does not take part as it should."""
    name = silo.name
    if silo.trouble:
        yield Code.PEER_MISMATCH.problem(name, f"{name}: {silo.trouble}")
    elif silo.by_bundle and silo.bundle is not None:
        if (ago := silo.bundle.ago_s) > BUNDLE_DAYS * 86_400:
            what = f"{name} was not mentioned in any bundle for {ago / 86_400:.0f} days"
            yield Code.BUNDLE_OVERDUE.problem(name, what, since_s=ago)
    elif not silo.live and not silo.quarantined:
        heard = silo.heard_ago_s
        when = f"for {heard:.0f} s" if heard is not None else "since this node started"
        # Where others import its bundles, its records come here, and no sign of life does.
        written = silo.record_ago_s
        record = f"; its last record is {written:.0f} s old" if written is not None else ""
        what = f"{name} has not been heard from {when}{record}{_undialled(silo)}"
        yield Code.PEER_SILENT.problem(name, what, since_s=up_s if heard is None else heard)
    elif (full := silo.disk_full_ago_s) is not None and full <= DISK_FULL_S:
        says = "says" if silo.activity == DISK_FULL else f"said {full:.0f} s ago"
        what = f"{name} {says} that its disk is full: it takes in and publishes nothing"
        yield Code.PEER_DISK_FULL.problem(name, what)
    elif silo.late_s is not None:
        what = (
            f"{name} answers, but has shown no progress for {silo.late_s:.0f} s, and is waited for"
        )
        yield Code.PEER_STALLED.problem(name, what, since_s=silo.late_s)


def _undialled(silo: SiloStatus) -> str:
    """Why its control port cannot be dialled, where no link stands."""
    control = None if silo.linked else silo.links.get("control")
    return "".join(f"; {_failure(f)}" for f in control.failures) if control is not None else ""


def _failure(failure: Failure) -> str:
    return f"{failure.times} dials in a row to {failure.address} failed: {failure.reason}"


def link_problems(manifest: Manifest, ways: Mapping[bytes, Mapping[str, Way]]) -> Iterator[Problem]:
    """What is wrong with the links: one plane stands and the other does not, or two nodes use one
    key."""
    for silo in manifest.roster:
        if (planes := ways.get(silo.key)) is None:
            continue
        control, bulk = planes["control"], planes["bulk"]
        if hosts := control.hosts or bulk.hosts:
            what = f"{silo.name}'s keys are used by two nodes at once, at {' and at '.join(hosts)}"
            yield Code.KEY_SHARED.problem(silo.name, what)
        for name, way, other in (("bulk", bulk, control), ("control", control, bulk)):
            since = min(way.for_s, other.for_s)
            if not way.via and other.via:
                lost = "no snapshot passes" if name == "bulk" else "no record passes"
                why = "; ".join(map(_failure, way.failures)) or "it does not dial this node either"
                what = f"no {name} link to {silo.name} stands, so {lost} directly: {why}"
                yield Code.LINK_DOWN.problem(silo.name, what, since_s=since)


def unlinked(silos: Sequence[SiloStatus]) -> Iterator[Problem]:
    """Silos that are heard through others only, though this node dials them: no plane stands.

    Two silos that do not dial each other have no link by design. Who is silent, in quarantine or in
    another run is said elsewhere.
    """
    for silo in silos:
        if not silo.live or silo.own or silo.withdrawn or silo.quarantined or silo.trouble:
            continue
        ways = silo.links.values()
        failures = [failure for way in ways for failure in way.failures]
        if failures and not any(way.via for way in ways):
            why = "; ".join(map(_failure, failures))
            what = f"no link to {silo.name} stands; it is heard through others only: {why}"
            fix = (
                f"compare {silo.name}'s keys and address in the peers.toml of both sites, then open"
                " the ports in the firewall of one of them"
            )
            since = min(way.for_s for way in ways)
            yield Code.LINK_DOWN.problem(silo.name, what, fix=fix, since_s=since)


def social_problems(
    node: Node, silos: Sequence[SiloStatus], elections: Elections, rates: Rates, now: float
) -> Iterator[Problem]:
    """What silence and stuck downloads do to the run as a whole."""
    others = [silo for silo in silos if not silo.own and not silo.withdrawn]
    # A node of another run is heard: then neither the network nor the firewall is what is wrong.
    if others and not any(silo.live or silo.by_bundle or silo.trouble for silo in others):
        silent_s = min(
            (s.heard_ago_s for s in others if s.heard_ago_s is not None), default=_up_s(node, now)
        )
        what = f"this node hears no other silo{_same_reason(others)}"
        yield Code.NODE_ALONE.problem(THIS_NODE, what, since_s=silent_s)
    active = len(node.replica.view.active())
    if elections.losses_left < 0 and active >= elections.quorum and not _is_over(node):
        what = (
            f"{elections.present} of {active} silos give signs of life, and {elections.quorum} must"
            " vote for a leader: nobody can be elected"
        )
        yield Code.ELECTIONS_STOPPED.problem(THIS_RUN, what)
    for silo in others:
        still_s = rates.still_s(silo, now) if silo.live and silo.activity == "fetch" else None
        if still_s is not None:
            got = f", {silo.done} of {silo.total} bytes are there" if silo.total else ""
            what = f"{silo.name} is fetching a snapshot and receives nothing{got}"
            yield Code.PEER_STUCK.problem(silo.name, what, since_s=still_s)
    if node.fetching and (still_s := node.holdings.still_s(now)) is not None:
        what = f"this node is fetching {len(node.fetching)} snapshots and receives nothing"
        yield Code.FETCH_STUCK.problem(THIS_NODE, what, since_s=still_s)


def _same_reason(silos: Sequence[SiloStatus]) -> str:
    """Why dials fail, if all of them fail in the same way."""
    whys = {f.reason for s in silos if "control" in s.links for f in s.links["control"].failures}
    return f"; every dial failed: {whys.pop()}" if len(whys) == 1 else ""


def _is_over(node: Node) -> bool:
    return node.step is not None and node.step.phase.stage == "done"


def data_problems(view: View, warnings: Sequence[DataWarning]) -> Iterator[Problem]:
    """What the worker found odd about this node's data, as far as it matters in this run."""
    unscaled = view.preparation is not None and view.scale is None
    for warning in warnings:
        if unscaled or not warning.unscaled:
            code = Code.of(warning.code)
            yield code.problem(THIS_NODE, warning.what, fix=warning.fix)


def other_units(view: View, features: Sequence[str] = ()) -> Iterator[Problem]:
    """Silos whose data of a feature seem to be in other units (SPEC 6.13.6)."""
    active, manifest = set(view.active()), view.manifest
    joins = {manifest.silo_name(key): view.joins[key] for key in sorted(active & view.joins.keys())}
    told = {silo: join.moments for silo, join in joins.items() if join.moments is not None}
    held = {silo: [label for label, _ in join.counts] for silo, join in joins.items()}
    by_silo: dict[str, list[Outlier]] = {}
    for outlier in outliers(told, held):
        by_silo.setdefault(outlier.silo, []).append(outlier)
    for silo, found in by_silo.items():
        first, more = found[0], len(found) - 1
        group = f"{'feature' if len(manifest.flow_shape) == 1 else 'group'} {first.group}"
        groups = len(told[silo].mean)
        if manifest.flow_shape == manifest.sample_shape == (groups,) == (len(features),):
            group = repr(features[first.group])
        what = (
            f"{silo} may use other units: its {group} has mean {first.mean:.4g} and"
            f" deviation {first.deviation:.4g}, that of most silos about {first.centre:.4g} and"
            f" {first.spread:.4g}" + (f"; so {more} more" if more else "")
        )
        yield Code.DATA_UNITS.problem(silo, what)


def _own_journal(node: Node) -> Iterator[Problem]:
    """Why this node writes no more records, or soon will not."""
    recovery = node.exchange.recovery
    if node.writer.full:
        what = "this node's journal is full: it can publish nothing more but a withdrawal"
        yield Code.JOURNAL_FULL.problem(THIS_NODE, what)
    if node.writer.unfit:
        what = f"a record of this node does not fit the run: {node.writer.unfit}"
        yield Code.RECORD_REFUSED.problem(THIS_NODE, what)
    if node.exchange.usurped:
        what = "another node signs with this node's key: this node writes no more"
        yield Code.KEY_TAKEN.problem(THIS_NODE, what)
    elif recovery.writable and recovery.shown[1] > recovery.epoch:
        what = "another node began with this node's keys after it did"
        yield Code.KEY_SHARED.problem(THIS_NODE, what)


def _invalid(view: View) -> Iterator[Problem]:
    """Students by elected leaders that break a rule, or seem to as far as is known here, while no
    student has taken their place."""
    for student, why in view.unfounded():
        if view.student(student.body.round) is None:
            leader = view.manifest.silo_name(student.author)
            what = f"the student of round {student.body.round} by {leader} does not count: {why}"
            yield Code.STUDENT_INVALID.problem(leader, what)


def _rejected(view: View) -> Iterator[Problem]:
    """Students that too many silos refused, until a later one is better."""
    good = [s for s in view.counting_students() if view.endorsed_by_quorum(s)]
    newest = max((s.body.round for s in good), default=-1)
    for said in view.valid_students():
        if view.rejected(said) and said.body.round > newest:
            student = student_facts(view, said)
            first, why = next(iter(student.refused_by.items()))
            what = (
                f"the student of round {student.round} that {student.leader} distilled was refused"
                f" by {', '.join(student.refused_by)}; {first} says: {why}"
            )
            yield Code.STUDENT_REJECTED.problem(student.leader, what)


def _below_floor(view: View) -> Iterator[Problem]:
    """The last final student, if its expected quality is below the floor, and what to try."""
    final = [said for said in view.counting_students() if said.body.final]
    if not final or not (view.below_floor(final[-1]) or view.released(final[-1])):
        return
    announced, floor = view.announcement(final[-1]), view.manifest.policy.novel_floor
    if view.below_floor(final[-1]) or announced.below(floor):
        stays = "" if view.released(final[-1]) else ": it stays interim"
        what = (
            f"the final student's draws are expected to be right in too few cases{stays};"
            f" {announced}; the floor is {floor:.0%}"
        )
        yield Code.BELOW_FLOOR.problem(THIS_RUN, what, fix=what_to_try(view, final[-1]))


def _unmeasured(view: View) -> Iterator[Problem]:
    """What of a released student's quality is unmeasured, though it was asked for: silos that are
    still silent cannot change it."""
    student = view.latest()
    if student is None or view.manifest.policy.novel_floor == 0.0:
        return
    figures = view.figures(student)
    silent = len(set(view.active()) - figures.keys())
    announced, quorum = view.announcement(student), view.manifest.quorum
    for what, estimate, of in (
        ("known", announced.known, known_quality),
        ("novel", announced.novel, novel_quality),
    ):
        told = sum(of(figure) is not None for figure in figures.values())
        if estimate is None and told + silent < quorum and (view.has_novel() or what == "known"):
            kind = "combinations trained on" if what == "known" else "novel combinations"
            why = f"nobody can say how good draws of {kind} are: {announced.why}"
            yield Code.QUALITY_UNMEASURED.problem(THIS_RUN, why)
            return


def _incomplete(view: View) -> Iterator[Problem]:
    """Which silos the released student lacks, and the newest one."""
    latest, newest = view.latest(), view.newest_student()
    named = {"the released student": latest}
    if newest != latest:
        named["the newest student"] = newest
    for which, said in named.items():
        if said is not None and said.body.missing:
            names = ", ".join(map(view.manifest.silo_name, said.body.missing))
            what = f"{which} was made without {names}"
            yield Code.STUDENT_INCOMPLETE.problem(THIS_RUN, what)
