"""The demo's folder: a node per silo, the peers file and the run."""

import json
import shutil
import socket
import sys
import tomllib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from dcfm_node.api.client import SOCKET, Starting, call
from dcfm_node.api.requests import StatusRequest
from dcfm_node.config.keys import NodeKeys, create_keys
from dcfm_node.config.node import load_node
from dcfm_node.config.peers import own_peer, peer_block
from dcfm_node.demo import radiographs, robots
from dcfm_node.domains import base as domains
from dcfm_node.errors import ConfigError, Failed, Unreachable
from dcfm_node.files import shipped

NAMES = ("north", "east", "south", "west", "coast", "valley", "island", "summit")
DOMAINS = ("digits", "gaussians", robots.DOMAIN, radiographs.DOMAIN)
SCHEDULES = ("alternating", "paper")
MIN_SILOS, MAX_SILOS = 2, len(NAMES)
SILOS = {robots.DOMAIN: len(robots.HALVES)}
"""Nodes of domains that leave no choice."""

MARKER = ".dcfm-node-demo"
MADE = ("nodes", "student", "peers.toml", "run.toml", "report.json", "report.png")
"""Names that a demo writes besides its marker. A demo removes only these."""
STALL_S = 60.0
DUTY_S = 600.0
GOSSIP_S = 0.25


def silos_of(domain: str) -> int:
    """Number of nodes where nobody chooses."""
    return SILOS.get(domain, 3)


def called() -> str:
    """How a shell calls this dcfm-node: by name if it is on PATH, else by path."""
    own, found = Path(sys.executable).with_name("dcfm-node"), shutil.which("dcfm-node")
    if not own.is_file() or (found is not None and own.samefile(found)):
        return "dcfm-node"
    here = Path.cwd()
    return quote(str(own.relative_to(here) if own.is_relative_to(here) else own))


@dataclass(frozen=True, slots=True)
class Wish:
    """Options of the demo.

    Attributes:
        shorten: factor on every stage's steps, default 1; below 1 the results mean nothing.
        data: folder of radiographs, for the domain that needs one.
    """

    domain: str = "digits"
    schedule: str = "alternating"
    seed: int = 0
    silos: int = 3
    shorten: float = 1.0
    data: Path | None = None

    def check(self) -> None:
        """Raises UserError if an option is out of range, or the data are not there."""
        for option, value, known in (
            ("--domain", self.domain, DOMAINS),
            ("--schedule", self.schedule, SCHEDULES),
        ):
            if value not in known:
                fix = f"choose {' or '.join(known)}"
                raise ConfigError(f"{value!r} is unknown", where=option, fix=fix)
        if not MIN_SILOS <= self.silos <= MAX_SILOS:
            fix = f"choose {MIN_SILOS} to {MAX_SILOS}"
            raise ConfigError(f"{self.silos} silos are out of range", where="--silos", fix=fix)
        if self.silos != (needed := SILOS.get(self.domain, self.silos)):
            what = f"the domain {self.domain!r} has {needed} nodes, not {self.silos}"
            raise ConfigError(what, where="--silos", fix=f"leave the option out, or give {needed}")
        if not 0 <= self.seed < 2**31:
            fix = "choose 0 to 2147483647"
            raise ConfigError(f"{self.seed} is out of range", where="--seed", fix=fix)
        if self.domain == radiographs.DOMAIN:
            domains.named(self.domain).check(self.data)
        elif self.data is not None:
            what = f"the domain {self.domain!r} makes its own data"
            raise ConfigError(what, where="--data", fix="leave the option out")


@dataclass(frozen=True, slots=True)
class NodeFolder:
    """The folder of one node of the demo."""

    name: str
    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "node.toml"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def log(self) -> Path:
        return self.folder / "node.log"


@dataclass(frozen=True, slots=True)
class Stage:
    """A demo folder, ready for its nodes to start."""

    out: Path
    nodes: tuple[NodeFolder, ...]

    @property
    def peers(self) -> Path:
        return self.out / "peers.toml"

    @property
    def run(self) -> Path:
        return self.out / "run.toml"

    @property
    def student(self) -> Path:
        return self.out / "student"


def prepare(out: Path, wish: Wish, run: dict[str, Any] | None = None) -> Stage:
    """Make a new folder with keys, settings, peers and the run.

    Args:
        run: contents of run.toml; None takes `run_settings(wish)`.

    Raises:
        ConfigError: an option is out of range.
        Failed: the folder holds other files, or a demo still runs in it.
    """
    wish.check()
    data = _data(out, wish)
    clear(out)
    addresses = free_addresses(2 * wish.silos)
    nodes, blocks = [], []
    for silo, name in enumerate(NAMES[: wish.silos]):
        node = NodeFolder(name, out / "nodes" / name)
        keys = _make_node(node, data[silo], addresses[2 * silo], addresses[2 * silo + 1])
        nodes.append(node)
        blocks.append(peer_block(own_peer(load_node(node.config), keys)))
    stage = Stage(out, tuple(nodes))
    stage.peers.write_text("\n".join(blocks))
    stage.run.write_text(to_toml(run_settings(wish) if run is None else run))
    return stage


