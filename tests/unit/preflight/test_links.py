"""What links to peers say."""

from dataclasses import replace

import pytest

from dcfm_node import __version__
from dcfm_node.api.checked import Finding
from dcfm_node.api.status import SiloStatus, Status
from dcfm_node.config.peers import Peer
from dcfm_node.daemon.status import status
from dcfm_node.net.peers import Failure, Way
from dcfm_node.net.reach import reach
from dcfm_node.preflight.links import fix_of, from_probe, from_status, own_clock
from dcfm_node.preflight.probe import Answer
from tests.unit.swarm.builders import Run
from tests.unit.swarm.nodes import started

UP = Way("own", for_s=100.0, dialled=True, accepted=True, rtt_s=0.012)
BOTH = {"control": True, "bulk": True}
REFUSED = Failure("tcp://10.0.0.1:7401", 20, "10.0.0.1 refused the connection: no program listens")
EAST = Peer(
    name="east",
    sign_key=bytes(32),
    link_key="rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7",
    control="tcp://10.0.0.1:7400",
    bulk="tcp://10.0.0.1:7401",
)


def silo(control: Way = UP, bulk: Way = UP, **others: object) -> SiloStatus:
    found: Status = status(started(Run(3)), 0.0)
    made = next(one for one in found.silos if not one.own)
    return made.model_copy(
        update={
            "name": "east",
            "linked": bool(control.via),
            "version": __version__,
            "links": {"control": control, "bulk": bulk},
            **others,
        }
    )


def found(peer: SiloStatus, check: str, advertised: dict[str, bool] = BOTH) -> Finding:
    return next(one for one in from_status([peer], advertised) if one.check == check)


def test_links_both_ways_are_fine_and_tell_their_time() -> None:
    one = found(silo(), "control with east")
    assert (one.state, one.finding) == ("ok", "both ways, 12.0 ms")
    assert one.figures == {"rtt_s": 0.012}
    assert "rate not measured yet" in found(silo(), "bulk with east").finding


def test_a_peer_that_cannot_reach_this_node_is_told_after_a_while() -> None:
    way = replace(UP, accepted=False)
    assert "east does not reach this node" in found(silo(bulk=way), "bulk with east").finding
    assert found(silo(bulk=way), "bulk with east").state == "degraded"
    assert found(silo(bulk=replace(way, for_s=3.0)), "bulk with east").state == "unknown"


def test_ports_that_differ_are_what_to_correct_where_a_peer_cannot_reach_this_node() -> None:
    down = silo(bulk=replace(UP, accepted=False))
    unlike = {"bulk": "[listen] has bulk at port 7825, and [advertise] at 7821"}
    told = {one.check: one.fix for one in from_status([down], BOTH, unlike)}
    assert told["bulk with east"].startswith(unlike["bulk"])
    assert "firewall" not in told["bulk with east"]


def test_a_peer_without_an_address_of_this_node_need_not_reach_it() -> None:
    one = found(silo(replace(UP, accepted=False)), "control with east", {**BOTH, "control": False})
    assert (one.state, one.finding) == ("ok", "dialled by this node, 12.0 ms")


def test_a_bad_bulk_port_of_a_node_that_runs_is_the_port_to_correct() -> None:
    way = Way("own", for_s=100.0, accepted=True, failures=(REFUSED,))
    one = found(silo(bulk=way), "bulk with east")
    assert one.state == "degraded"
    assert "this node does not: tcp://10.0.0.1:7401: 10.0.0.1 refused" in one.finding
    assert one.fix.startswith("its node runs: correct that port")


def test_a_node_that_is_off_is_told_once() -> None:
    down = Way("", for_s=50.0, failures=(REFUSED,))
    other = replace(REFUSED, address="tcp://10.0.0.1:7400")
    told = from_status([silo(replace(down, failures=(other,)), down)], BOTH)
    (one,) = (finding for finding in told if finding.group == "network")
    assert one.check == "links with east"
    assert one.finding.startswith("tcp://10.0.0.1:7400 and tcp://10.0.0.1:7401: 10.0.0.1 refused")


def test_what_a_lost_peer_said_before_does_not_count() -> None:
    told = from_status([silo(Way(""), Way(""), clock_ahead_s=0.1)], BOTH)
    assert {one.state for one in told if one.check in ("run of east", "clock of east")} == {
        "unknown"
    }
    assert not any(one.figures for one in told)


def test_another_run_names_the_field() -> None:
    one = found(silo(trouble="its run.toml or roster differs in: method.local"), "run of east")
    assert (one.state, "method.local" in one.finding) == ("degraded", True)


@pytest.mark.parametrize(
    ("ahead_s", "state", "told"),
    [
        (0.2, "ok", "within a second"),
        (-12.0, "ok", "12 s behind this machine's"),
        (420.0, "degraded", "7 min ahead of the clock of this machine"),
        (-45.0, "degraded", "45 s behind"),
    ],
)
def test_a_clock_that_is_off_is_told(ahead_s: float, state: str, told: str) -> None:
    one = found(silo(clock_ahead_s=ahead_s), "clock of east")
    assert (one.state, told in one.finding) == (state, True)
    assert one.figures == {"ahead_s": ahead_s}


def test_if_all_peers_are_off_alike_this_machine_is() -> None:
    peers = [silo(name=name, clock_ahead_s=-420.0) for name in ("east", "south")]
    told = own_clock(from_status(peers, BOTH))
    (one,) = (finding for finding in told if "clock" in finding.check)
    assert one.finding == "this machine is 7 min ahead of all peers: its own clock is wrong"
    alone = from_status(peers[:1], BOTH)
    assert own_clock(alone) == alone


def test_a_stopped_node_says_what_it_could_not_check() -> None:
    told = from_probe([EAST], {"east": Answer(control=UP, bulk=UP, heard=True)}, listens=True)
    assert {one.check for one in told if one.state == "unknown"} == {
        "run of east",
        "clock of east",
        "peers dial this node",
        "rate",
    }
    assert {one.check for one in told if one.state == "ok"} == {"control to east", "bulk to east"}


def test_the_reasons_of_failed_dials_have_a_fix() -> None:
    with pytest.raises(OSError, match="no program listens") as refused:
        reach("tcp://127.0.0.1:1")
    with pytest.raises(OSError, match="cannot be resolved") as unresolved:
        reach("tcp://no-such-host.invalid:7400")
    assert fix_of(str(refused.value)).startswith("start the node there")
    assert "DNS" in fix_of(str(unresolved.value))
    assert "compare its address" in fix_of("something new")
