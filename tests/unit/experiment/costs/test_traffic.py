"""Traffic of real nodes: units, when a run is over, and the runs themselves."""

from pathlib import Path
from typing import get_args

import pytest

from dcfm_node.api.status import Phase, Status
from dcfm_node.daemon.facts import journal_facts
from dcfm_node.daemon.status import status
from dcfm_node.experiment import settings
from dcfm_node.experiment.costs import formulas, traffic
from dcfm_node.experiment.costs.settings import Communication, MethodName
from dcfm_node.flow.networks import build
from dcfm_node.records.manifest import Attribute, Manifest
from dcfm_node.records.settings import MethodSettings, find
from dcfm_node.swarm.journal import Journals
from tests.unit.experiment.costs import tiny
from tests.unit.swarm.builders import Author, Run, expert
from tests.unit.swarm.nodes import started

METHODS: tuple[MethodName, ...] = get_args(MethodName)


@pytest.fixture
def given() -> Communication:
    return settings.load_costs("costs", "cpu").communication


RUN = Run(2)
REAL = status(started(RUN), 0.0)


def said(sent: int, received: int) -> Status:
    return REAL.model_copy(update={"bytes_sent": sent, "bytes_received": received})


def sized(author: Author, size: int) -> None:
    """Publish an expert of so many bytes."""
    body = expert(0)
    snapshot = body.snapshot.model_copy(update={"size": size})
    author.say(body.model_copy(update={"snapshot": snapshot}))


def test_units_are_means_and_the_records_tell_what_to_expect() -> None:
    run = Run(2)
    for author in run.authors:
        author.join()
    sized(run.authors[0], 100)
    sized(run.authors[0], 200)
    sized(run.authors[1], 100)
    told = Journals(run.manifest)
    for author in run.authors:
        for sealed in author.journal:
            told.offer(sealed)
    journals = [journal_facts(told, run.view(), silo.name) for silo in run.manifest.roster]
    assert traffic.units([said(310, 110), said(110, 310)], journals, 100) == {
        "sent_units": 2.1,
        "received_units": 2.1,
        # Of 400 published bytes each of two silos fetches half.
        "recorded_units": 2.0,
        "most_units": pytest.approx(4.2),
        "unit_bytes": 100.0,
    }


def at(stage: str, activity: str, fetching: tuple[str, ...] = ()) -> Status:
    doing = REAL.doing.model_copy(update={"activity": activity, "fetching": fetching})
    return REAL.model_copy(update={"phase": Phase(stage=stage, round=1), "doing": doing})


def test_dcfm_b_ends_when_every_silo_goes_on_from_the_first_student() -> None:
    going_on = at("refine", "refine")
    assert traffic.ended({"a": going_on, "b": going_on}, "dcfm-b")
    for other in (
        at("distil", "idle"),
        at("refine", "fetch", ("ab",)),
        at("refine", "refine", ("ab",)),
    ):
        assert not traffic.ended({"a": going_on, "b": other}, "dcfm-b")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_s_settings_are_a_run(given: Communication, method: MethodName) -> None:
    run = traffic.run_settings(given, method, seed=3)
    name = str(run["method"].get("name", "dcfm"))
    made = find("methods", MethodSettings, name).model_validate(run["method"])
    assert made.seed == 3
    exchanges = 1 if method == "dcfm-b" else made.last_round + 1
    assert exchanges == formulas.EXCHANGES[method](given)


def test_a_unit_is_the_parameters_of_one_network(tmp_path: Path) -> None:
    given = settings.load_costs(tiny.write(tmp_path), "cpu").communication
    two = ("a", "b")
    manifest = Manifest.model_validate(
        {
            "name": "unit",
            "sample_shape": (2,),
            "attributes": (Attribute(name="one", values=two), Attribute(name="two", values=two)),
            "network": given.network,
            "method": {"local": given.training, "refine": given.training}
            | {"distil": given.training},
            "roster": ({"name": "silo", "key": bytes(32)},),
        }
    )
    parameters = sum(p.numel() for p in build(manifest).parameters())
    assert traffic.parameter_bytes(manifest) == 4 * parameters


def test_the_kernel_s_count_is_of_the_loopback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "dev"
    table.write_text(
        "Inter-|   Receive    |  Transmit\n"
        " face |bytes    packets\n"
        "  eth0: 1 2 3 4 5 6 7 8 9 10\n"
        "    lo: 11 12 13 14 15 16 17 18 19 20\n"
    )
    monkeypatch.setattr(traffic, "INTERFACES", table)
    assert traffic.loopback_bytes() == 19
    monkeypatch.setattr(traffic, "INTERFACES", tmp_path / "absent")
    assert traffic.loopback_bytes() is None
