"""The plug points: what a name in run.toml stands for, ours or an installed package's.

Each kind has one small interface, in the module that `INTERFACES` names. A package of another
distribution adds to a kind through an entry point of the group `dcfm_node.KIND`, for example

    [project.entry-points."dcfm_node.networks"]
    toy = "toy_package.network:NETWORK"

Nothing is imported before its name is asked for. What every node must agree on, the distribution
and version of code that is not ours, is `origin`; the manifest carries it.
"""

from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Literal, NamedTuple

Kind = Literal["methods", "paths", "networks", "codecs", "domains"]

BUILTIN: dict[Kind, dict[str, str]] = {
    "methods": {
        "dcfm": "dcfm_node.methods.dcfm.schedule:METHOD",
        "fedflow": "dcfm_node.methods.fedflow.schedule:METHOD",
        "ddm": "dcfm_node.methods.mixture.schedule:DDM",
        "dfd": "dcfm_node.methods.mixture.schedule:DFD",
    },
    "paths": {"linear": "dcfm_node.paths.linear:PATH"},
    "networks": {
        "mlp": "dcfm_node.networks.mlp:NETWORK",
        "unet": "dcfm_node.networks.unet:NETWORK",
    },
    "codecs": {
        "identity": "dcfm_node.networks.codecs:IDENTITY",
        "linear": "dcfm_node.networks.codecs:LINEAR",
    },
    "domains": {
        "plain": "dcfm_node.domains.plain:DOMAIN",
        "gaussians": "dcfm_node.domains.gaussians:DOMAIN",
        "digits": "dcfm_node.domains.digits:DOMAIN",
        "coloured-mnist": "dcfm_node.domains.coloured_mnist:DOMAIN",
    },
}
"""By kind and name, where the package's own ones are."""

INTERFACES: dict[Kind, str] = {
    "methods": "dcfm_node.swarm.method:Method",
    "paths": "dcfm_node.paths.base:Path",
    "networks": "dcfm_node.networks.base:Network",
    "codecs": "dcfm_node.networks.base:Codec",
    "domains": "dcfm_node.domains.base:Domain",
}


class Origin(NamedTuple):
    """The distribution that provides a plugin, and its installed version."""

    distribution: str
    version: str


class NotInstalledError(ValueError):
    """No installed package provides this name."""


def names(kind: Kind) -> tuple[str, ...]:
    """All names of a kind, the package's own first."""
    return (*BUILTIN[kind], *sorted(_installed(kind).keys() - BUILTIN[kind].keys()))


def find(kind: Kind, name: str) -> object:
    """What a name stands for.

    Raises:
        NotInstalledError: no installed package provides it.
        TypeError: a package provides something that lacks the interface of the kind.
    """
    found = _load(kind, name)
    if not isinstance(found, interface := _reference(INTERFACES[kind])):
        raise TypeError(
            f"the entry point dcfm_node.{kind}:{name} gives {type(found).__name__}; "
            f"it must give an instance of {interface.__module__}.{interface.__qualname__}"
        )
    return found


def origin(kind: Kind, name: str) -> Origin | None:
    """Who provides a name; None where this package does.

    Raises:
        NotInstalledError: nobody does.
    """
    if name in BUILTIN[kind]:
        return None
    distribution = _entry(kind, name).dist
    if distribution is None:
        return Origin("unknown", "0")
    return Origin(distribution.name, distribution.version)


@cache
def _load(kind: Kind, name: str) -> object:
    if name in BUILTIN[kind]:
        return _reference(BUILTIN[kind][name])
    return _entry(kind, name).load()


def _entry(kind: Kind, name: str) -> EntryPoint:
    try:
        return _installed(kind)[name]
    except KeyError:
        known = ", ".join(names(kind))
        raise NotInstalledError(
            f"no installed package provides {name!r} in dcfm_node.{kind}; there are: {known}"
        ) from None


@cache
def _installed(kind: Kind) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"dcfm_node.{kind}")}


def _reference(path: str) -> type:
    module, attribute = path.split(":")
    found: type = getattr(import_module(module), attribute)
    return found
