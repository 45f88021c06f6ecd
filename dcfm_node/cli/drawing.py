"""Drawing samples of a student into a file. The one part of the command line that needs torch."""

import itertools
import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from dcfm_node.config.run import least_bytes
from dcfm_node.domains import base as domains
from dcfm_node.domains.space import Space
from dcfm_node.errors import ConfigError, Failed, PeerError
from dcfm_node.files import read_bounded
from dcfm_node.flow import networks
from dcfm_node.flow.codec import codec_of, decoded
from dcfm_node.flow.device import choose
from dcfm_node.flow.files import load_weights
from dcfm_node.flow.labels import Counts
from dcfm_node.flow.method import learner_of
from dcfm_node.flow.sampling import CHUNK
from dcfm_node.records.base import MAX_SNAPSHOT_BYTES
from dcfm_node.records.manifest import Manifest
from dcfm_node.samples import Samples
from dcfm_node.store.tensors import Schema, check_snapshot, ensemble_schema, size_of

BYTES, COPIES = 4, 3
"""Of a number; and how often samples lie in memory, noise and picture counted."""


def draw(
    manifest: Manifest,
    model: Path,
    chosen: Mapping[int, int],
    *,
    counts: Mapping[str, Counts],
    count: int,
    seed: int,
    out: Path,
    codec: Path | None = None,
) -> None:
    """Sample `count` times and write a picture (.png) or `x` and `c` (.npz).

    Args:
        model: its bytes are those of a verified lineage; nothing else of it was checked.
        chosen: attribute index -> value index; the others take all values in turn.
        counts: label counts of the student's teachers, by silo; of an ensemble alone.
        codec: the codec's file, where the run names one.

    Raises:
        ConfigError: the file that `out` names cannot hold such samples, or the codec's file is
            missing or another.
        UserError: the GPU does not work.
        Failed: its tensors are not those of the run's network, or that is larger than what a
            snapshot or this machine's memory can hold.
    """
    if out.suffix not in (".npz", ".png"):
        fix = "name a file that ends in .npz or .png"
        raise ConfigError(f"cannot write {out.suffix or 'a nameless kind'}", where="--out", fix=fix)
    check_room(manifest, count, available())
    check_model(manifest, model, counts)
    decoder = codec_of(manifest, codec)
    labels = torch.tensor(_labels(manifest, chosen, count), dtype=torch.int64)
    device = choose("auto", where="student sample", instead="hide it: CUDA_VISIBLE_DEVICES=''")
    tensors = load_weights(model)
    try:
        learner = learner_of(manifest)
        z = learner.sample(tensors, labels, counts=counts, seed=seed, device=device)
        x = decoded(decoder, z).numpy()
    except (RuntimeError, MemoryError) as error:  # torch's, of memory and of shapes alike
        what = f"cannot be drawn: {error}"
        raise Failed(what, where=str(model), fix="draw fewer with -n") from error
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".npz":
        np.savez_compressed(out, x=x, c=labels.numpy())
    else:
        domain = domains.of(manifest)
        if len(manifest.sample_shape) < 3:  # whose pictures matplotlib draws
            domain.check(None)
        space = Space(manifest.attributes, ())
        domain.sheet(space, Samples(x, labels.numpy())).save(out)


def check_model(manifest: Manifest, model: Path, counts: Mapping[str, Counts]) -> None:
    """Hold a file against the network that its manifest names, before any of that is made.

    Raises:
        Failed: it is not exactly that network's tensors; or no snapshot could hold these.
    """
    fix = "do not use this model; fetch the student again"
    try:
        check_snapshot(model, _schema(manifest, counts))
    except PeerError as error:
        raise Failed(f"not the run's network: {error}", where=str(model), fix=fix) from error
    except OSError as error:
        raise Failed(f"cannot be read: {error.strerror}", where=str(model), fix=fix) from error


def _schema(manifest: Manifest, counts: Mapping[str, Counts]) -> Schema:
    """What a student of the run holds.

    Raises:
        PeerError: more than a snapshot can (SPEC 5.1).
    """
    least = least_bytes(manifest)  # torch cannot even name the shapes of some that take more
    expert = networks.schema(manifest) if least <= MAX_SNAPSHOT_BYTES else {}
    beside = learner_of(manifest).beside_experts() if expert else {}
    form = ensemble_schema(expert, beside, sorted(counts)) if manifest.method.ensemble else expert
    if max(least, size_of(form)) > MAX_SNAPSHOT_BYTES:
        raise PeerError(f"it takes more than the {MAX_SNAPSHOT_BYTES} bytes of a snapshot")
    return form


def check_room(manifest: Manifest, count: int, memory: float) -> None:
    """Whether so many samples fit the memory, by a rough count: the samples themselves, and what a
    chunk of them needs on its way through the network, once for each term of Eq. 5.

    Args:
        memory: bytes to be had.

    Raises:
        Failed: they do not.
    """
    values = math.prod(manifest.flow_shape)
    inside = manifest.network.widest(manifest.flow_shape)
    terms = 1 + len(manifest.attributes)
    needed = BYTES * (COPIES * count * values + min(count, CHUNK) * terms * (values + inside))
    if needed > memory:
        shape = " x ".join(map(str, manifest.sample_shape))
        raise Failed(
            f"{count} samples of {shape} numbers need about {needed / 1e9:.3g} GB of memory, and"
            f" {memory / 1e9:.3g} GB are free",
            fix="draw fewer with -n, or on a larger machine",
        )


def available() -> float:
    """Bytes of memory that are free, or all there are where the kernel does not say."""
    try:
        lines = read_bounded(Path("/proc/meminfo"), 1 << 20).decode().splitlines()
    except OSError:
        lines = []
    told = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    if told:
        return 1_024.0 * int(told[0])
    return float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")


def _labels(manifest: Manifest, chosen: Mapping[int, int], count: int) -> list[list[int]]:
    ranges = [
        [chosen[index]] if index in chosen else list(range(size))
        for index, size in enumerate(manifest.cardinalities)
    ]
    combinations = [list(label) for label in itertools.product(*ranges)]
    return [combinations[index % len(combinations)] for index in range(count)]
