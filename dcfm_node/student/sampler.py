"""Draws from an exported student with numpy and onnxruntime alone: no torch, no dcfm-node.

    python sampler.py --where digit=3 -n 16 --out samples.npz

    from sampler import Sampler
    x, labels = Sampler().sample(n=16, seed=0, digit="3")

`velocity.onnx` is the field of the flow, with composition (Eq. 5 of DCFM): v(x, t, c, w) for points
x (B, *shape), times t (B,), value indices c (B, attributes) int64 and guidance weights w (B, m).
`sampler.json` has the names of the values, the solver, the weights and the scale. This file and
those two are all that is needed; copy them together.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Field = Callable[[Floats, float], Floats]
CHUNK = 256
"""Samples integrated in one batch."""


class Sampler:
    """An exported student.

    Args:
        folder: where the exported files are; that of this file if None.
        providers: of onnxruntime, such as ["CUDAExecutionProvider"].
    """

    def __init__(self, folder: Path | None = None, providers: list[str] | None = None) -> None:
        import onnxruntime

        at = Path(__file__).parent if folder is None else Path(folder)
        self.settings: dict[str, Any] = json.loads((at / "sampler.json").read_bytes())
        run = providers or ["CPUExecutionProvider"]
        self._velocity = onnxruntime.InferenceSession(at / "velocity.onnx", providers=run)
        self._decoder = None
        if self.settings["decoder"]:
            self._decoder = onnxruntime.InferenceSession(at / "decoder.onnx", providers=run)

    @property
    def attributes(self) -> dict[str, list[str]]:
        """The values of each attribute."""
        found: dict[str, list[str]] = self.settings["attributes"]
        return found

    def sample(
        self, n: int = 64, seed: int = 0, **wanted: object
    ) -> tuple[Floats, dict[str, NDArray[np.str_]]]:
        """Draw n samples in all; the chosen combinations take turns.

        Args:
            wanted: value by attribute; an attribute without one takes all its values.

        Returns: x (n, *sample_shape) in the units of the data, and the value of each attribute of
            each sample.
        """
        c = self.labels(n, {name: str(value) for name, value in wanted.items()})
        shape = (n, *self.settings["flow_shape"])
        x0 = np.random.default_rng(seed).standard_normal(shape, np.float32)
        names = {
            name: np.asarray(each)[c[:, i]]
            for i, (name, each) in enumerate(self.attributes.items())
        }
        return self.solve(x0, c), names

    def labels(self, n: int, values: dict[str, str]) -> NDArray[np.int64]:
        """Value indices (n, attributes) of the combinations that have these values, in turn."""
        if unknown := values.keys() - self.attributes.keys():
            raise ValueError(f"no attribute {min(unknown)!r}; there are {self.attributes}")
        ranges = []
        for name, each in self.attributes.items():
            if name in values and values[name] not in each:
                raise ValueError(f"{name} has no value {values[name]!r}; there are {each}")
            ranges.append([each.index(values[name])] if name in values else range(len(each)))
        every = self.settings.get("feasible") or product(*ranges)
        fitting = [c for c in every if all(v in of for v, of in zip(c, ranges, strict=True))]
        if not fitting:
            raise ValueError("no feasible combination has these values")
        possible = np.array(fitting, np.int64)
        return possible[np.arange(n) % len(possible)]

    def solve(self, x0: Floats, c: NDArray[np.int64]) -> Floats:
        """Samples (N, *sample_shape) from noise x0 (N, *flow_shape) for value indices c."""
        parts = range(0, len(x0), CHUNK)
        done = [self._integrated(x0[at : at + CHUNK], c[at : at + CHUNK]) for at in parts]
        return np.concatenate(done) if done else x0

    def _integrated(self, x: Floats, c: NDArray[np.int64]) -> Floats:
        said, known = self.settings, {tuple(row) for row in self.settings["trained_on"]}
        guidance = said["guidance"]
        trained = np.array([tuple(row) in known for row in c.tolist()])
        inside = np.where(trained, guidance["known"], guidance["novel"]).astype(np.float32)
        shares = np.asarray(guidance["shares"], np.float32)

        def velocity(x: Floats, t: float) -> Floats:
            on = guidance["from_t"] <= t <= guidance["to_t"]
            w = 1 + shares * ((inside if on else np.ones_like(inside))[:, None] - 1)
            times = np.full(len(x), t, np.float32)
            fed = {"x": x, "t": times, "c": c, "w": w.astype(np.float32)}
            (v,) = self._velocity.run(None, fed)
            return np.asarray(v, np.float32)

        for state in trajectory(velocity, x, said["steps"], said["solver"]):
            x = state
        if (scale := said["scale"]) is not None:
            mean, deviation = (
                np.asarray(scale[part]).reshape(said["scale_shape"])
                for part in ("mean", "deviation")
            )
            x = (x.astype(np.float64) * deviation + mean).astype(np.float32)
        if self._decoder is not None:
            (x,) = self._decoder.run(None, {"z": x})
        return x


def trajectory(v: Field, x: Floats, steps: int, solver: str) -> Iterator[Floats]:
    """States at t = 1/steps, ..., 1 of dx/dt = v(x, t) (Eq. 3 of DCFM)."""
    h = np.float32(1 / steps)
    before: Floats | None = None
    for i in range(steps):
        t = i / steps
        if solver == "euler":
            x = x + h * v(x, t)
        elif solver == "midpoint":
            x = x + h * v(x + h / 2 * v(x, t), t + 0.5 / steps)
        elif solver == "heun":
            first = v(x, t)
            x = x + h / 2 * (first + v(x + h * first, t + 1 / steps))
        elif solver == "rk4":
            k1 = v(x, t)
            k2 = v(x + h / 2 * k1, t + 0.5 / steps)
            k3 = v(x + h / 2 * k2, t + 0.5 / steps)
            k4 = v(x + h * k3, t + 1 / steps)
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        elif solver == "adams":
            now = v(x, t)
            x = x + h * (now + (0 if before is None else now - before) / 2)
            before = now
        else:
            raise ValueError(f"unknown solver {solver!r}")
        yield x


def main() -> None:
    """Draw into an .npz file."""
    parser = argparse.ArgumentParser(description="Draw samples of an exported student.")
    parser.add_argument("--where", action="append", default=[], metavar="ATTRIBUTE=VALUE")
    parser.add_argument("-n", type=int, default=64, help="number of samples in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.npz")
    asked = parser.parse_args()
    if asked.out.exists():
        parser.error(f"{asked.out} exists already")
    values = dict(text.partition("=")[::2] for text in asked.where)
    try:
        x, labels = Sampler().sample(asked.n, asked.seed, **values)
    except ValueError as error:
        parser.error(str(error))
    np.savez_compressed(asked.out, x=x, **labels)  # type: ignore[arg-type]
    print(f"wrote {len(x)} samples to {asked.out}")


if __name__ == "__main__":
    main()
