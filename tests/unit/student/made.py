"""Small students in folders, as `student fetch` writes them."""

from pathlib import Path
from typing import Any

from safetensors.torch import save

from dcfm_node.flow import networks
from dcfm_node.records.manifest import Continues, Manifest, Probes
from dcfm_node.records.moments import Scale
from dcfm_node.store.card import model_card
from dcfm_node.store.student import write_student
from dcfm_node.student.facts import facts_of
from dcfm_node.swarm.chunks import snapshot_of
from dcfm_node.swarm.lineage import bundle, verify
from tests.unit.swarm.builders import Run, journals

ATTRIBUTES = (
    {"name": "n", "values": ("one", "two", "three")},
    {"name": "colour", "values": ("red", "blue")},
)
HELD = (((0, 0), 5), ((0, 1), 4), ((1, 0), 3))
"""No silo has three, nor blue two."""
SCALE = Scale(mean=(1_013.0, -2.0), deviation=(9.0, 0.01))


def make(
    folder: Path,
    *,
    seed: int = 0,
    scaled: bool = False,
    scale: Any = SCALE,
    held: Any = HELD,
    tensors: Any = None,
    **changes: Any,
) -> Path:
    """Write a student whose weights are those of an untrained network, unless some are given.

    Args:
        seed: of the run, which decides the weights.
        scaled: whether the run standardises its features by `scale`, as the run before it did.
        held: counts of every silo.
        changes: fields of the manifest, and of its method.
    """
    run = Run(3, schedule="paper")
    fields = run.manifest.model_dump() | {
        "sample_shape": (2,),
        "attributes": ATTRIBUTES,
        "probes": Probes(share=0.0),
        "standardise": "feature" if scaled else "none",
        "continues": Continues(run=bytes(32), student=None, scale=scale) if scaled else None,
    }
    fields["method"] |= {"seed": seed} | changes.pop("method", {})
    run.begin(Manifest.model_validate(fields | changes, strict=False))
    for author in run.authors:
        author.join(counts=held)
    run.publish_experts(0)
    weights = save(tensors or dict(networks.build(run.manifest).state_dict()))
    body = run.student(run.elect(0)).model_copy(update={"snapshot": snapshot_of(weights)})
    run.authors[0].say(body)
    model = folder.with_name(f"{folder.name}.model")
    model.write_bytes(weights)
    lineage = bundle(run.manifest, journals(run))
    proven = verify(lineage, body.snapshot.digest)
    write_student(
        folder,
        model=model,
        manifest=run.manifest,
        scale=proven.view.scale,
        lineage=lineage,
        card=model_card(run.manifest, facts_of(proven)),
    )
    return folder
