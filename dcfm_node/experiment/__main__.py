"""The process of a trial.

`python -m dcfm_node.experiment` reads one `TrialSpec` as JSON from stdin and writes its progress as
JSON lines to stdout. It can be killed at any time: the next one resumes, because all results are
stored under a digest of their inputs.
"""

import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from dcfm_node.errors import UserError
from dcfm_node.experiment import settings
from dcfm_node.experiment.algebra.settings import Algebra
from dcfm_node.experiment.algebra.trial import AlgebraTrial
from dcfm_node.experiment.discovery.settings import Discovery
from dcfm_node.experiment.discovery.trial import DiscoveryTrial
from dcfm_node.experiment.factorised.settings import Factorised
from dcfm_node.experiment.factorised.trial import FactorisedTrial
from dcfm_node.experiment.lines import Broken, TrialSpec, tell
from dcfm_node.experiment.parity.settings import Parity
from dcfm_node.experiment.parity.trial import ParityTrial
from dcfm_node.experiment.penalty.settings import Penalty
from dcfm_node.experiment.penalty.trial import PenaltyTrial
from dcfm_node.experiment.strangers.settings import Strangers
from dcfm_node.experiment.strangers.trial import StrangerTrial
from dcfm_node.experiment.switching.settings import Switching
from dcfm_node.experiment.switching.trial import SwitchingTrial
from dcfm_node.experiment.trial import Trial

NICE = 10
"""Added to the niceness of strangers' trials: they take hours in the background."""


class Runs(Protocol):
    """A trial."""

    def run(self) -> None:
        """Make what is not on disk."""


TRIALS: Mapping[type, Callable[[TrialSpec, Any], Runs]] = {
    Algebra: AlgebraTrial,
    Discovery: DiscoveryTrial,
    Factorised: FactorisedTrial,
    Parity: ParityTrial,
    Penalty: PenaltyTrial,
    Strangers: StrangerTrial,
    Switching: SwitchingTrial,
}
"""By the kind of an experiment's settings; all others pose a problem to every method."""


def _trial_of(spec: TrialSpec) -> Runs:
    given = settings.read(spec.experiment, spec.preset)
    if isinstance(given, Strangers):
        os.nice(NICE)
    made = TRIALS.get(type(given))
    return Trial(spec) if made is None else made(spec, given)


def _end_with_parent() -> None:
    """End with the process that started the trial, when stdin ends."""
    sys.stdin.read()
    os._exit(1)


def main() -> None:
    """Read the specification and run it; exit code 2 where the operator must act."""
    spec = TrialSpec.model_validate_json(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _trial_of(spec).run()
    except UserError as error:
        tell(Broken(what=error.what, where=error.where, fix=error.fix, more=error.more))
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
