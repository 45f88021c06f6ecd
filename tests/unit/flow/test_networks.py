import pytest
import torch

from dcfm_node.config.run import least_bytes
from dcfm_node.flow.networks import build, build_gating, schema
from dcfm_node.networks.mixer import MARGIN, Patches
from dcfm_node.networks.settings import MAX_PATCHES, patch_side
from dcfm_node.records.base import MAX_SNAPSHOT_BYTES
from tests.training.settings import manifest

KINDS = [
    pytest.param({"kind": "mlp"}, (5,), id="mlp"),
    pytest.param({"kind": "mlp", "predict": "sample"}, (3, 8, 8), id="mlp on images"),
    pytest.param({"kind": "unet", "width": 8, "depth": 1}, (1, 8, 8), id="one resolution"),
    pytest.param({"kind": "unet", "width": 8, "depth": 3}, (3, 7, 10), id="unet, odd sizes"),
    pytest.param({"kind": "unet", "width": 8, "depth": 3}, (2, 11), id="unet on series"),
    pytest.param({"kind": "mixer", "width": 8, "depth": 2}, (3, 7, 10), id="mixer, odd sizes"),
    pytest.param({"kind": "mixer", "width": 8, "depth": 1}, (2, 11), id="mixer on series"),
]


@pytest.mark.parametrize(("network", "shape"), KINDS)
def test_velocity_has_the_samples_shape(network: dict[str, object], shape: tuple[int, ...]) -> None:
    run = manifest((3, 4), shape=shape, network=network)
    c = torch.tensor([(0, 0), (2, 3), (3, 3), (1, 4), (3, 4)])  # the last three hold null tokens
    v = build(run)(torch.randn(5, *shape), torch.linspace(0, 1, 5), c)
    assert v.shape == (5, *shape)
    assert v.isfinite().all()


@pytest.mark.parametrize(("network", "shape"), KINDS)
def test_schema_is_the_state_and_allocates_nothing(
    network: dict[str, object], shape: tuple[int, ...]
) -> None:
    run = manifest((3, 4), shape=shape, network=network)
    state = build(run).state_dict()
    assert schema(run) == {name: ("F32", tuple(t.shape)) for name, t in state.items()}


@pytest.mark.parametrize(("network", "shape"), KINDS)
def test_a_gating_network_weighs_every_silo(
    network: dict[str, object], shape: tuple[int, ...]
) -> None:
    gating = build_gating(manifest(shape=shape, silos=3, network=network))
    x = torch.randn(4, *shape)
    logits = gating(x, torch.linspace(0, 1, 4))
    assert logits.shape == (4, 3)
    assert not torch.allclose(logits, gating(x + 1, torch.linspace(0, 1, 4)))


def test_a_transformer_gives_logits_of_every_token_and_reads_all_places() -> None:
    run = manifest((3, 4), shape=(2, 5), silos=3, tokens=6)
    x, t, c = torch.full((4, 2, 5), 6.0), torch.linspace(0, 1, 4), torch.tensor([[0, 4]] * 4)
    other = x.clone()
    other[:, 1, 4] = 2.0
    net, gating = build(run), build_gating(run)
    assert net(x, t, c).shape == (4, 2, 5, 6)
    assert (net(x, t, c) - net(other, t, c))[:, 0, 0].abs().max() > 1e-3
    assert gating(x, t).shape == (4, 3)
    assert not torch.allclose(gating(x, t), gating(other, t))


def test_every_silo_starts_alike_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = build(manifest()).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    second = build(manifest()).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = build(manifest(method={"seed": 1})).state_dict()
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_each_attribute_has_its_own_null_token() -> None:
    net = build(manifest((2, 2)))
    x, t = torch.randn(1, 2).expand(4, 2), torch.full((4,), 0.3)
    v = net(x, t, torch.tensor([(0, 0), (2, 0), (0, 2), (2, 2)]))
    assert len(v.unique(dim=0)) == 4


def test_a_predicted_sample_becomes_a_velocity() -> None:
    net = build(manifest(network={"predict": "sample"}))
    x, t = torch.randn(3, 2), torch.tensor([0.0, 0.5, 1.0])
    c = torch.zeros(3, 2, dtype=torch.int64)
    expected = (net.net(x, t, c) - x) / torch.tensor([1.0, 0.5, 0.05])[:, None]
    torch.testing.assert_close(net(x, t, c), expected)


@pytest.mark.parametrize("shape", [(2, 11), (3, 7, 10), (1, 40, 33)])
def test_patches_of_a_mixer_are_joined_as_they_were_cut(shape: tuple[int, ...]) -> None:
    patches, x = Patches(shape), torch.randn(4, *shape)
    seen = patches.cut(x)
    assert seen.shape == (4, patches.many, shape[0] * patches.seen)
    side, axes = round(patches.area ** (1 / (len(shape) - 1))), len(shape) - 1
    apart = seen.reshape(4, patches.many, shape[0], *[side + 2 * MARGIN] * axes)
    inner = slice(MARGIN, -MARGIN)
    cut = apart[(..., *[inner] * axes)].reshape(4, patches.many, -1)
    assert patches.many <= MAX_PATCHES
    assert torch.equal(patches.join(cut), x)
    side = patch_side(shape)
    corner = x[:, :, :side] if len(shape) == 2 else x[:, :, :side, :side]
    assert torch.equal(cut[:, 0], corner.flatten(1))


def test_a_transformers_weights_are_estimated_by_its_blocks() -> None:
    """The largest settings take 13 GB, above a snapshot's limit."""
    small = manifest(shape=(6,), tokens=5, network={"width": 16, "depth": 3})
    taken = sum(part.numel() for part in build(small).state_dict().values()) * 4
    assert taken / 2 < least_bytes(small) <= taken
    large = manifest(shape=(6,), tokens=5, network={"width": 4_096, "depth": 16})
    assert least_bytes(large) > MAX_SNAPSHOT_BYTES
