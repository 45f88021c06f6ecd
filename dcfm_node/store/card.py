"""The model card of a student: Markdown for people who run a silo or use the model.

It contains only what a verified lineage says, always in the same words, so that a card can be
compared with its lineage. Attribute values, reasons and names of metrics come from others. They are
escaped, so that no viewer reads them as Markdown or HTML.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from shlex import quote

from dcfm_node.records.manifest import Attribute, Manifest
from dcfm_node.swarm.quality import Announcement
from dcfm_node.wire.envelope import run_id
from dcfm_node.words import plain

_MARKUP = frozenset("\\`*_{}[]<>()#!|&~$@/")


@dataclass(frozen=True, slots=True)
class Earlier:
    """The run that a student's run continues.

    Attributes:
        run, student: digests in hex; new silos started from that student, if there is one.
        verified: whether its records are in the folder; if not, the next three are empty.
        teachers: silos that taught that student.
        departed: reason by name, for each silo that withdrew from it or was in quarantine.
        changed_keys: for each silo with a new key, who vouches for it.
        ask: silos that hold its records, if the folder does not.
        continues: the run before it.
    """

    run: str
    student: str | None
    verified: bool
    teachers: Sequence[str]
    departed: Mapping[str, str]
    changed_keys: Mapping[str, str]
    ask: Sequence[str]
    continues: "Earlier | None"


@dataclass(frozen=True, slots=True)
class StudentFacts:
    """The facts in the model card of a student, with the names of the roster.

    Attributes:
        digest: of the model's snapshot, in hex.
        outcome: COMPLETE or DEGRADED.
        teachers: (silo, round of its expert, digest of its expert in hex).
        missing: silos without an expert of its round among the teachers.
        standing: released, not released, interim or superseded.
        superseded: by teaching silo, the reason why it no longer counts.
        withdrawn: silos that left the run; some may have taught it before.
        expected: what its draws are expected to be worth, by its judges' figures.
        metrics: values that its leader measured while distilling.
        membership: AUC of membership inference, 0 to 1, by teaching silo: what the silo itself said
            of its expert. Silos without a privacy gate say nothing.
        version: the version of dcfm-node that distilled it.
    """

    round: int
    term: int
    digest: str
    outcome: str
    teachers: Sequence[tuple[str, int, str]]
    missing: Sequence[str]
    endorsed_by: Sequence[str]
    refused_by: Sequence[str]
    withdrawn: Sequence[str]
    expected: Announcement
    metrics: Mapping[str, float]
    version: str
    standing: str
    superseded: Mapping[str, str]
    continues: Earlier | None = None
    membership: Mapping[str, float] = field(default_factory=dict)


def model_card(manifest: Manifest, facts: StudentFacts) -> str:
    """The model card in Markdown, for people who run a silo or use the model."""
    sections = (
        _about(manifest, facts),
        _makes(manifest),
        _taught(manifest, facts),
        _went_before(facts.continues),
        _expected(manifest, facts.expected),
        _stood_by(manifest, facts),
        _PRIVACY.format(made=_made(manifest, "the experts")),
        _remembered(facts),
        _usage(manifest),
        _figures(facts),
    )
    return "\n\n".join(section.strip() for section in sections if section) + "\n"


_PRIVACY = """
## What never left the silos

No sample left any silo, and no label was published beside a sample. Each silo trained on its own
data and published, signed with its own key:

- the names of the attributes' values and of columns, in the run.toml that all sites share,
- the weights of its expert network,
- how many samples of each combination of attributes it has: exact, rounded or with noise, as the
  silo chose. An exact count of one tells that the silo has a single sample with that label,
- figures over its data as a whole: losses, gaps, and how well classifiers read it,
- where the run standardises its data, and the silo agreed: the mean and the standard deviation of
  each feature.

This model was {made} alone, without any data. Weights can still retain traces
of what they were trained on, and no differential privacy was applied to them: handle the model
under the rules that the silos agreed for sharing weights.
"""


def _remembered(facts: StudentFacts) -> str:
    """What silos said of how much their experts remember; empty if none said anything."""
    if not facts.membership:
        return ""
    said = {silo: f"{auc:.2f}" for silo, auc in facts.membership.items()}
    taught = dict.fromkeys(silo for silo, _, _ in facts.teachers)
    rows = [f"| {silo} | {said.get(silo, 'not told')} |" for silo in taught]
    return "\n".join([_REMEMBERED.strip(), "", "| silo | AUC |", "| --- | --- |", *rows])


_REMEMBERED = """
## What the experts remember

