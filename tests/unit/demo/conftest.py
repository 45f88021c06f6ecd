"""A run of two silos, and what their nodes may say of it."""

import copy

import pytest

from dcfm_node.methods.dcfm.schedule import Dcfm
from dcfm_node.records.manifest import Attribute, Manifest, Silo
from dcfm_node.records.settings import Training

NORTH, EAST = b"\x01" * 32, b"\x02" * 32


@pytest.fixture
def manifest():
    stage = Training(steps=100, batch=64, ci_batch=16)
    return Manifest(
        name="gaussians",
        sample_shape=(2,),
        attributes=(
            Attribute(name="horizontal", values=("left", "right")),
            Attribute(name="vertical", values=("bottom", "top")),
        ),
        method=Dcfm(local=stage, refine=stage, distil=stage, max_rounds=2),
        roster=(Silo(name="east", key=EAST), Silo(name="north", key=NORTH)),
    )


@pytest.fixture
def paper(manifest):
    method = manifest.method.model_copy(update={"schedule": "paper"})
    return manifest.model_copy(update={"method": method})


class Says:
    """Makes a node's answer to `status`; only what is not usual need be named."""

    def __call__(self, node, stage="local", round_=0, activity="idle", done=0, **more):
        answer = copy.deepcopy(STATUS)
        answer["node"] = node
        answer["phase"] = {"stage": stage, "round": round_}
        answer["doing"] |= {"activity": activity, "done": done, "total": 100}
        for silo in answer["silos"]:
            silo["self"] = silo["name"] == node
            silo["expert_round"] = more.pop(f"{silo['name']}_expert", None)
        return answer | more


STATUS = {
    "run": {"name": "gaussians", "id": "ab" * 32},
    "problems": [],
    "doing": {"why": "experts are awaited", "waiting_on": ["north"]},
    "silos": [
        {"name": "east", "linked": True, "metrics": {"ci_gap": 0.25}},
        {"name": "north", "linked": True, "metrics": {}},
    ],
    "coverage": {"observed": 3, "combinations": 4},
    "latest": None,
    "terms": 2,
    "bytes_sent": 1_500,
    "bytes_received": 2_500_000,
    "peak_rss_mb": 321.5,
    "worker": {"device": "cpu", "pid": 7, "metrics": {"loss": 0.5}},
}


@pytest.fixture
def says():
    return Says()
