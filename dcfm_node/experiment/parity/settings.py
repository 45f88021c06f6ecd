"""Settings in configs/experiments/discrete.toml: text, networks and training."""

from typing import Annotated, Literal

from pydantic import Field

from dcfm_node.networks.settings import TransformerSettings
from dcfm_node.records.base import Model, Name
from dcfm_node.records.settings import Training

Kind = Literal["discrete", "autoregressive", "digits", "digits-masked"]
"""Paths of texts; and of pictures with the words for them, in order and masked."""
CAUSAL, PICTURES = ("autoregressive", "digits"), ("digits", "digits-masked")
POOLED, OWN = "pooled", "own expert"
LINEUP = (POOLED, "all experts", "top-1", OWN)
"""One network of all texts; the mixture with all experts and with the likeliest one at every step;
and, for comparison, the expert of the cluster that a text is known to come from."""
TOP_K: dict[str, int | None] = {"all experts": None, "top-1": 1}


class Parity(Model):
    """The whole experiment with one of its presets."""

    kind: Literal["parity"]
    name: Name
    title: str
    seeds: Annotated[int, Field(ge=1, le=1_000)] = 1
    first_seed: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """First seed, 0 to 1000000; default 0. Tune on seeds from 100, report those below."""
    paths: Annotated[tuple[Kind, ...], Field(min_length=1)]
    """Paths, each a partition of the results."""
    silos: Annotated[int, Field(ge=2, le=16)] = 3
    """Clusters of texts, one for each silo; 2 to 16, default 3."""
    length: Annotated[int, Field(ge=4, le=512)] = 32
    """Tokens of a sample of text, 4 to 512; default 32."""
    alphabet: Literal["ascii", "letters"] = "ascii"
    """Tokens of texts: bytes, or letters without case and a blank for all else. Default ascii."""
    equal: Literal["steps", "batch"] = "steps"
    """How the pooled network gets the compute of all experts: by as many steps as all take together
    (default), or by the steps of one, with batches as large as those of all together."""
    curve: tuple[Annotated[float, Field(gt=0.0, le=100.0)], ...] = ()
    """Multiples of the steps that are measured too, for a curve of the excess against compute. A
    partition of the results for each path of texts and multiple. Default none."""
    drawn: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Samples that an n-gram of held-out text judges, 0 to 10000; default 0, no judge."""
    windows: Annotated[int, Field(ge=20, le=1_000_000)] = 4_000
    """Most samples of a silo; default 4000."""
    tests: Annotated[int, Field(ge=20, le=100_000)] = 200
    """Held-out samples to measure on, 20 to 100000; default 200."""
    times: Annotated[int, Field(ge=1, le=1_000)] = 16
    """Times t for the bound of the discrete path, 1 to 1000; default 16."""
    solver_steps: Annotated[int, Field(ge=1, le=1_000)] = 16
    """Steps of the paths that the router learns from, 1 to 1000; default 16."""
    network: TransformerSettings = TransformerSettings()
    local: Training
    """Training of each expert; that of the pooled network follows from `equal`."""
    router: Training
    """Training of the router."""

    @property
    def partitions(self) -> tuple[str, ...]:
        """The paths, and those with other numbers of steps, such as "discrete-x2"."""
        of = [path for path in self.paths if path not in PICTURES]
        more = (f"{path}-x{times:g}" for path in of for times in self.curve)
        return (*self.paths, *more)

    def asked(self, partition: str) -> tuple[Kind, float]:
        """The path of a partition, and by what the steps are multiplied."""
        path, _, times = partition.partition("-x")
        return next(kind for kind in self.paths if kind == path), float(times or 1.0)

    def lineup(self, partition: str) -> tuple[str, ...]:
        """Names of the rows of a path and seed."""
        return LINEUP
