"""Traffic of real nodes: units, when a run is over, and the runs themselves."""

from pathlib import Path
from typing import Any, get_args

import pytest

from dcfm_node.experiment import settings
from dcfm_node.experiment.costs import formulas, traffic
from dcfm_node.experiment.costs.settings import Communication, MethodName
from dcfm_node.flow.networks import build
from dcfm_node.records.manifest import Attribute, Manifest
from dcfm_node.records.settings import MethodSettings, find
from tests.unit.experiment.costs import tiny

METHODS: tuple[MethodName, ...] = get_args(MethodName)


@pytest.fixture
def given() -> Communication:
    return settings.load_costs("costs", "cpu").communication


def said(sent: int, received: int) -> dict[str, Any]:
    return {"bytes_sent": sent, "bytes_received": received}


def published(kind: str, size: int) -> dict[str, Any]:
    return {"body": {"kind": kind, "snapshot": {"size": size}}}


def test_units_are_means_and_the_records_tell_what_to_expect() -> None:
    journals = [
        [{"body": {"kind": "join"}}, published("expert", 100), published("student", 200)],
        [published("expert", 100)],
    ]
    assert traffic.units([said(310, 110), said(110, 310)], journals, 100) == {
        "sent_units": 2.1,
        "received_units": 2.1,
        # Of 400 published bytes each of two silos fetches half.
        "recorded_units": 2.0,
        "most_units": pytest.approx(4.2),
        "unit_bytes": 100.0,
    }


def status(stage: str, activity: str, fetching: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "phase": {"stage": stage, "round": 1},
        "doing": {"activity": activity, "fetching": list(fetching)},
    }


def test_dcfm_b_ends_when_every_silo_goes_on_from_the_first_student() -> None:
    going_on = status("refine", "refine")
    assert traffic.ended({"a": going_on, "b": going_on}, "dcfm-b")
    for other in (
        status("distil", "idle"),
        status("refine", "fetch", ("ab",)),
        status("refine", "refine", ("ab",)),
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
