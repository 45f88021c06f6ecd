"""The language of `student sample --where`: which combinations are asked for, how strongly. Pure.

    expression  = part {"or" part}
    part        = factor {"and" factor}
    factor      = "not" factor | "(" expression ")" [weight] | attribute "=" value [weight]
    weight      = "^" number

Of several students (`student compose`) a factor may also be a student's name with a weight, and an
attribute that a part does not name is free: it has no value, not all values in turn.

A name in quotes may hold anything but that quote; it has to be in quotes if it holds a space, one
of ( ) = ^ or a quote, or is one of the three words.

Every attribute has one value in a sample, so `or` and `not` are exact: they choose combinations,
which are drawn in turn. A mixture of laws is drawn by drawing one of them. A weight is that of an
attribute in Eq. 5 of DCFM: `colour=red^1.6` follows red more closely. `not colour=blue^0.5` leaves
blue out and also moves away from it, by the term -0.5 [v(blue) - v(∅)].
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import NoReturn

from dcfm_node.errors import ConfigError
from dcfm_node.records.entries import Label

MOST_WEIGHT, MOST_AWAY = 100.0, 1.0
"""Largest weights of a value, and of a negated one. A larger negated weight lets the composed law
grow without bound where the value's law is narrower than that of all data."""
MOST_PARTS, MOST_TEXT, MOST_DEPTH = 4_096, 4_096, 64
"""Most alternatives, characters, and brackets within each other."""
MOST_SAID, MOST_TRIED = 65_536, 1 << 19
"""Most statements in all alternatives, and combinations that alternatives name."""
TOO_MANY, FEWER = "it has too many alternatives", "ask for fewer at a time"
_TOKEN = re.compile(
    r"""\s*(?:(?P<mark>[()=^])|(?P<quote>"[^"]*"|'[^']*')|(?P<word>[^\s()=^"']+))"""
)
_WORDS = ("and", "or", "not")
Find = Callable[[str, str], tuple[int, int]]
"""Indices of an attribute and its value by their names."""
Alone = Callable[[str], tuple[int, int]]
"""The same of a name without a value."""


@dataclass(frozen=True)
class Asked:
    """One combination with its weights.

    Attributes:
        label: value indices.
        weights: of each attribute in Eq. 5 of DCFM; None takes the run's.
        away: (attribute, value, weight) to move away from.
    """

    label: Label
    weights: tuple[float | None, ...]
    away: tuple[tuple[int, int, float], ...] = ()

    @property
    def plain(self) -> bool:
        """Whether the run's own rule draws it."""
        return not self.away and set(self.weights) == {None}


@dataclass(frozen=True)
class _Is:
    """attribute = value, or not."""

    attribute: int
    value: int
    weight: float | None
    wanted: bool
    text: str
    at: int


_Parts = list[tuple[_Is, ...]]
"""Alternatives, each of statements that all hold."""


def is_expression(text: str) -> bool:
    """Whether a text has a sign of the language beside one attribute=value."""
    return text.count("=") > 1 or re.search(r"[()^'\"]|\b(and|or|not)\b", text, re.I) is not None


def asked_by(text: str, cardinalities: Sequence[int], find: Find, where: str) -> list[Asked]:
    """The combinations that an expression asks for, sorted; each once for each set of weights.

    Args:
        find: raises ConfigError for names that do not exist; the place in the text is added.
        where: the place that an error names.

    Raises:
        ConfigError: the text is no expression, or no combination fits it. It shows the column.
    """
    return _fitting(_parsed(text, find, where), cardinalities, where)


def asked_together(
    texts: Sequence[str], cardinalities: Sequence[int], find: Find, alone: Alone, where: str
) -> list[Asked]:
    """What several expressions, at least one, ask for at once. An attribute that is free has the
    index |C_i|, which is its null token. Arguments and errors as of `asked_by`.

    Args:
        alone: of a name without a value.
    """
    parts: _Parts = [()]
    for text in texts:
        more = _parsed(text, find, where, alone)
        said = len(more) * _said(parts) + len(parts) * _said(more)
        if len(parts) * len(more) > MOST_PARTS or said > MOST_SAID:
            raise ConfigError(TOO_MANY, where=where, fix=FEWER)
        parts = [a + b for a, b in product(parts, more)]
    return _fitting(parts, cardinalities, where, free=True)


def _parsed(text: str, find: Find, where: str, alone: Alone | None = None) -> _Parts:
    if len(text) > MOST_TEXT:
        fix = f"give at most {MOST_TEXT} characters"
        raise ConfigError("the expression is too long", where=where, fix=fix)
    return _Parser(text, find, where, alone).whole()


def _fitting(
    parts: _Parts, cardinalities: Sequence[int], where: str, *, free: bool = False
) -> list[Asked]:
    """The combinations of alternatives.

    Args:
        free: whether an attribute that an alternative does not name has no value.
    """
    found: dict[Asked, None] = {}
    clash, tried = parts[0][0], 0
    for part in parts:
        named = {said.attribute for said in part}
        allowed = [
            {size} if free and i not in named else set(range(size))
            for i, size in enumerate(cardinalities)
        ]
        weights: list[float | None] = [None] * len(cardinalities)
        away: list[tuple[int, int, float]] = []
        for said in part:
            values = allowed[said.attribute]
            allowed[said.attribute] = (
                values & {said.value} if said.wanted else values - {said.value}
            )
            if not allowed[said.attribute]:
                clash = said
            if said.weight is not None and said.wanted:
                weights[said.attribute] = said.weight
            elif said.weight is not None:
                away.append((said.attribute, said.value, said.weight))
        if (tried := tried + math.prod(map(len, allowed))) > MOST_TRIED:
            raise _wrong(clash.text, 0, TOO_MANY, FEWER, where)
        with_weights = partial(Asked, weights=tuple(weights), away=tuple(away))
        found |= dict.fromkeys(map(with_weights, product(*map(sorted, allowed))))
    if not found:
        what = "no combination fits: a sample has one value of each attribute"
        raise _wrong(clash.text, clash.at, what, "write 'or' between values", where)
    return sorted(found, key=lambda asked: asked.label)


