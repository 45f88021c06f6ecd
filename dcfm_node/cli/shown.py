"""`peers` and `student list` as text, and the parts of `status` that tell more."""

from collections.abc import Iterator, Sequence

from dcfm_node.api.status import (
    Coverage,
    Peers,
    PreparationStatus,
    SiloStatus,
    StartingStatus,
    Status,
)
from dcfm_node.api.students import Estimated, Expected, StudentFacts, Students
from dcfm_node.cli.others import other_lines
from dcfm_node.cli.output import ago, share, size, table
from dcfm_node.words import times, utc

GOOD, FAIR = 0.9, 0.7
"""Shares of right draws from which quality is called good, and fair."""
MAX_PROBES = 8
MAX_ALONE = 3
"""Most probes, and silos that alone hold combinations, that `status` names."""


def starting_text(found: StartingStatus) -> str:
    """The status of a node that is not ready yet, as text."""
    return f"{found.node}  starting: {found.doing.why}"


def peers_text(found: Peers) -> str:
    """The peers' links, and who else wants or may have one, as text."""
    silos = [peers_table(found.peers), *dial_lines(found.peers)] if found.peers else []
    return "\n".join([*silos, *other_lines(found)])


def peers_table(peers: Sequence[SiloStatus]) -> str:
    """The peers' links and traffic as text."""
    header = ("peer", "linked", "bulk", "heard", "version", "sent", "received", "trouble")
    rows = [
        (
            peer.name,
            "yes" if peer.linked else "no",
            bulk_cell(peer),
            ago(peer.heard_ago_s),
            peer.version or None,
            size(peer.bytes_sent) if peer.bytes_sent is not None else None,
            size(peer.bytes_received) if peer.bytes_received is not None else None,
            _trouble(peer),
        )
        for peer in peers
    ]
    return table(header, rows)


def bulk_cell(silo: SiloStatus) -> str:
    """How snapshots go to and from a silo."""
    way = silo.links.get("bulk")
    return "-" if way is None else {"own": "up", "": "down"}.get(way.via, way.via)


def dial_lines(silos: Sequence[SiloStatus]) -> Iterator[str]:
    """Which dials fail, how often and why, on either plane; each address once."""
    for silo in silos:
        found = {
            failure.address: f"dials     {silo.name}: {plane} at {failure.address}:"
            f" failed {times(failure.times)}{' in a row' * (failure.times > 1)}: {failure.reason}"
            for plane in ("bulk", "control")
            if plane in silo.links
            for failure in silo.links[plane].failures
        }
        yield from found.values()


def _trouble(peer: SiloStatus) -> str:
    """What is wrong with a peer, and which silos say so."""
    said = [f"{v.cause} ({', '.join(v.by)}): {v.reason}" for v in peer.verdicts]
    quarantine = f"in quarantine: {peer.quarantined}" if peer.quarantined else ""
    found = [peer.trouble or peer.refused, quarantine, *said]
    return "; ".join(text for text in found if text)


def weight_lines(silos: Sequence[SiloStatus]) -> list[str]:
    """Silos whose weight policy.max_share limits to less than their share of the samples."""
    total = sum(silo.samples for silo in silos if silo.share)
    return [
        f"weight    {silo.name} trains on {silo.samples} of {total} samples (without the hold-out),"
        f" but its weight is"
        f" {silo.share:.0%}, the most that policy.max_share allows"
        for silo in silos
        if silo.share and silo.share < 0.999 * silo.samples / total
    ]


def skew_lines(found: Status) -> list[str]:
    """Peers that run another version of the software than this node."""
    others = [
        f"{silo.name} {silo.version}"
        for silo in found.silos
        if silo.version and silo.version != found.version
    ]
    return [f"versions  this node {found.version}; {', '.join(others)}"] if others else []


