"""Which combinations silos hold, which can be composed from them, and which cannot. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from dcfm_node.api.checked import Finding, Holding
from dcfm_node.data.source import Counts
from dcfm_node.preflight.findings import In
from dcfm_node.records.manifest import Manifest
from dcfm_node.swarm.coverage import Combination, coverage, outside_hull

COVERAGE = In("coverage")
MOST_LISTED = 4_096
"""Combinations of a run above which they are not listed one by one."""
NAMED = 8


def composition(
    manifest: Manifest, own: Counts | None, others: Mapping[str, Counts]
) -> tuple[list[Finding], tuple[Holding, ...]]:
    """What is held, and what follows from it.

    Args:
        own: this silo's training samples by combination; None if they could not be read.
        others: the same of other silos, as far as they published it.
    """
    sizes = manifest.cardinalities
    total, told = manifest.combinations, len(others) + (own is not None)
    everyone = told == len(manifest.roster)
    held = Counter[Combination]()
    for counts in (*others.values(), own or ()):
        held.update(dict(counts))
    found = list(_held(manifest, own, others, total))
    if not everyone:
        silent = len(manifest.roster) - told
        what = f"{silent} of {len(manifest.roster)} silos have not published what they hold"
        found.append(COVERAGE.unknown("Eq. 2", what, "silos publish it once all nodes run"))
    else:
        found += _together(manifest, held)
    listed: tuple[Holding, ...] = ()
    if total <= MOST_LISTED:
        beyond = outside_hull(held, sizes, manifest.feasible)
        mine, theirs = dict(own or ()), {name: dict(counts) for name, counts in others.items()}
        listed = tuple(
            Holding(
                values=_values(manifest, label),
                own=mine.get(label, 0) if own is not None else None,
                others={name: counts[label] for name, counts in theirs.items() if label in counts},
                reachable=label not in beyond if everyone else None,
            )
            for label in manifest.space()
        )
    return found, listed


def _held(
    manifest: Manifest, own: Counts | None, others: Mapping[str, Counts], total: int
) -> Iterator[Finding]:
    if own is not None:
        yield COVERAGE.ok("held here", f"{len(own)} of {total} combinations", combinations=len(own))
    else:
        yield COVERAGE.unknown("held here", "not known: the data could not be read")
    for silo in manifest.roster:
        if (counts := others.get(silo.name)) is not None:
            mine = {label for label, _ in own or ()}
            also = sum(label in mine for label, _ in counts)
            what = f"{len(counts)} of {total} combinations, {also} of them held here too"
            yield COVERAGE.ok(f"held by {silo.name}", what, combinations=len(counts))


def _together(manifest: Manifest, held: Counter[Combination]) -> Iterator[Finding]:
    """Eq. 2 of DCFM, and the affine hull, of what all silos hold."""
    sizes, attributes = manifest.cardinalities, manifest.attributes
    found = coverage(held, sizes, manifest.feasible)
    total = manifest.combinations
    what = f"the silos hold {found.observed} combinations; Eq. 2 of DCFM needs {found.needed}"
    if found.missing_values:
        named = ", ".join(
            f"{attributes[i].name}={attributes[i].values[v]}" for i, v in found.missing_values
        )
        fix = "add samples with them at any site, or remove the values from run.toml"
        yield COVERAGE.degraded("Eq. 2", f"{what}, and no silo holds {named}", fix)
    elif found.missing_combinations:
        fix = "add samples of other combinations at some site"
        yield COVERAGE.degraded("Eq. 2", what, fix)
    else:
        yield COVERAGE.ok("Eq. 2", f"{what}; every value is held")
    nobody = total - found.observed
    if not found.outside:
        what = f"all {nobody} that nobody holds can be composed" if nobody else "all are held"
        yield COVERAGE.ok("reachable", what, outside=0.0)
        return
    beyond = sorted(outside_hull(held, sizes, manifest.feasible))[:NAMED]
    named = ", ".join("/".join(_values(manifest, label)) for label in beyond)
    more = f" and {found.outside - len(beyond)} more" if found.outside > len(beyond) else ""
    adds = ", ".join("/".join(_values(manifest, label)) for label in found.completing[:NAMED])
    what = f"{found.outside} of {nobody} that nobody holds cannot be composed: {named}{more}"
    fix = f"add samples of {adds} at any site" if adds else "add samples of the missing values"
    yield COVERAGE.degraded("reachable", what, fix, outside=float(found.outside))


def _values(manifest: Manifest, label: Sequence[int]) -> tuple[str, ...]:
    return tuple(a.values[v] for a, v in zip(manifest.attributes, label, strict=True))
