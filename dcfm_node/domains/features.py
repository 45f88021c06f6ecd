"""Features of images: from a network trained here, or from the user's Inception file."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from dcfm_node.domains.base import Split
from dcfm_node.errors import DataError, UserError
from dcfm_node.files import replacing
from dcfm_node.samples import Floats, Labels, Samples, unit

WIDTHS, FEATURES = (16, 32, 64), 64
STEPS, BATCH, LEARNING_RATE, SEED = 1_500, 128, 2e-2, 0
FULL_RESOLUTION = 16
"""Largest image side in pixels that the first convolution does not halve."""
READ = 512
"""Images per batch."""

Device = torch.device | str
Extractor = Callable[[Floats], NDArray[np.floating[Any]]]
"""Images (N, channels, height, width) in [-1, 1] to features (N, d)."""


class FeatureNetwork(nn.Module):
    """Three convolutions, a layer of FEATURES numbers, and one classifying head per attribute."""

    def __init__(self, shape: tuple[int, ...], cardinalities: Sequence[int]) -> None:
        super().__init__()
        channels, height, width = shape
        layers: list[nn.Module] = []
        for place, wide in enumerate(WIDTHS):
            stride = 1 if place == 0 and max(shape) <= FULL_RESOLUTION else 2
            layers += [nn.Conv2d(channels, wide, 3, stride, 1), nn.BatchNorm2d(wide), nn.SiLU()]
            channels, height, width = wide, -(-height // stride), -(-width // stride)
        self.features = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(channels * height * width, FEATURES), nn.SiLU()
        )
        self.heads = nn.ModuleList(nn.Linear(FEATURES, size) for size in cardinalities)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Images (B, *shape) in [-1, 1] to features (B, FEATURES) and logits per attribute."""
        # Black becomes zero, which the convolutions also use as padding.
        h = self.features(x + 1)
        return h, [head(h) for head in self.heads]

    @torch.no_grad()
    def look(self, x: Floats) -> tuple[Floats, Labels]:
        """Features (N, FEATURES) and the class found for each attribute, (N, n)."""
        device = _device(self)
        seen = [self(torch.from_numpy(x[at : at + READ]).to(device)) for at in _starts(x)]
        found = [torch.stack([logits.argmax(1) for logits in heads], 1) for _, heads in seen]
        return torch.cat([h for h, _ in seen]).cpu().numpy(), torch.cat(found).cpu().numpy()


def feature_network(
    split: Split, folder: Path, device: Device = "cpu", steps: int = STEPS
) -> FeatureNetwork:
    """The feature network of a split, read from the folder, or trained and stored there.

    It learns from `split.complete`, without noise, so that noisy samples score badly. The file name
    is a digest of its inputs, so splits of the same images share one network.

    Raises:
        DataError: the file cannot be read.
        ValueError: the split has no complete samples.
    """
    sizes = [len(attribute.values) for attribute in split.attributes]
    network, complete = _initial(split.sample_shape, sizes), split.complete
    if complete is None:
        raise ValueError("the split has no samples of every combination to learn from")
    file = folder / f"features-{_digest(network, complete, steps)}.safetensors"
    if file.exists():
        _load(network, file)
    else:
        _train(network.to(device), complete, steps)
        folder.mkdir(parents=True, exist_ok=True)
        # Parallel trials may all train it; all get the same result.
        with replacing(file) as scratch:
            save_file(network.state_dict(), scratch)
    return network.to(device).eval().requires_grad_(False)


def inception_features(path: Path, device: Device = "cpu") -> Extractor:
    """The features for the FID, from the user's TorchScript file.

    The module gets uint8 images (B, 3, height, width) from 0 to 255, and `return_features=True` if
    it accepts that. It returns (B, d), as `inception-2015-12-05.pt` of StyleGAN's metrics does. A
    single channel is repeated three times. Slow without an accelerator.

    Loading TorchScript runs the code in the file. Use only a file that the user names and trusts;
    never use a file from a peer.

    Raises:
        UserError: the file does not exist or is not TorchScript.
    """
    if not path.is_file():
        raise UserError(
            "the file does not exist",
            where=str(path),
            fix="give the path of a TorchScript Inception",
        )
    try:
        module = torch.jit.load(str(path), map_location=device).eval()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise UserError(
            f"cannot be loaded: {str(error).splitlines()[0]}",
            where=str(path),
            fix="give a TorchScript file, such as inception-2015-12-05.pt, not a state dict",
        ) from error
    known = {argument.name for argument in module.forward.schema.arguments}
    options = {"return_features": True} if "return_features" in known else {}

    @torch.no_grad()
    def extract(x: Floats) -> NDArray[np.floating[Any]]:
        parts = []
        for at in _starts(x):
            part = torch.from_numpy(x[at : at + READ]).to(device)
            pixels = ((part + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
            parts.append(module(pixels.expand(-1, 3, -1, -1), **options).flatten(1).cpu())
        return np.asarray(torch.cat(parts).numpy())

    return extract


def _initial(shape: tuple[int, ...], cardinalities: Sequence[int]) -> FeatureNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return FeatureNetwork(shape, cardinalities)


def _train(network: FeatureNetwork, data: Samples, steps: int) -> None:
    device = _device(network)
    rng = np.random.default_rng(SEED)
    optimiser = torch.optim.AdamW(network.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, steps)
    for _ in range(steps):
        rows = rng.integers(len(data.x), size=BATCH)
        x, c = (torch.from_numpy(part).to(device) for part in (unit(data.x[rows]), data.c[rows]))
        _, heads = network(x)
        losses = [functional.cross_entropy(logits, c[:, i]) for i, logits in enumerate(heads)]
        optimiser.zero_grad()
        torch.autograd.backward(torch.stack(losses).sum())
        optimiser.step()
        schedule.step()


def _load(network: FeatureNetwork, file: Path) -> None:
    try:
        network.load_state_dict(load_file(file))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise DataError(
            f"cannot be loaded: {str(error).splitlines()[0]}",
            where=str(file),
            fix="remove the file; the next run trains it again",
        ) from error


def _digest(network: FeatureNetwork, data: Samples, steps: int) -> str:
    """Digest of everything that decides the trained network."""
    recipe = (network, steps, BATCH, LEARNING_RATE, SEED)
    made = hashlib.sha256(repr(recipe).encode())
    for part in (data.x, data.c):
        made.update(np.ascontiguousarray(part).data)
    return made.hexdigest()[:16]


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _starts(x: Floats) -> range:
    return range(0, len(x), READ)
