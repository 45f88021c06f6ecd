"""What `student sample` is asked for: values of attributes, and guidance weights."""

from dcfm_node.data.names import normal
from dcfm_node.errors import ConfigError
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.settings import Guidance


def guided(manifest: Manifest, text: str) -> Manifest:
    """The run with the guidance weights of a text, KNOWN or KNOWN,NOVEL; its own without text.

    Raises:
        ConfigError: the text is not one or two weights.
    """
    if not text:
        return manifest
    try:
        known, *more = map(float, text.split(","))
        (novel,) = more or [known]
        Guidance(known=known, novel=novel)
    except ValueError as error:
        raise ConfigError(
            f"{text!r} is not a guidance weight, or two of them",
            where="--guidance",
            fix="give numbers from 0 to 100, such as 1.3 or 1.3,1.6",
        ) from error
    return manifest.guided(known, novel)


def chosen_values(manifest: Manifest, where: list[str]) -> dict[int, int]:
    """Attribute index -> value index, from `attribute=value` texts."""
    names = [attribute.name for attribute in manifest.attributes]
    chosen: dict[int, int] = {}
    for text in where:
        name, equals, value = text.partition("=")
        if not equals or name not in names:
            raise ConfigError(
                f"{text!r} does not name an attribute of the run",
                where="--where",
                fix=f"choose one of {', '.join(names)}",
            )
        index = names.index(name)
        values = manifest.attributes[index].values
        meant = [value] if value in values else [v for v in values if normal(v) == normal(value)]
        if len(meant) != 1:
            raise ConfigError(
                f"{name} has no value {value!r}",
                where="--where",
                fix=f"choose one of {', '.join(values)}",
            )
        chosen[index] = values.index(meant[0])
    return chosen
