"""Manifests for the tests of readers."""

from typing import Any

from dcfm_node.methods.dcfm.schedule import Dcfm
from dcfm_node.records.manifest import Attribute, Manifest, Silo
from dcfm_node.records.settings import Training

DIGIT = ("digit", tuple("0123456789"))
COLOUR = ("colour", ("red", "green", "blue"))


def manifest(
    shape: tuple[int, ...] = (2,),
    attributes: tuple[tuple[str, tuple[str, ...]], ...] = (DIGIT, COLOUR),
    seed: int = 0,
    **more: Any,
) -> Manifest:
    """A run of one silo; the settings of its method do not matter here."""
    stage = Training(steps=1)
    return Manifest(
        name="test",
        sample_shape=shape,
        attributes=tuple(Attribute(name=name, values=values) for name, values in attributes),
        method=Dcfm(local=stage, refine=stage, distil=stage, seed=seed),
        roster=(Silo(name="a", key=bytes(32)),),
        **more,
    )
