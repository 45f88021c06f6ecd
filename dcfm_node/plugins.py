"""The plug points: what a name in run.toml stands for, in this package or in an installed one.

A name stands for the model of its section (`records.settings`), which is pure. The model's `code`
names the class that computes, which needs torch. Another distribution adds a name by an entry point
of the group `dcfm_node.KIND`, for example

    [project.entry-points."dcfm_node.networks"]
    toy = "toy_package.settings:ToySettings"

Nothing is imported before its name is needed. All nodes must agree on `origin`: the distribution
and version of third-party code. The manifest carries it (SPEC 2.8).
"""

from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, NamedTuple, TypeVar

Interface = TypeVar("Interface")
Kind = Literal["methods", "paths", "networks", "codecs", "domains"]

BUILTIN: dict[Kind, dict[str, str]] = {
    "methods": {
        "dcfm": "dcfm_node.methods.dcfm.schedule:Dcfm",
        "fedflow": "dcfm_node.methods.fedflow.schedule:Fedflow",
        "ddm": "dcfm_node.methods.mixture.schedule:Ddm",
        "dfd": "dcfm_node.methods.mixture.schedule:Dfd",
    },
    "paths": {"linear": "dcfm_node.paths.settings:LinearPathSettings"},
    "networks": {
        "mlp": "dcfm_node.networks.settings:MlpSettings",
        "unet": "dcfm_node.networks.settings:UnetSettings",
    },
    "codecs": {
        "identity": "dcfm_node.networks.settings:IdentitySettings",
        "linear": "dcfm_node.networks.settings:LinearCodecSettings",
    },
    "domains": {
        "plain": "dcfm_node.domains.settings:PlainSettings",
        "gaussians": "dcfm_node.domains.settings:GaussiansSettings",
        "digits": "dcfm_node.domains.settings:DigitsSettings",
        "coloured-mnist": "dcfm_node.domains.settings:ColouredMnistSettings",
    },
}
"""By kind and name, the place of the model of this package's own section."""


class Origin(NamedTuple):
    """The distribution that provides a plugin, and its installed version."""

    distribution: str
    version: str


class PluginError(ValueError):
    """No installed package provides a name, or its package cannot be loaded."""


def names(kind: Kind) -> tuple[str, ...]:
    """All names of a kind, this package's own first."""
    return (*BUILTIN[kind], *sorted(_installed(kind).keys() - BUILTIN[kind].keys()))


@cache
def find(kind: Kind, name: str) -> object:
    """The model of the section that a name stands for.

    Raises:
        PluginError: no installed package provides it, or that package cannot be loaded.
    """
    if name in BUILTIN[kind]:
        return reference(BUILTIN[kind][name])
    try:
        return _entry(kind, name).load()
    except PluginError:
        raise
    except Exception as error:  # whatever another package's import raises
        what = f"{type(error).__name__}: {error}"
        raise PluginError(f"dcfm_node.{kind}:{name} cannot be loaded: {what}") from error


def implementation(path: str, interface: type[Interface]) -> type[Interface]:
    """The class that a section's `code` names.

    Raises:
        PluginError: it cannot be loaded, or is not a subclass of `interface`.
    """
    try:
        found = reference(path)
    except Exception as error:  # whatever another package's import raises
        what = f"{type(error).__name__}: {error}"
        raise PluginError(f"{path} cannot be loaded: {what}") from error
    if not (isinstance(found, type) and issubclass(found, interface)):
        wanted = f"{interface.__module__}.{interface.__qualname__}"
        raise PluginError(f"{path} is not a subclass of {wanted}; ask the package's author")
    return found


def reference(path: str) -> Any:
    """The object that "module:attribute" names."""
    module, attribute = path.split(":")
    return getattr(import_module(module), attribute)


def origin(kind: Kind, name: str) -> Origin | None:
    """The origin of a name; None if this package provides it.

    Raises:
        PluginError: no installed package provides it.
    """
    if name in BUILTIN[kind]:
        return None
    distribution = _entry(kind, name).dist
    if distribution is None:
        return Origin("unknown", "0")
    return Origin(distribution.name, distribution.version)


def _entry(kind: Kind, name: str) -> EntryPoint:
    try:
        return _installed(kind)[name]
    except KeyError:
        known = ", ".join(names(kind))
        raise PluginError(
            f"no installed package provides it: choose one of {known}, or install the package that"
            f" has it as an entry point of dcfm_node.{kind}"
        ) from None


@cache
def _installed(kind: Kind) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"dcfm_node.{kind}")}
