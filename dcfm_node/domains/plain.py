"""Any files of the sites, without a known truth."""

from pathlib import Path
from typing import Any, NoReturn

from dcfm_node.domains.base import Domain, Evaluator, Settings, Split, SplitSpec
from dcfm_node.domains.settings import PlainSettings
from dcfm_node.errors import UserError


class Unjudged(Domain[Settings]):
    """Samples from the sites' own files; they cannot be shared among silos or evaluated."""

    def split(self, spec: SplitSpec) -> Split:
        """Always raises UserError."""
        _refuse(self, "has no samples of its own to share among silos")

    def evaluator(
        self, split: Split, *, folder: Path, seed: int, device: str, features: Path | None = None
    ) -> Evaluator:
        """Always raises UserError."""
        _refuse(self, "has no truth to measure samples against")


class Plain(Unjudged[PlainSettings]):
    """Vectors, series or images."""


def _refuse(domain: Domain[Any], what: str) -> NoReturn:
    raise UserError(
        f"the domain {domain.settings.kind!r} {what}", fix="choose another kind under [domain]"
    )
