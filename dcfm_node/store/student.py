"""A student as its users know it: a folder that can be copied, read and loaded without a daemon.

model.safetensors    the weights, byte for byte the published snapshot
config.json          the run's manifest, and the part of it that describes the network
README.md            the model card
lineage.msgpack      what `student verify` checks offline
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from dcfm_node.errors import Failed
from dcfm_node.records.manifest import Manifest
from dcfm_node.store.manifests import manifest_from_json, manifest_to_json
from dcfm_node.store.snapshots import describe
from dcfm_node.wire.envelope import run_id

MODEL, CONFIG, CARD, LINEAGE = "model.safetensors", "config.json", "README.md", "lineage.msgpack"
FILES = (MODEL, CONFIG, CARD, LINEAGE)
FORMAT = "dcfm-node/student/1"
_FETCH = "fetch the student again: dcfm-node student fetch --latest --out DIR"


@dataclass(frozen=True, slots=True)
class StudentFolder:
    """What a student folder holds. Nothing of it is verified yet."""

    model: Path
    manifest: Manifest
    lineage: bytes


@dataclass(frozen=True, slots=True)
class Earlier:
    """The run that a student's goes on from.

    Attributes:
        run, student: digests, hex; the student is what newcomers started from, if any.
        verified: whether its records are in the folder; if not, the next three are empty.
        teachers: the silos that taught that student.
        departed: who withdrew from it or was in quarantine, and why, by name.
        changed_keys: silos that go on under another key, and by whose word.
        ask: silos that hold its records, where the folder does not.
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
    """What the model card says of a student, in the roster's names.

    Attributes:
        digest: of the model's snapshot, hex.
        outcome: COMPLETE or DEGRADED.
        teachers: (silo, round of its expert, digest of its expert in hex).
        missing: silos that taught it no expert of its round.
        standing: released, not released, interim or superseded.
        superseded: by silo that taught it, why it counts no more.
        withdrawn: silos that left the run, of which some may have taught it before.
        metrics: what its leader measured while distilling.
        version: of dcfm-node that distilled it.
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
    metrics: Mapping[str, float]
    version: str
    standing: str
    superseded: Mapping[str, str]
    continues: Earlier | None = None


def write_student(
    folder: Path, *, model: Path, manifest: Manifest, lineage: bytes, card: str
) -> None:
    """Write a student's folder, whole or not at all; an earlier student there is replaced.

    Args:
        model: the snapshot to copy.

    Raises:
        Failed: the folder holds anything but a student, or cannot be written.
    """
    target = folder.resolve()
    _refuse_foreign(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
            new, old = Path(scratch) / "new", Path(scratch) / "old"
            new.mkdir()
            shutil.copyfile(model, new / MODEL)
            config = _config(manifest, describe(new / MODEL).digest)
            (new / CONFIG).write_text(f"{json.dumps(config, indent=2)}\n", encoding="utf-8")
            (new / CARD).write_text(card, encoding="utf-8")
            (new / LINEAGE).write_bytes(lineage)
            for name in FILES:
                _sync(new / name)
            _swap(new, old, target)
            _sync(target.parent)
    except OSError as error:
        raise Failed(
            f"cannot write the student: {error.strerror}",
            where=str(error.filename or folder),
            fix="choose a folder that you may write, on a disk with room for the model",
        ) from error


def read_student(folder: Path) -> StudentFolder:
    """Read a student's folder, without its weights.

    Raises:
        Failed: a file is missing or cannot be understood.
    """
    missing = [name for name in (MODEL, CONFIG, LINEAGE) if not (folder / name).is_file()]
    if missing:
        raise Failed(f"no student: {', '.join(missing)} missing", where=str(folder), fix=_FETCH)
    where = str(folder / CONFIG)
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        lineage = (folder / LINEAGE).read_bytes()
    except OSError as error:
        fix = "check that you may read the folder"
        raise Failed(
            f"cannot read the student: {error.strerror}", where=str(error.filename), fix=fix
        ) from error
    except (ValueError, RecursionError) as error:
        raise Failed(f"not JSON: {error}", where=where, fix=_FETCH) from error
    found = config.get("format") if isinstance(config, dict) else None
    if found != FORMAT:
        fix = f"read it with the version of dcfm-node that wrote it, or {_FETCH}"
        raise Failed(f"the format is {found!r}, expected {FORMAT!r}", where=where, fix=fix)
    try:
        manifest = manifest_from_json(config.get("manifest"))
    except (ValueError, RecursionError) as error:
        raise Failed(f"the manifest is malformed: {error}", where=where, fix=_FETCH) from error
    return StudentFolder(folder / MODEL, manifest, lineage)


def model_card(manifest: Manifest, facts: StudentFacts) -> str:
    """The model card, in Markdown, for whoever runs a silo or uses the model there."""
    sections = (
        _about(manifest, facts),
        _makes(manifest),
        _taught(manifest, facts),
        _went_before(facts.continues),
        _stood_by(manifest, facts),
        _PRIVACY.format(made=_made(manifest, "the experts")),
        _usage(manifest),
        _figures(facts),
    )
    return "\n\n".join(section.strip() for section in sections if section) + "\n"


_PRIVACY = """
## What never left the silos

