"""Two Gloo ranks train one model on rows of their own."""

from pathlib import Path

import torch
import torch.distributed
import torch.multiprocessing
from safetensors.torch import load_file, save_file

from dcfm_node.flow.losses import objective
from dcfm_node.flow.networks import build
from dcfm_node.flow.sources import BatchSampler, all_live, data_points
from dcfm_node.flow.stages import EncodedSamples, local
from dcfm_node.flow.trainer import Callbacks, generator
from dcfm_node.flow.trainer import train as run_training
from dcfm_node.paths.base import path_of
from tests.training.settings import STAGE, draws, manifest

RUN = manifest(method={"local": STAGE | {"steps": 30, "patience": 29}})
ONE_STEP = manifest(method={"local": STAGE | {"steps": 1}, "ema": 0.0})


def samples() -> EncodedSamples:
    c = torch.randint(2, (60, 2), generator=draws())
    return EncodedSamples(2.0 * c - 1 + 0.1 * torch.randn(60, 2, generator=draws(1)), c)


def train(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = torch.distributed.FileStore(f"{folder}/rendezvous", 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    saves: list[int] = []
    callbacks = Callbacks(
        save=lambda checkpoint: saves.append(int(checkpoint["step"].item())), save_every=10
    )
    outcome = local(RUN, samples(), samples(), seed=3, callbacks=callbacks)
    assert saves == ([10, 20, 30] if rank == 0 else [])
    save_file(outcome.weights, f"{folder}/whole-{rank}.safetensors")
    captured: list[list[torch.Tensor]] = []
    # Averaged gradients are seen before clipping: capture them in its place.
    clip = torch.nn.utils.clip_grad_norm_
    torch.nn.utils.clip_grad_norm_ = lambda parameters, bound: captured.append(
        [p.grad.clone() for p in parameters if p.grad is not None]
    )
    net = build(ONE_STEP)
    run_training(net, _source(), seed=3, callbacks=Callbacks())
    torch.nn.utils.clip_grad_norm_ = clip
    grads = {str(i): gradient for i, gradient in enumerate(captured[0])}
    save_file(grads, f"{folder}/gradients-{rank}.safetensors")
    torch.distributed.destroy_process_group()


def _source() -> BatchSampler:
    data = samples()
    settings = ONE_STEP.method.local
    return BatchSampler(
        data_points(data.x, data.c, path_of(ONE_STEP)), all_live, ONE_STEP, settings, 0.0
    )


def _gradients(rank: int) -> list[torch.Tensor]:
    """What a rank's own rows give, computed alone."""
    net, source = build(ONE_STEP), _source()
    fit, ci = objective(source.path, net, source.block(64, generator(3, rank, 0))[0])
    (fit + ci).backward()
    return [p.grad for p in net.parameters() if p.grad is not None]


def test_ranks_agree_and_average_their_gradients(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(train, args=(str(tmp_path),), nprocs=2)
    whole = [load_file(tmp_path / f"whole-{rank}.safetensors") for rank in (0, 1)]
    assert all(torch.equal(whole[0][name], whole[1][name]) for name in whole[0])
    alone = local(RUN, samples(), samples(), seed=3, callbacks=Callbacks()).weights
    assert not all(torch.equal(alone[name], whole[0][name]) for name in alone)
    averaged = load_file(tmp_path / "gradients-0.safetensors")
    for i, (mine, other) in enumerate(zip(_gradients(0), _gradients(1), strict=True)):
        assert not torch.equal(mine, other)
        torch.testing.assert_close(averaged[str(i)], (mine + other) / 2)