def clear(out: Path) -> None:
    """Make the folder, or empty it of an earlier demo.

    Raises:
        Failed: it holds other files, or a node of an earlier demo still runs.
    """
    elsewhere = "name another folder with --out"
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()) and not (out / MARKER).exists():
            raise Failed("holds files that are not from a demo", where=str(out), fix=elsewhere)
        for state in sorted(out.glob("nodes/*/state")):
            if _answers(state):
                stop = f"dcfm-node stop --config {state.parent / 'node.toml'}"
                fix = f"wait for that demo, stop the node with '{stop}', or {elsewhere}"
                raise Failed("a node of an earlier demo still runs", where=str(state), fix=fix)
        (out / MARKER).write_text("A folder of 'dcfm-node demo'; the next demo here replaces it.\n")
        for name in MADE:
            path = out / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    except OSError as error:
        where = str(error.filename or out)
        raise Failed(f"cannot be written: {error.strerror}", where=where, fix=elsewhere) from error


def run_settings(wish: Wish) -> dict[str, Any]:
    """Contents of the domain's run.toml, with the requested schedule and seed."""
    settings = tomllib.loads(run_text(wish.domain, wish.schedule))
    if wish.domain == radiographs.DOMAIN:
        settings = radiographs.settings(settings)
    method = settings["method"]
    method |= {"schedule": wish.schedule, "seed": wish.seed}
    if wish.shorten < 1:
        for name in ("local", "refine", "distil", "replay"):
            steps = method.get(name, {}).get("steps", 1)
            method[name]["steps"] = max(1, int(steps * wish.shorten))
        method |= {"min_rounds": 1, "max_rounds": 1}
    policy = settings.setdefault("policy", {})
    policy |= {"participation": "tolerant", "stall_s": STALL_S, "duty_s": DUTY_S}
    if wish.shorten < 1:
        policy["novel_floor"] = 0.0
    return settings


def run_text(domain: str, schedule: str = "alternating") -> str:
    """The run manifest that comes with the package, without a roster. Some domains have another one
    for the paper's schedule, with the penalty that carries it."""
    own = shipped("runs", f"{domain}-{schedule}.toml")
    file = own if own.is_file() else shipped("runs", f"{domain}.toml")
    return file.read_text(encoding="utf-8")


def free_addresses(count: int) -> list[str]:
    """Loopback addresses with ports that are free now."""
    with ExitStack() as stack:
        found = []
        for _ in range(count):
            probe = stack.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            found.append(f"tcp://127.0.0.1:{probe.getsockname()[1]}")
    return found


def to_toml(table: dict[str, Any], path: str = "") -> str:
    """Write a table as TOML: scalars, arrays, tables and arrays of tables."""
    lines: list[str] = []
    below: list[str] = []
    for key, value in table.items():
        name = f"{path}.{key}" if path else key
        if isinstance(value, dict):
            below.append(f"\n[{name}]\n{to_toml(value, name)}")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            below += [f"\n[[{name}]]\n{to_toml(item, name)}" for item in value]
        else:
            lines.append(f"{key} = {json.dumps(value)}\n")
    return "".join(lines + below)


def _make_node(node: NodeFolder, data: dict[str, Any], control: str, bulk: str) -> NodeKeys:
    node.folder.mkdir(parents=True)
    addresses = {"control": control, "bulk": bulk}
    settings = {
        "name": node.name,
        "listen": addresses,
        "advertise": addresses,
        **data,
        "worker": {"device": "cpu", "threads": 1},
        "gossip": {"interval_s": GOSSIP_S},
    }
    node.config.write_text(to_toml(settings))
    return create_keys(node.folder / "keys")


def _data(out: Path, wish: Wish) -> list[dict[str, Any]]:
    """What the node.toml of each node says of its data."""
    names = NAMES[: wish.silos]
    if wish.domain == robots.DOMAIN:
        return [
            {"data": {"format": "episodes", "path": str(robots.folder(out, name))}}
            for name in names
        ]
    if wish.domain == radiographs.DOMAIN and wish.data is not None:
        codec = {"codec": str(radiographs.codec_file(out))}
        parts = radiographs.shares(wish.data, wish.silos).hospitals
        return [codec | {"data": radiographs.data(wish.data, part)} for part in parts]
    shared = {"format": "builtin", "name": wish.domain, "silos": wish.silos, "seed": wish.seed}
    return [{"data": shared | {"silo": silo}} for silo in range(wish.silos)]


def _answers(state: Path) -> bool:
    if not (state / SOCKET).exists():
        return False
    try:
        call(state, StatusRequest(), timeout_s=5.0)
    except Starting:
        return True
    except Unreachable:
        return False
    return True
