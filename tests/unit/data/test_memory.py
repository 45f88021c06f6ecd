"""What reading private data takes: little more than the data itself, and keeping it no more."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from dcfm_node.data.source import load
from dcfm_node.data.spec import NpzData
from dcfm_node.data.table import COPIES, read_table
from dcfm_node.flow import sources
from dcfm_node.paths.base import path_of
from dcfm_node.samples import unit
from tests.unit.data.manifests import manifest

N = 20_000
SHAPE = (3, 16, 16)


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_reading_takes_twice_the_data_and_keeping_it_once(tmp_path: Path, kind: str) -> None:
    """Numbers of bytes, not times: NumPy tells tracemalloc of every array."""
    x = np.random.default_rng(0).integers(0, 255, (N, *SHAPE), dtype=np.uint8)
    x = x if kind == "uint8" else unit(x)
    np.savez(tmp_path / "d.npz", x=x, digit=np.zeros(N, int), colour=np.zeros(N, int))
    spec = NpzData(format="npz", path=tmp_path / "d.npz")
    size, run = x.nbytes, manifest(shape=SHAPE)
    del x
    tracemalloc.start()
    try:
        data = load(spec, run)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert data.train.x.dtype == kind
    assert kept < 1.2 * size + 3e6
    assert peak < 2.5 * size + 12e6


def test_rows_of_a_table_are_not_kept(tmp_path: Path) -> None:
    file = tmp_path / "d.csv"
    head, many = "key," + ",".join(f"c{i}" for i in range(20)), 2_000
    file.write_text(head + "\n" + "\n".join(f"k{n}," + "word," * 19 + "word" for n in range(many)))
    tracemalloc.start()
    try:
        found = sum(len(row) for _, row in read_table(file, "key", lambda cell: False))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == 21 * many
    assert peak < COPIES * file.stat().st_size


def test_bytes_become_the_same_floats_in_numpy_and_in_torch() -> None:
    levels = np.arange(256, dtype=np.uint8)
    floats = sources.unit(torch.from_numpy(levels)).numpy()
    assert np.array_equal(floats, unit(levels))
    assert (floats.dtype, floats[0], floats[255]) == (np.float32, -1.0, 1.0)


def test_a_stage_draws_the_same_rows_from_bytes() -> None:
    levels = torch.randint(256, (20, 1, 2, 2), dtype=torch.uint8)
    c = torch.zeros(20, 2, dtype=torch.long)
    of_bytes, of_floats = (
        sources.data_points(x, c, path_of(manifest()))(50, torch.Generator().manual_seed(1))
        for x in (levels, sources.unit(levels))
    )
    assert torch.equal(of_bytes.x, of_floats.x)
    assert torch.equal(of_bytes.target(c), of_floats.target(c))
