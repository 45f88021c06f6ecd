"""What a node publishes of what its worker says."""

import pytest

from dcfm_node.config.keys import NodeKeys
from dcfm_node.config.node import NodeConfig
from dcfm_node.daemon.limits import Settings
from dcfm_node.daemon.restoring import Restoring
from dcfm_node.records.moments import Moments
from dcfm_node.worker.messages import Ready
from tests.unit.swarm.builders import Run

RUN = Run(3)
MOMENTS = Moments(mean=(0.0, 1.0), deviation=(1.0, 2.0))
DATA = {"format": "builtin", "name": "gaussians", "silo": 0, "silos": 3}
READY = Ready(device="cpu", counts=(((0, 0), 50),), data="", tensors={}, moments=MOMENTS)


@pytest.mark.parametrize(
    ("said", "told"),
    [({}, MOMENTS), ({"publish_moments": False}, None)],
    ids=["default", "opted out"],
)
def test_moments_are_published_unless_the_silo_says_no(
    tmp_path, said: dict[str, bool], told: Moments | None
) -> None:
    config = NodeConfig.model_validate({"name": "silo-0000", "data": DATA, **said})
    keys = NodeKeys(RUN.authors[0].signer._private, "", "")
    settings = Settings(config, keys, (), RUN.manifest, tmp_path / "run.toml")
    restoring = Restoring(settings, None, None, READY, None, lambda: 0.0)  # type: ignore[arg-type]
    assert restoring.restored(((), {})).moments == told
