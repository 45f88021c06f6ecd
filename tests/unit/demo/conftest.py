"""A run of two silos, and what their nodes may say of it."""

import pytest

from dcfm_node.api.status import Doing, Phase, StatusRun, WorkerStatus
from dcfm_node.api.students import Expected, StudentFacts
from dcfm_node.daemon.status import status
from dcfm_node.methods.dcfm.schedule import Dcfm
from dcfm_node.records.manifest import Attribute, Manifest, Silo
from dcfm_node.records.settings import Training
from dcfm_node.swarm.quality import announced
from tests.unit.swarm.builders import Run
from tests.unit.swarm.nodes import started

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
        silos = tuple(
            SILO.model_copy(
                update={
                    "name": name,
                    "own": name == node,
                    "metrics": metrics,
                    "expert_round": more.pop(f"{name}_expert", None),
                }
            )
            for name, metrics in (("east", {"ci_gap": 0.25}), ("north", {}))
        )
        doing = DOING.model_copy(update={"activity": activity, "done": done})
        phase = Phase(stage=stage, round=round_)
        return STATUS.model_copy(
            update={"node": node, "phase": phase, "doing": doing, "silos": silos, **more}
        )


RUN = Run(2)
REAL = status(started(RUN), 0.0)
SILO = REAL.silos[0].model_copy(update={"linked": True})
DOING = Doing(
    activity="idle",
    done=0,
    total=100,
    fetching=(),
    why="waiting for experts",
    waiting_on=("north",),
)
STATUS = REAL.model_copy(
    update={
        "run": StatusRun(name="gaussians", id="ab" * 32, continues=None),
        "problems": (),
        "latest": None,
        "terms": 2,
        "bytes_sent": 1_500,
        "bytes_received": 2_500_000,
        "peak_rss_mb": 321.5,
        "worker": WorkerStatus(device="cpu", pid=7, metrics={"loss": 0.5}),
    }
)


def student(digest="aa", endorsed=("north", "east"), refused=(), **more):
    """A student as a node tells of it."""
    return StudentFacts(
        digest=digest,
        bytes=10,
        round=1,
        term=2,
        final=True,
        outcome="COMPLETE",
        missing=(),
        resumed=None,
        leader="east",
        teachers=(),
        endorsed_by=tuple(endorsed),
        refused_by=dict.fromkeys(refused, "poor"),
        expected=Expected.of(announced([], 2, final=True), 0.5),
        below_floor=False,
        released=True,
        rejected=False,
        superseded={},
        metrics={},
    ).model_copy(update=more)


@pytest.fixture
def says():
    return Says()
