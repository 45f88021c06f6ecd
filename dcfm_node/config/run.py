"""run.toml: the settings that all nodes of a run share, read into the run's manifest."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError
from zmq.utils import z85

from dcfm_node.config import feasible, toml
from dcfm_node.config.advice import Problem
from dcfm_node.config.peers import Peer, merged
from dcfm_node.config.presets import Preset, settled
from dcfm_node.errors import ConfigError
from dcfm_node.records.base import MAX_SNAPSHOT_BYTES, Digest, Model, Name, Snapshot
from dcfm_node.records.differing import differing_fields
from dcfm_node.records.manifest import (
    CODEC,
    DOMAIN,
    MAX_COMBINATIONS,
    MAX_SILOS,
    NETWORK,
    PATH,
    Attribute,
    Continues,
    Handover,
    Manifest,
    Policy,
    Probes,
    Silo,
    Transfer,
)
from dcfm_node.records.messages import MAX_MANIFEST_BYTES
from dcfm_node.records.moments import Scale, Standardise
from dcfm_node.records.settings import (
    SECTIONS,
    AnyCodec,
    AnyDomain,
    AnyMethod,
    AnyNetwork,
    AnyPath,
    Shape,
    packages,
)
from dcfm_node.wire.envelope import manifest_bytes


def _from_hex(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return bytes.fromhex(value)
    except ValueError:
        raise ValueError("is not in hex digits; copy it from what 'run continue' wrote") from None


HexDigest = Annotated[Digest, BeforeValidator(_from_hex)]


class _Student(Model):
    """The student of the earlier run that new silos start from."""

    digest: HexDigest
    """Its digest: 64 hex digits."""
    size: Annotated[int, Field(ge=1, le=MAX_SNAPSHOT_BYTES)]
    """Bytes of its file."""


class _Continues(Model):
    """The earlier run. `dcfm-node run continue` writes this table; hand-overs are in peers.toml."""

    run: HexDigest
    """Id of the earlier run: 64 hex digits."""
    student: _Student | None = None
    scale: Scale | None = None
    replaced: Annotated[tuple[Name, ...], Field(max_length=MAX_SILOS)] = ()
    """Silos that lost their old keys. All members vouch for the new ones by using this file."""


Values = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=64)], ...], Field(max_length=32)
]
FeatureName = Annotated[str, Field(min_length=1)]


class RunFile(Model):
    """`Manifest`, but with only the names of the roster."""

    name: Name
    preset: Preset = "auto"
    """What settles all that the file leaves open; default "auto"."""
    sample_shape: Shape
    features: Annotated[tuple[FeatureName, ...], Field(min_length=1)] | None = None
    """Names of the numbers of a sample, in order, to compare tables with. Not in the manifest."""
    roster: Annotated[tuple[Name, ...], Field(min_length=1, max_length=MAX_SILOS)] | None = None
    attribute: Annotated[tuple[Attribute, ...], Field(min_length=1, max_length=32)]
    feasible: Annotated[tuple[Values, ...], Field(max_length=MAX_COMBINATIONS)] = ()
    """The combinations that can occur, each as a value of every attribute in order. Data of others
    is refused. Default: all; list them where few of many can occur."""
    domain: AnyDomain = DOMAIN
    codec: AnyCodec = CODEC
    standardise: Standardise = "auto"
    network: AnyNetwork = NETWORK
    path: AnyPath = PATH
    method: AnyMethod
    policy: Policy = Policy()
    transfer: Transfer = Transfer()
    probes: Probes = Probes()
    continues: _Continues | None = None


class SiteAttribute(Model):
    """An attribute as one site's data have it, maybe with one value."""

    name: Name
    values: Annotated[tuple[str, ...], Field(min_length=1)]
    absent: Annotated[str, Field(min_length=1, max_length=64)] | None = None


class SiteRun(Model):
    """What sites' run.toml files may differ in, before they are merged."""

    model_config = ConfigDict(extra="ignore")
    features: tuple[FeatureName, ...] = ()
    attribute: Annotated[tuple[SiteAttribute, ...], Field(min_length=1)]
    feasible: Annotated[tuple[Values, ...], Field(max_length=MAX_COMBINATIONS)] = ()


