"""Which combinations the silos hold together, and what cannot be composed from them. Pure."""

from collections import Counter
from collections.abc import Iterator

from dcfm_node.api.problems import THIS_RUN, Code, Problem
from dcfm_node.api.status import Coverage, MissingValue
from dcfm_node.daemon.facts import labelled
from dcfm_node.records.entries import Join, Label
from dcfm_node.swarm.coverage import Coverage as Found
from dcfm_node.swarm.coverage import alone, coverage
from dcfm_node.swarm.view import View

MOST = 8
"""Values, combinations and silos that one problem names."""


def covered(view: View) -> Coverage:
    """Eq. 2 of DCFM, from the label counts that the active silos published."""
    told, found = _told(view), _found(view)
    attributes = view.manifest.attributes
    return Coverage(
        observed=found.observed,
        combinations=view.manifest.combinations,
        silos=len(view.active()),
        silos_told=len(told),
        sufficient=found.sufficient,
        combinations_short=found.missing_combinations,
        missing_values=tuple(
            MissingValue(attribute=attributes[i].name, value=attributes[i].values[value])
            for i, value in found.missing_values
        ),
        rank=found.rank,
        rank_needed=found.needed,
        outside_hull=found.outside,
        level_1=found.level_1,
        level_2=found.level_2,
        alone=alone({j.name: [label for label, _ in j.counts] for j in told.values()}),
    )


def gaps(view: View) -> Iterator[Problem]:
    """What no student can learn from what the silos hold, once all have said what that is."""
    if len(_told(view)) < len(view.active()):
        return
    found, attributes = _found(view), view.manifest.attributes
    if found.missing_values:
        missing = [
            f"{attributes[i].name}={attributes[i].values[v]}" for i, v in found.missing_values
        ]
        what = f"no silo holds {_some(missing)}, so no student learns it"
        yield Code.VALUE_UNSEEN.problem(THIS_RUN, what)
    if found.completing:
        apart = "".join(f"; {name} shares no value with the others" for name in _apart(view))
        what = (
            f"{found.outside} of {found.level_1 + found.level_2} novel combinations cannot be"
            f" composed from what the silos hold{apart}"
        )
        wanted = ["/".join(labelled(view.manifest, label).values()) for label in found.completing]
        fix = f"add samples at any site, such as {_some(wanted)}, and begin another run"
        yield Code.COVERAGE_GAP.problem(THIS_RUN, what, fix=fix)


def _apart(view: View) -> Iterator[str]:
    """Silos whose values no other silo holds."""
    held = {
        key: {pair for label, _ in join.counts for pair in enumerate(label)}
        for key, join in sorted(_told(view).items())
    }
    for key, own in held.items():
        others = [pairs for other, pairs in held.items() if other != key]
        if others and own.isdisjoint(set().union(*others)):
            yield view.manifest.silo_name(key)


def _found(view: View) -> Found:
    counts = Counter[Label]()
    for join in _told(view).values():
        counts.update(dict(join.counts))
    return coverage(counts, view.manifest.cardinalities, view.manifest.feasible)


def _told(view: View) -> dict[bytes, Join]:
    """What the active silos said that they hold, by their keys."""
    return {key: view.joins[key] for key in view.active() if key in view.joins}


def _some(named: list[str]) -> str:
    more = f" and {len(named) - MOST} more" if len(named) > MOST else ""
    return ", ".join(named[:MOST]) + more
