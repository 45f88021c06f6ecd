"""The convolutional autoencoder: fitted, frozen, checked."""

import math
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load, save

from dcfm_node.domains.fitting import CodecFit, fit_codec
from dcfm_node.errors import ConfigError, UserError
from dcfm_node.flow.codec import codec_of, decoded, encoded
from dcfm_node.networks.autoencoder import Autoencoder, error_of, fit_autoencoder
from dcfm_node.networks.settings import AutoencoderSettings
from dcfm_node.records.manifest import Manifest
from tests.training.settings import draws, manifest

SHAPE = (1, 16, 16)


def images(many: int, seed: int = 0) -> torch.Tensor:
    """Smooth pictures, as bytes: waves of random length and place."""
    u = torch.rand(many, 4, 1, 1, generator=draws(seed))
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    wave = torch.sin(x * (u[:, 0] / 3 + 0.1) + 6 * u[:, 1]) + torch.sin(
        y * u[:, 2] / 3 + 6 * u[:, 3]
    )
    return ((wave + 2) * 63).to(torch.uint8)[:, None]


SETTINGS = AutoencoderSettings(file=bytes(32), channels=3, width=8, halvings=2)
DATA = fit_autoencoder(images(200), SETTINGS, steps=150)


def run(data: bytes = DATA, **changes: int) -> Manifest:
    codec = SETTINGS.model_dump() | {"file": sha256(data).digest()} | changes
    document = manifest(shape=SHAPE).model_dump() | {"codec": codec}
    return Manifest.model_validate(document, strict=False)


def written(folder: Path, data: bytes = DATA) -> Path:
    file = folder / "codec.safetensors"
    file.write_bytes(data)
    return file


def test_images_come_back_and_latents_are_in_unit_scale(tmp_path: Path) -> None:
    codec, x = codec_of(run(), written(tmp_path)), images(300, 1)
    z = encoded(codec, x)
    assert run().flow_shape == tuple(z.shape[1:]) == (3, 4, 4)
    assert abs(z.mean().item()) < 0.2
    assert z.std().item() == pytest.approx(1.0, abs=0.2)
    assert error_of(codec, x) < 0.25 * x.float().std().item() / 255
    assert decoded(codec, 50 * z, None).abs().max() <= 1.0
    torch.testing.assert_close(encoded(codec, x[:3]), z[:3], rtol=0, atol=1e-4)


def test_the_file_is_a_function_of_images_and_seed() -> None:
    again, other = (fit_autoencoder(images(20), SETTINGS, steps=2, seed=seed) for seed in (0, 1))
    assert again == fit_autoencoder(images(20), SETTINGS, steps=2) != other


def test_settings_alone_take_no_memory(tmp_path: Path) -> None:
    """These would take 150 TB; the file says that they are not what was fitted."""
    settings = SETTINGS.model_copy(update={"width": 256, "file": sha256(DATA).digest()})
    with pytest.raises(ConfigError, match="are not those of its settings"):
        Autoencoder(settings, written(tmp_path), (10**9, 16, 16))


@pytest.mark.parametrize("changes", [{"channels": 4}, {"width": 16}, {"halvings": 1}])
def test_a_file_of_other_settings_is_refused(tmp_path: Path, changes: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="are not those of its settings"):
        codec_of(run(**changes), written(tmp_path))


def broken() -> dict[str, bytes]:
    held = load(DATA)
    name = next(iter(held))
    return {
        "another tensor": save(held | {"more": torch.zeros(1)}),
        "one is missing": save({key: part for key, part in held.items() if key != name}),
        "not finite": save(held | {name: torch.full_like(held[name], math.nan)}),
        "integers": save(held | {name: held[name].to(torch.int32)}),
        "another shape": save(held | {name: held[name][:1].contiguous()}),
        "no tensors": b"no safetensors",
    }


@pytest.mark.parametrize("what", broken())
def test_hostile_files_are_refused(tmp_path: Path, what: str) -> None:
    data = broken()[what]
    with pytest.raises(ConfigError) as told:
        codec_of(run(data), written(tmp_path, data))
    assert told.value.fix


def test_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="SHA-256"):
        codec_of(run(), written(tmp_path, DATA + b" "))
    with pytest.raises(ConfigError, match="not set"):
        codec_of(run(), None)


def test_sides_must_be_halved_evenly() -> None:
    with pytest.raises(ValidationError, match=r"codec\.halvings: 5 halvings need"):
        run(halvings=5)


def test_a_fitted_codec_is_kept(tmp_path: Path) -> None:
    wish, x = CodecFit(width=8, halvings=2, steps=2), images(20).numpy()
    told: list[int] = []
    made = fit_codec(x, wish, tmp_path, lambda done, _: told.append(done))
    assert told == [1, 2]
    assert made.section.digest == sha256(made.file.read_bytes()).digest()
    assert isinstance(Autoencoder(made.section, made.file, SHAPE), torch.nn.Module)
    assert fit_codec(x, wish, tmp_path, lambda done, _: told.append(done)) == made
    assert told == [1, 2], "from the folder"
    linear = fit_codec(x, CodecFit(kind="linear", features=4), tmp_path)
    assert linear.section.latent_shape(SHAPE) == (4,)
    with pytest.raises(UserError, match="no codec can be fitted to 20 public samples"):
        fit_codec(x, CodecFit(kind="linear", features=21), tmp_path)
    with pytest.raises(UserError, match="no codec can be fitted"):
        fit_codec(x, CodecFit(halvings=6), tmp_path)


@pytest.mark.parametrize(("name", "value"), [("deviation", 0.0), ("encoder.1.weight", 1e38)])
def test_finite_weights_that_make_no_numbers_are_refused(
    tmp_path: Path, name: str, value: float
) -> None:
    held = load(DATA)
    data = save(held | {name: torch.full_like(held[name], value)})
    codec = codec_of(run(data), written(tmp_path, data))
    with pytest.raises(ConfigError, match="something else than finite numbers"):
        encoded(codec, images(4))