class _Parser:
    """Recursive descent; each function returns alternatives, negations already pushed inwards."""

    def __init__(self, text: str, find: Find, where: str, alone: Alone | None = None) -> None:
        self._text, self._find, self._where, self._alone = text, find, where, alone
        self._tokens = list(self._split())
        self._next = self._depth = 0

    def whole(self) -> _Parts:
        """The whole text."""
        found = self._either(wanted=True)
        if self._kind() != "end":
            self._fail("expected 'and', 'or' or the end", "write 'and' or 'or' between statements")
        return found

    def _either(self, *, wanted: bool) -> _Parts:
        found = self._all(wanted=wanted)
        while self._take("or"):
            more = self._all(wanted=wanted)
            found = self._any(found, more) if wanted else self._both(found, more)
        return found

    def _all(self, *, wanted: bool) -> _Parts:
        found = self._factor(wanted=wanted)
        while self._take("and"):
            more = self._factor(wanted=wanted)
            found = self._both(found, more) if wanted else self._any(found, more)
        return found

    def _factor(self, *, wanted: bool) -> _Parts:
        self._depth += 1
        if self._depth > MOST_DEPTH:
            self._fail("too many brackets within each other", "use fewer")
        if self._take("not"):
            found = self._factor(wanted=not wanted)
        elif self._take("("):
            found = self._either(wanted=wanted)
            if not self._take(")"):
                self._fail("expected ')'", "close the bracket")
            weigh = self._weighing()
            found = [tuple(map(weigh, part)) for part in found]
        else:
            found = [(self._statement(wanted=wanted),)]
        self._depth -= 1
        return found

    def _statement(self, *, wanted: bool) -> _Is:
        at = self._tokens[self._next][2]
        name = self._name("an attribute")
        given = self._take("=")
        if not given and self._alone is None:
            self._fail("expected '='", "write attribute=value")
        value = self._name("a value") if given else ""
        try:
            if given or self._alone is None:
                attribute, index = self._find(name, value)
            else:
                attribute, index = self._alone(name)
        except ConfigError as error:
            raise _wrong(self._text, at, error.what, error.fix, self._where) from None
        return self._weighing()(_Is(attribute, index, None, wanted, self._text, at))

    def _weighing(self) -> Callable[[_Is], _Is]:
        """Reads a weight, if one follows. It multiplies those of all statements before it."""
        if not self._take("^"):
            return lambda said: said
        kind, text, at = self._tokens[self._next]
        try:
            weight = float(text) if kind == "word" else -1.0
        except ValueError:
            weight = -1.0
        self._next += kind != "end"

        def weighed(said: _Is) -> _Is:
            most = MOST_WEIGHT if said.wanted else MOST_AWAY
            total = weight * (1.0 if said.weight is None else said.weight)
            if not 0.0 < total <= most:
                what = f"a weight here is a number above 0, at most {most:g}"
                fix = f"write it as in {'colour=red^1.6' if said.wanted else 'not colour=red^0.5'}"
                raise _wrong(self._text, at, what, fix, self._where)
            return replace(said, weight=total)

        return weighed

    def _any(self, some: _Parts, more: _Parts) -> _Parts:
        self._check(len(some) + len(more), _said(some) + _said(more))
        return some + more

    def _both(self, some: _Parts, more: _Parts) -> _Parts:
        said = len(more) * _said(some) + len(some) * _said(more)
        self._check(len(some) * len(more), said)
        return [a + b for a, b in product(some, more)]

    def _check(self, parts: int, said: int) -> None:
        if parts > MOST_PARTS or said > MOST_SAID:
            self._fail(TOO_MANY, FEWER)

    def _name(self, what: str) -> str:
        kind, text, _ = self._tokens[self._next]
        if kind not in ("word", "quote"):
            self._fail(
                f"expected {what}", "write attribute=value, in quotes if it holds ( ) = or ^"
            )
        self._next += 1
        return text

    def _kind(self) -> str:
        return self._tokens[self._next][0]

    def _take(self, kind: str) -> bool:
        found = self._kind() == kind
        self._next += found
        return found

    def _split(self) -> Iterator[tuple[str, str, int]]:
        """Kind, text and place of every token; of marks and words of the language, kind is text."""
        at, end = 0, len(self._text.rstrip())
        while at < end:
            match = _TOKEN.match(self._text, at)
            if match is None:
                raise _wrong(
                    self._text, at, "a quote is not closed", "close it with the same", self._where
                )
            kind, start = str(match.lastgroup), match.start(str(match.lastgroup))
            text = match[kind]
            if kind == "mark" or (kind == "word" and text.lower() in _WORDS):
                yield text.lower(), text, start
            else:
                yield kind, text[1:-1] if kind == "quote" else text, start
            at = match.end()
        yield "end", "", end

    def _fail(self, what: str, fix: str) -> NoReturn:
        raise _wrong(self._text, self._tokens[self._next][2], what, fix, self._where)


def _said(parts: _Parts) -> int:
    return sum(map(len, parts))


def _wrong(text: str, at: int, what: str, fix: str, where: str) -> ConfigError:
    """An error that shows the text with a caret below the place."""
    line = re.sub(r"\s", " ", text)
    place = f"{where}, column {at + 1}"
    return ConfigError(what, where=place, fix=fix, more=(line, " " * at + "^"))
