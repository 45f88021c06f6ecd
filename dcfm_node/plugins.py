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

from dcfm_node.errors import UserError

Interface = TypeVar("Interface")
Kind = Literal["methods", "paths", "networks", "codecs", "domains"]

BUILTIN: dict[Kind, dict[str, str]] = {
    "methods": {
        "dcfm": "dcfm_node.methods.dcfm.schedule:Dcfm",
        "fedflow": "dcfm_node.methods.fedflow.schedule:Fedflow",
        "ddm": "dcfm_node.methods.mixture.schedule:Ddm",
        "dfd": "dcfm_node.methods.mixture.schedule:Dfd",
    },
    "paths": {
        "linear": "dcfm_node.paths.settings:LinearPathSettings",
        "discrete": "dcfm_node.paths.settings:DiscretePathSettings",
        "autoregressive": "dcfm_node.paths.settings:AutoregressivePathSettings",
    },
    "networks": {
        "mlp": "dcfm_node.networks.settings:MlpSettings",
        "unet": "dcfm_node.networks.settings:UnetSettings",
        "mixer": "dcfm_node.networks.settings:MixerSettings",
        "transformer": "dcfm_node.networks.settings:TransformerSettings",
    },
    "codecs": {
        "identity": "dcfm_node.networks.settings:IdentitySettings",
        "linear": "dcfm_node.networks.settings:LinearCodecSettings",
        "autoencoder": "dcfm_node.networks.settings:AutoencoderSettings",
        "autoencoder-kl": "dcfm_node.networks.settings:AutoencoderKlSettings",
        "cosine": "dcfm_node.networks.settings:CosineSettings",
    },
    "domains": {
        "plain": "dcfm_node.domains.settings:PlainSettings",
        "trajectories": "dcfm_node.domains.settings:TrajectoriesSettings",
        "gaussians": "dcfm_node.domains.settings:GaussiansSettings",
        "digits": "dcfm_node.domains.settings:DigitsSettings",
        "categories": "dcfm_node.domains.settings:CategoriesSettings",
        "text": "dcfm_node.domains.settings:TextSettings",
        "sentences": "dcfm_node.domains.settings:SentencesSettings",
        "coloured-mnist": "dcfm_node.domains.settings:ColouredMnistSettings",
        "cube": "dcfm_node.domains.settings:CubeSettings",
        "chest-xray": "dcfm_node.domains.settings:ChestSettings",
    },
}
"""By kind and name, the place of the model of this package's own section."""


ASK_AUTHOR = "ask the author of the package"


class Origin(NamedTuple):
    """The distribution that provides a plugin, and its installed version."""

    distribution: str
    version: str


class PluginError(UserError, ValueError):
    """No installed package provides a name, or the package that does is at fault."""


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
    entry = _entry(kind, name)
    try:
        model = entry.load()
    except (Exception, SystemExit) as error:  # whatever another package's import raises
        raise _faulty(f"{entry.value} cannot be loaded", error) from error
    if not isinstance(getattr(model, "code", None), str):
        raise PluginError(f'{entry.value} has no code = "module:attribute"', fix=ASK_AUTHOR)
    return model


def implementation(path: str, interface: type[Interface]) -> type[Interface]:
    """The class that a section's `code` names.

    Raises:
        PluginError: it cannot be loaded, or is not a subclass of `interface`.
    """
    try:
        found = reference(path)
    except (Exception, SystemExit) as error:  # whatever another package's import raises
        raise _faulty(f"{path} cannot be loaded", error) from error
    if not (isinstance(found, type) and issubclass(found, interface)):
        wanted = f"{interface.__module__}.{interface.__qualname__}"
        raise PluginError(f"{path} is not a subclass of {wanted}", fix=ASK_AUTHOR)
    return found


def make(path: str, interface: type[Interface], *args: object) -> Interface:
    """An instance of the class that a section's `code` names.

    Raises:
        UserError: the class refuses its arguments with one.
        PluginError: the class cannot be loaded, is not a subclass of `interface`, or fails.
    """
    kind = implementation(path, interface)
    try:
        return kind(*args)
    except UserError:
        raise
    except Exception as error:  # whatever another package's class raises
        if path.startswith(f"{__package__}."):
            raise
        raise _faulty(f"{path} cannot be made", error) from error


def _faulty(what: str, error: BaseException) -> "PluginError":
    return PluginError(f"{what}: {type(error).__name__}: {error}", fix=ASK_AUTHOR)


def reference(path: str) -> Any:
    """The object that "module:attribute" names."""
    module, attribute = path.split(":")
    return getattr(import_module(module), attribute)


def installed(kind: str, name: str) -> bool:
    """Whether this package or an installed one provides a name. Loads nothing."""
    return kind in BUILTIN and (name in BUILTIN[kind] or name in _installed(kind))


def origin(kind: Kind, name: str) -> Origin | None:
    """The origin of a name; None if this package provides it.

    Raises:
        PluginError: no installed package provides it, or several do.
    """
    if name in BUILTIN[kind]:
        return None
    distribution = _entry(kind, name).dist
    if distribution is None:
        return Origin("unknown", "0")
    return Origin(distribution.name, distribution.version)


def _entry(kind: Kind, name: str) -> EntryPoint:
    found = _installed(kind).get(name, {})
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        what = f"{len(found)} packages provide it: {', '.join(sorted(found))}"
        raise PluginError(what, fix="uninstall all but one of them")
    known = ", ".join(names(kind))
    raise PluginError(
        "no installed package provides it",
        fix=f"choose one of {known}, or install the package that provides it",
    )


@cache
def _installed(kind: Kind) -> dict[str, dict[str, EntryPoint]]:
    """The entry points of other packages: by name, then by what they name."""
    found: dict[str, dict[str, EntryPoint]] = {}
    for point in entry_points(group=f"dcfm_node.{kind}"):
        found.setdefault(point.name, {})[point.value] = point
    return found