def load_run(path: Path, peers: tuple[Peer, ...], me: Peer | None, *, listed: Path) -> Manifest:
    """Read run.toml into a manifest. Its roster: the names it lists, else all peers and this node.

    Args:
        listed: the file that peers were read from, for messages.
        me: this node; None for an offline check of records, which needs no node.

    Raises:
        ConfigError: names each problem's line, field and fix; also if the roster lacks this node
            or has a name that peers.toml lacks.
    """
    document = toml.read(path, "name the run's file with --run, or make one with 'dcfm-node init'")
    run = _parsed(document)
    known = merged(peers, me, listed) if me is not None else {peer.name: peer for peer in peers}
    roster, name = run.roster or tuple(known), me.name if me is not None else None
    if wrong := _roster_problems(roster, known, name, listed):
        raise document.error(wrong)
    many = math.prod(run.sample_shape)
    if run.features is not None and len(run.features) != many:
        what = f"names {len(run.features)} numbers, and a sample has {many}"
        raise document.error([Problem(("features",), what, "name each number once, or none")])
    silos = [Silo(name=name, key=known[name].sign_key) for name in sorted(roster)]
    try:
        manifest = Manifest(
            name=run.name,
            sample_shape=run.sample_shape,
            attributes=run.attribute,
            domain=run.domain,
            codec=run.codec,
            standardise=run.standardise,
            network=run.network,
            path=run.path,
            method=run.method,
            policy=run.policy,
            transfer=run.transfer,
            probes=run.probes,
            roster=tuple(silos),
            continues=_continued(run.continues, [known[silo.name] for silo in silos]),
            feasible=feasible.indices(run),
        )
    except ValidationError as error:
        found = [
            str(detail.get("ctx", {}).get("error", detail["msg"])) for detail in error.errors()
        ]
        raise document.error([_problem(what) for what in found]) from None
    if (size := len(manifest_bytes(manifest))) > MAX_MANIFEST_BYTES:  # a message could not hold it
        what = f"makes a manifest of {size} bytes, above the limit of {MAX_MANIFEST_BYTES}"
        fix = "list fewer combinations" if manifest.feasible else "shorten the attributes' values"
        at = ("feasible",) if manifest.feasible else ()
        raise document.error([Problem(at, what, fix)])
    if (size := least_bytes(manifest)) > MAX_SNAPSHOT_BYTES:
        what = f"the weights take {size} bytes, above a snapshot's limit of {MAX_SNAPSHOT_BYTES}"
        fix = "choose a smaller network.width or sample_shape"
        raise document.error([Problem(("network", "width"), what, fix)])
    return manifest


def load_features(path: Path) -> tuple[str, ...]:
    """The names of a sample's numbers in a run.toml; () if it has none.

    Raises:
        ConfigError: the file is not a valid run.toml.
    """
    return _parsed(toml.read(path, "name the run's file with --run")).features or ()


def features_of(path: Path, manifest: Manifest) -> tuple[str, ...]:
    """As `load_features`; () also if there is no such file, or it is of another run."""
    try:
        document = toml.read(path, "")
        return () if differing(document, manifest) else _parsed(document).features or ()
    except ConfigError:
        return ()


def _parsed(document: toml.Document) -> RunFile:
    run = replace(document, values=settled(document.values)).parse(RunFile)
    if wrong := feasible.wrong(run):
        raise document.error(wrong)
    return run


def least_bytes(manifest: Manifest) -> int:
    """A lower bound in bytes of a snapshot of the run's network: its first and last layers."""
    return manifest.network.least_numbers(manifest.flow_shape) * manifest.transfer.width


def differing(document: toml.Document, manifest: Manifest) -> list[str]:
    """Fields of a run.toml that differ from a run's manifest. The file has no keys to compare.

    Raises:
        ConfigError: the file is not a valid run.toml.
    """
    run = _parsed(document)
    names = tuple(silo.name for silo in manifest.roster)
    sections = (*SECTIONS.values(), "policy", "transfer", "probes")
    alike = ("name", "sample_shape", "standardise", *sections)
    said = {field: getattr(run, field) for field in alike} | {
        "attributes": run.attribute,
        "feasible": feasible.indices(run),
        "plugins": packages(dict(run)),
    }
    found = differing_fields(manifest.model_copy(update=said), manifest)
    return [*found, *(["roster"] if sorted(run.roster or names) != list(names) else [])]


def _continued(said: _Continues | None, roster: list[Peer]) -> Continues | None:
    """The manifest's `continues`, with the hand-overs of the roster's peers (SPEC 2.7)."""
    if said is None:
        return None
    handovers = (
        Handover(name=p.name, link_key=z85.decode(p.link_key), signature=p.handover)
        for p in roster
        if p.handover is not None and p.name not in said.replaced
    )
    student = said.student
    return Continues(
        run=said.run,
        student=None if student is None else Snapshot(digest=student.digest, size=student.size),
        scale=said.scale,
        handovers=tuple(handovers),
        replaced=said.replaced,
    )


def _roster_problems(
    roster: tuple[str, ...], known: dict[str, Peer], me: str | None, listed: Path
) -> list[Problem]:
    found = []
    for position, name in enumerate(roster):
        if name not in known:
            fix = (
                f"add the block of {name!r} ('dcfm-node id' there, 'dcfm-node peers add' here), or"
                " correct the name"
            )
            found.append(Problem(("roster", position), f"{listed} has no {name!r}", fix))
        elif name in roster[:position]:
            fix = "name every silo once"
            found.append(Problem(("roster", position), f"names {name!r} twice", fix))
    if me is not None and me not in roster:
        fix = f"add {me!r}, or start a node of the roster"
        found.append(Problem(("roster",), f"does not name this node, {me!r}", fix))
    return found


def _problem(what: str) -> Problem:
    told, _, fix = what.partition("; ")
    return Problem(_named(told), told, fix or "change one of the settings that do not fit together")


def _named(what: str) -> tuple[str, ...]:
    """The setting that a message from the manifest names first, as in "network.kind"."""
    dotted = re.search(r"\b(method|network|policy|transfer|probes)\.(\w+)", what)
    return dotted.groups() if dotted else ("attribute",)
