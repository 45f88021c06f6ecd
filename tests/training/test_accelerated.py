"""bfloat16 and torch.compile, and that a step never waits for the device."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dcfm_node.data.spec import BuiltinData
from dcfm_node.flow.networks import Weights, build
from dcfm_node.flow.routing import Router
from dcfm_node.flow.sources import BatchSampler, data_points
from dcfm_node.flow.stages import EncodedSamples, local
from dcfm_node.flow.trainer import Callbacks, State, generator, update
from dcfm_node.methods.dcfm.terms import against_peers
from dcfm_node.paths.base import path_of
from dcfm_node.wire.envelope import manifest_bytes
from dcfm_node.worker.jobs import JobRunner
from dcfm_node.worker.messages import Job, Setup
from tests.training.settings import STAGE, draws, manifest, shipped

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
COUNTS = [{(0, 0): 3, (0, 1): 1}, {(0, 0): 1, (1, 0): 3}]


def samples() -> EncodedSamples:
    return EncodedSamples(
        torch.randn(64, 2, generator=draws()), torch.zeros(64, 2, dtype=torch.int64)
    )


def test_bfloat16_rounds_evaluations_and_nothing_else() -> None:
    net = build(manifest())
    x, t, c = samples().x, torch.rand(64, generator=draws()), samples().c
    exact, rounded = net(x, t, c), Callbacks(bf16=True).fast(net)(x, t, c)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.05)
    rounded.square().mean().backward()
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in net.parameters())


def test_a_worker_without_a_gpu_trains_as_if_neither_was_set(tmp_path: Path) -> None:
    stage = STAGE | {"steps": 3}
    run = shipped("gaussians", 2, local=stage)

    def trained(name: str, **fast: bool) -> Weights:
        setup = Setup(
            manifest=manifest_bytes(run).hex(),
            data=BuiltinData(format="builtin", name="gaussians", silo=0, silos=2, seed=0),
            device="cpu",
            **fast,
        )
        out = tmp_path / name
        job = Job(key=name, kind="train", silo="silo-0", seed=1, output=out, checkpoint=out)
        JobRunner(setup, lambda line: None, torch.device("cpu")).run(job)
        weights: Weights = load_file(out)
        return weights

    plain, fast = trained("plain"), trained("fast", bf16=True, compile=True)
    assert all(torch.equal(plain[name], fast[name]) for name in plain)


@GPU
@pytest.mark.parametrize("fast", [{"bf16": True}, {"compile": True}])
def test_a_stage_trains_faster_to_nearly_the_same(fast: dict[str, bool]) -> None:
    run = manifest(method={"local": STAGE | {"steps": 30}})
    exact, quick = (
        local(
            run, samples(), samples(), seed=1, callbacks=Callbacks(device="cuda", **chosen)
        ).metrics
        for chosen in ({}, fast)
    )
    assert quick["holdout_loss"] == pytest.approx(exact["holdout_loss"], rel=0.02)


@GPU
def test_a_step_never_waits_for_the_device() -> None:
    run = manifest()
    peers = [build(run).to("cuda").requires_grad_(False) for _ in COUNTS]
    mix = against_peers(peers, Router(COUNTS, (2, 2)), me=0)
    data = data_points(samples().x.to("cuda"), samples().c, path_of(run))
    source = BatchSampler(data, mix, run, run.method.local, 0.0)
    net = build(run).to("cuda")
    state = State.fresh(net, run.method.local)
    for index in range(3):
        # The first block may set things up.
        torch.cuda.set_sync_debug_mode("error" if index else "default")
        try:
            for rows in source.block(4, generator(index)):
                update(state, net, rows, source)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert state.step == 12
