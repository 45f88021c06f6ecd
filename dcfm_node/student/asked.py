"""What is asked of a student: combinations, and guidance weights. Pure."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Literal

from dcfm_node.data.names import normal
from dcfm_node.errors import ConfigError
from dcfm_node.records.entries import Label
from dcfm_node.records.guidance import Guidance
from dcfm_node.records.manifest import Manifest
from dcfm_node.student.expression import (
    FEWER,
    MOST_AWAY,
    MOST_TRIED,
    MOST_WEIGHT,
    TOO_MANY,
    Asked,
    asked_by,
    is_expression,
)

Correct = Literal["langevin", "mala", "smc"]
MOST, ROUNDING = 40, 1e-9
"""Most names that an error lists; by how much a sum of weights may err."""


def weights_of(text: str) -> tuple[float, float] | None:
    """The guidance weights of a text, TRAINED or TRAINED,NOVEL; None without text.

    Raises:
        ConfigError: the text is not one or two weights.
    """
    if not text:
        return None
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
    return known, novel


def asked_of(manifest: Manifest, texts: Sequence[str], where: str = "--where") -> list[Asked]:
    """The combinations that texts ask for, which all must hold, in order, with their weights.

    A text is attribute=value or an expression (`expression`). An attribute that no text names takes
    all its values.

    Raises:
        ConfigError: a text is neither, or no combination fits them all.
    """
    plain = [text for text in texts if _is_pair(manifest, text)]
    chosen = chosen_values(manifest, pairs_of(manifest, plain), where)
    found = plainly(asked_for(manifest, chosen))
    for text in texts:
        if text not in plain:
            find = partial(_found, manifest, where)
            found = met(found, asked_by(text, manifest.cardinalities, find, where), where)
    return found


def met(some: Sequence[Asked], more: Sequence[Asked], where: str) -> list[Asked]:
    """The combinations that both ask for, with the weights of both.

    Raises:
        ConfigError: there are none, or too many, or their weights are too large together.
    """
    alike: dict[Label, list[Asked]] = {}
    for one in more:
        alike.setdefault(one.label, []).append(one)
    if sum(len(alike.get(a.label, ())) for a in some) > MOST_TRIED:
        raise ConfigError(TOO_MANY, where=where, fix=FEWER)
    found = [
        Asked(a.label, tuple(map(_product, a.weights, b.weights)), a.away + b.away)
        for a in some
        for b in alike.get(a.label, ())
    ]
    if not found:
        what = "no combination fits all that is asked for"
        raise ConfigError(what, where=where, fix="leave one out, or use 'or'")
    check_weights(found, where)
    return found


def check_weights(found: Sequence[Asked], where: str) -> None:
    """Check the weights that one value has in several places.

    Raises:
        ConfigError: they are too large together.
    """
    for weights, away in {(one.weights, one.away) for one in found}:
        against: dict[tuple[int, int], float] = {}
        for attribute, value, weight in away:
            against[attribute, value] = against.get((attribute, value), 0.0) + weight
        if max((w for w in weights if w is not None), default=0.0) > MOST_WEIGHT:
            what = f"the weights of one value multiply to more than {MOST_WEIGHT:g}"
        elif max(against.values(), default=0.0) > MOST_AWAY + ROUNDING:
            what = f"the weights of one negated value add up to more than {MOST_AWAY:g}"
        else:
            continue
        raise ConfigError(what, where=where, fix="give smaller ones, or give it once")


def plainly(labels: Sequence[Label]) -> list[Asked]:
    """Combinations that the run's own rule draws."""
    return [Asked(label, (None,) * len(label)) for label in labels]


def _is_pair(manifest: Manifest, text: str) -> bool:
    """Whether a text is read as one attribute=value: it names a value, or is no expression."""
    name, _, value = text.partition("=")
    return value in _values(manifest, name) or not is_expression(text)


def _found(manifest: Manifest, where: str, name: str, value: str) -> tuple[int, int]:
    ((attribute, index),) = chosen_values(manifest, {name: value}, where).items()
    return attribute, index


