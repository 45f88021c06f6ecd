"""What a node publishes of what its worker says."""

from pathlib import Path
from typing import Any

import pytest

from dcfm_node.config.keys import NodeKeys
from dcfm_node.config.node import NodeConfig
from dcfm_node.daemon.limits import Settings, changed, moments_undo
from dcfm_node.daemon.restoring import Restoring
from dcfm_node.records.entries import Entry, Join
from dcfm_node.records.moments import Moments
from dcfm_node.swarm import admission
from dcfm_node.swarm.admission import flaw
from dcfm_node.swarm.node import Node
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
    tmp_path: Path, said: dict[str, bool], told: Moments | None
) -> None:
    assert restored(tmp_path, READY, said).moments == told


@pytest.mark.parametrize(
    ("said", "undone"),
    [
        ({}, False),
        ({"privacy": {"counts": "rounded"}}, True),
        ({"privacy": {"counts": "rounded"}, "publish_moments": False}, False),
    ],
)
def test_moments_that_give_hidden_counts_away_are_known(
    tmp_path: Path, said: dict[str, Any], undone: bool
) -> None:
    assert moments_undo(started(tmp_path, said), READY) is undone


def started(tmp_path: Path, said: dict[str, Any]) -> Settings:
    """What a silo with these settings is started with."""
    config = NodeConfig.model_validate({"name": "silo-0000", "data": DATA, **said})
    keys = NodeKeys(RUN.authors[0].signer._private, "", "")
    return Settings(config, keys, (), RUN.manifest, tmp_path / "run.toml")


def restored(tmp_path: Path, ready: Ready, said: dict[str, Any]) -> Node:
    """The node of a silo with these settings, after a start."""
    settings = started(tmp_path, said)
    restoring = Restoring(settings, None, None, ready, None, lambda: 0.0)  # type: ignore[arg-type]
    return restoring.restored(((), {}))  # type: ignore[arg-type]


HELD = (((0, 0), 90), ((0, 1), 40), ((1, 1), 4))
WHOLE = (((0, 0), 100), ((0, 1), 44), ((1, 1), 5))


def test_counts_are_told_as_the_silo_chose_and_the_same_after_a_restart(tmp_path: Path) -> None:
    ready = READY.model_copy(update={"counts": HELD, "whole": WHOLE})
    assert restored(tmp_path, ready, {}).counts == HELD
    rounded = restored(tmp_path, ready, {"privacy": {"counts": "rounded"}}).counts
    assert rounded == (((0, 0), 90), ((0, 1), 40))
    noisy = {"privacy": {"counts": "laplace", "epsilon": 0.2, "threshold": 20}}
    first = restored(tmp_path, ready, noisy)
    assert first.counts == restored(tmp_path, ready, noisy).counts != HELD
    join = Join(name="silo-0000", distils=True, version="", counts=first.counts)
    assert not changed(join, restored(tmp_path, ready, noisy).counts), "its data did not change"
    assert changed(join, restored(tmp_path, ready, {}).counts)
    made = Entry(run=RUN.id, author=RUN.keys[0], epoch=1, seq=0, prev=RUN.id, time_ms=0, body=join)
    assert flaw(made, admission.Run(RUN.manifest)) == ""


def test_moments_are_not_told_with_counts_of_too_few_samples(tmp_path: Path) -> None:
    """SPEC 3.7.16: other nodes would refuse the record."""
    ready = READY.model_copy(update={"counts": (((0, 0), 34),)})
    assert restored(tmp_path, ready, {}).moments == MOMENTS
    few = {"privacy": {"counts": "rounded", "threshold": 30}}
    assert restored(tmp_path, ready, few).counts == (((0, 0), 30),)
    assert restored(tmp_path, ready, few).moments is None
