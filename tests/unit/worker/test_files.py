"""What the worker keeps on disk: whole or not at all, and no matter when it is neither."""

import resource
from pathlib import Path

import pytest
import torch

from dcfm_node.errors import Failed
from dcfm_node.worker.jobs import _farthest, _save
from dcfm_node.worker.messages import Job


def job(folder: Path, **changes: object) -> Job:
    fields = {
        "key": "distil-0-0",
        "kind": "distil",
        "silo": "east",
        "seed": 0,
        "output": folder / "out.safetensors",
        "checkpoint": folder / "mine.checkpoint",
    }
    return Job.model_validate(fields | changes)


def test_it_goes_on_from_whoever_came_farther(tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    both = job(tmp_path, resume=other)
    assert _farthest(both) is None
    for mine, theirs, expected in ((5, 7, 7), (9, 7, 9)):
        _save({"step": torch.tensor([mine])}, both.checkpoint)
        _save({"step": torch.tensor([theirs])}, other)
        found = _farthest(both)
        assert found is not None
        assert int(found["step"]) == expected


def test_a_checkpoint_that_a_power_cut_left_in_pieces_is_none(tmp_path: Path) -> None:
    mine = job(tmp_path)
    _save({"step": torch.tensor([5])}, mine.checkpoint)
    whole = mine.checkpoint.read_bytes()
    for length in (0, 4, len(whole) - 1):
        mine.checkpoint.write_bytes(whole[:length])
        assert _farthest(mine) is None
        assert not mine.checkpoint.exists()


def test_what_the_disk_refuses_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "mine.checkpoint"
    _save({"step": torch.tensor([5])}, path)
    kept, (soft, hard) = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    try:
        with pytest.raises(Failed, match="cannot be written"):
            _save({"step": torch.zeros(10_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == kept