No sample, and no label of a single sample, left any silo. Each silo trained on its own data and
published, signed with its own key:

- the weights of its expert network,
- how many samples of each combination of attributes it trains on, those held out not counted,
- figures over its data as a whole: losses and gaps.

This model was {made} alone, without any data. Weights can still retain traces
of what they were trained on, and no differential privacy was applied: handle the model under the
rules that the silos agreed for sharing weights.
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
| made by | dcfm-node {_cell(facts.version)} |
"""


def _made(manifest: Manifest, experts: str) -> str:
    return {
        "dcfm": f"distilled from {experts}",
        "fedflow": f"averaged (FedFlow) from {experts}",
        "ddm": f"put together (DDM, a mixture of all) from {experts}",
        "dfd": f"put together (DFD, a mixture of all) from {experts}",
    }[manifest.method.name]


def _outcome(facts: StudentFacts) -> str:
    if not facts.missing:
        return "every active silo taught it an expert of this round"
    return f"**{', '.join(facts.missing)} taught it no expert of this round**"


def _makes(manifest: Manifest) -> str:
    network = manifest.network
    rows = [
        f"| {attribute.name} | {', '.join(_cell(value) for value in attribute.values)} |"
        for attribute in manifest.attributes
    ]
    return "\n".join(
        [
            "## What it makes",
            "",
            f"Samples of shape {list(manifest.sample_shape)}, by a network of kind "
            f"`{network.kind}`, width {network.width}, depth {network.depth}.",
            "",
            "| attribute | values |",
            "| --- | --- |",
            *rows,
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
    """Where the records of an earlier run are, that this folder lacks."""
    whom = ", ".join(earlier.ask) or "a silo that took part in it"
    return f"Its records are not in this folder: fetch the student at a node that has them: {whom}."


def _stood_by(manifest: Manifest, facts: StudentFacts) -> str:
    heard = {*facts.endorsed_by, *facts.refused_by}
    silent = [silo.name for silo in manifest.roster if silo.name not in heard]
    return f"""
## Who stands by it

Each silo scores the last student of a run on private data that it held out from training.

- endorsed by: {", ".join(facts.endorsed_by) or "nobody"}
- refused by: {", ".join(facts.refused_by) or "nobody"}
- not heard: {", ".join(silent) or "nobody"}

{len(facts.endorsed_by)} of {len(manifest.roster)} endorsed it, {manifest.quorum} are needed: \
it is **{facts.standing}**. This is what was known when the folder was written.
"""


def _usage(manifest: Manifest) -> str:
    wanted = " ".join(
        f"--where {quote(f'{attribute.name}={attribute.values[0]}')}"
        for attribute in manifest.attributes
    )
    out = "grid.png" if len(manifest.sample_shape) == 3 else "samples.npz"
    return f"""
## How to use it

In this folder, with dcfm-node installed; neither needs a daemon or a network:

```sh
dcfm-node student verify .
dcfm-node student sample . {wanted} -n 64 --out {out}
```

`verify` checks who made the model, from which experts, and who endorses it. Attributes that are not
named take all their values in turn. The samples are synthetic: they show what the experts learned
and are no evidence about any patient, person or device.
"""


def _figures(facts: StudentFacts) -> str:
    if not facts.metrics:
        return ""
    rows = [f"| {_cell(name)} | {value:.6g} |" for name, value in sorted(facts.metrics.items())]
    return "\n".join(["## Figures of its making", "", "| | |", "| --- | --- |", *rows])


def _cell(text: str) -> str:
    """Text that cannot break out of its table cell."""
    plain = "".join(char if char.isprintable() else " " for char in text)
    return "".join(f"\\{char}" if char in r"\`*_[]<>|" else char for char in plain)


def _config(manifest: Manifest, digest: bytes) -> dict[str, Any]:
    document = manifest_to_json(manifest)
    return {
        "format": FORMAT,
        "name": manifest.name,
        "digest": digest.hex(),
        "sample_shape": document["sample_shape"],
        "attributes": {item.name: list(item.values) for item in manifest.attributes},
        "network": document["network"],
        "manifest": document,
    }


def _refuse_foreign(target: Path) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise Failed("this is a file", where=str(target), fix="name a folder to write to")
    found = sorted(path.name for path in target.iterdir())
    foreign = [name for name in found if name not in FILES]
    if foreign or (found and found != sorted(FILES)):
        what = f"it holds {foreign[0]!r}" if foreign else "it holds a part of one"
        raise Failed(
            f"the folder is not a student's alone: {what}",
            where=str(target),
            fix="name a new or empty folder, or one that holds a student and nothing else",
        )


def _swap(new: Path, old: Path, target: Path) -> None:
    """Put `new` at `target`, and what was there at `old`.

    No call renames a folder over a full one, so for an instant there is none at `target`; a kill in
    that instant leaves both in the scratch folder beside it.
    """
    replaces = target.exists()
    if replaces:
        target.rename(old)
    try:
        new.rename(target)
    except OSError:
        if replaces:
            old.rename(target)
        raise


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
