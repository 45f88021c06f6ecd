"""One node's own settings: node.toml. Relative paths in it are relative to its folder."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from dcfm_node.config import toml
from dcfm_node.config.addresses import (
    DialAddress,
    ListenAddress,
    PageAddress,
    PagePlace,
    check_pair,
    page_place,
)
from dcfm_node.data.privacy import Privacy
from dcfm_node.data.spec import DataSpec, FilePath
from dcfm_node.errors import ConfigError, writable
from dcfm_node.files import shipped_text
from dcfm_node.records.base import Model, Name


class Listen(Model):
    """Where this node accepts links. Without addresses it only dials out, as behind NAT."""

    control: ListenAddress | None = None
    """For journals, votes and heartbeats: "tcp://host:port". Default: none."""
    bulk: ListenAddress | None = None
    """For snapshots: "tcp://host:port" with another port. Default: none; peers then send snapshots
    to the control port."""

    @model_validator(mode="after")
    def _pair(self) -> Self:
        check_pair(self.control, self.bulk)
        return self


class Advertise(Model):
    """The addresses at which peers reach this node. `dcfm-node id` prints them."""

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
    """"auto" uses CUDA if there is a GPU, else the CPU."""
    devices: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that share the training, 1 to 64. Each uses its own GPU if there are GPUs."""
    threads: Annotated[int, Field(ge=0, le=1_024)] = 0
    """CPU threads of each process, 0 to 1024. 0: one per core, or one if devices is above 1."""
    bf16: bool = False
    """On CUDA, evaluate networks in bfloat16: faster, but rounded to three digits."""
    compile: bool = False
    """On CUDA, compile the networks with torch.compile: faster after minutes of compiling."""
    checkpoint_s: Annotated[float, Field(gt=0.0, le=86_400.0)] = 20.0
    """Seconds between two private checkpoints, above 0, at most 86400. A crash loses at most this
    much work."""
    publish_s: Annotated[float, Field(gt=0.0, le=86_400.0)] = 600.0
    """Seconds between two checkpoints of a student that peers fetch, above 0, at most 86400. If the
    node that distils is lost, this much work is lost. A checkpoint is as large as four students."""

    @model_validator(mode="after")
    def _accelerated(self) -> Self:
        if self.device == "cpu" and (self.bf16 or self.compile):
            raise ValueError('bf16 and compile need CUDA; remove them, or remove device = "cpu"')
        return self


class Log(Model):
    """What the daemon logs to stderr."""

    format: Literal["console", "json"] = "console"
    """"console" for people, or "json": one JSON object per line for a log collector."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least serious level that is logged."""


class Gossip(Model):
    """How often this node exchanges journals with peers."""

    interval_s: Annotated[float, Field(ge=0.05, le=60.0)] = 1.0
    """Seconds between two exchanges with a random peer, 0.05 to 60. Records spread faster if this
    is less."""


class Limits(Model):
    """How much of its site's bandwidth this node uses."""

    upload: Annotated[int, Field(ge=0, le=2**40)] = 0
    """Bytes of snapshots sent per second, 65536 to 2**40, or 0 for no limit."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if 0 < self.upload < 65_536:
            raise ValueError("upload is too low; set at least 65536 bytes a second, or 0: no limit")
        return self


class Page(Model):
    """The read-only page, which the daemon starts as a process of its own."""

    listen: PageAddress | None = None
    """"127.0.0.1:7480", or "unix:/path" of a socket for a web server. Default: no page."""
    token_file: FilePath | None = None
    """File with the token that the page asks for, at least 16 characters. Needed where `listen` is
    not on this machine alone. Default: none."""
    draw: bool = True
    """Whether the page draws samples of the released student, on one CPU core, once a student."""

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if (place := self.place) is not None and place.open and self.token_file is None:
            raise ValueError(
                "listen can be reached from other machines and token_file is not set; set it, or"
                " listen on 127.0.0.1"
            )
        return self

    @property
    def place(self) -> PagePlace | None:
        """Where it listens; None without a page."""
        return page_place(self.listen) if self.listen is not None else None


class NodeConfig(Model):
    """node.toml. Paths are absolute once loaded."""

    name: Name
    """This silo's name, the same in every peers.toml."""
    state: FilePath = Path("state")
    """Folder for journals, snapshots and checkpoints. The node makes it."""
    keys: FilePath = Path("keys")
    """Folder of sign.key and link.key."""
    distils: bool = True
    """Whether this node may be elected to distil the student. It then needs disk space for all
    experts."""
    publish_moments: bool = True
    """Whether this silo tells all silos the mean and the standard deviation of each feature of its
    training samples, by which the run standardises its data. If false, it uses the others'."""
    listen: Listen = Listen()
    advertise: Advertise = Advertise()
    data: DataSpec
    """This silo's private data."""
    privacy: Privacy = Privacy()
    codec: FilePath | None = None
    """The codec's file, if the run names one by its digest."""
    worker: Worker = Worker()
    log: Log = Log()
    gossip: Gossip = Gossip()
    limits: Limits = Limits()
    page: Page = Page()

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
        # The worker's messages and the documents hold this path, and both are UTF-8.
        raise ConfigError(
            "the folder's path is not UTF-8 text",
            where=str(folder),
            fix="rename the part of the path that is not UTF-8",
        )
    return config.model_copy(
        update={
            "state": folder / config.state,
            "keys": folder / config.keys,
            "data": config.data.rooted(folder),
            "page": _page(config.page, folder),
        }
    )


def _page(page: Page, folder: Path) -> Page:
    """The same with absolute paths."""
    found: dict[str, str | Path] = {}
    if page.place is not None and page.place.socket is not None:
        found["listen"] = f"unix:{folder / page.place.socket}"
    if page.token_file is not None:
        found["token_file"] = folder / page.token_file
    return page.model_copy(update=found)


def node_template(name: str) -> str:
    """The commented node.toml that `dcfm-node init` writes.

    Raises:
        ConfigError: `name` is not a valid silo name.
    """
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        raise ConfigError(
            f"{name!r} is not a valid silo name",
            fix="choose 1 to 32 characters of a-z, 0-9, _ and -, starting with a letter or digit",
        ) from None
    text = shipped_text("node.toml")
    return re.sub(r'(?m)^name = ".*"$', f'name = "{name}"', text, count=1)
