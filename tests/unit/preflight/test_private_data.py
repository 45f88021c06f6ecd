"""What `check` says of the files with private data."""

from pathlib import Path

import numpy as np
import pytest

from dcfm_node.config.node import NodeConfig
from dcfm_node.preflight.private_data import private_data
from tests.unit.data.manifests import manifest


@pytest.mark.parametrize(("rule", "told"), [("auto", False), ("none", True)])
def test_a_scale_is_wrong_only_where_the_run_does_not_standardise(
    tmp_path: Path, rule: str, told: bool
) -> None:
    random = np.random.default_rng(0)
    x = random.normal(1_013.0, 40.0, (64, 2)).astype(np.float32)
    digit, colour = (np.arange(64) % 2, np.arange(64) // 2 % 2)
    np.savez(tmp_path / "d.npz", x=x, digit=digit, colour=colour)
    source = {"format": "npz", "path": str(tmp_path / "d.npz")}
    config = NodeConfig.model_validate({"name": "a", "data": source})
    found = private_data(config, manifest(standardise=rule))
    assert any("unit scale" in one.finding for one in found.findings) == told
