"""The command `student judge`: which combinations of a student its silo's own data speak for."""

import math
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dcfm_node.api.document import RunName
from dcfm_node.api.judged import Judged, JudgedCombination
from dcfm_node.api.students import Estimated
from dcfm_node.cli.membership import remembered, remembered_lines
from dcfm_node.cli.options import DEFAULT_CONFIG, AsJson, Config
from dcfm_node.cli.output import answer, say, table
from dcfm_node.cli.student import Folder
from dcfm_node.errors import ConfigError, Failed

if TYPE_CHECKING:
    from dcfm_node.config.node import NodeConfig
    from dcfm_node.flow.quality import Verdict
    from dcfm_node.records.entries import Snapshot
    from dcfm_node.records.manifest import Manifest
    from dcfm_node.store.student_check import StudentFolder
    from dcfm_node.swarm.lineage import Lineage
    from dcfm_node.worker.judging import Judgement
    from dcfm_node.worker.membership import Attacked


FEW_HELD, FEW = 4, 20
"""A judge with fewer combinations, or fewer samples of each in the mean, is not to be relied on."""
SHOWN = 5
"""Most pairs of values that are named."""


def register(app: typer.Typer) -> None:
    """Add this command to the app."""
    app.command()(judge)


def judge(folder: Folder, config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Judge each combination of a student on this silo's private data, the worst first.

    Reads the data that node.toml names, draws from the student, and shows for each combination what
    share of draws it expects to be right, what share shows each attribute's value, or that it
    cannot tell. Also tests how much the student remembers of this silo's training samples, and
    this node's own expert if it is on disk, where this silo took part.
    Nothing leaves this machine: no record, no figure. No daemon is needed. A table
    must have the columns that the student's samples have, by run.toml or columns.json.

    Exits with 0 whatever it finds; --json has 'below' for each combination.
    """
    from dcfm_node.config.node import load_node
    from dcfm_node.student.columns import require_agreed
    from dcfm_node.student.folder import opened

    settings = load_node(config)
    settings.data.check_paths()
    student, proven = opened(folder)
    _require_own_run(settings, folder, proven)
    require_agreed(config, settings.data, proven.view.manifest, folder)
    found = _judgement(settings, student, proven)
    answer(document(proven, settings.name, found), as_json, judged_text)


def _require_own_run(settings: "NodeConfig", folder: Path, proven: "Lineage") -> None:
    """Compare the student's run with those of a node, before its data are read. A student of
    another run is refused if its samples or attributes are not those of the node's runs.

    Raises:
        ConfigError: it is of another run, and the node's data cannot be its data.
    """
    from dcfm_node.store.archive import kept_runs
    from dcfm_node.wire.envelope import run_id

    try:
        runs = kept_runs(settings.state)
    except Failed as error:
        say(f"note: the runs of this node are not known: {error}", err=True)
        return
    if not runs or proven.run in map(run_id, runs):
        return
    asked, own = proven.view.manifest, runs[0]
    what = (
        f"this student is of run {asked.name!r} {proven.run.hex()[:8]}, and the node"
        f" {settings.name!r} takes part in run {own.name!r} {run_id(own).hex()[:8]}"
    )
    fits = ((run.sample_shape, run.attributes) for run in runs)
    if (asked.sample_shape, asked.attributes) in fits:
        say(f"note: {what}", err=True)
        return
    raise ConfigError(
        what,
        where=str(folder),
        fix="name a node of the student's run with --config, or fetch a student of this node's run",
    )


def _judgement(settings: "NodeConfig", student: "StudentFolder", proven: "Lineage") -> "Judgement":
    """What this silo's judge says; the same judge as that of its published score (SPEC 6.14)."""
    import torch

    from dcfm_node.flow.device import choose
    from dcfm_node.student.drawing import check_model
    from dcfm_node.student.folder import counts_of
    from dcfm_node.worker.judging import judged

    view, counts, wish = proven.view, counts_of(proven), settings.worker.device
    check_model(view.manifest, student.model, counts)
    if settings.worker.threads:
        torch.set_num_threads(settings.worker.threads)
    instead = 'set device = "cpu" or "auto" in node.toml'
    return judged(
        view.manifest,
        student.model,
        settings.data,
        codec=student.codec or settings.codec,
        counts=counts,
        probes=view.preparation.probes if view.preparation is not None else (),
        scale=view.scale,
        seed=int.from_bytes(proven.student.digest[:4], "big"),
        device=choose(wish, where=f'worker.device = "{wish}"', instead=instead),
        attacked=_attacked(settings, student, proven),
    )


def _attacked(
    settings: "NodeConfig", student: "StudentFolder", proven: "Lineage"
) -> "Attacked | None":
    """The student, and those of its experts that this node holds; None if the student was made
    without this silo."""
    from dcfm_node.worker.membership import Attacked, Who

    view = proven.view
    experts = {
        view.manifest.silo_name(said.author): _held(settings.state, said.body.snapshot)
        for said in map(view.expert_entries.__getitem__, proven.student.body.teachers)
    }
    if settings.name not in experts:
        return None
    files: dict[Who, Path] = {"student": student.model}
    if (own := experts.pop(settings.name)) is not None:
        files["expert"] = own
    return Attacked(files, [file for file in experts.values() if file is not None])


def _held(state: Path, snapshot: "Snapshot") -> Path | None:
    """A snapshot's file in a state folder; None if it is not there, or damaged."""
    from dcfm_node.store.snapshots import describe, snapshot_path

    path = snapshot_path(state, snapshot.digest)
    try:
        return path if describe(path, most=snapshot.size).digest == snapshot.digest else None
    except OSError:
        return None


def document(proven: "Lineage", silo: str, found: "Judgement") -> Judged:
    """The document of what a silo's judge says of a student, the worst combination first."""
    from dcfm_node.swarm.coverage import meetings

    manifest = proven.view.manifest
    floor = manifest.policy.novel_floor
    met = meetings(one.label for one in found.verdicts if one.kind == "known")
    rows = sorted((_row(manifest, floor, one, met) for one in found.verdicts), key=_badness)
    unknown = sum(row.expected is None for row in rows)
    failed = sum(row.below for row in rows)
    return Judged(
        run=RunName(name=manifest.name, id=proven.run.hex()),
        digest=proven.student.body.snapshot.digest.hex(),
        silo=silo,
        samples=sum(number for _, number in found.counts),
        held=len(found.counts),
        floor=floor,
        passed=len(rows) - failed - unknown,
        failed=failed,
        unknown=unknown,
        combinations=tuple(rows),
        remembered=remembered(found.told),
    )


def _row(
    manifest: "Manifest",
    floor: float,
    verdict: "Verdict",
    met: Collection[tuple[int, int, int, int]],
) -> JudgedCombination:
    from dcfm_node.daemon.facts import labelled
    from dcfm_node.swarm.coverage import unmet

    names, found = [item.name for item in manifest.attributes], verdict.expected
    return JudgedCombination(
        values=labelled(manifest, verdict.label),
        unmet=tuple((names[i], names[j]) for i, j in unmet(verdict.label, met)),
        kind=verdict.kind,
        level=verdict.level,
        expected=None
        if found is None
        else Estimated(value=found.value, low=found.low, high=found.high),
        why=verdict.why,
        below=found is not None and found.value < floor,
        draws=verdict.draws,
        shown=dict(zip(names, verdict.values, strict=False)),
        unlike=verdict.unlike,
    )


def _badness(row: JudgedCombination) -> float:
    return math.inf if row.expected is None else row.expected.value


def judged_text(found: Judged) -> str:
    """What a silo's judge says of each combination as text."""
    names = list(found.combinations[0].values)
    header = (*names, "kind", "right", *(f"{name} shown" for name in names), "unlike", "")
    rows = [
        (
            *row.values.values(),
            f"{row.kind}, level {row.level}" if row.level else "trained on",
            _right(row.expected),
            *(f"{row.shown[name]:.0%}" if row.draws else None for name in names),
            f"{row.unlike:.0%}" if row.draws else None,
            row.why,
        )
        for row in found.combinations
    ]
    lines = [
        f"student {found.digest[:12]} of run {found.run.name}, judged on the data of {found.silo}:"
        f" {found.samples} samples of {found.held} combinations; nothing was sent",
        f"of {len(rows)} combinations, {found.passed} are expected at or above the floor of"
        f" {found.floor:.0%}, {found.failed} below it, {found.unknown} are unknown",
        "right: expected share of draws, and its interval; shown: share that shows this value;",
        "unlike: share that shows all values, but does not look like real samples",
        "novel ones are judged as if each attribute acted in the same way whatever the others are",
        *_unmet(found),
        *remembered_lines(found.remembered),
    ]
    if found.held < FEW_HELD or found.samples < FEW * found.held:
        lines.append(
            "note: these data are few, so this judge misses faults that others see; trust the words"
            " of sites with more samples and combinations over its own"
        )
    return "\n".join([*lines, "", table(header, rows)])


def _unmet(found: Judged) -> list[str]:
    """A line for each pair of values that meet in no combination trained on, the first SHOWN."""
    pairs = Counter(
        f"{one}={row.values[one]} with {other}={row.values[other]}"
        for row in found.combinations
        for one, other in row.unmet
    )
    lines = [
        f"no silo trains on {pair}: what only their meeting does, nobody can see"
        f" ({often} of the combinations)"
        for pair, often in pairs.most_common(SHOWN)
    ]
    more = len(pairs) - len(lines)
    return [*lines, f"and on {more} more pairs of values"] if more else lines


def _right(expected: Estimated | None) -> str:
    if expected is None:
        return "cannot tell"
    return f"{expected.value:.0%} ({expected.low:.0%} to {expected.high:.0%})"
