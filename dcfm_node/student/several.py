"""What is asked of several students at once: `student compose`. Pure.

The students are called A, B, C, … in the order in which they are given. An expression names an
attribute as in `student sample`, with the student's name before it where several have it
(`A.digit=3`); a student's name alone stands for its whole law. Each alternative of the expression
multiplies what the students say that it names. What one says is

    p(x)^W Π_i p(c_i | x)^w_i,

with p(c_i | x) = p(x | c_i) / p(x) for each attribute that has a value (Eq. 5 of DCFM), so an
attribute without one is free. W is 1 of the first student that an alternative names, and of each
student whose name stands alone. The others have W = 0: they guide by their attributes, and what all
students know of x counts once.
"""

import string
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial

from dcfm_node.data.names import normal
from dcfm_node.errors import ConfigError
from dcfm_node.records.entries import Label
from dcfm_node.records.manifest import Attribute, Manifest
from dcfm_node.samples import Combination
from dcfm_node.student.asked import check_weights, chosen_values
from dcfm_node.student.expression import Asked, asked_together, is_expression

FEWEST, MOST = 2, 8
"""Students in one composition."""
STUDENTS, ANY = "students", "any"
"""The column that says which students made a sample; the value of an attribute that is free."""
Place = tuple[int, int]
"""A student, and one of its attributes; its own law is the one after the last."""
IN, OUT = 0, 1
"""Values of a student's own law: it takes part, or it does not."""


@dataclass(frozen=True)
class Part:
    """What is asked of one student.

    Attributes:
        label: value indices; |C_i|, the null token, where the attribute is free.
        weights: of each attribute; None takes the run's.
        away: (attribute, value, weight) to move away from; the attribute -1 is its whole law.
        whole: W, the weight of its own law.
    """

    label: Label
    weights: tuple[float | None, ...]
    away: tuple[tuple[int, int, float], ...]
    whole: float


Alternative = tuple[Part | None, ...]
"""A part for each student, None for one that does not take part."""


@dataclass(frozen=True)
class Term:
    """A label whose law is a factor of the composed one, with the exponent inside and outside the
    times at which the run guides."""

    label: Label
    inside: float
    outside: float


@dataclass(frozen=True)
class Names:
    """Names of several students and of their attributes."""

    runs: Sequence[Manifest]

    @property
    def students(self) -> tuple[str, ...]:
        """A, B, C, …"""
        return tuple(string.ascii_uppercase[: len(self.runs)])

    @cached_property
    def places(self) -> list[Place]:
        """All that can be named, in order."""
        return [(k, i) for k, run in enumerate(self.runs) for i in range(len(run.attributes) + 1)]

    @cached_property
    def cardinalities(self) -> list[int]:
        """Number of values of each place."""
        return [self._values(k, i) for k, i in self.places]

    def of(self, place: Place) -> str:
        """The name of an attribute, with the student's where that is needed."""
        k, i = place
        if i == len(self.runs[k].attributes):
            return self.students[k]
        name = self.runs[k].attributes[i].name
        alone = len(self._holders(name)) == 1 and name != STUDENTS
        return name if alone else f"{self.students[k]}.{name}"

    def listed(self) -> str:
        """Everything that can be named, in words."""
        named = [
            f"{self.of((k, i))}={'|'.join(one.values[:MOST])}{'|…' * (len(one.values) > MOST)}"
            for k, run in enumerate(self.runs)
            for i, one in enumerate(run.attributes)
        ]
        return f"choose one of {'; '.join(named)}; or a student, {' or '.join(self.students)}"

    def find(self, where: str, name: str, value: str) -> tuple[int, int]:
        """The place of an attribute, and the index of its value.

        Raises:
            ConfigError: there is none, or several students have it.
        """
        k, own = self._owner(where, name)
        run = self.runs[k]
        if normal(own).lower() not in {one.name for one in run.attributes}:
            whose = f"student {self.students[k]} has" if own != name else "no student has"
            what = f"{whose} {'no' if own != name else 'an'} attribute {own!r}"
            raise ConfigError(what, where=where, fix=self.listed())
        ((i, index),) = chosen_values(run, {own: value}, where).items()
        return self.places.index((k, i)), index

    def alone(self, where: str, name: str) -> tuple[int, int]:
        """The place of a student's own law, and the value that it takes part.

        Raises:
            ConfigError: no student has this name.
        """
        if name.upper() not in self.students:
            what = f"no student is called {name!r}, and no value is given"
            raise ConfigError(what, where=where, fix=self.listed())
        k = self.students.index(name.upper())
        return self.places.index((k, len(self.runs[k].attributes))), IN

    def quoted(self, text: str) -> str:
        """An expression; the value of one attribute=value in quotes if it is one of its values."""
        name, _, value = text.partition("=")
        known = any(
            name in (one.name, f"{self.students[k]}.{one.name}") and value in one.values
            for k, run in enumerate(self.runs)
            for one in run.attributes
        )
        if not known or (not is_expression(f"{value}=") and " " not in value):
            return text
        quote = "'" if '"' in value else '"'
        return f"{name}={quote}{value}{quote}" if quote not in value else text

    def _owner(self, where: str, name: str) -> tuple[int, str]:
        """The student that has an attribute, and the attribute's own name."""
        student, dot, own = name.partition(".")
        if dot and student.upper() in self.students:
            return self.students.index(student.upper()), own
        holders = self._holders(normal(name).lower())
        if len(holders) > 1:
            both = " and ".join(self.students[k] for k in holders)
            fix = " or ".join(f"{self.students[k]}.{name}=…" for k in holders)
            raise ConfigError(f"{both} have {name!r}", where=where, fix=f"write {fix}")
        return (holders[0] if holders else 0), name

    def _holders(self, name: str) -> list[int]:
        return [
            k for k, run in enumerate(self.runs) if name in {one.name for one in run.attributes}
        ]

    def _values(self, k: int, i: int) -> int:
        own = self.runs[k].attributes
        return len(own[i].values) if i < len(own) else OUT + 1