def knock_lines(found: Status) -> list[str]:
    """Unknown keys that tried to connect, in one line."""
    if not (strangers := found.pending):
        return []
    more = "or more " if found.pending_more else ""
    keys = "1 key" if len(strangers) == 1 else f"{len(strangers)} keys"
    return [
        f"knocks    {keys} {more}that peers.toml lacks, the last from {strangers[-1].address}:"
        " 'dcfm-node peers' shows them"
    ]


def crowd_lines(found: Status) -> list[str]:
    """Connections that have not identified themselves, once there were too many."""
    crowds = [crowd for crowd in found.unknown.values() if crowd.hung_up]
    if not crowds:
        return []
    waiting, cut = sum(crowd.waiting for crowd in crowds), sum(crowd.hung_up for crowd in crowds)
    last = min(c.hung_up_ago_s for c in crowds if c.hung_up_ago_s is not None)
    return [
        f"strangers {waiting} connections have not identified themselves; this node closed {cut}"
        f" more for lack of room, the last {ago(last)} ago. Peers can still connect"
    ]


def whereabouts(silo: SiloStatus) -> str:
    """Whether a silo that this node waits for is connected, and what it does."""
    if silo.own:
        return "this node"
    if silo.by_bundle and silo.bundle is not None:
        return f"takes part by bundle, the last one {ago(silo.bundle.ago_s)} ago"
    trouble, heard = _trouble(silo), silo.heard_ago_s
    if not silo.live:
        last = f"last heard {ago(heard)} ago"
        when = "not heard since this node started" if heard is None else last
        if silo.linked:
            return f"connected, {trouble or f'and silent: {when}'}"
        return f"not connected, {when}{', ' * bool(trouble)}{trouble}"
    way = "connected" if silo.linked else "heard through others"
    if is_busy(silo):
        return f"{way}, {silo.activity} round {silo.round}, {_progress(silo)}"
    return f"{way}, idle"


def is_busy(silo: SiloStatus) -> bool:
    return silo.activity not in (None, "idle")


def _progress(silo: SiloStatus) -> str:
    return share(silo.done or 0, silo.total or 0)


def bundle_lines(silos: Sequence[SiloStatus]) -> list[str]:
    """What the last bundles brought from the silos that take part by bundle."""
    return [
        f"bundle    {silo.name}: {ago(bundle.ago_s)} ago, {bundle.records} new records in the"
        f" bundle of {bundle.bundle_of}, with {bundle.snapshots} snapshots that this node needed"
        for silo in silos
        if silo.by_bundle and (bundle := silo.bundle) is not None
    ]


def coverage_lines(coverage: Coverage) -> Iterator[str]:
    """What silos hold, and what can be composed from it."""
    held, possible = coverage.observed, coverage.combinations
    if coverage.silos_told < coverage.silos:
        yield (
            f"coverage  {coverage.silos_told} of {coverage.silos} silos have published what they"
            f" hold: {held} of {possible} combinations so far"
        )
        return
    yield f"coverage  the silos hold {held} of {possible} combinations{_alone(coverage)}"
    if coverage.missing_values:
        values = ", ".join(f"{v.attribute}={v.value}" for v in coverage.missing_values)
        yield f"          no silo holds {values}: no combination with it can be composed"
    if coverage.rank_needed == possible:
        yield "          there is one attribute, so nothing can be composed"
    elif held == possible:
        yield "          none is left to compose"
    else:
        yield f"          {_composed(coverage)}"


def _alone(coverage: Coverage) -> str:
    """By how many silos combinations are held."""
    if not coverage.alone:
        return ", each by several silos"
    most = [f"{silo} {many}" for silo, many in coverage.alone.items()]
    more = f" and {len(most) - MAX_ALONE} more" if len(most) > MAX_ALONE else ""
    single = sum(coverage.alone.values())
    several = coverage.observed - single
    return (
        f": {several} by several silos, {single} by one silo's word alone"
        f" ({', '.join(most[:MAX_ALONE])}{more})"
    )


