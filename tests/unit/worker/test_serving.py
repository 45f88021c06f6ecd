"""The worker process itself: what it says of its start and of jobs that fail."""

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dcfm_node.data.spec import BuiltinData
from dcfm_node.errors import UserError
from dcfm_node.networks.codecs import fit_linear
from dcfm_node.records.manifest import Manifest
from dcfm_node.wire.envelope import decode_manifest, manifest_bytes
from dcfm_node.worker import ranks
from dcfm_node.worker.jobs import JobRunner
from dcfm_node.worker.messages import WORKER, Job, Saved, Setup
from tests.training.settings import STAGE, manifest

NONE: Mapping[str, int] = {}

ATTRIBUTES = [
    {"name": "horizontal", "values": ["left", "right"]},
    {"name": "vertical", "values": ["bottom", "top"]},
]


def setup(folder: Path, steps: Mapping[str, int] = NONE, **changes: Any) -> Setup:
    """Args:
    steps: by stage, in place of the few that tests have.
    """
    stages = {stage: STAGE | {"steps": count} for stage, count in steps.items()}
    run = manifest(method=stages)
    run = run.model_validate(run.model_dump() | {"attributes": ATTRIBUTES}, strict=False)
    data = BuiltinData(format="builtin", name="gaussians", silo=0, silos=2)
    fields = {"manifest": manifest_bytes(run).hex(), "data": data, "device": "cpu", "threads": 1}
    return Setup.model_validate({**fields, "scratch": folder, **changes})


def job(folder: Path, **changes: Any) -> Job:
    fields = {"key": "local-0-a", "kind": "train", "silo": "silo-0", "seed": 1}
    paths = {"output": folder / "out.safetensors", "checkpoint": folder / "out.checkpoint"}
    return Job.model_validate({**fields, **paths, **changes})


class Process:
    """A worker, and what it says."""

    def __init__(self, folder: Path, devices: int) -> None:
        self.errors = folder / "stderr"
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                WORKER,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "RANK": "0", "WORLD_SIZE": str(devices)},
                start_new_session=True,
            )

    def give(self, line: Setup | Job) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.model_dump_json().encode() + b"\n")
        self.process.stdin.flush()

    def hear(self, *events: str) -> dict[str, Any]:
        """The next of these."""
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            line: dict[str, Any] = json.loads(raw)
            if line["event"] in events:
                return line
        raise AssertionError(self.errors.read_text())

    def others(self) -> list[int]:
        """Pids of the ranks that it started."""
        listed = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(pid) for file in listed for pid in file.read_text().split()]


@contextmanager
def worker(folder: Path, devices: int = 1, **changes: Any) -> Iterator[Process]:
    found = Process(folder, devices)
    try:
        found.give(setup(folder, **changes))
        yield found
    finally:
        found.process.kill()
        found.process.communicate()


def test_whatever_a_job_raises_is_told_and_shown_once(tmp_path: Path) -> None:
    """A join with label index 1000: an IndexError in the midst of torch."""
    teacher = {"silo": "silo-1", "path": tmp_path / "out.safetensors", "counts": [[[1000, 0], 5]]}
    with worker(tmp_path) as found:
        found.hear("ready")
        found.give(job(tmp_path))
        assert found.hear("done", "broken")["event"] == "done"
        for _ in range(3):
            found.give(job(tmp_path, key="distil-0-b", kind="distil", teachers=[teacher]))
            broken = found.hear("done", "broken")
            assert (broken["event"], broken["key"]) == ("broken", "distil-0-b")
            assert "Error: " in broken["reason"]
        found.give(job(tmp_path, key="local-0-c"))
        assert found.hear("done", "broken")["event"] == "done"
        assert found.errors.read_text().count("Traceback") == 1


def test_ranks_need_no_host_name_and_end_together(tmp_path: Path) -> None:
    with worker(tmp_path, devices=2, steps={"local": 100_000}) as found:
        doing = [found.hear("starting", "ready").get("doing") for _ in range(3)]
        assert doing == ["reads the private data", "waits for the other 1 of its processes", None]
        (other,) = found.others()
        found.give(job(tmp_path))
        found.hear("progress")
        os.kill(other, 9)
        broken = found.hear("done", "broken")
        assert broken["reason"].startswith("rank 1 of 2 was killed by signal 9 (SIGKILL)")
        assert found.process.wait(30) == 1


def test_no_rank_outlives_the_first(tmp_path: Path) -> None:
    with worker(tmp_path, devices=2) as found:
        found.hear("ready")
        (other,) = found.others()
        found.process.kill()
        found.process.wait()
        deadline = time.monotonic() + 30
        while _alive(other) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _alive(other)


def test_a_gpu_that_is_not_there_is_the_operators_to_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="there is no GPU that torch can use") as caught:
        ranks.choose("cuda")
    assert caught.value.exit_code == 2
    assert 'device = "cpu" or "auto"' in caught.value.fix


def test_more_ranks_than_gpus_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for wish in ("auto", "cuda"):
        with pytest.raises(UserError, match="2 GPUs are requested, but this machine has 1"):
            ranks.choose(wish)
    assert ranks.choose("cpu").type == "cpu"


def test_a_gpu_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: int) -> None:
        raise RuntimeError("CUDA driver version is insufficient\nmore")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", broken)
    with pytest.raises(
        UserError, match=r"cannot be used: CUDA driver version is insufficient\n  fix"
    ):
        ranks.choose("auto")


def test_what_peers_may_have_is_kept_where_nothing_can_be_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object, **__: object) -> None:
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    told: list[Any] = []
    often = {"checkpoint_s": 1e-3, "publish_s": 1e-3}
    given = setup(tmp_path, steps={"distil": 60}, **often)
    runner = JobRunner(given, told.append, torch.device("cpu"))
    runner.run(job(tmp_path))
    counts = (((0, 0), 5), ((0, 1), 5))
    teacher = {"silo": "silo-0", "path": tmp_path / "out.safetensors", "counts": counts}
    runner.run(job(tmp_path, key="distil-0-b", kind="distil", teachers=[teacher]))
    saved = [line for line in told if isinstance(line, Saved)]
    assert [line.step for line in saved] == [25, 50]
    assert saved[0].path.read_bytes() != saved[1].path.read_bytes()
    assert saved[1].path.read_bytes() == (tmp_path / "out.checkpoint").read_bytes()


def test_private_samples_are_encoded_once(tmp_path: Path) -> None:
    data = fit_linear(torch.randn(50, 2), 1)
    file = tmp_path / "codec.safetensors"
    file.write_bytes(data)
    given = setup(tmp_path)
    document = decode_manifest(bytes.fromhex(given.manifest)).model_dump()
    codec = {"kind": "linear", "file": hashlib.sha256(data).digest(), "shape": (1,)}
    run = Manifest.model_validate(document | {"codec": codec}, strict=False)
    changed = {"manifest": manifest_bytes(run).hex(), "codec": file}
    runner = JobRunner(given.model_copy(update=changed), print, torch.device("cpu"))
    made = runner.run(job(tmp_path))
    assert made.metrics["holdout_loss"] > 0
    assert load_file(tmp_path / "out.safetensors")["net.in_proj.weight"].shape == (16, 1)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False
