"""A record in words that a reader without a background in machine learning understands: what left
the site, to whom it is open, and why."""

from collections.abc import Mapping, Sequence

from dcfm_node.api.journal import (
    AuditMeans,
    CheckpointMeans,
    JoinMeans,
    LeaseMeans,
    Means,
    OpinionMeans,
    PreparationMeans,
    Published,
    StudentMeans,
    VerdictMeans,
    VoteMeans,
)
from dcfm_node.cli.output import shortened, size
from dcfm_node.records.entries import (
    MEMBERSHIP,
    PREPARATION,
    Accept,
    Audit,
    Body,
    Checkpoint,
    Endorse,
    Expert,
    Join,
    Lease,
    Propose,
    Refuse,
    Student,
    Verdict,
    Vote,
    Withdraw,
)
from dcfm_node.words import plain

SAYS_WIDTH = 400
"""The most characters of a record in words. `--json` shows the whole record."""
LEGEND = (
    "A record has no sample in it. It has counts, names, digests, and figures, which are averages.",
    "model: the numbers that training made from the samples. Members may fetch it; its digest says"
    " which one.",
    "student: a model that is made from the models of all silos. It is the result of the run.",
    "error: how far a model is from samples on average; a small one is good. It has no unit.",
    "test samples: those that a silo kept back, and that no model learned from.",
)
"""What a reader must know first."""
FIGURES = {
    "holdout_loss": "error on its test samples",
    "train_loss": "error on its training samples",
    "reference_loss": "error of its own model on these",
    "known_rate": "right samples of known combinations (share)",
    "known_distance": "their distance from real samples",
    "novel_rate": "right samples of new combinations (share)",
    "novel_worst": "the same for the worst new combination",
    "judge_known": "real samples that its test gets right (share)",
    "judge_rate": "the same for combinations that the test never saw",
    "ci_gap": "dependence between attributes",
    MEMBERSHIP: "chance to tell its training samples from others (AUC; 0.5 is a guess)",
    "steps": "training steps",
}
"""Figures of records, in words. Others are shown by their name."""
CAUSES = {
    "snapshot": "its model does not have the agreed form",
    "quota": "its model is larger than agreed",
    "score": "its model is far worse than this silo's own",
    "fork": "it signed two histories",
    "double_vote": "it voted twice in one election",
    "contradiction": "it signed records that contradict each other",
    "replay": "it published the same thing twice, or an old model again",
    "term": "it voted in an election that is far too late",
    "chunks": "it sent data that does not match its signed digest",
    "flood": "it sent far more than is allowed",
    "malformed": "it sent what no correct program sends",
    "head": "it claimed records that it could not show",
}
"""Causes of accusations, in words. Others are shown by their name."""


def says(body: Body, means: Means, width: int = SAYS_WIDTH) -> str:
    """A record in words, on one line of bounded width.

    Args:
        means: what the record says about other silos, by name.
        width: most characters.
    """
    text = "; ".join(part for part in _parts(body, means, width) if part)
    return shortened(plain(text), width)  # another silo may have written it


def _parts(body: Body, means: Means, width: int) -> Sequence[str]:
    match body, means:
        case Join(), JoinMeans():
            return _joined(body, means, width)
        case Expert(), _:
            made = "its first model" if body.round == 0 else f"its model of round {body.round}"
            return [f"published {made}: {_weights(body)}", _figures(body.metrics)]
        case Student(), StudentMeans():
            kind = "the final student" if body.final else f"the student of round {body.round}"
            return [
                f"published {kind}, made from the models of {_listed(means.teachers)}:"
                f" {_weights(body)}",
                f"the model of {_listed(means.missing)} is missing" if means.missing else "",
                _figures(body.metrics),
            ]
        case Checkpoint(), CheckpointMeans():
            what = f"published a student that is not finished ({body.step} steps are done)"
            return [f"{what}, so that another silo can go on from it: {_weights(body)}"]
        case Vote(), VoteMeans():
            return [f"voted for {means.candidate} to lead {_led(body)}"]
        case Lease(), LeaseMeans():
            return [f"leads {_led(body)}, elected by {_listed(means.voters)}"]
        case Propose() | Accept(), PreparationMeans():
            return _prepared(body, means)
        case Endorse() | Refuse(), OpinionMeans():
            return _opinion(body, means)
        case Audit(), AuditMeans():
            return _audited(body, means)
        case Verdict(), VerdictMeans():
            about = f" because of {_named(means.entry, of=False)}" if means.entry else ""
            cause = CAUSES.get(body.cause, body.cause)
            return [f"accused {means.subject}{about}: {cause}", body.reason]
        case Withdraw(), _:
            return [f"left the run for good: {body.reason}"]
        case _:
            raise AssertionError(f"the means of a {body.kind} are {type(means).__name__}")


