"""configs/: every example is complete, and loads."""

import pytest

from dcfm_node.config.node import load_node
from dcfm_node.config.peers import load_peers
from dcfm_node.config.run import load_run
from dcfm_node.experiment import settings
from dcfm_node.simulation import scenario
from tests.packaging.tree import ROOT

CONFIGS = ROOT / "configs"
RUNS = [CONFIGS / "run.toml", *sorted((CONFIGS / "runs").glob("*.toml"))]


EXPERIMENTS = sorted((CONFIGS / "experiments").glob("*.toml"))
SCENARIOS = sorted((CONFIGS / "scenarios").glob("*.toml"))


def test_every_example_is_of_a_kind_that_is_loaded_here():
    nodes = {CONFIGS / "node.toml", CONFIGS / "peers.toml"}
    monitoring = set((CONFIGS / "monitoring").iterdir())  # test_monitoring.py loads these
    assert set(CONFIGS.rglob("*.*")) == {*nodes, *RUNS, *EXPERIMENTS, *SCENARIOS, *monitoring}
    assert len(RUNS) > 1


def test_every_experiment_is_listed():
    """tests/unit/experiment loads each of them under each of its presets."""
    assert list(settings.names()) == [path.stem for path in EXPERIMENTS]


def test_every_scenario_is_listed_and_each_of_its_variants_loads():
    names = scenario.names()
    assert {name.partition(":")[0] for name in names} == {path.stem for path in SCENARIOS}
    assert all(scenario.load(name).title for name in names)


def test_the_node_and_its_peers_load():
    node, peers = load_node(CONFIGS / "node.toml"), load_peers(CONFIGS / "peers.toml")
    assert node.name in {peer.name for peer in peers}
    assert len(peers) > 2


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.name)
def test_runs_load(path):
    peers = load_peers(CONFIGS / "peers.toml")
    manifest = load_run(path, peers, peers[0], listed=CONFIGS / "peers.toml")
    assert {silo.name for silo in manifest.roster} == {peer.name for peer in peers}
