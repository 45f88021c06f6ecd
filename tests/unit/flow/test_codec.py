"""The frozen codec between samples and what the flow sees."""

from hashlib import sha256
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from dcfm_node.errors import ConfigError
from dcfm_node.flow.codec import (
    codec_of,
    decoded,
    encoded,
    moments_of,
    standardised,
    unstandardised,
)
from dcfm_node.flow.networks import build
from dcfm_node.networks.codecs import fit_linear
from dcfm_node.networks.settings import LinearCodecSettings
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.moments import MIN_SAMPLES, Moments, Scale, pooled
from tests.training.settings import draws, manifest

SHAPE = (1, 4, 4)
X = torch.randn(100, 3, generator=draws()) @ torch.randn(3, 16, generator=draws(1)) + 2.0
"""Of rank three."""


def run(data: bytes, features: int = 3) -> Manifest:
    codec = {"kind": "linear", "file": sha256(data).digest(), "shape": (features,)}
    document = manifest(shape=SHAPE).model_dump() | {"codec": codec}
    return Manifest.model_validate(document, strict=False)


def written(folder: Path, data: bytes) -> Path:
    file = folder / "codec.safetensors"
    file.write_bytes(data)
    return file


def test_identity_copies_nothing() -> None:
    codec = codec_of(manifest(), None)
    assert encoded(codec, X) is X
    assert decoded(codec, X, None) is X


