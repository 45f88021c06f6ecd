"""A small coloured MNIST of bars, and a feature network trained on it, once for all tests."""

import pytest

from dcfm_node.domains.features import feature_network
from tests.unit.domains.idx_files import split_of, write

STEPS = 120


@pytest.fixture(scope="session")
def split(tmp_path_factory):
    return split_of(write(tmp_path_factory.mktemp("bars")))


@pytest.fixture(scope="session")
def trained(split, tmp_path_factory):
    """A folder with the network's file."""
    folder = tmp_path_factory.mktemp("features")
    feature_network(split, folder, steps=STEPS)
    return folder


@pytest.fixture
def network(split, trained):
    return feature_network(split, trained, steps=STEPS)
