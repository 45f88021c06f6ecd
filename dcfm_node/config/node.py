"""One node's own settings: node.toml. Relative paths in it are relative to its folder."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from dcfm_node.config import toml
from dcfm_node.config.addresses import DialAddress, ListenAddress, check_pair
from dcfm_node.data.spec import DataSpec, FilePath
from dcfm_node.errors import ConfigError, writable
from dcfm_node.files import shipped_text
from dcfm_node.records.base import Model, Name


class Listen(Model):
    """Where this node takes links; neither: it only dials out, which is all NAT allows."""

    control: ListenAddress | None = None
    """Journals, votes, signs of life: "tcp://host:port"."""
    bulk: ListenAddress | None = None
    """Snapshots: "tcp://host:port", another port; none: they come in at the control port too."""

    @model_validator(mode="after")
    def _pair(self) -> Self:
        check_pair(self.control, self.bulk)
        return self


class Advertise(Model):
    """Where peers reach what this node listens on: `dcfm-node id` prints it."""

    control: DialAddress | None = None
    """"tcp://host:port", as seen from outside."""
    bulk: DialAddress | None = None
    """"tcp://host:port", as seen from outside."""

    @model_validator(mode="after")
    def _pair(self) -> Self:
        check_pair(self.control, self.bulk)
        return self


class Worker(Model):
    """The training process."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """"auto" takes CUDA where there is a GPU."""
    devices: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that share the training, each with a GPU where there are GPUs; 1 to 64."""
    threads: Annotated[int, Field(ge=0, le=1_024)] = 0
    """CPU threads of each process, to 1024; 0 is one a core, or one if devices is above 1."""
    bf16: bool = False
    """On CUDA, evaluate networks in bfloat16: faster, and rounded to three digits."""
    compile: bool = False
    """On CUDA, let torch.compile fuse the networks: faster after minutes of compiling."""
    checkpoint_s: Annotated[float, Field(gt=0.0, le=86_400.0)] = 20.0
    """Seconds between two private checkpoints, to a day: what a crash may cost."""
    publish_s: Annotated[float, Field(gt=0.0, le=86_400.0)] = 600.0
    """Seconds between two checkpoints of a student that peers fetch, to a day: what it may cost
    when the node that distils is lost. Each weighs four students."""

    @model_validator(mode="after")
    def _accelerated(self) -> Self:
        if self.device == "cpu" and (self.bf16 or self.compile):
            raise ValueError('bf16 and compile speed up CUDA; remove them, or device = "cpu"')
        return self


class Log(Model):
    """What the daemon tells on stderr."""

    format: Literal["console", "json"] = "console"
    """For people, or one JSON object a line for a collector."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least serious events that are told."""


class Gossip(Model):
    """How journals spread."""

    interval_s: Annotated[float, Field(ge=0.05, le=60.0)] = 1.0
    """Seconds between two exchanges with a random peer, 0.05 to 60. Less: news spreads faster."""


class Limits(Model):
    """What this node takes of its site's line."""

    upload: Annotated[int, Field(ge=0, le=2**40)] = 0
    """Bytes of snapshots sent in a second, 65536 or more; 0 sets no limit."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if 0 < self.upload < 65_536:
            raise ValueError("upload is below 65536, too slow for peers to wait; or 0 for no limit")
        return self


class NodeConfig(Model):
    """node.toml. Paths are absolute once loaded."""

    name: Name
    """This silo's name, the same in every peers.toml."""
    state: FilePath = Path("state")
    """Folder of journals, snapshots and checkpoints; the node makes it."""
    keys: FilePath = Path("keys")
    """Folder of sign.key and link.key."""
    distils: bool = True
    """Whether this node may be elected to distil the student: needs all experts on its disk."""
    listen: Listen = Listen()
    advertise: Advertise = Advertise()
    data: DataSpec
    """This silo's private data."""
    codec: FilePath | None = None
    """The codec's file, where the run names one by its digest."""
    worker: Worker = Worker()
    log: Log = Log()
    gossip: Gossip = Gossip()
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.advertise.control is not None and self.listen.control is None:
            raise ValueError("advertise is set and listen is not; set both, or neither")
        if self.advertise.bulk is not None and self.listen.bulk is None:
            raise ValueError("advertise.bulk is set and listen.bulk is not; set both, or neither")
        return self


def load_node(path: Path) -> NodeConfig:
    """Read node.toml.

    Raises:
        ConfigError: naming each problem's line, field and fix.
    """
    absent = "name the node's settings with --config, or make them with 'dcfm-node init DIR'"
    config = toml.read(path, absent).parse(NodeConfig)
    folder = path.parent.absolute()
    if writable(str(folder)) != str(folder):
        # It is told to the worker and written into documents, which are UTF-8.
        raise ConfigError(
            "the folder's name is no text in UTF-8",
            where=str(folder),
            fix="rename it, or the one above it that is not",
        )
    return config.model_copy(
        update={
            "state": folder / config.state,
            "keys": folder / config.keys,
            "data": config.data.rooted(folder),
        }
    )


def node_template(name: str) -> str:
    """The commented node.toml that `dcfm-node init` writes.

    Raises:
        ConfigError: `name` is no name for a silo.
    """
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        raise ConfigError(
            f"{name!r} is no name for a silo",
            fix="choose 1 to 32 characters of a-z, 0-9, _ and -, starting with a letter or digit",
        ) from None
    text = shipped_text("node.toml")
    return re.sub(r'(?m)^name = ".*"$', f'name = "{name}"', text, count=1)
