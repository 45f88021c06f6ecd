"""What to try where a student's measured quality is below the floor, by simple rules. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from statistics import median_low

from dcfm_node.config.toml import written
from dcfm_node.records.entries import Label, Student
from dcfm_node.records.manifest import Attribute, Manifest
from dcfm_node.records.settings import Training
from dcfm_node.swarm.coverage import unseen_of
from dcfm_node.swarm.quality import FAR
from dcfm_node.swarm.said import Said
from dcfm_node.swarm.view import View

SUGGESTED = 2
"""Most combinations that one answer asks silos to add."""
MOST_GUIDANCE, MOST_ROUNDS, MOST_WIDTH = 3.0, 12, 4_096
"""Settings are not raised beyond these. A higher weight leaves no variety."""


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
    rate, steps = _stages(manifest, "learning_rate", 0.5), _stages(manifest, "steps", 2)
    if distance > FAR:
        return [
            f"a lower learning rate: {rate}",
            "data in the same units at all silos",
            f"more steps: {steps}",
        ]
    return [f"more steps: {steps}", *_network(manifest), f"a lower learning rate: {rate}"]


def _for_novel(manifest: Manifest) -> list[str]:
    """Draws of known combinations are good: what was learned is not composed."""
    method, tries = manifest.method, _network(manifest)
    novel = method.guidance.novel
    if novel < MOST_GUIDANCE:
        more = _changed("method.guidance", "novel", novel, min(novel + 0.5, MOST_GUIDANCE))
        tries.append(f"a higher guidance weight of novel combinations: {more}")
    replay = getattr(method, "replay", None)
    if replay is not None and replay.rounds < MOST_ROUNDS:
        more = _changed("method.replay", "rounds", replay.rounds, replay.rounds + 3)
        tries.append(f"more rounds of replay: {more}")
    return tries


def _stages(manifest: Manifest, name: str, factor: float) -> str:
    """A setting of every stage of training that the method has, changed by a factor."""
    stages = ((key, getattr(manifest.method, key, None)) for key in ("local", "refine", "distil"))
    return ", ".join(
        _changed(f"method.{key}", name, now, type(now)(factor * now))
        for key, stage in stages
        if isinstance(stage, Training)
        for now in (getattr(stage, name),)
    )


def _changed(table: str, name: str, now: float, wanted: float) -> str:
    return f"{name} = {written(wanted)} under [{table}], now {written(now)}"


def _network(manifest: Manifest) -> list[str]:
    """Another network, where one is known to suit the samples better."""
    network = manifest.network
    if len(manifest.flow_shape) > 1 and network.kind == "mlp":
        return ['a network for images and series: kind = "auto" under [network], now "mlp"']
    width = getattr(network, "width", None)
    if not isinstance(width, int) or width >= MOST_WIDTH:
        return []
    return [f"a wider network: {_changed('network', 'width', width, min(2 * width, MOST_WIDTH))}"]


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
    for unseen in unseen_of(seen, view.manifest.cardinalities, view.manifest.feasible):
        owner = next((key for key in values if values[key].issuperset(enumerate(unseen))), None)
        if owner is not None:
            yield f"{_named(attributes, unseen)} at {view.manifest.silo_name(owner)}"


def _named(attributes: Sequence[Attribute], label: Label) -> str:
    return "/".join(a.values[v] for a, v in zip(attributes, label, strict=True))
