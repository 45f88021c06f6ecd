"""configs/: every example is complete, and loads."""

import pytest

from dcfm_node.config.node import load_node
from dcfm_node.config.peers import load_peers
from dcfm_node.config.run import load_run
from tests.packaging.tree import ROOT

CONFIGS = ROOT / "configs"
RUNS = [CONFIGS / "run.toml", *sorted((CONFIGS / "runs").glob("*.toml"))]


def test_every_example_is_of_a_kind_that_is_loaded_here():
    assert set(CONFIGS.rglob("*.*")) == {CONFIGS / "node.toml", CONFIGS / "peers.toml", *RUNS}
    assert len(RUNS) > 1


def test_the_node_and_its_peers_load():
    node, peers = load_node(CONFIGS / "node.toml"), load_peers(CONFIGS / "peers.toml")
    assert node.name in {peer.name for peer in peers}
    assert len(peers) > 2


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.name)
def test_runs_load(path):
    peers = load_peers(CONFIGS / "peers.toml")
    manifest = load_run(path, peers, peers[0])
    assert {silo.name for silo in manifest.roster} == {peer.name for peer in peers}
