"""The settings that `dcfm-node init` writes for a problem's data. Nobody tunes them here."""

from pathlib import Path

from zmq.utils import z85

from dcfm_node.config.peers import Peer
from dcfm_node.config.run import load_run
from dcfm_node.config.template import run_text
from dcfm_node.experiment.strangers.files import silo_name
from dcfm_node.experiment.strangers.problem import Problem
from dcfm_node.records.manifest import Manifest

STAGES = ("local", "refine", "distil")


def manifest_of(problem: Problem, folder: Path, share: float) -> Manifest:
    """The run of a problem, read from a run.toml that is written into the folder.

    Args:
        share: part of the default steps, above 0 to 1.
    """
    run = folder / "run.toml"
    run.write_text(_run_text(problem))
    keys = [(k + 1).to_bytes(32, "big") for k in range(len(problem.silos))]
    peers = tuple(
        Peer(name=silo_name(k), sign_key=key.hex(), link_key=z85.encode(key).decode())  # type: ignore[arg-type]
        for k, key in enumerate(keys)
    )
    manifest = load_run(run, peers, None, listed=folder / "peers.toml")
    method = manifest.method
    shorter = {
        stage: given.model_copy(update={"steps": max(2, round(given.steps * share))})
        for stage in STAGES
        if (given := getattr(method, stage, None)) is not None
    }
    return manifest.model_copy(update={"method": method.model_copy(update=shorter)})


def _run_text(problem: Problem) -> str:
    attributes = [(attribute.name, attribute.values) for attribute in problem.attributes]
    return run_text(problem.name, problem.sample_shape, attributes)
