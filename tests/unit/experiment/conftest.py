"""A small coloured MNIST of bars, and a feature network trained on it, once for all tests."""

import pytest

from dcfm_node.experiment.coloured_mnist import coloured_mnist
from dcfm_node.experiment.features import feature_network
from tests.unit.experiment.idx_files import write

STEPS = 120


@pytest.fixture(scope="session")
def task(tmp_path_factory):
    return coloured_mnist(write(tmp_path_factory.mktemp("bars")), 14).task("iid", 0)


@pytest.fixture(scope="session")
def trained(task, tmp_path_factory):
    """A folder with the network's file."""
    folder = tmp_path_factory.mktemp("features")
    feature_network(task, folder, steps=STEPS)
    return folder


@pytest.fixture
def network(task, trained):
    return feature_network(task, trained, steps=STEPS)