def require_few(many: int) -> None:
    """Check the number of students.

    Raises:
        ConfigError: it is not 2 to 8.
    """
    if not FEWEST <= many <= MOST:
        what = f"{many} student{'s' * (many != 1)} given"
        raise ConfigError(what, where="compose", fix=f"give {FEWEST} to {MOST} students")


def alternatives_of(
    names: Names, texts: Sequence[str], where: str = "--where"
) -> list[Alternative]:
    """What expressions ask for, which all must hold; without any, the product of all students.

    Raises:
        ConfigError: a text is no expression, names what does not exist, or nothing fits.
    """
    find, alone = partial(names.find, where), partial(names.alone, where)
    texts = [names.quoted(text) for text in texts] or [" and ".join(names.students)]
    asked = asked_together(texts, names.cardinalities, find, alone, where)
    check_weights(asked, where)
    every = (_alternative(names, one) for one in asked if not _contradicts(names, one))
    fits = [fitting(run.feasible, run) if run.feasible else None for run in names.runs]
    found = list(dict.fromkeys(one for one in every if _feasible(fits, one)))
    if not found:
        what = "no combination fits: a run does not list it as feasible, or leaves the student out"
        raise ConfigError(what, where=where, fix="ask for fewer values, or for others")
    if empty := next((one for one in found if not any(p and p.whole > 0 for p in one)), None):
        away = [names.students[k] for k, part in enumerate(empty) if part is not None]
        what = f"nothing is asked of any student{' but to move away from ' * bool(away)}"
        fix = "name a student, or a value, that samples shall have"
        raise ConfigError(what + " and ".join(away), where=where, fix=fix)
    return found


def _alternative(names: Names, asked: Asked) -> Alternative:
    found: list[Part | None] = []
    at, first = 0, True
    for run in names.runs:
        many = len(run.attributes)
        label, weights = asked.label[at : at + many], asked.weights[at : at + many]
        whole, own = asked.label[at + many], asked.weights[at + many]
        away = [(i - at, v, w) for i, v, w in asked.away if at <= i <= at + many]
        away = [(-1 if i == many else i, v, w) for i, v, w in away]
        takes_part = whole != OUT and (whole == IN or label != run.cardinalities)
        default = 1.0 if first or whole == IN else 0.0
        share = (default if own is None else own) if takes_part else 0.0
        first = first and not takes_part
        if takes_part or away:
            empty = (label if takes_part else run.cardinalities, weights)
            found.append(Part(*empty, tuple(away), share))
        else:
            found.append(None)
        at += many + 1
    return tuple(found)


def _contradicts(names: Names, asked: Asked) -> bool:
    """Whether a student is left out whose attribute has a value."""
    out = {k for (k, i), v in zip(names.places, asked.label, strict=True)
           if i == len(names.runs[k].attributes) and v == OUT}  # fmt: skip
    sizes = zip(names.places, asked.label, names.cardinalities, strict=True)
    return any(
        k in out and i < len(names.runs[k].attributes) and v != size for (k, i), v, size in sizes
    )


def _feasible(fits: Sequence[Callable[[Label], bool] | None], alternative: Alternative) -> bool:
    pairs = zip(fits, alternative, strict=True)
    return all(part is None or fit is None or fit(part.label) for fit, part in pairs)


def fitting(combinations: Iterable[Combination], run: Manifest) -> Callable[[Label], bool]:
    """Tells whether some combination has all values of a label; a free attribute fits any.

    Labels with values of the same attributes share one look at the combinations: a run has up to
    65,536 of these, and an expression may ask for more labels.
    """
    free, every = run.cardinalities, tuple(combinations)

    @lru_cache(maxsize=MOST)
    def having(named: tuple[int, ...]) -> set[Combination]:
        return {tuple(one[i] for i in named) for one in every}

    def fits(label: Label) -> bool:
        named = tuple(i for i, (v, size) in enumerate(zip(label, free, strict=True)) if v != size)
        return tuple(label[i] for i in named) in having(named)

    return fits