Whoever has an expert and a sample can guess whether it was trained on, by its error. These silos
measured this before they published theirs, and say the chance that the guess is right for a pair of
one sample that was trained on and one that was not. 0.5 is no better than chance. It is one attack,
and nobody but the silo can check its figure.
"""


def _about(manifest: Manifest, facts: StudentFacts) -> str:
    silos = "silo" if len(facts.teachers) == 1 else "silos"
    return f"""
# {manifest.name}: student of round {facts.round}

A generative model (flow matching) of the run `{manifest.name}`,
{_made(manifest, f"the experts of {len(facts.teachers)} {silos}")} that keep their data to
themselves. It makes samples for a chosen combination of attributes, also for combinations that no
silo observed.

| | |
| --- | --- |
| outcome | {facts.outcome}: {_outcome(facts)} |
| model | `{facts.digest}` |
| run | `{run_id(manifest).hex()}` |
| round, term of its leader | {facts.round}, {facts.term} |
| made by | dcfm-node {_cell(facts.version)}{_packages(manifest)} |
"""


def _packages(manifest: Manifest) -> str:
    """The packages that the model needs beside dcfm-node."""
    named = dict.fromkeys(f"{code.distribution} {code.version}" for code in manifest.plugins)
    return "".join(f", {_cell(package)}" for package in named)


def _made(manifest: Manifest, experts: str) -> str:
    return f"{manifest.method.made} from {experts}"


def _outcome(facts: StudentFacts) -> str:
    if not facts.missing:
        return "every active silo taught it an expert of this round"
    return f"**{', '.join(facts.missing)} taught it no expert of this round**"


def _makes(manifest: Manifest) -> str:
    network, guidance = manifest.network, manifest.method.guidance
    notice = manifest.domain.notice
    rule = "adds up the attributes (Eq. 5 of DCFM)"
    if not manifest.method.composed:
        rule = "asks for all attributes together"
    summary = f", {network.summary}" if network.summary else ""
    rows = [
        f"| {attribute.name} | {', '.join(_cell(value) for value in attribute.values)} |"
        for attribute in manifest.attributes
    ]
    return "\n".join(
        [
            "## What it makes",
            "",
            f"Samples of shape {list(manifest.sample_shape)}, by a network of kind "
            f"`{network.kind}`{summary}.",
            "",
            "| attribute | values |",
            "| --- | --- |",
            *rows,
            "",
            f"Sampling {rule}, with a guidance weight of {guidance.summary}.",
            "A higher weight follows the attributes more closely, with less variety. The silos",
            "score every student at a weight of 1.",
            *(["", f"**{notice}**"] if notice else []),
        ]
    )


INDIRECT = (
    "The experts of later rounds may have learned from it before it withdrew, by way of earlier"
    " students; a run begun anew without it has none of that."
)


def _taught(manifest: Manifest, facts: StudentFacts) -> str:
    rows = [f"| {silo} | {round_} | `{digest}` |" for silo, round_, digest in facts.teachers]
    taught = {silo for silo, _, _ in facts.teachers}
    absent = [silo.name for silo in manifest.roster if silo.name not in taught]
    header = ["| silo | round of its expert | expert |", "| --- | --- | --- |"]
    lines = ["## Who taught it", "", *header, *rows]
    if absent:
        lines += ["", f"Of the roster, no expert of these taught it: {', '.join(absent)}."]
    if facts.withdrawn:
        lines += ["", f"Withdrawn from the run: {', '.join(facts.withdrawn)}."]
    if facts.withdrawn and any(round_ for _, round_, _ in facts.teachers):
        lines += ["", INDIRECT]
    if facts.superseded:
        whys = "; ".join(f"{silo} {_cell(why)}" for silo, why in facts.superseded.items())
        lines += ["", f"**Superseded**: {whys}."]
    if stale := [silo for silo in facts.missing if silo in taught]:
        lines += ["", f"An earlier expert stood in for: {', '.join(stale)}."]
    return "\n".join(lines)


def _went_before(earlier: Earlier | None) -> str:
    lines = ["## What went before"] if earlier is not None else []
    while earlier:
        lines += ["", f"It goes on from run `{earlier.run}`."]
        if taught := ", ".join(earlier.teachers):
            lines.append(f"Newcomers started from its student `{earlier.student}`, of {taught}.")
        if earlier.departed:
            left = (f"{silo} {_cell(why)}" for silo, why in earlier.departed.items())
            lines += ["", f"Of that run: {'; '.join(left)}. {INDIRECT}"]
        if not earlier.verified:
            lines.append(ask_for(earlier))
        earlier = earlier.continues
    return "\n".join(lines)


def ask_for(earlier: Earlier) -> str:
    """Where to find the records of an earlier run that this folder lacks."""
    whom = ", ".join(earlier.ask) or "a silo that took part in it"
    return f"Its records are not in this folder: fetch the student at a node that has them: {whom}."


def _stood_by(manifest: Manifest, facts: StudentFacts) -> str:
    heard = {*facts.endorsed_by, *facts.refused_by}
    silent = [silo.name for silo in manifest.roster if silo.name not in heard]
    return f"""