def _composed(coverage: Coverage) -> str:
    """How many of the combinations that no silo holds can be composed, and how far they are."""
    others, outside = coverage.level_1 + coverage.level_2, coverage.outside_hull
    are = "is" if others == 1 else "are"
    text = f"{others} {are} not held: {others - outside} can be composed from these"
    if outside:
        text += f", {outside} cannot"
    if short := coverage.combinations_short:
        text += f" (silos must hold {short} more at least, by Eq. 2 of DCFM)"
    if coverage.level_2:
        text += f"; {coverage.level_2} differ from every held one in two attributes or more"
    return text


def probe_lines(found: PreparationStatus | None) -> list[str]:
    if found is None:
        return []
    if not found.agreed:
        return ["probes    the silos have not agreed yet which combinations nobody trains on"]
    if found.probes:
        names = ", ".join("/".join(label.values()) for label in found.probes[:MAX_PROBES])
        more = len(found.probes) - MAX_PROBES
        names += f" and {more} more" if more > 0 else ""
        return [f"probes    nobody trains on {names}, to measure novel samples by"]
    return [f"probes    none: {found.why}"] if found.why else []


def student_text(found: Status) -> str:
    if (latest := found.latest) is not None:
        return (
            f"{latest.digest[:12]} of round {latest.round}, {latest.outcome},"
            f" endorsed by {', '.join(latest.endorsed_by)}"
        )
    final = [student for student in found.students if student.final]
    if final and final[-1].below_floor:
        return f"{final[-1].digest[:12]} stays interim: it is below the floor"
    if final and (gone := final[-1].superseded):
        why = "; ".join(f"{silo} {reason}" for silo, reason in gone.items())
        return f"the last is superseded, and no other is released yet: {why}"
    return "none is released yet"


def students_text(found: Students) -> str:
    """Every student of a run, and which one is released, as text."""
    header = (
        "student",
        "UTC",
        "round",
        "standing",
        "known",
        "novel",
        "outcome",
        "leader",
        "size",
        "here",
        "endorsed by",
    )
    rows = [
        (
            student.digest[:12],
            utc(student.time_ms)[:16] if student.time_ms is not None else None,
            student.round,
            _standing(student),
            *(
                _quality(part, student.expected)
                for part in (student.expected.known, student.expected.novel)
            ),
            student.outcome,
            student.leader,
            size(student.bytes),
            "yes" if student.held else "no",
            ", ".join(student.endorsed_by) or None,
        )
        for student in found.students
    ]
    if not rows:
        return "no student yet"
    unmeasured = {s.expected.why: None for s in found.students if s.expected.why}
    notes = [f"not measured: {why}" for why in unmeasured]
    notes += [
        f"{student.digest[:12]}: but {one.silo} says {one.value:.0%} of {one.kind} combinations"
        for student in found.students
        for one in student.expected.dissent
    ]
    legend = (
        "known, novel: expected share of right samples of combinations that silos train on, and"
    )
    return "\n".join([table(header, rows), "", f"{legend} of others", *notes])


def judgement(value: float, floor: float) -> str:
    """An expected share of right draws in a word."""
    if value < floor:
        return f"below the floor of {floor:.0%}"
    return "good" if value >= GOOD else "fair" if value >= FAIR else "poor"


def _quality(part: Estimated | None, expected: Expected) -> str:
    if part is None:
        return "not measured"
    if expected.awaited:
        return f"{part.value:.0%} or more"
    return f"{part.value:.0%} {judgement(part.value, 0.0)}"


def _standing(student: StudentFacts) -> str:
    """Whether a student is released, or why it no longer is."""
    if student.superseded:
        whys = (f"{silo} {why}" for silo, why in student.superseded.items())
        return f"superseded: {'; '.join(whys)}"
    if student.rejected:
        return f"rejected: {', '.join(student.refused_by)} refused it"
    if student.below_floor:
        return f"interim: below the floor of {student.expected.floor:.0%}"
    if not student.final:
        return "interim"
    return "released" if student.released else "not released"
