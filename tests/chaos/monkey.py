"""A monkey among real nodes: it kills, stops, parts and damages them at random instants.

Whatever it does, the run must end with one student, endorsed, made of every silo's expert, whose
lineage holds offline; and, training being a function of its inputs, with the very student that the
same run ends with when it is left in peace.
"""

import os
import random
import shutil
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.wires import Wires, wired
from tests.integration.cluster import Site, cluster, dcfm_json, released, until

SCHEMA = "dcfm-node/chaos/1"
STALL_S = 3.0
PATIENCE_S = 300.0
PAUSE_S = (STALL_S, 2 * STALL_S)
"""How long a stopped or a parted node stays so: others must miss it."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """A run and what befalls it.

    Attributes:
        kills: how often a node or its worker is killed with -9; all else comes on top.
        rounds: of refine and distil; the run is to last about as long as the kills.
        mischief: the chance that a blow is something else than a kill.
    """

    seed: int
    kills: int
    nodes: int = 3
    rounds: int = 2
    steps: int = 300
    mischief: float = 0.25


@dataclass(frozen=True)
class Blow:
    """What befell whom, when (seconds since the nodes were started), and what it was doing."""

    at_s: float
    node: str
    what: str
    stage: str
    round: int
    doing: str


@dataclass
class Verdict:
    """What the run ended with. `failures` is empty if all is as it must be."""

    plan: Plan
    blows: list[Blow] = field(default_factory=list)
    seconds: float = 0.0
    student: dict[str, Any] = field(default_factory=dict)
    undisturbed: str = ""
    """Digest of the student that the same run ends with in peace; empty if that was not asked."""
    failures: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        by_stage = Counter(blow.stage for blow in self.blows if blow.what.startswith("kill"))
        return {
            "schema": SCHEMA,
            "ok": not self.failures,
            **asdict(self),
            "kills_by_stage": dict(sorted(by_stage.items())),
            "blows_by_kind": dict(sorted(Counter(blow.what for blow in self.blows).items())),
        }


def run(plan: Plan, folder: Path, *, compare: bool = False, tell: Tell = print) -> Verdict:
    """Do it, in an empty folder; nothing outlives the call.

    Args:
        compare: also run the same in peace, and demand the same student.
    """
    verdict = Verdict(plan)
    with _nodes(plan, folder / "chaos") as sites, wired(sites) as wires:
        began = time.monotonic()
        try:
            Monkey(plan, sites, wires, verdict, tell).rage()
            _judge(sites, folder, verdict)
        except AssertionError as error:
            verdict.failures.append(f"{error}; logs are in {folder / 'chaos'}")
        verdict.seconds = round(time.monotonic() - began, 1)
    if compare:
        with _nodes(plan, folder / "peace") as sites:
            for site in sites:
                site.start()
            digests = until(lambda: released(sites), patience_s=PATIENCE_S)
            verdict.undisturbed = next(iter(digests.values()))
        if verdict.student.get("digest") != verdict.undisturbed:
            verdict.failures.append("the same run ends with another student when left in peace")
    return verdict


def _nodes(plan: Plan, folder: Path) -> Any:
    folder.mkdir(parents=True)
    return cluster(
        folder,
        nodes=plan.nodes,
        steps=plan.steps,
        rounds=plan.rounds,
        policy=f'participation = "strict"\nstall_s = {STALL_S}\n',
    )


class Monkey:
    """Everything it does is drawn from the seed; when it lands depends on the machine."""

    def __init__(
        self, plan: Plan, sites: Sequence[Site], wires: Wires, verdict: Verdict, tell: Tell
    ) -> None:
        self._plan, self._sites, self._wires = plan, sites, wires
        self._verdict, self._tell = verdict, tell
        self._rng = random.Random(plan.seed)
        self._began = time.monotonic()

    def rage(self) -> None:
        """Strike until all kills are done, then mend everything and wait for the end."""
        for site in self._sites:
            site.start()
        killed = 0
        while killed < self._plan.kills:
            if self._rng.random() < 0.5:
                until(self._most_are_up, patience_s=PATIENCE_S)
            time.sleep(self._rng.uniform(0.0, STALL_S))
            victim = self._rng.choice(self._sites)
            if self._rng.random() < self._plan.mischief:
                self._rng.choice((self._pause, self._part, self._damage))(victim)
            else:
                killed += 1
                self._rng.choice((self._kill_node, self._kill_node, self._kill_worker))(victim)
        until(lambda: released(list(self._sites)), patience_s=PATIENCE_S)

    def _most_are_up(self) -> bool:
        """Or else a slow machine would see nothing but nodes that start."""
        return 2 * sum(bool(site.ask()) for site in self._sites) > len(self._sites)

    def _strike(self, site: Site, what: str) -> None:
        facts = site.ask()
        phase = facts.get("phase") or {"stage": "starting", "round": 0}
        activity = facts.get("doing", {}).get("activity", "")
        at_s = round(time.monotonic() - self._began, 1)
        blow = Blow(at_s, site.name, what, phase["stage"], phase["round"], activity)
        self._verdict.blows.append(blow)
        where = f"{blow.stage} {blow.round}" + (f", {activity}" if activity else "")
        self._tell(f"{at_s:7.1f} s  {what:<18} {site.name:<8} in {where}")

    def _kill_node(self, site: Site) -> None:
        self._strike(site, "kill node")
        site.kill()
        if self._rng.random() < 0.3:
            leave_stale_things(site, self._rng)
        time.sleep(self._rng.uniform(0.0, 1.0))
        site.start()

    def _kill_worker(self, site: Site) -> None:
        pid = site.ask().get("worker", {}).get("pid")
        if pid is None:
            self._kill_node(site)
            return
        self._strike(site, "kill worker")
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def _pause(self, site: Site) -> None:
        """SIGSTOP for longer than `stall_s`: to its peers it is gone, and then it is back."""
        self._strike(site, "stop and continue")
        assert site.process is not None
        site.process.send_signal(signal.SIGSTOP)
        time.sleep(self._rng.uniform(*PAUSE_S))
        site.process.send_signal(signal.SIGCONT)

    def _part(self, site: Site) -> None:
        state = self._rng.choice(("cut", "silent", "deaf", "slow"))
        self._strike(site, f"part ({state})")
        if state == "slow":
            self._wires.slow(site.name, STALL_S / 6)
        else:
            self._wires.isolate(site.name, state)
        time.sleep(self._rng.uniform(*PAUSE_S))
        self._wires.heal()

    def _damage(self, site: Site) -> None:
        """A power cut that takes the end of the journals' file with it."""
        self._strike(site, "truncate journals")
        site.kill()
        truncate_journals(site, self._rng)
        site.start()