def _product(a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else a * b


def pairs_of(manifest: Manifest, texts: Sequence[str]) -> dict[str, str]:
    """Value by attribute, from `attribute=value` texts.

    Raises:
        ConfigError: a text has another form, or names an attribute again.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            what = f"{text!r} is not written as attribute=value"
            raise ConfigError(what, where="--where", fix=_one_of(manifest, "such as "))
        if name in found:
            raise ConfigError(
                f"{name} is given twice, as {found[name]!r} and {value!r}",
                where="--where",
                fix=f"give one value of {name}, or none for all of them: "
                + _listed(_values(manifest, name)),
            )
        found[name] = value
    return found


def chosen_values(
    manifest: Manifest, wanted: Mapping[str, object], where: str = "--where"
) -> dict[int, int]:
    """Attribute index -> value index.

    Args:
        wanted: value by attribute, in any case; 3 is the same as "3".
        where: the place that an error names.

    Raises:
        ConfigError: the run has no such attribute, or the attribute no such value.
    """
    names = [attribute.name for attribute in manifest.attributes]
    chosen: dict[int, int] = {}
    for name, given in wanted.items():
        value = str(given)
        if (known := normal(name).lower()) not in names:
            what = f"the student has no attribute {name!r}"
            raise ConfigError(what, where=where, fix=_one_of(manifest))
        index = names.index(known)
        if index in chosen:
            raise ConfigError(f"{name} is given twice", where=where, fix="give it once")
        values = manifest.attributes[index].values
        meant = [value] if value in values else [v for v in values if normal(v) == normal(value)]
        if len(meant) != 1:
            raise ConfigError(
                f"{name} has no value {value!r}",
                where=where,
                fix=f"choose one of {_listed(values)}",
            )
        chosen[index] = values.index(meant[0])
    return chosen


def _values(manifest: Manifest, name: str) -> Sequence[str]:
    return next((one.values for one in manifest.attributes if one.name == name), ())


def _one_of(manifest: Manifest, how: str = "choose one of ") -> str:
    """Every attribute with its values."""
    return how + "; ".join(f"{one.name}={_listed(one.values, '|')}" for one in manifest.attributes)


def _listed(names: Sequence[str], between: str = ", ") -> str:
    more = len(names) - MOST
    return between.join(names[:MOST]) + (f" and {more} more" if more > 0 else "")


def asked_for(manifest: Manifest, chosen: Mapping[int, int]) -> list[Label]:
    """The combinations that can occur and have the chosen values, in order.

    Args:
        chosen: attribute index -> value index; other attributes take all values.

    Raises:
        ConfigError: the run lists feasible combinations, and none has the chosen values.
    """
    if manifest.feasible:
        found = [c for c in manifest.feasible if all(c[i] == v for i, v in chosen.items())]
        if found:
            return found
        values = ((manifest.attributes[i], v) for i, v in sorted(chosen.items()))
        asked = " and ".join(f"{one.name}={one.values[v]}" for one, v in values)
        raise ConfigError(
            f"the run lists no feasible combination with {asked}",
            where="--where",
            fix="ask for fewer values, or for others",
        )
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


def switches(manifest: Manifest, routing: str) -> bool:
    """Whether each step follows one expert of the student.

    Raises:
        ConfigError: the student has none to switch between, or its method needs all of them.
    """
    if routing == "mix":
        return False
    if routing != "switch":
        raise ConfigError(
            f"there is no routing {routing!r}", where="sample()", fix='give "mix" or "switch"'
        )
    method = manifest.method
    if not method.ensemble or not method.switches:
        why = "needs every expert at every step" if method.ensemble else "is one network"
        raise ConfigError(
            f"a student of {method.name} {why}, so that it cannot switch between experts",
            where="--routing",
            fix="leave it out",
        )
    return True


def correctable(manifest: Manifest, correct: Correct | None) -> Correct | None:
    """The corrector, if it knows the run's composed law.

    Raises:
        ConfigError: it does not.
    """
    if correct is None:
        return None
    if correct not in ("langevin", "mala", "smc"):
        fix = 'give "langevin", "mala" or "smc"'
        raise ConfigError(f"there is no corrector {correct!r}", where="sample()", fix=fix)
    guidance, path = manifest.method.guidance, manifest.path.kind
    why = ""
    if manifest.method.ensemble:
        why = f"a student of {manifest.method.name} is an ensemble"
    elif path != "linear":
        why = f"the path {path!r} does not give scores"
    elif not guidance.null and (guidance.from_t, guidance.to_t) != (0.0, 1.0):
        why = "the run's guidance holds for a part of the times t only"
    if why:
        raise ConfigError(f"cannot correct: {why}", where="--correct", fix="leave it out")
    return correct
