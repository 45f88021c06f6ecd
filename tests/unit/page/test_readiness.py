"""Whether a silo takes part."""

from dcfm_node.api.document import RunName
from dcfm_node.api.problems import THIS_RUN, Code
from dcfm_node.api.status import StartingDoing, StartingStatus
from dcfm_node.page.readiness import readiness
from dcfm_node.swarm.effects import LinkDown
from tests.unit.page.made import Daemon


def live(daemon: Daemon, count: int) -> Daemon:
    silos = daemon.status.silos
    daemon.changed["silos"] = tuple(
        silo.model_copy(update={"live": silo.own or at < count}) for at, silo in enumerate(silos)
    )
    return daemon


def test_a_silo_that_hears_of_a_majority_takes_part() -> None:
    found = readiness(live(Daemon(), 2).status, "")
    assert (found.ready, found.why) == (True, ())


def test_one_that_hears_of_itself_alone_does_not() -> None:
    daemon = Daemon()
    for key in daemon.run.keys[1:]:
        daemon.node.handle(LinkDown(key), 1.0)
    found = readiness(live(daemon, 0).status, "")
    assert not found.ready
    assert found.why == ("this node hears of 1 of 3 silos; a majority is 2",)


def test_a_warning_does_not_matter_and_a_critical_problem_does() -> None:
    daemon = live(Daemon(), 3)
    daemon.changed["problems"] = (Code.DATA_UNITS.problem("a", "units differ"),)
    assert readiness(daemon.status, "").ready
    daemon.changed["problems"] = (Code.QUORUM_LOST.problem(THIS_RUN, "too many left"),)
    assert readiness(daemon.status, "").why == ("too many left",)


def test_a_silo_that_left_a_starting_node_and_no_daemon_do_not_take_part() -> None:
    daemon = live(Daemon(), 3)
    own = tuple(silo.model_copy(update={"withdrawn": silo.own}) for silo in daemon.changed["silos"])
    daemon.changed["silos"] = own
    assert readiness(daemon.status, "").why == ("this silo has withdrawn from the run",)
    starting = StartingStatus(
        node="a", version="1", run=RunName(name="r", id="0"), doing=StartingDoing(why="it reads")
    )
    assert readiness(starting, "").why == ("the node is starting: it reads",)
    assert readiness(None, "nobody home").why == ("nobody home",)
