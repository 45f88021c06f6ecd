"""Whether a record fits its run, as far as the manifest alone decides (SPEC 3.7).

An entry whose record does not fit is refused like a malformed one: nobody holds it, so nothing
after it chains. All nodes of a run have the same manifest, so all refuse the same entries. Rules
that need other records are checked in `View` and `conformity`.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from dcfm_node.records.entries import (
    JUDGED,
    PREPARATION,
    Accept,
    Audit,
    Checkpoint,
    Endorse,
    Entry,
    Expert,
    Join,
    Label,
    Lease,
    Propose,
    Refuse,
    Student,
    Verdict,
    Vote,
)
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.moments import misfit

MAX_COUNT = 2**40
"""Most samples of one combination: far beyond any data set, and their sums stay exact."""
METRIC_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-/")
JOURNAL_BYTES = 4 * 2**20
RECORD_BYTES = 2_048
"""Bytes that an honest silo writes about one other silo in one round: parents, scores, verdicts."""


class Run:
    """What the checks need from a manifest, computed once."""

    def __init__(self, manifest: Manifest) -> None:
        self.method = manifest.method
        self.names = {silo.key: silo.name for silo in manifest.roster}
        self.places = {silo.key: place for place, silo in enumerate(manifest.roster)}
        self.prepares = manifest.prepares
        self.sizes, self.groups = manifest.cardinalities, manifest.groups
        self.feasible = frozenset(manifest.feasible)
        self.quorum, self.silos = manifest.quorum, len(manifest.roster)


Check = Callable[[Any, Run], str]
"""Why a record does not fit a run, in words; empty if it fits."""

RULES: dict[str, Callable[[Entry, Run], str]] = {}
"""The checks by clause of SPEC. The vectors of `readers.json` show each at work."""


def flaw(entry: Entry, run: Run) -> str:
    """Why a record does not fit its run, with the clause; empty if it fits."""
    for clause, check in RULES.items():
        if why := check(entry, run):
            return f"its {entry.body.kind} {why} (SPEC {clause})"
    return ""


def journal_budget(manifest: Manifest) -> int:
    """Most bytes of envelopes in one author's chain (SPEC 3.3.6): what an honest silo writes in
    years, and the most that peers must store for a hostile one."""
    rounds, silos = manifest.method.last_round + 1, len(manifest.roster)
    return JOURNAL_BYTES + 8 * manifest.combinations + RECORD_BYTES * rounds * silos


def _rule(clause: str, *kinds: type) -> Callable[[Check], Check]:
    """Register a check of some kinds of record under its clause."""

    def enter(check: Check) -> Check:
        def of(entry: Entry, run: Run) -> str:
            return check(entry.body, run) if isinstance(entry.body, kinds) else ""

        RULES[clause] = of
        return check

    return enter


def _order(entry: Entry, run: Run) -> str:
    """A `join` is the first record and appears only once."""
    joins = isinstance(entry.body, Join)
    if (entry.seq == 0) == joins:
        return ""
    return "appears a second time" if joins else "comes before its join"


def _name(entry: Entry, run: Run) -> str:
    body = entry.body
    if not isinstance(body, Join) or body.name == run.names[entry.author]:
        return ""
    return f"has the name {body.name!r}, but its author has another"


RULES |= {"3.7.1": _order, "3.7.2": _name}


@_rule("3.7.3", Join)
def _labels(body: Join, run: Run) -> str:
    """All labels have the run's length and are in range, so that they break no job."""
    seen = set()
    for label, _ in body.counts:
        if why := _misfit(label, run):
            return f"counts {why}"
        if label in seen:
            return f"counts the label {list(label)} twice"
        seen.add(label)
    return "" if seen else "counts no label"


def _misfit(label: Label, run: Run) -> str:
    if len(label) != len(run.sizes):
        return f"a label of {len(label)} values; the run has {len(run.sizes)}"
    if any(value >= size for value, size in zip(label, run.sizes, strict=True)):
        return f"the label {list(label)}, which has a value that the run does not have"
    if run.feasible and label not in run.feasible:
        return f"the label {list(label)}, which the run does not list as feasible"
    return ""


@_rule("3.7.4", Join)
def _counts(body: Join, run: Run) -> str:
    if all(1 <= count <= MAX_COUNT for _, count in body.counts):
        return ""
    return f"has a count outside 1 to {MAX_COUNT}"


@_rule("3.7.5", Expert, Audit, Vote, Lease, Checkpoint, Student)
def _round(body: Expert | Audit | Vote | Lease | Checkpoint | Student, run: Run) -> str:
    last = run.method.last_round
    if run.prepares and isinstance(body, Vote | Lease) and body.round == PREPARATION:
        return ""
    return f"is of round {body.round}, the last is {last}" if body.round > last else ""