def leave_stale_things(site: Site, rng: random.Random) -> None:
    """What a machine may find after a power cut: half-written files, and other people's pids."""
    (site.state / "lock").write_text(f"{os.getpid()}\n")
    (site.state / "partial" / rng.randbytes(32).hex()).write_bytes(rng.randbytes(5_000))
    (site.state / "work").mkdir(exist_ok=True)
    (site.state / "work" / "local-0-0000000000000000.tmp").write_bytes(rng.randbytes(5_000))
    snapshots = sorted((site.state / "snapshots").glob("*.safetensors"))
    if snapshots:
        torn = rng.choice(snapshots)
        torn.write_bytes(torn.read_bytes()[: rng.randrange(torn.stat().st_size)])


def truncate_journals(site: Site, rng: random.Random) -> None:
    """Lose the end of the database, after its log was folded in: the log alone would mend it."""
    path = site.state / "journals.sqlite"
    if path.exists():
        with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        os.truncate(path, rng.randint(path.stat().st_size // 4, path.stat().st_size // 2))


def _judge(sites: Sequence[Site], folder: Path, verdict: Verdict) -> None:
    """Fetch the student from every node and verify it offline, as its users do."""
    proofs = []
    for site in sites:
        out = folder / f"student-{site.name}"
        dcfm_json("student", "fetch", "--latest", "--out", out, "-c", site.folder / "node.toml")
        proofs.append(dcfm_json("student", "verify", out))
        shutil.rmtree(out, ignore_errors=True)
        forked = [silo["name"] for silo in site.ask()["silos"] if silo["forked"]]
        verdict.failures += [f"{site.name} holds a fork by {name}" for name in forked]
    first = verdict.student = proofs[0]
    names = sorted(site.name for site in sites)
    expected = {
        "one student": len({proof.get("digest") for proof in proofs}) == 1,
        "its lineage verified offline": all(proof.get("verified") for proof in proofs),
        "nobody missing": first.get("outcome") == "COMPLETE",
        "taught by every silo": sorted(t[0] for t in first.get("teachers", [])) == names,
        "endorsed by a quorum": 2 * len(first.get("endorsed_by", [])) > len(names),
    }
    verdict.failures += [f"not so: {claim}" for claim, holds in expected.items() if not holds]
