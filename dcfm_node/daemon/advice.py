"""What to try where a student's measured quality is below the floor, by simple rules. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from statistics import median_low

from dcfm_node.records.entries import Label, Student
from dcfm_node.records.manifest import Attribute, Manifest
from dcfm_node.swarm.coverage import unseen_of
from dcfm_node.swarm.quality import FAR
from dcfm_node.swarm.said import Said
from dcfm_node.swarm.view import View

SUGGESTED = 2
"""Most combinations that one answer asks silos to add."""


def what_to_try(view: View, student: Said[Student]) -> str:
    """Changes to the run or to its data that may help, the likeliest first."""
    manifest = view.manifest
    found, figures = view.announcement(student), view.figures(student)
    floor = manifest.policy.novel_floor
    if found.known is not None and found.known.value < floor:
        tries = _for_known(manifest, median(figures, "known_distance"))
    else:
        tries = [*_for_novel(manifest), *_more_combinations(view)]
    return f"begin another run with {'; or '.join(tries)}"


def median(figures: Mapping[bytes, Mapping[str, float]], name: str) -> float:
    """The lower median of one figure over the silos that measured it; 0 if none did."""
    told = [of[name] for of in figures.values() if name in of]
    return median_low(told) if told else 0.0


def _for_known(manifest: Manifest, distance: float) -> list[str]:
    """Even draws of known combinations are poor: training itself fails."""
    if distance > FAR:
        return [
            "a lower learning_rate in all stages",
            "data in the same units at all silos",
            "more steps",
        ]
    return ["more steps in all stages", *_network(manifest), "a lower learning_rate"]


def _for_novel(manifest: Manifest) -> list[str]:
    """Draws of known combinations are good: what was learned is not composed."""
    return [
        *_network(manifest),
        "guidance weights above 1 for novel combinations (method.guidance)",
        "more rounds of replay (method.replay)",
    ]


def _network(manifest: Manifest) -> list[str]:
    """Another network, where one is known to suit the samples better."""
    if len(manifest.flow_shape) > 1 and manifest.network.kind == "mlp":
        return ["a network for images and series (network.kind 'mixer')"]
    return ["a wider network (network.width)"]


def _more_combinations(view: View) -> list[str]:
    """Which silos could add samples of which unseen combinations."""
    wanted = list(islice(_addable(view), SUGGESTED))
    return [f"samples of more combinations: {', '.join(wanted)}"] if wanted else []


def _addable(view: View) -> Iterator[str]:
    """Unseen combinations of values that one silo has, in other combinations."""
    attributes = view.manifest.attributes
    held = {key: [label for label, _ in join.counts] for key, join in view.joins.items()}
    values = {
        key: {pair for label in own for pair in enumerate(label)} for key, own in held.items()
    }
    seen = {label for own in held.values() for label in own}
    for unseen in unseen_of(seen, view.manifest.cardinalities):
        owner = next((key for key in values if values[key].issuperset(enumerate(unseen))), None)
        if owner is not None:
            yield f"{_named(attributes, unseen)} at {view.manifest.silo_name(owner)}"


def _named(attributes: Sequence[Attribute], label: Label) -> str:
    return "/".join(a.values[v] for a, v in zip(attributes, label, strict=True))