def terms_of(run: Manifest, part: Part, *, known: bool) -> list[Term]:
    """The laws that a student's part multiplies, each with its exponent; those of ∅ add up to W.

    The joint head answers where the run's rule asks it, all attributes have values and no weight is
    the caller's own; else Eq. 5 of DCFM does.

    Args:
        known: whether some silo trained on the combination, which decides the run's weight.
    """
    guidance, null = run.method.guidance, run.cardinalities
    run_weight = guidance.known if known else guidance.novel
    found: dict[Label, tuple[float, float]] = {}

    def add(label: Label, inside: float, outside: float) -> None:
        """p(c | x) to some power: p(x | c) over p(x)."""
        for one, sign in ((label, 1.0), (null, -1.0)):
            before = found.get(one, (0.0, 0.0))
            found[one] = (before[0] + sign * inside, before[1] + sign * outside)

    found[null] = (part.whole, part.whole)
    named = [i for i, (v, size) in enumerate(zip(part.label, null, strict=True)) if v != size]
    own = part.away or any(w is not None for w in part.weights)
    if named == list(range(len(null))) and not own and not run.method.composed:
        add(part.label, run_weight, 1.0)
    else:
        absent, shares = run.absent, guidance.shares
        there = [i for i in named if not absent or part.label[i] != absent[i]]
        for i in there or named:
            share = shares[i] if shares else 1.0
            mine, weight = part.weights[i], 1.0 + share * (run_weight - 1.0)
            one = tuple(part.label[i] if i == k else size for k, size in enumerate(null))
            add(one, *((weight, 1.0) if mine is None else (mine, mine)))
    for i, value, weight in part.away:
        if i < 0:
            found[null] = (found[null][0] - weight, found[null][1] - weight)
        else:
            add(tuple(value if i == k else size for k, size in enumerate(null)), -weight, -weight)
    return [Term(label, *pair) for label, pair in found.items() if pair != (0.0, 0.0)]


@dataclass(frozen=True)
class Shown:
    """How alternatives are shown: attributes of their own, and a label of each.

    Attributes:
        attributes: those that some alternative names; and `students` where alternatives differ in
            their students, or name no attribute.
        labels: of each alternative.
    """

    attributes: tuple[Attribute, ...]
    labels: tuple[Combination, ...]


def shown(names: Names, alternatives: Sequence[Alternative]) -> Shown:
    """Attributes and labels for files of samples. A free attribute has the value `any`."""
    columns: list[tuple[str, list[str]]] = []
    for k, run in enumerate(names.runs):
        for i, one in enumerate(run.attributes):
            free = ANY if ANY not in one.values else f"({ANY})"
            values = [
                free if part is None or part.label[i] == len(one.values)
                else one.values[part.label[i]]
                for part in (alternative[k] for alternative in alternatives)
            ]  # fmt: skip
            if set(values) != {free}:
                columns.append((names.of((k, i)), values))
    who = [
        " and ".join(n for n, p in zip(names.students, one, strict=True) if p and p.whole > 0)
        for one in alternatives
    ]
    if len(set(who)) > 1 or not columns:
        columns.insert(0, (STUDENTS, who))
    attributes = [
        # A name has a dot, and there may be one value: this is shown, and no part of a run.
        Attribute.model_construct(name=name, values=tuple(dict.fromkeys(values)), absent=None)
        for name, values in columns
    ]
    rows = zip(*(values for _, values in columns), strict=True)
    labels = tuple(
        tuple(one.values.index(v) for one, v in zip(attributes, row, strict=True)) for row in rows
    )
    return Shown(tuple(attributes), labels)


def refused(names: Names, where: Sequence[str], special: Callable[[Manifest], bool]) -> None:
    """Check that students can be composed at all, by their runs' settings.

    Args:
        where: the place of each student, for an error.
        special: whether a domain keeps its samples in units of its own settings.

    Raises:
        ConfigError: two of them do not fit each other, or one fits no other, or there are too many.
    """
    require_few(len(names.runs))
    first = names.runs[0]
    for letter, run, place in zip(names.students, names.runs, where, strict=True):
        why = fix = ""
        if run.path.kind != "linear" and not run.path.alphabet:
            why = f"path {run.path.kind!r} says neither scores nor probabilities"
        elif run.sample_shape != first.sample_shape:
            here, there = (" x ".join(map(str, one.sample_shape)) for one in (run, first))
            why = f"its samples have the shape {here}, and those of A {there}"
            fix = "compose students of the same kind of samples"
        elif run.path != first.path:
            why = f"its path from noise to data ({run.path.kind}) is not that of A"
            fix = "compose students whose run.toml have the same [path]"
        elif run.codec != first.codec:
            why = "its codec is not that of A, so their codes mean different things"
            fix = "compose students whose runs use one codec, with the same digest"
        elif (run.path.alphabet or special(run)) and run.domain != first.domain:
            why = (
                "its domain is set otherwise than that of A, so the same numbers mean other things"
            )
            fix = "compose students whose run.toml have the same [domain]"
        if why:
            fix = fix or "leave it out"
            raise ConfigError(f"student {letter} cannot be composed: {why}", where=place, fix=fix)
