"""Recognisable samples, and the search for them in bytes."""

import csv
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

COLUMNS = ("canary_pressure", "canary_weight")
"""Names of the numbers of a sample."""
LEFT_OUT = "canary_person"
"""A column that the settings leave out."""
WINDOW = 6
"""Bytes: no form is shorter."""
Combination = tuple[str, str]


@dataclass(frozen=True)
class Planted:
    """A silo's private table. Every number in it is random to its last digit."""

    numbers: NDArray[np.float32]
    people: Sequence[str]

    @classmethod
    def write(cls, file: Path, name: str, held: dict[Combination, int], seed: int) -> "Planted":
        """Write a CSV table with so many samples of each combination."""
        rng, numbers, people = np.random.default_rng(seed), [], []
        with file.open("w", newline="") as table:
            writer = csv.writer(table)
            writer.writerow([*COLUMNS, "horizontal", "vertical", LEFT_OUT])
            for (across, up), count in held.items():
                middle = [2.0 if across == "right" else -2.0, 2.0 if up == "top" else -2.0]
                for x in (rng.normal(size=(count, 2)) + middle).astype(np.float32):
                    people.append(f"canary-{name}-{len(people):04d}")
                    numbers.append(x)
                    writer.writerow([*map(str, x), across, up, people[-1]])
        return cls(np.stack(numbers), people)

    def forms(
        self, mean: Sequence[float] = (0.0,), deviation: Sequence[float] = (1.0,)
    ) -> Iterator[bytes]:
        """Every sample as bytes that a leak could have: its two numbers together as float32, each
        alone as float64 and as text; of numbers as they are and standardised. Four bytes alone
        would be found by chance."""
        x = self.numbers.astype(np.float64)
        for scaled in (x, (x - np.asarray(mean)) / np.asarray(deviation)):
            for row in scaled:
                for order in "<>":
                    yield struct.pack(f"{order}2f", *row)
                    yield struct.pack(f"{order}2f", *row[::-1])
                    yield from (struct.pack(f"{order}d", value) for value in row)
                    yield from (struct.pack(f"{order}d", np.float32(value)) for value in row)
                texts = {str(np.float32(value)) for value in row} | {repr(float(v)) for v in row}
                yield from (text.encode() for text in texts if len(text.strip("-0.")) >= 6)
        yield from (person.encode() for person in self.people)
        yield from (name.encode() for name in (*COLUMNS, LEFT_OUT, "canary-folder"))


def leaked(forms: Iterable[bytes], sent: Iterable[bytes]) -> set[bytes]:
    """The forms that occur in any of these byte strings."""
    by_start: dict[bytes, set[bytes]] = {}
    for form in forms:
        by_start.setdefault(form[:WINDOW], set()).add(form)
    begins, found = np.zeros(1 << 24, bool), set[bytes]()
    begins[_threes(b"".join(by_start))[::WINDOW]] = True
    for data in sent:
        for at in np.flatnonzero(begins[_threes(data)]).tolist():
            maybe = by_start.get(data[at : at + WINDOW], ())
            found |= {form for form in maybe if data.startswith(form, at)}
    return found


def _threes(data: bytes) -> NDArray[np.uint32]:
    """Every three bytes in a row, as one number: few places of the data begin like a form."""
    read = np.frombuffer(data, np.uint8).astype(np.uint32)
    return read[:-2] | read[1:-1] << np.uint32(8) | read[2:] << np.uint32(16)
