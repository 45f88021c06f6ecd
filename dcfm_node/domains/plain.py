"""Any files of the sites: vectors or images, without a known truth."""

from pathlib import Path
from typing import NoReturn

from dcfm_node.domains.base import Domain, Evaluator, Split, SplitSpec
from dcfm_node.domains.settings import PlainSettings
from dcfm_node.errors import UserError


class Plain(Domain[PlainSettings]):
    """Samples from the sites' own files; they cannot be shared among silos or evaluated."""

    def split(self, spec: SplitSpec) -> Split:
        """Always raises UserError."""
        _refuse("has no samples of its own to share among silos")

    def evaluator(
        self, split: Split, *, folder: Path, seed: int, device: str, features: Path | None = None
    ) -> Evaluator:
        """Always raises UserError."""
        _refuse("has no truth to measure samples against")


def _refuse(what: str) -> NoReturn:
    raise UserError(f"the domain 'plain' {what}", fix="choose another kind under [domain]")
