"""Everything the swarm can say, wait for or refuse is reached in some run, or is known not to be.

A sweep that reaches less than the source can do shows nothing of the rest.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from dcfm_node import swarm
from dcfm_node.records.entries import Body, Cause
from dcfm_node.simulation.reached import waiting
from dcfm_node.simulation.run import simulate
from dcfm_node.simulation.scenario import load
from dcfm_node.simulation.world import World
from dcfm_node.swarm import experts, plan
from dcfm_node.swarm.effects import Effect
from tests.simulation.sweeps import REACHING

ELSEWHERE = {
    "reports key_used_twice": "tests/unit/swarm/test_exchange.py",
    "reports record_unfit": "tests/unit/swarm/test_writer.py",
    "reports journal_full": "tests/unit/swarm/test_writer.py",
    "verdict snapshot": "tests/unit/swarm/test_faults.py",
    "verdict quota": "tests/unit/swarm/test_faults.py",
    "verdict score": "tests/unit/swarm/test_audit.py",
    "verdict head": "tests/property/test_hostile_input.py",
    "verdict chunks": "tests/integration/test_bulk.py",
    "verdict flood": "tests/integration/test_strangers.py",
}
"""What no simulated run reaches, since simulated snapshots are names and links never flood; and
which tests do."""
RARE = {
    "waits: too many silos refused the student, so it cannot be released",
    "waits: waiting for the student of the run that this one continues",
    "waits: no student is published",
    "waits: this node holds no expert to distil",
    "waits: waiting for the checkpoint of the last leader",
    "waits: waiting for a preparation that builds on all joins",
    "waits: this node voted for a later leader, so it proposes nothing",
    "waits: all that this silo holds is withheld as probes, so it trains nothing",
    "waits: no live node can distil",
    "waits: a member voted in the last possible term",
    "waits: the student stays interim",
}
"""Reasons to wait that need a run of their own; unit tests of the plan and of elections reach
them."""


def reached() -> set[str]:
    points: set[str] = set()
    for name, seed in REACHING:
        world = World(load(name), seed)
        simulate(load(name), seed, world=world)
        points |= world.reached.points.keys()
    return points


def sayable() -> set[str]:
    """Every point that the source of the swarm has."""
    found = {f"effect {effect.__name__}" for effect in get_args(Effect)}
    found |= {f"says {kind.model_fields['kind'].default}" for kind in get_args(get_args(Body)[0])}
    found |= {f"verdict {cause}" for cause in get_args(Cause)}
    for path in Path(swarm.__file__).parent.glob("*.py"):
        found |= set(_named(ast.parse(path.read_text(encoding="utf-8"))))
    return found


def _named(tree: ast.Module) -> Iterator[str]:
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.args:
            text = _text(call.args[0])
            if call.func.id == "Report" and text:
                yield f"reports {text}"
            elif call.func.id in ("Waiting", "Await") and text:
                yield waiting(text)


def _text(node: ast.expr) -> str:
    """A literal, or the beginning of one."""
    if isinstance(node, ast.JoinedStr):
        node = node.values[0]
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


@pytest.fixture(scope="module")
def points() -> set[str]:
    return reached()


def test_every_point_is_reached_in_some_run_or_known_not_to_be(points: set[str]) -> None:
    assert sayable() - points - ELSEWHERE.keys() - RARE == set()


def test_what_is_said_not_to_be_reached_is_there_and_is_not(points: set[str]) -> None:
    assert (ELSEWHERE.keys() | RARE) - sayable() == set()
    assert points & (ELSEWHERE.keys() | RARE) == set()
    assert all(Path(file).exists() for file in ELSEWHERE.values())


def test_what_nothing_leads_to_any_more_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose silos never audit."""
    for module in (plan, experts):
        monkeypatch.setattr(module, "unaudited", lambda view, round_: [])
    world = World(load("few:three"), 0)
    simulate(load("few:three"), 0, world=world)
    assert {"says audit", "says expert"} - world.reached.points.keys() == {"says audit"}
