"""The status of a node, from its view and its surroundings. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dcfm_node import __version__
from dcfm_node.api.document import RunName
from dcfm_node.api.problems import Problem
from dcfm_node.api.status import (
    CheckpointStatus,
    Doing,
    Elections,
    Machine,
    Phase,
    PreparationStatus,
    SiloStatus,
    StartingDoing,
    StartingStatus,
    Status,
    StatusRun,
)
from dcfm_node.daemon.covered import covered, gaps
from dcfm_node.daemon.eta import Rates, expected
from dcfm_node.daemon.explain import catching_up, explain
from dcfm_node.daemon.facts import labelled, student_facts
from dcfm_node.daemon.imports import LastImport
from dcfm_node.daemon.problems import link_problems, run_problems, social_problems, unlinked
from dcfm_node.daemon.registry import Registry
from dcfm_node.daemon.silos import silo_status
from dcfm_node.net.peers import Way
from dcfm_node.records.manifest import Manifest
from dcfm_node.swarm.effects import activity_of
from dcfm_node.swarm.node import Node
from dcfm_node.swarm.view import View
from dcfm_node.wire.envelope import run_id


@dataclass(frozen=True)
class Surroundings:
    """What a node's status needs beside its view.

    Attributes:
        problems: what the machine does to this node: its disk, its worker, its data.
        idle: why no worker is up; empty if one is.
        carried: what last came of silos by bundle, by name.
        ways: how each peer is linked, by plane.
        clocks: by how many seconds peers' wall clocks are ahead of this node's.
        refusals: by name, what a peer did on its links that no honest node does.
        features: names of the numbers of a sample, if they are known.
        addresses: control address of each peer, as in peers.toml.
        traffic: payload bytes sent to and received from each peer.
        rates: how fast silos work; None if nobody measured.
        registry: knows since when problems last; None if nobody kept one.
        machine: figures of the process and its links.
    """

    problems: Sequence[Problem] = ()
    idle: str = ""
    carried: Mapping[str, LastImport] = field(default_factory=dict)
    ways: Mapping[bytes, Mapping[str, Way]] = field(default_factory=dict)
    clocks: Mapping[bytes, float] = field(default_factory=dict)
    refusals: Mapping[str, str] = field(default_factory=dict)
    features: Sequence[str] = ()
    addresses: Mapping[bytes, str | None] = field(default_factory=dict)
    traffic: Mapping[bytes, tuple[int, int]] = field(default_factory=dict)
    rates: Rates | None = None
    registry: Registry | None = None
    machine: Machine = field(default_factory=Machine)


def status(node: Node, now: float, around: Surroundings | None = None) -> Status:
    """Where the run is, what this node does and why, and what is wrong."""
    around = around or Surroundings()
    view, manifest = node.replica.view, node.manifest
    phase = node.step.phase if node.step is not None else None
    silos = silo_statuses(node, now, around)
    students = tuple(student_facts(view, said) for said in view.valid_students())
    released = next((student for student in reversed(students) if student.released), None)
    rates, registry = around.rates or Rates(), around.registry or Registry(lambda: now)
    rates.observe(silos, now)
    elections = _elections(view, silos)
    problems = registry.shown(
        (
            *around.problems,
            *run_problems(node, silos, released, around.features, now=now),
            *social_problems(node, silos, elections, rates, now),
            *link_problems(manifest, around.ways),
            *unlinked(silos),
            *gaps(view),
        )
    )
    continues = manifest.continues
    return Status(
        node=manifest.silo_name(node.me),
        id=node.me.hex(),
        version=__version__,
        run=StatusRun(
            name=manifest.name,
            id=node.run.hex(),
            continues=continues.run.hex() if continues is not None else None,
        ),
        health="degraded" if problems else "healthy",
        problems=problems,
        phase=Phase(stage=phase.stage, round=phase.round) if phase else None,
        method=manifest.method.name,
        schedule=manifest.method.title,
        participation=manifest.policy.participation,
        doing=_doing(node, around.idle),
        catching_up=tuple(catching_up(node)),
        silos=silos,
        coverage=covered(view),
        preparation=_preparation(view),
        last_round=manifest.method.last_round,
        eta=expected(view, node.replica.journals, phase, silos, rates) if phase else None,
        elections=elections,
        students=students,
        latest=released,
        checkpoint=_checkpoint(node, phase.round) if phase else None,
        terms=view.last_term(),
        **dict(around.machine),
    )


def silo_statuses(node: Node, now: float, around: Surroundings) -> tuple[SiloStatus, ...]:
    """Every silo of the roster, in its order."""
    return tuple(
        silo_status(
            node,
            silo.key,
            now,
            carried=around.carried,
            ways=around.ways.get(silo.key, {}),
            clock=around.clocks.get(silo.key),
            address=around.addresses.get(silo.key),
            traffic=around.traffic.get(silo.key),
            refusal=around.refusals.get(silo.name, ""),
        )
        for silo in node.manifest.roster
    )


def starting(name: str, manifest: Manifest, doing: str) -> StartingStatus:
    """The status of a node whose training process, which does this, is not ready."""
    return StartingStatus(
        node=name,
        version=__version__,
        run=RunName(name=manifest.name, id=run_id(manifest).hex()),
        doing=StartingDoing(why=f"its training process {doing}"),
    )


def _elections(view: View, silos: Sequence[SiloStatus]) -> Elections:
    """How many more silos may fall silent before nobody can be elected (SPEC 7.3)."""
    active = {view.manifest.silo_name(key) for key in view.active()}
    present = sum(silo.live for silo in silos if silo.name in active)
    quorum = view.manifest.quorum
    return Elections(quorum=quorum, present=present, losses_left=present - quorum)


def _checkpoint(node: Node, round_: int) -> CheckpointStatus | None:
    """From where the next leader would go on, if the present one were lost."""
    view = node.replica.view
    found = view.checkpoints_of(round_)
    if not found:
        return None
    said = next((s for s in reversed(found) if s.body.snapshot.digest in node.held), found[-1])
    return CheckpointStatus(
        leader=view.manifest.silo_name(said.author),
        round=said.body.round,
        term=said.body.term,
        step=said.body.step,
        held=said.body.snapshot.digest in node.held,
    )


def _doing(node: Node, idle: str) -> Doing:
    work, (done, total), reason = node.work, node.progress, explain(node)
    but = f"; but {idle}" if idle and work is not None else ""
    return Doing(
        activity=activity_of(work) if work is not None else "fetch" if node.fetching else "idle",
        done=done,
        total=total,
        fetching=tuple(digest.hex() for digest in node.fetching),
        why=f"{reason.why}{but}",
        waiting_on=reason.waiting_on,
    )


def _preparation(view: View) -> PreparationStatus | None:
    if not view.manifest.prepares:
        return None
    found, voice = view.preparation, view.agreement.prepared
    if found is None or voice is None:
        return PreparationStatus(agreed=False, silos=(), accepted_by=(), probes=(), why="")
    name = view.manifest.silo_name
    derived = None if found.probes else view.derived(found.joins)
    known = [view.join_entries[d].author for d in found.joins if d in view.join_entries]
    voices = view.agreement.voices[voice.body.term].values()
    return PreparationStatus(
        agreed=True,
        silos=tuple(sorted(map(name, known))),
        accepted_by=tuple(sorted(name(v.author) for v in voices if v.body.preparation == found)),
        probes=tuple(labelled(view.manifest, label) for label in found.probes),
        why=derived.why if derived is not None else "",
    )
