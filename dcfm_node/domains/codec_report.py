"""Fits a codec to a domain's public samples, and reports what it loses."""

from collections.abc import Callable, Mapping
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from dcfm_node.domains.base import made
from dcfm_node.domains.fitting import CodecFit, Fitted, fit_codec
from dcfm_node.records.settings import DomainSettings, find
from dcfm_node.samples import Samples

CODED = ("chest-xray",)
"""Domains with public samples."""
TESTED = 10
"""The last tenth of the samples, which are in the order of patients, measures a codec that was
fitted to the others."""
SHOWN = 8


def report(
    domain: str,
    data: Path,
    size: int,
    wish: CodecFit,
    out: Path,
    *,
    tell: Callable[[int, str], None],
    given: Fitted | None = None,
) -> Mapping[str, Any]:
    """Write codec.safetensors and codec.png into a new folder.

    The codec is fitted to all public samples; one that is fitted to nine tenths of them says what
    it loses of samples that it never saw, and the picture shows these.

    Args:
        tell: called with the steps done of twice `wish.steps`, and what is done.
        given: a codec that was fitted elsewhere; it is only tried.

    Returns: the fields of `DomainCodec`, but for its domain and seconds.

    Raises:
        UserError: the data cannot be read, or no codec can be fitted to them.
    """
    import torch

    from dcfm_node.domains.chest import views
    from dcfm_node.flow.codec import encoded
    from dcfm_node.networks.autoencoder import error_of

    model = find("domains", DomainSettings, domain)
    public = made(model.model_validate({"kind": domain, "size": size})).public(data)
    shape, tested = (
        public.x.shape[1:],
        np.arange(len(public)) >= len(public) - len(public) // TESTED,
    )

    def fitted(samples: Samples, before: int) -> Fitted:
        return given or fit_codec(
            samples.x, wish, Path(work), lambda done, _: tell(before + done, f"{done} steps")
        )

    with TemporaryDirectory() as work:
        trial, whole = fitted(public[~tested], 0), fitted(public, wish.steps)
        trial_codec, codec = _codec(trial, shape), _codec(whole, shape)
        out.mkdir(parents=True)
        file = Path(copyfile(whole.file, out / "codec.safetensors"))
    x, others = torch.from_numpy(public.x), torch.from_numpy(public.x[tested])
    few = public[np.flatnonzero(tested)[:SHOWN]]
    with torch.no_grad():
        copies = trial_codec.decode(encoded(trial_codec, torch.from_numpy(few.x))).numpy()
    title = "Above: images that the codec never saw. Below: encoded and decoded."
    views.pairs(few, Samples(copies, few.c), title).save(out / "codec.png")
    section = whole.section
    said = section.model_dump(mode="json")
    lines = [f"{key} = {_toml(value)}" for key, value in said.items() if key != "predict"]
    return {
        "kind": section.kind,
        "file": str(file),
        "digest": (section.digest or b"").hex(),
        "section": ("[codec]", *lines),
        "samples": len(public),
        "shape": section.latent_shape(shape),
        "error_fitted": error_of(codec, x),
        "error": error_of(trial_codec, others),
        "picture": str(out / "codec.png"),
    }


def _codec(made_of: Fitted, shape: tuple[int, ...]) -> Any:
    from dcfm_node import plugins
    from dcfm_node.networks.base import Codec

    section = made_of.section
    return plugins.make(section.code, Codec, section, made_of.file, shape)  # type: ignore[type-abstract]


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
