"""The network that features come from: trained once, kept, and read again."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from dcfm_node.domains import features
from dcfm_node.domains.features import FEATURES, FeatureNetwork, inception_features
from dcfm_node.domains.features import feature_network as network_of
from dcfm_node.errors import DataError, UserError
from dcfm_node.samples import Samples
from tests.unit.domains.conftest import STEPS


def test_it_finds_what_images_show(split, network):
    seen, found = network.look(split.reference.x)
    assert seen.shape == (len(split.reference.x), FEATURES)
    assert (found == split.reference.c).mean() > 0.95


def test_it_is_a_function_of_the_data(split, network, tmp_path):
    state = torch.random.get_rng_state()
    again = network_of(split, tmp_path, steps=STEPS)
    assert torch.equal(torch.random.get_rng_state(), state)
    for one, two in zip(network.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, two)


def test_it_is_trained_once(split, trained, network, monkeypatch):
    def refuse(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(features, "_train", refuse)
    assert len(list(trained.iterdir())) == 1
    again = network_of(split, trained, steps=STEPS)
    assert np.array_equal(again.look(split.reference.x)[0], network.look(split.reference.x)[0])
    with pytest.raises(AssertionError, match="trained again"):
        network_of(split, trained, steps=STEPS + 1)
    other = replace(split, complete=Samples(split.complete.x, np.roll(split.complete.c, 1, axis=0)))
    with pytest.raises(AssertionError, match="trained again"):
        network_of(other, trained, steps=STEPS)


def test_a_broken_file_is_named(split, tmp_path):
    network_of(split, tmp_path, steps=1)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match="cannot be loaded") as caught:
        network_of(split, tmp_path, steps=1)
    assert caught.value.where == str(file)
    assert "remove the file" in caught.value.fix


@pytest.mark.parametrize("shape", [(3, 28, 28), (1, 14, 14), (3, 7, 9)])
def test_any_size_and_any_number_of_attributes(shape):
    network = FeatureNetwork(shape, (2, 3, 4)).eval()
    seen, found = network.look(np.zeros((5, *shape), np.float32))
    assert (seen.shape, found.shape) == ((5, FEATURES), (5, 3))


def test_looking_in_parts_changes_nothing(split, network, monkeypatch):
    whole, found = network.look(split.reference.x)
    monkeypatch.setattr(features, "READ", 7)
    parts, again = network.look(split.reference.x)
    assert np.allclose(whole, parts, atol=1e-5)
    assert np.array_equal(found, again)


class Export(nn.Module):
    """Answers as the Inception export does, with the mean of each channel."""

    def forward(self, x: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        assert x.dtype == torch.uint8
        assert x.shape[1] == 3
        if not return_features:
            return torch.zeros(len(x), 1008)
        return x.float().mean(dim=(2, 3))


class Plain(nn.Module):
    """Knows no options, and leaves its features as images of one pixel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float().mean(dim=(2, 3), keepdim=True)


@pytest.mark.parametrize("module", [Export(), Plain()])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torchscript_file_gives_features_of_bytes(tmp_path, module):
    torch.jit.script(module).save(str(tmp_path / "inception.pt"))
    extract = inception_features(tmp_path / "inception.pt")
    x = np.stack([np.full((3, 4, 4), value, np.float32) for value in (-1, 0, 1, 9)])
    assert extract(x).tolist() == [[value] * 3 for value in (0, 128, 255, 255)]
    assert extract(x[:, :1]).tolist() == extract(x).tolist()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_no_torchscript_file_is_refused(tmp_path):
    file = tmp_path / "inception.pt"
    with pytest.raises(UserError, match="the file does not exist"):
        inception_features(file)
    file.write_bytes(b"state dict")
    with pytest.raises(UserError, match="cannot be loaded") as caught:
        inception_features(file)
    assert caught.value.where == str(file)
    assert "TorchScript" in caught.value.fix
