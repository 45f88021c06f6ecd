"""What bfloat16 and deltas save, on experts and students that the demo's settings train."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from dcfm_node.config.node import load_node
from dcfm_node.config.peers import load_peers
from dcfm_node.config.run import load_run
from dcfm_node.demo.stage import Wish, prepare
from dcfm_node.domains import base as domains
from dcfm_node.flow import stages
from dcfm_node.flow.averaging import merge
from dcfm_node.flow.codec import encoded_samples
from dcfm_node.flow.files import load_weights, rounded
from dcfm_node.flow.networks import Weights
from dcfm_node.flow.sampling import Teacher
from dcfm_node.flow.trainer import Callbacks
from dcfm_node.methods.dcfm import learner as dcfm
from dcfm_node.records.manifest import Manifest, Transfer
from dcfm_node.store.delta import encode

HOOKS = Callbacks(device="cpu")


def measure(domain: str) -> list[dict[str, Any]]:
    """Two rounds of two silos in each precision; bytes over those of the same in float32, whole."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stage = prepare(folder / "demo", Wish(domain=domain, silos=2))
        peers = load_peers(stage.peers)
        run = load_run(stage.run, peers[1:], peers[0], listed=stage.peers)
        kind = domains.of(run)
        data = [kind.load(run, load_node(node.config).data) for node in stage.nodes]
        rows = []
        for precision in ("f32", "bf16"):
            manifest = run.model_copy(update={"transfer": Transfer(precision=precision)})
            rows += _rounds(manifest, data, folder)
        full = {row["what"]: row["bytes"] for row in rows if row["precision"] == "f32"}
        for row in rows:
            row["whole"] = row.pop("bytes") / full[row["what"]]
            row["delta"] = row["delta"] / full[row["what"]]
        return rows


def _rounds(manifest: Manifest, data: list[Any], folder: Path) -> list[dict[str, Any]]:
    train = [encoded_samples(silo.train) for silo in data]
    holdout = [encoded_samples(silo.holdout) for silo in data]

    def publish(weights: Weights, name: str) -> Path:
        path = folder / f"{name}.safetensors"
        save_file(rounded(weights, manifest), path)
        return path

    def distil(experts: list[Path], round_: int) -> Path:
        teachers = [
            Teacher(name=str(silo), weights=load_weights(path), counts=dict(data[silo].counts))
            for silo, path in enumerate(experts)
        ]
        mean = merge(teachers)
        made = dcfm.distil(manifest, teachers, init=mean, seed=round_, callbacks=HOOKS)
        return publish(made.weights, f"student{round_}")

    experts = [
        publish(
            stages.local(manifest, *pair, seed=silo, callbacks=HOOKS).weights, f"expert0-{silo}"
        )
        for silo, pair in enumerate(zip(train, holdout, strict=True))
    ]
    student = distil(experts, 0)
    anchor = load_weights(student)
    refined = [
        publish(
            dcfm.refine_anchored(
                manifest, *pair, anchor=anchor, seed=silo, callbacks=HOOKS
            ).weights,
            f"expert1-{silo}",
        )
        for silo, pair in enumerate(zip(train, holdout, strict=True))
    ]
    pairs = {"expert": (student, refined[0]), "student": (student, distil(refined, 1))}
    return [
        {
            "what": what,
            "precision": manifest.transfer.precision,
            "bytes": path.stat().st_size,
            "delta": _coded(base, path, manifest.transfer.width),
        }
        for what, (base, path) in pairs.items()
    ]


def _coded(base: Path, path: Path, width: int) -> int:
    coded = path.with_suffix(".delta")
    encode(base, path, coded, width)
    return coded.stat().st_size