def _joined(body: Join, means: JoinMeans, width: int) -> Sequence[str]:
    samples = sum(count for _, count in means.counts)
    held = [f"{count} of {'/'.join(of.values())}" for of, count in means.counts]
    many = len(body.moments.mean) if body.moments is not None else 0
    stated = f"mean and spread of each of {many} columns or channels" if many > 1 else ""
    stated = "mean and spread of its numbers" if many == 1 else stated
    begin = f"takes part; told how many samples it has: {samples} of {len(held)} combinations: "
    room = width - len(begin) - len(stated) - 2
    return [f"{begin}{_as_many_as_fit(held, room)}", stated]


def _prepared(body: Propose | Accept, means: PreparationMeans) -> Sequence[str]:
    unknown = len(body.preparation.joins) - len(means.joins)
    more = [f"{unknown} that this node does not know"] if unknown else []
    withheld = ["/".join(label.values()) for label in means.probes]
    verb = "proposed" if isinstance(body, Propose) else "accepted"
    return [
        f"{verb} to build on what {_listed([*means.joins, *more])} told at their start",
        f"nobody trains on {_listed(withheld)}, to test with" if withheld else "",
        "all silos scale their numbers alike" if body.preparation.scale is not None else "",
    ]


def _opinion(body: Endorse | Refuse, means: OpinionMeans) -> Sequence[str]:
    what = _named(means.student)
    if isinstance(body, Refuse):
        return [f"refused {what}: {body.reason}", means.expected, _figures(body.metrics)]
    quality = f"right samples, as it expects: {means.expected}" if means.expected else ""
    return [f"tried {what} on its own samples, and accepted it", quality, _figures(body.metrics)]


def _audited(body: Audit, means: AuditMeans) -> Sequence[str]:
    """How a silo scored its peers' experts."""
    from dcfm_node.swarm.audit import FIGURES as SCORES
    from dcfm_node.swarm.audit import in_words

    if not means.scored:
        return [f"could not try the models of round {body.round} of others on its own samples"]
    tried = f"tried the models of round {body.round} of {_listed(means.scored)} on its own samples"
    worst = ""
    if (of := means.worst) is not None:
        worst = f"the worst is {of.silo}: {SCORES[of.figure]} is {in_words(of.place)}"
    return [tried, worst, f"refused {_listed(list(means.refuses)) or 'nobody'}"]


def _led(body: Vote | Lease) -> str:
    """What an election is for."""
    what = "the preparation" if body.round == PREPARATION else f"the making of student {body.round}"
    return f"{what} (term {body.term})"


def _weights(body: Expert | Student | Checkpoint) -> str:
    """The weights that a peer may fetch because of a record."""
    snapshot = body.snapshot
    text = f"{size(snapshot.size)}, digest {snapshot.digest.hex()[:12]}"
    if isinstance(body, Checkpoint) or body.delta is None:
        return text
    return f"{text}, or {size(body.delta.coded.size)} as what changed"


def _figures(metrics: Mapping[str, float]) -> str:
    known = [name for name in FIGURES if name in metrics]
    others = sorted(name for name in metrics if name not in FIGURES)
    return ", ".join(f"{FIGURES.get(name, name)} {metrics[name]:.4g}" for name in (*known, *others))


def _named(entry: Published | None, *, of: bool = True) -> str:
    """A model or a student that a record is about; `of` adds its silo."""
    if entry is None:
        return "a student that this node does not know"
    kind = "model" if entry.kind == "expert" else "student"
    made = f" that {entry.silo} made" if of else ""
    return f"the {kind} of round {entry.round}{made} (digest {entry.digest[:12]})"


def _listed(names: Sequence[str]) -> str:
    """Names as in a sentence: "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _as_many_as_fit(items: list[str], width: int) -> str:
    """Items up to a width, and how many more there are."""
    text = ""
    for number, item in enumerate(items):
        longer = f"{text}, {item}" if text else item
        rest = len(items) - number - 1
        more = f", and {rest} more" if rest else ""
        if number and len(longer) + len(more) > width:
            return f"{text}, and {rest + 1} more"
        text = longer
    return text
