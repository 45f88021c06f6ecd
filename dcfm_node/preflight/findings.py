"""Findings of `check`, in a few words each."""

from dataclasses import dataclass

from dcfm_node.api.checked import Finding, Group
from dcfm_node.errors import UserError, writable


@dataclass(frozen=True)
class In:
    """Makes the findings of one group."""

    group: Group

    def ok(self, check: str, finding: str, **figures: float | None) -> Finding:
        """Nothing needs to be done."""
        return self._made(check, "ok", finding, "", figures)

    def degraded(self, check: str, finding: str, fix: str, **figures: float | None) -> Finding:
        """The node takes part, and something needs attention."""
        return self._made(check, "degraded", finding, fix, figures)

    def unknown(self, check: str, finding: str, fix: str = "") -> Finding:
        """It could not be checked."""
        return self._made(check, "unknown", finding, fix, {})

    def wrong(self, check: str, error: UserError) -> Finding:
        """The operator must change something before the node can take part."""
        place = f"{error.where}: " if error.where else ""
        what = "; ".join([f"{place}{error.what}", *error.more])
        return self._made(check, "wrong", what, error.fix, {})

    def _made(
        self, check: str, state: str, finding: str, fix: str, figures: dict[str, float | None]
    ) -> Finding:
        return Finding.model_validate(
            {
                "group": self.group,
                "check": check,
                "state": state,
                "finding": writable(finding),
                "fix": writable(fix),
                "figures": {key: value for key, value in figures.items() if value is not None},
            }
        )
