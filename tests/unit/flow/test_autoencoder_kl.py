"""The codec of diffusers' AutoencoderKL: from a folder to a section, and what it computes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dcfm_node.errors import ConfigError
from dcfm_node.networks import autoencoder_kl
from dcfm_node.networks.autoencoder_kl import CONFIG, DOWN, UP, WEIGHTS, AutoencoderKl, settings_of
from dcfm_node.networks.settings import AutoencoderKlSettings
from dcfm_node.wire.canonical import sha256

TINY = {"in_channels": 3, "latent_channels": 4, "block_out_channels": [8, 16], "norm_num_groups": 4}
GIVEN = TINY | {
    "_class_name": "AutoencoderKL",
    "out_channels": 3,
    "down_block_types": [DOWN, DOWN],
    "up_block_types": [UP, UP],
    "layers_per_block": 1,
    "act_fn": "silu",
    "scaling_factor": 0.5,
}


def folder(path: Path, **changes: Any) -> Path:
    (path / CONFIG).write_text(json.dumps(GIVEN | changes))
    (path / WEIGHTS).write_bytes(b"weights")
    return path


def test_a_folder_becomes_a_section_that_says_all_of_it(tmp_path: Path) -> None:
    found = settings_of(folder(tmp_path))
    assert found == AutoencoderKlSettings(
        file=sha256(b"weights"), widths=(8, 16), groups=4, scaling=0.5
    )
    assert found.latent_shape((1, 32, 48)) == (4, 16, 24)
    assert not found.unfit((1, 32, 48))
    assert not found.unfit((3, 32, 48))
    assert "multiples of 2, not [1, 31, 48]" in found.unfit((1, 31, 48))
    assert "sample_shape = [3, height, width]" in found.unfit((2, 32, 32))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"_class_name": "VQModel"}, "_class_name is 'VQModel'"),
        ({"down_block_types": ["AttnDownEncoderBlock2D", DOWN]}, "down_block_types is"),
        ({"out_channels": 1}, "out_channels is 1; a codec has 3"),
        ({"use_quant_conv": False}, "use_quant_conv is False"),
        ({"block_out_channels": [8, 99_999]}, "widths.1: Input should be less than"),
        ({"block_out_channels": "many"}, "down_block_types is"),
        ({"norm_num_groups": 3}, "8 channels cannot be split into 3 groups"),
        ({"scaling_factor": float("inf")}, "scaling"),
    ],
)
def test_what_cannot_be_a_codec_is_named(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_of(folder(tmp_path, **changes))
    assert said in str(caught.value)
    assert "save_pretrained" in caught.value.fix


@pytest.mark.parametrize("text", ["[]", "{", "[" * 100_000])
def test_a_config_that_is_not_one_is_refused(tmp_path: Path, text: str) -> None:
    (folder(tmp_path) / CONFIG).write_text(text)
    with pytest.raises(ConfigError):
        settings_of(tmp_path)


def test_without_the_extra_the_codec_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autoencoder_kl, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="needs diffusers") as caught:
        AutoencoderKl(settings_of(folder(tmp_path)), tmp_path / WEIGHTS, (1, 32, 32))
    assert "dcfm-node[latent]" in caught.value.fix


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny one with random weights."""
    diffusers = pytest.importorskip("diffusers", reason="the extra latent is not installed")
    torch.manual_seed(0)
    blocks = {"down_block_types": [DOWN] * 2, "up_block_types": [UP] * 2}
    path = tmp_path_factory.mktemp("kl")
    diffusers.AutoencoderKL(**TINY, **blocks, out_channels=3).save_pretrained(path)
    return path


def test_it_does_what_diffusers_does(saved: Path) -> None:
    import diffusers

    settings = settings_of(saved)
    codec = AutoencoderKl(settings, saved / WEIGHTS, (3, 16, 16))
    theirs = diffusers.AutoencoderKL.from_pretrained(saved, local_files_only=True).eval()
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        z = codec.encode(x)
        wanted = theirs.encode(x).latent_dist.mode()
        assert z.shape == (2, *settings.latent_shape((3, 16, 16)))
        torch.testing.assert_close(z, wanted * theirs.config.scaling_factor)
        torch.testing.assert_close(codec.decode(z), theirs.decode(wanted).sample.clamp(-1, 1))


def test_grey_bytes_become_latents_and_grey_images_again(saved: Path) -> None:
    codec = AutoencoderKl(settings_of(saved), saved / WEIGHTS, (1, 16, 16))
    x = torch.from_numpy(np.arange(512, dtype=np.uint8).reshape(2, 1, 16, 16))
    with torch.no_grad():
        assert codec.decode(codec.encode(x)).shape == (2, 1, 16, 16)


def test_another_file_or_other_settings_are_refused(saved: Path, tmp_path: Path) -> None:
    settings = settings_of(saved)
    other = tmp_path / WEIGHTS
    other.write_bytes((saved / WEIGHTS).read_bytes() + b" ")
    with pytest.raises(ConfigError, match="its SHA-256 is"):
        AutoencoderKl(settings, other, (3, 16, 16))
    wider = settings.model_copy(update={"widths": (8, 32)})
    with pytest.raises(ConfigError, match="are not those of its settings"):
        AutoencoderKl(wider, saved / WEIGHTS, (3, 16, 16))
