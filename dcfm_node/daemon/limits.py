"""What a node is started with, and how much of what there may be."""

import ctypes
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

from dcfm_node.config.keys import NodeKeys
from dcfm_node.config.node import NodeConfig
from dcfm_node.config.pairing import Home
from dcfm_node.config.peers import Peer
from dcfm_node.data.oddities import DataWarning
from dcfm_node.data.privacy import Counts, published
from dcfm_node.data.spec import DataSpec, expecting
from dcfm_node.errors import DataError
from dcfm_node.records.entries import Join, Label
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.messages import MAX_ENTRIES_BYTES
from dcfm_node.records.moments import MIN_SAMPLES, Moments
from dcfm_node.store.tensors import MAX_HEADER_BYTES, Schema, ensemble_schema, size_of
from dcfm_node.swarm.liveness import Pace
from dcfm_node.wire.canonical import pack
from dcfm_node.worker.messages import Ready

MAX_OPEN = 65_536
OWN_FILES = 128
"""Descriptors of journals, snapshots that are read and written, the worker, the operator."""
PEER_FILES = 20
"""Those of a peer's links: two diallers with their monitors, and what it may hold at our ports."""
MIN_ROOM, MAX_ROOM = 16, 1_024
PR_SET_DUMPABLE = 4
"""prctl(2)."""


@dataclass(frozen=True)
class Settings:
    """Everything one node is started with."""

    config: NodeConfig
    keys: NodeKeys
    peers: tuple[Peer, ...]
    manifest: Manifest
    run: Path
    """The file that the manifest was read from."""
    features: tuple[str, ...] = ()
    """Names of the numbers of a sample, as that file has them, if it does."""
    file: Path | None = None
    """The node.toml, which the page reads as well; None starts no page."""
    home: Home | None = None
    """The files that it was read from; None if a reload finds none."""

    @property
    def data(self) -> DataSpec:
        """This node's private data, with the features that a table must have in this run."""
        return expecting(self.config.data, self.features)


def counts_told(settings: Settings, ready: Ready) -> Counts:
    """The label counts that this silo publishes.

    Raises:
        DataError: there are none that its [privacy] lets it tell.
    """
    secret = settings.keys.sign.private_bytes_raw()
    whole = ready.whole or ready.counts
    return published(ready.counts, whole, settings.config.privacy, secret)


def moments_told(settings: Settings, ready: Ready) -> Moments | None:
    """The moments that this silo publishes: none with counts of too few samples (SPEC 3.7.16)."""
    many = sum(n for _, n in counts_told(settings, ready))
    enough = settings.config.publish_moments and many >= MIN_SAMPLES
    return ready.moments if enough else None


def moments_undo(settings: Settings, ready: Ready) -> bool:
    """Whether what this silo publishes of its moments tells what its [privacy] hides of counts."""
    return settings.config.privacy.counts != "exact" and moments_told(settings, ready) is not None


def check_counts(counts: tuple[tuple[Label, int], ...], name: str) -> None:
    """Raises DataError: a silo's label counts do not fit a record."""
    if len(pack(counts)) > MAX_ENTRIES_BYTES // 2:
        raise DataError(
            f"{len(counts)} different combinations are too many to publish",
            where=f"[data] of {name}",
            fix="give the run fewer attributes, or this silo's data fewer combinations",
        )


def changed(join: Join | None, counts: tuple[tuple[Label, int], ...]) -> tuple[DataWarning, ...]:
    """What to say where the private data is not what this silo's `join` of the run tells of."""
    if join is None or join.counts == counts:
        return ()
    said, now = (
        f"{sum(n for _, n in of)} samples of {len(of)} combinations" for of in (join.counts, counts)
    )
    what = (
        "the private data (or [privacy]) is not what this silo joined the run with:"
        f" {now} to train on, and {said} in its record, by which peers weigh its experts"
    )
    return (DataWarning("data-changed", what, "put it back, or agree on a new run"),)


def allow_connections() -> int:
    """Let this process have as many open files as it may; how many these are now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_OPEN if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    return max(soft, most)


def room(open_files: int, peers: int) -> int:
    """Connections of strangers that each of the two planes may have: they count until they are hung
    up on, and must not leave peers, the journals and the snapshots without descriptors."""
    return max(MIN_ROOM, min(MAX_ROOM, (open_files - OWN_FILES - PEER_FILES * peers) // 2))


def keep_secrets() -> None:
    """No core is ever written of this process, nor may others of its user read its memory: it holds
    the keys."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def pace(gossip_s: float) -> Pace:
    """A term must outlast a few rounds of gossip, or votes split before they are heard."""
    return Pace(gossip_s=gossip_s, term_s=max(2.0, 8 * gossip_s))


def quota(manifest: Manifest, tensors: Schema, beside_experts: Schema) -> int:
    """The largest that an expert or student of a run can be, in bytes."""
    names = [silo.name for silo in manifest.roster] if manifest.method.ensemble else []
    forms = [tensors, ensemble_schema(tensors, beside_experts, names)]
    return max(size_of(form) for form in forms) + 8 + MAX_HEADER_BYTES