## Who stands by it

Each silo scores every student of the run on private data that it held out from training.

- endorsed by: {", ".join(facts.endorsed_by) or "nobody"}
- refused by: {", ".join(facts.refused_by) or "nobody"}
- not heard: {", ".join(silent) or "nobody"}

{len(facts.endorsed_by)} of {len(manifest.roster)} endorsed it, {manifest.quorum} are needed: \
it is **{facts.standing}**. This is what was known when the folder was written.
"""


def _expected(manifest: Manifest, found: Announcement) -> str:
    rows = [
        f"| {name} | {'unmeasured' if part is None else part} |"
        for name, part in (("trained on", found.known), ("novel", found.novel))
    ]
    lines = [_EXPECTED.strip(), "", "| combinations | right |", "| --- | --- |", *rows]
    if found.why:
        lines += ["", f"Unmeasured: {found.why}."]
    floor = manifest.policy.novel_floor
    if found.awaited:
        lines += ["", f"{found.so_far}the true shares may be higher."]
    if found.dissent:
        lines += ["", f"Not all silos agree: {', '.join(map(str, found.dissent))}."]
    if found.below(floor):
        lines += ["", f"**Below the floor of {floor:.0%} that this run asks of a student.**"]
    return "\n".join(lines)


_EXPECTED = """
## What to expect of its samples

The share of samples that show every value that was asked for, in most silos' judgement, with its
interval. Each silo trained classifiers of its own on the model's samples and on its private data,
and tried them on real samples of combinations that they never saw. Combinations *trained on* are
those that some silo says it has. *Novel* ones are all others: no silo says so, or the run withheld
them as probes.
"""


def _usage(manifest: Manifest) -> str:
    wanted = "".join(
        f" --where {quote(f'{attribute.name}={value}')}"
        for attribute in manifest.attributes
        if (value := _typed(attribute)) is not None
    )
    out = "grid.png" if len(manifest.sample_shape) == 3 else "samples.csv"
    return f"""
## How to use it

In this folder, with dcfm-node installed; neither needs a daemon or a network:

```sh
dcfm-node student verify .
dcfm-node student sample .{wanted} -n 64 --out {out}
```

`verify` checks who made the model, from which experts, and who endorses it. `-n` counts samples in
all. Attributes that are not named take all their values in turn. The samples are synthetic: they
show what the experts learned and are no evidence about any patient, person or device.
"""


def _figures(facts: StudentFacts) -> str:
    if not facts.metrics:
        return ""
    rows = [f"| {_cell(name)} | {value:.6g} |" for name, value in sorted(facts.metrics.items())]
    return "\n".join(["## Figures of its making", "", "| | |", "| --- | --- |", *rows])


def _typed(attribute: Attribute) -> str | None:
    """A value that is safe in the card's commands: it cannot end a code block."""
    fits = (value for value in attribute.values if value.isprintable() and "`" not in value)
    return next(fits, None)


def _cell(text: str) -> str:
    """Text from others on one line, with Markdown and HTML escaped."""
    return "".join(f"\\{char}" if char in _MARKUP else char for char in plain(text))