@_rule("3.7.6", Vote, Student, Verdict)
def _members(body: Vote | Student | Verdict, run: Run) -> str:
    named: Sequence[bytes]
    match body:
        case Vote():
            named = (body.candidate,)
        case Student():
            named = body.missing
        case Verdict():
            named = (body.subject,)
    return "" if all(key in run.names for key in named) else "names a key that is not on the roster"


@_rule("3.7.7", Lease)
def _votes(body: Lease, run: Run) -> str:
    if not run.quorum <= len(body.votes) <= run.silos:
        return f"cites {len(body.votes)} votes; a quorum is {run.quorum}"
    ascend = all(a < b for a, b in pairwise(body.votes))
    return "" if ascend else "cites votes that are not in ascending order"


@_rule("3.7.8", Student, Checkpoint)
def _teachers(body: Student | Checkpoint, run: Run) -> str:
    once = len(set(body.teachers)) == len(body.teachers) <= run.silos
    return "" if once else "names a teacher twice, or more than there are silos"


@_rule("3.7.9", Student)
def _missing(body: Student, run: Run) -> str:
    order = [run.places.get(key, -1) for key in body.missing]
    ascend = all(a < b for a, b in pairwise(order))
    return "" if ascend else "names the missing silos in another order than the roster"


@_rule("3.7.10", Student)
def _seed(body: Student, run: Run) -> str:
    seed = run.method.seed
    return "" if body.seed == seed else f"has seed {body.seed}; the run has {seed}"


@_rule("3.7.11", Checkpoint, Student)
def _resuming(body: Checkpoint | Student, run: Run) -> str:
    """A method may have checkpoints; their steps must exist."""
    steps = run.method.checkpoint_steps
    if isinstance(body, Student):
        begun = body.resumed is not None and not steps
        return f"resumed from a checkpoint; {run.method.name!r} has none" if begun else ""
    if not steps:
        return f"is not part of method {run.method.name!r}"
    return f"is of step {body.step}; there are {steps}" if body.step > steps else ""


@_rule("3.7.12", Expert)
def _parents(body: Expert, run: Run) -> str:
    few = len(body.parents) <= run.silos + 1
    return "" if few else "names more parents than there are silos"


@_rule("3.7.13", Audit)
def _scores(body: Audit, run: Run) -> str:
    once = len({digest for digest, _ in body.scores}) == len(body.scores) <= run.silos
    return "" if once else "scores an expert twice, or more than there are silos"


@_rule("3.7.14", Audit, Expert, Student, Endorse, Refuse)
def _metrics(body: Audit | Expert | Student | Endorse | Refuse, run: Run) -> str:
    """Names of metrics have only letters, digits and `_.-/`: people read them in tables."""
    given = [named for _, named in body.scores] if isinstance(body, Audit) else [body.metrics]
    names = (name for metrics in given for name in metrics)
    bad = next((name for name in names if not name or not METRIC_LETTERS.issuperset(name)), None)
    return "" if bad is None else f"names a metric {bad!r}"


@_rule("3.7.15", Verdict)
def _about(body: Verdict, run: Run) -> str:
    """A verdict that counts against an entry names the entry."""
    named = body.entry is not None or body.cause not in JUDGED
    return "" if named else f"of cause {body.cause!r} names no entry"


@_rule("3.7.16", Join)
def _moments(body: Join, run: Run) -> str:
    """Moments are of enough samples, and as many as the run standardises by."""
    return misfit(body.moments, run.groups, sum(count for _, count in body.counts))


@_rule("3.7.17", Propose, Accept)
def _preparation(body: Propose | Accept, run: Run) -> str:
    """A preparation builds on enough joins, and names combinations and groups of the run."""
    if not run.prepares:
        return "is part of no run that prepares nothing"
    joins, probes = body.preparation.joins, body.preparation.probes
    if not run.quorum <= len(joins) <= run.silos:
        return f"names {len(joins)} joins; a quorum is {run.quorum}"
    ascend = all(a < b for a, b in pairwise(joins)) and all(a < b for a, b in pairwise(probes))
    if not ascend:
        return "names joins or probes that are not in ascending order"
    if why := next(filter(None, (_misfit(label, run) for label in probes)), ""):
        return f"withholds {why}"
    scale = body.preparation.scale
    if scale is not None and {len(scale.mean), len(scale.deviation)} != {run.groups}:
        return f"has a scale that is not of {run.groups} groups"
    return ""
