"""Real nodes on loopback, as their engineers run them: the command line, keys, files, processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

from dcfm_node.api.client import call
from dcfm_node.api.requests import REQUEST
from dcfm_node.cli.main import main
from dcfm_node.demo.stage import free_addresses
from dcfm_node.errors import Unreachable

NAMES = ("north", "east", "south", "west", "centre", "coast", "ridge")
POLICY = 'participation = "tolerant"\nstall_s = 4.0\n'
ROOT = Path(__file__).parents[2]
PATIENCE_S = 240.0
"""Far more than anything takes, also on a machine that others use; less than pytest's timeout."""

NODE = """
name = "{name}"
{listen}
[data]
format = "builtin"
name = "gaussians"
silo = {silo}
silos = {silos}
[worker]
device = "cpu"
devices = {devices}
threads = 1
checkpoint_s = {checkpoint_s}
publish_s = {checkpoint_s}
[gossip]
interval_s = 0.2
"""
ADDRESSES = """
[{table}]
control = "{control}"
bulk = "{bulk}"
"""


class Site:
    """One node's folder and process."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.folder = name, folder / name
        self.state = self.folder / "state"
        self.log = folder / f"{name}.log"
        self.peers, self.run = folder / "peers.toml", folder / "run.toml"
        self.environment = ENVIRONMENT
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, program: Sequence[str] = ()) -> None:
        """Start the daemon; `program` in place of the command line's own."""
        command = ["start", "--peers", self.peers, "--run", self.run]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(program or DCFM),
                    *map(str, command),
                    "--config",
                    str(self.folder / "node.toml"),
                ],
                stdout=log,
                stderr=log,
                env=self.environment,
            )

    def kill(self) -> None:
        """kill -9, as a power cut would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def ask(self, command: str = "status") -> dict[str, Any]:
        """The daemon's answer; an empty one while it does not answer."""
        try:
            return call(self.state, REQUEST.validate_python({"command": command})).plain()
        except Unreachable:
            return {}

    def worker_pid(self) -> int:
        return int(self.ask()["worker"]["pid"])


DCFM = (sys.executable, "-m", "dcfm_node")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def dcfm(*arguments: object) -> Done:
    """Run the command line to its end in this process, which saves the seconds of a new one."""
    out, err = StringIO(), StringIO()
    with (
        patch.dict(os.environ),
        patch.object(sys, "argv", ["dcfm-node", *map(str, arguments)]),
        patch.object(sys, "excepthook", sys.excepthook),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as ended:
            return Done(int(ended.code or 0), out.getvalue(), err.getvalue())
    raise AssertionError("the command line returned without an exit code")


def dcfm_json(*arguments: object) -> dict[str, Any]:
    """Run a command with --json and parse its answer."""
    document: dict[str, Any] = json.loads(dcfm(*arguments, "--json").stdout)
    return document


def dcfm_process(*arguments: object, cwd: Path | None = None) -> Done:
    """Run the command line as its users do, as a process."""
    done = subprocess.run(
        [*DCFM, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        env=ENVIRONMENT,
        cwd=cwd,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def until(what: Callable[[], Any], *, patience_s: float = PATIENCE_S) -> Any:
    """The first true answer; fails when none comes in time."""
    deadline = time.monotonic() + patience_s
    while (asked := time.monotonic()) < deadline:
        if found := what():
            return found
        # Asking takes the nodes' time too: at most a quarter of it.
        time.sleep(min(max(0.05, 3 * (time.monotonic() - asked)), 0.5))
    raise AssertionError("it did not come to pass in time")


@contextmanager
def cluster(
    folder: Path,
    *,
    schedule: str = "alternating",
    steps: int = 300,
    distil_steps: int = 0,
    checkpoint_s: float = 0.3,
    nodes: int = 3,
    rounds: int = 1,
    policy: str = POLICY,
    method: str = "",
    dial_only: tuple[str, ...] = (),
    devices: int = 1,
    transfer: str = "",
) -> Iterator[list[Site]]:
    """Sites set up as the README says, not yet started; none outlives the block.

    Args:
        distil_steps: those of a student; as many as `steps` if 0.
        rounds: exactly so many, where training converges no sooner.
        method: TOML of another method's settings, in place of the run's own and of its tolerance.
        transfer: TOML of the run's table of that name.
    """
    sites = [Site(folder, name) for name in NAMES[:nodes]]
    addresses = free_addresses(2 * len(sites))
    blocks = []
    for index, site in enumerate(sites):
        assert dcfm("init", site.folder).returncode == 0
        ends = {"control": addresses[2 * index], "bulk": addresses[2 * index + 1]}
        listen = "".join(ADDRESSES.format(table=table, **ends) for table in ("listen", "advertise"))
        settings = NODE.format(
            name=site.name,
            silo=index,
            silos=nodes,
            devices=devices,
            checkpoint_s=checkpoint_s,
            listen="" if site.name in dial_only else listen,
        )
        (site.folder / "node.toml").write_text(settings)
        blocks.append(dcfm("id", "--config", site.folder / "node.toml").stdout)
    (folder / "peers.toml").write_text("\n".join(blocks))
    (folder / "run.toml").write_text(
        _run(schedule, steps, distil_steps or steps, rounds, method, policy) + transfer
    )
    try:
        yield sites
    finally:
        for site in sites:
            if site.process is not None and site.process.poll() is None:
                site.kill()


def released(sites: list[Site]) -> dict[str, str]:
    """The digest of the student each site holds as released, once all have one."""
    found = {}
    for site in sites:
        latest = site.ask().get("latest")
        students = site.ask("students").get("students", []) if latest else []
        if any(student["released"] and student["held"] for student in students):
            found[site.name] = latest["digest"]
    return found if len(found) == len(sites) else {}


def _run(
    schedule: str, steps: int, distil_steps: int, rounds: int, method: str, policy: str
) -> str:
    text = (ROOT / "configs" / "runs" / "gaussians.toml").read_text()
    if method:
        return text.partition("[method]")[0] + method
    lines, table = [], ""
    for line in text.splitlines():
        table = line.strip() if line.startswith("[") else table
        key = line.partition("=")[0].strip()
        change = {
            "schedule": f'schedule = "{schedule}"',
            "steps": f"steps = {distil_steps if table == '[method.distil]' else steps}",
            "min_rounds": f"min_rounds = {rounds}",
            "max_rounds": f"max_rounds = {rounds}",
        }
        lines.append(change.get(key, line))
    return "\n".join(lines) + f"\n[policy]\nnovel_floor = 0.0\n{policy}"
