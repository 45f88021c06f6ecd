"""What `student sample` is asked for and tells: combinations, how many of each, and weights."""

from collections.abc import Collection, Mapping, Sequence
from itertools import product

from dcfm_node.api.students import Sampled
from dcfm_node.data.names import normal
from dcfm_node.errors import ConfigError
from dcfm_node.records.entries import Label
from dcfm_node.records.manifest import Manifest
from dcfm_node.records.settings import Guidance


def guided(manifest: Manifest, text: str) -> Manifest:
    """The run with the guidance weights of a text, TRAINED or TRAINED,NOVEL; its own without text.

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


def asked_for(manifest: Manifest, chosen: Mapping[int, int]) -> list[Label]:
    """The combinations that have the chosen values, in order.

    Args:
        chosen: attribute index -> value index; other attributes take all values.
    """
    ranges = [
        [chosen[index]] if index in chosen else range(size)
        for index, size in enumerate(manifest.cardinalities)
    ]
    return list(product(*ranges))


def novel_of(
    combinations: Sequence[Label], counts: Collection[Mapping[Label, int]]
) -> tuple[Label, ...]:
    """Those that no teacher of a student trained on.

    Args:
        counts: of each teacher, how often it holds each combination, without probes.
    """
    trained = {label for of in counts for label, times in of.items() if times > 0}
    return tuple(label for label in combinations if label not in trained)


def sampled_text(found: Sampled, *, possible: int, guided_by: str) -> str:
    """What was drawn, as text.

    Args:
        possible: number of combinations that were asked for.
    """
    from dcfm_node.cli.columns import Columns

    columns = Columns(found.columns, found.columns_from)
    return "\n".join(
        [
            f"wrote {found.count} samples to {found.out}{guided_by}",
            f"samples   {_shared(found.count, possible, found.novel)}",
            *([columns.summary] if columns.names else []),
        ]
    )


def _shared(count: int, possible: int, novel: int) -> str:
    """How samples are shared among combinations, in words.

    Args:
        count: of samples, in all.
        possible: number of combinations that were asked for.
        novel: how many of those that are drawn are novel.
    """
    each, some = divmod(count, possible)
    many = f"{each} or {each + 1}" if some else f"{each}"
    if possible == 1:
        return f"all of one combination, which is {'novel' if novel else 'trained on'}"
    if not each:
        return (
            f"1 each of the first {count} of {possible} combinations, {novel} of them novel; -n"
            f" counts samples in all: give -n {possible} or more for all combinations"
        )
    return f"{many} of each of {possible} combinations, {novel} of them novel"