def test_components_that_suffice_lose_nothing(tmp_path: Path) -> None:
    x = X.reshape(-1, *SHAPE)
    data = fit_linear(x, 3)
    settings = run(data)
    codec = codec_of(settings, written(tmp_path, data))
    z = encoded(codec, x)
    assert z.shape == (100, 3)
    torch.testing.assert_close(decoded(codec, z, None), x, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(z.mean(dim=0), torch.zeros(3), rtol=0, atol=1e-4)
    assert build(settings)(z, torch.rand(100), torch.zeros(100, 2, dtype=torch.int64)).shape == (
        100,
        3,
    )


def test_pixels_are_encoded_as_networks_see_them(tmp_path: Path) -> None:
    levels = torch.randint(256, (50, *SHAPE), generator=draws(), dtype=torch.uint8)
    data = fit_linear(levels, 16)
    codec = codec_of(run(data, 16), written(tmp_path, data))
    seen = levels.float() * (2.0 / 255.0) - 1.0
    torch.testing.assert_close(
        decoded(codec, encoded(codec, levels), None), seen, rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("what", ["missing", "another", "no safetensors", "another shape"])
def test_a_file_that_is_not_the_runs_is_refused(tmp_path: Path, what: str) -> None:
    data = fit_linear(X.reshape(-1, *SHAPE), 3)
    settings, held = run(data), data
    if what == "another":
        held = fit_linear(X.reshape(-1, *SHAPE) + 1, 3)
    if what == "no safetensors":
        held = b"not a file of tensors"
        settings = run(held)
    if what == "another shape":
        settings = run(data, 4)
    file = None if what == "missing" else written(tmp_path, held)
    with pytest.raises(ConfigError):
        codec_of(settings, file)


def test_run_toml_names_the_file_in_hex() -> None:
    text = {"kind": "linear", "file": "ab" * 32, "shape": [3]}
    assert LinearCodecSettings.model_validate(text, strict=False).digest == b"\xab" * 32
    with pytest.raises(ValidationError, match="64 hex digits"):
        LinearCodecSettings.model_validate(text | {"file": "no digits"}, strict=False)


def test_more_components_than_there_are_are_refused() -> None:
    with pytest.raises(ValueError, match="need at least as many"):
        fit_linear(X, 17)


PHYSICAL = torch.randn(9_000, 3, generator=draws()) * torch.tensor([9.0, 1e-4, 0.0]) + torch.tensor(
    [101_300.0, 0.02, 5.0]
)


def test_moments_are_those_of_all_samples_in_float64() -> None:
    found = moments_of(PHYSICAL, 3)
    assert found is not None
    whole = PHYSICAL.double()
    deviation = whole.std(0, correction=0)
    torch.testing.assert_close(torch.tensor(found.mean).double(), whole.mean(0))
    assert found.deviation == pytest.approx(deviation.tolist(), rel=1e-9)
    assert found.deviation[2] == 0.0


@pytest.mark.parametrize(("groups", "dims"), [(3, (0, 2, 3)), (1, (0, 1, 2, 3)), (12, (0,))])
def test_a_group_is_a_channel_or_all_or_a_number(groups: int, dims: tuple[int, ...]) -> None:
    levels = torch.randint(256, (MIN_SAMPLES, 3, 2, 2), generator=draws(), dtype=torch.uint8)
    seen = levels.double() * (2.0 / 255.0) - 1.0
    found = moments_of(levels, groups)
    assert found is not None
    mean, variance = seen.mean(dims), seen.var(dims, correction=0)
    assert found.mean == pytest.approx(mean.flatten().tolist(), abs=1e-6)
    assert found.deviation == pytest.approx(variance.sqrt().flatten().tolist(), abs=1e-6)
    z = standardised(levels, Scale(mean=found.mean, deviation=found.deviation))
    torch.testing.assert_close(z.mean(dims), torch.zeros_like(z.mean(dims)), rtol=0, atol=1e-5)
    torch.testing.assert_close(z.std(dims, correction=0), torch.ones_like(z.mean(dims)))


def test_few_samples_tell_no_moments_and_a_run_without_groups_none() -> None:
    assert moments_of(PHYSICAL[: MIN_SAMPLES - 1], 3) is None
    assert moments_of(PHYSICAL[:MIN_SAMPLES], 3) is not None
    assert moments_of(PHYSICAL, 0) is None


def test_standardised_and_back() -> None:
    found = moments_of(PHYSICAL, 3)
    assert found is not None
    scale = pooled([(1.0, found)])
    z = standardised(PHYSICAL, scale)
    assert z.dtype == torch.float32
    torch.testing.assert_close(z.std(0), torch.tensor([1.0, 1.0, 0.0]), rtol=1e-3, atol=1e-3)
    back = decoded(codec_of(manifest(shape=(3,)), None), z, scale)
    torch.testing.assert_close(back, PHYSICAL, rtol=1e-6, atol=0)


def test_numbers_far_from_what_others_state_stay_small_enough_to_train_on() -> None:
    """A silo that stated no moments may hold any (SPEC 6.13)."""
    scale = pooled([(1.0, Moments(mean=(0.0,), deviation=(1e-28,)))])
    z = standardised(torch.tensor([[-2.0], [0.0], [3.0]]), scale)
    assert z.flatten().tolist() == [-1_000.0, 0.0, 1_000.0]


def test_without_a_scale_nothing_is_copied() -> None:
    assert standardised(X, None) is X
    assert unstandardised(X, None) is X


def test_a_scale_of_other_groups_is_refused() -> None:
    with pytest.raises(ValueError, match="2 groups does not fit"):
        standardised(PHYSICAL, Scale(mean=(0.0, 0.0), deviation=(1.0, 1.0)))


def series_run(keep: int, shape: tuple[int, ...] = (3, 16)) -> Manifest:
    document = manifest(shape=shape).model_dump() | {"codec": {"kind": "cosine", "keep": keep}}
    return Manifest.model_validate(document, strict=False)


def test_all_frequencies_lose_nothing() -> None:
    x = torch.randn(5, 3, 16, generator=draws())
    codec = codec_of(series_run(16), None)
    z = encoded(codec, x)
    assert z.shape == (5, 48)
    torch.testing.assert_close(decoded(codec, z, None), x, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(z.square().sum(), x.square().sum())


def test_the_lowest_frequencies_smooth_a_series() -> None:
    at = torch.linspace(0, 1, 16)
    slow, fast = torch.cos(torch.pi * at), torch.cos(15 * torch.pi * at)
    codec = codec_of(series_run(4), None)
    x = torch.stack([slow, slow + fast, torch.ones(16)])[None]
    back = decoded(codec, encoded(codec, x), None)
    torch.testing.assert_close(back[0, 0], slow, rtol=0, atol=0.05)
    torch.testing.assert_close(back[0, 2], torch.ones(16))
    assert (back[0, 1] - slow).abs().mean() < 0.3 * fast.abs().mean()


@pytest.mark.parametrize("shape", [(48,), (3, 4, 4), (3, 4)])
def test_a_cosine_codec_needs_a_series_of_at_least_that_length(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match="5 frequencies need sample_shape"):
        series_run(5, shape)
