"""Who holds which combination, and what can be composed."""

from dcfm_node.preflight.coverage import composition
from tests.unit.swarm.builders import Run

RUN = Run(2)
SILOS = [silo.name for silo in RUN.manifest.roster]


def test_what_silent_silos_hold_is_not_guessed() -> None:
    findings, listed = composition(RUN.manifest, (((0, 0), 5),), {})
    assert {one.check: one.state for one in findings} == {"held here": "ok", "Eq. 2": "unknown"}
    assert {one.reachable for one in listed} == {None}
    assert next(one.own for one in listed) == 5


def test_enough_combinations_reach_all_others() -> None:
    first, second = RUN.manifest.cardinalities
    own = tuple(((value, 0), 9) for value in range(first))
    other = tuple(((0, value), 9) for value in range(second))
    findings, listed = composition(RUN.manifest, own, {SILOS[1]: other})
    told = {one.check: one.state for one in findings}
    assert told["Eq. 2"] == told["reachable"] == "ok"
    assert all(one.reachable for one in listed)
    assert listed[0].others == {SILOS[1]: 9}


def test_a_value_that_nobody_holds_is_named_and_cannot_be_reached() -> None:
    attribute = RUN.manifest.attributes[0]
    findings, listed = composition(RUN.manifest, (((0, 0), 9),), {SILOS[1]: (((0, 1), 9),)})
    told = {one.check: one for one in findings}
    assert told["Eq. 2"].state == told["reachable"].state == "degraded"
    assert f"{attribute.name}={attribute.values[1]}" in told["Eq. 2"].finding
    assert any(one.reachable is False for one in listed)


def test_unread_data_are_not_nothing() -> None:
    _, listed = composition(RUN.manifest, None, {})
    assert {one.own for one in listed} == {None}
