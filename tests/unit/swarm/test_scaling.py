"""The scale of a run, from the joins that it builds on."""

import pytest

from dcfm_node.records.entries import Join
from dcfm_node.records.manifest import Continues
from dcfm_node.records.moments import Moments, Scale
from dcfm_node.swarm.scaling import scale_of, weighed
from tests.unit.swarm.builders import Run

RUN = Run(3)
HERE = Moments(mean=(0.0, 1_000.0), deviation=(1.0, 10.0))
THERE = Moments(mean=(4.0, 1_000.0), deviation=(1.0, 10.0))


def join(samples: int, moments: Moments | None) -> Join:
    counts = (((0, 1), samples),)
    return Join(name="x", distils=True, version="", counts=counts, moments=moments)


def test_silos_weigh_by_their_samples_up_to_their_share() -> None:
    joins = {b"a": join(100, HERE), b"b": join(300, THERE)}
    told = {key: (sum(n for _, n in one.counts), one.moments) for key, one in joins.items()}
    wide, capped = weighed(told, 1.0), weighed(told, 0.5)
    assert wide is not None and capped is not None
    assert wide.mean == pytest.approx((3.0, 1_000.0))
    assert capped.mean == pytest.approx((2.0, 1_000.0))
    assert capped.deviation == pytest.approx((5.0**0.5, 10.0))
    assert scale_of(RUN.manifest, joins) == capped  # policy.max_share is 0.5


def test_who_keeps_its_moments_does_not_weigh() -> None:
    joins = {b"a": join(100, HERE), b"b": join(300, None)}
    assert scale_of(RUN.manifest, joins) == Scale(mean=HERE.mean, deviation=HERE.deviation)
    assert scale_of(RUN.manifest, {b"b": join(300, None)}) is None
    assert scale_of(RUN.manifest, {}) is None


def test_a_run_that_continues_another_pools_nothing() -> None:
    kept = Scale(mean=(1.0, 2.0), deviation=(3.0, 4.0))
    for scale in (kept, None):
        continues = Continues(run=bytes(32), student=None, scale=scale)
        manifest = RUN.manifest.model_copy(update={"continues": continues})
        assert manifest.groups == 0
        assert manifest.standardises is (scale is not None)
        assert scale_of(manifest, {b"a": join(100, None)}) is None
