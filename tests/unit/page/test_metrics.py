"""/metrics: what is told, and that no peer can make it grow."""

import re

from prometheus_client.parser import text_string_to_metric_families as parsed

from dcfm_node.api.problems import THIS_NODE, Code
from dcfm_node.errors import Unreachable
from dcfm_node.page.exposition import exposition
from dcfm_node.page.metrics import METRICS, exposed, samples
from tests.unit.page.made import Daemon, looked, reader, ways


def told(daemon: Daemon) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = exposition(samples(looked(reader(daemon)), 3)).decode()
    return {
        (s.name, tuple(sorted(s.labels.items()))): s.value
        for family in parsed(text)
        for s in family.samples
    }


def test_the_numbers_are_those_of_status() -> None:
    daemon = Daemon()
    daemon.around["ways"] = ways(daemon, 1, bulk="")
    daemon.around["problems"] = [Code.DISK_FULL.problem(THIS_NODE, "full")]
    found = told(daemon)
    assert found["dcfm_up", ()] == 1.0
    assert found["dcfm_silos", ()] == 3.0
    assert found["dcfm_page_watchers", ()] == 3.0
    assert found["dcfm_peer_linked", (("peer", "silo-0001"), ("plane", "bulk"))] == 0.0
    assert found["dcfm_peer_linked", (("peer", "silo-0001"), ("plane", "control"))] == 1.0
    assert found["dcfm_peer_failed_dials", (("peer", "silo-0001"), ("plane", "bulk"))] == 9.0
    assert found["dcfm_problems", (("code", "disk-full"), ("severity", "error"))] == 1.0
    assert found["dcfm_problems", (("code", "key-taken"), ("severity", "critical"))] == 0.0
    assert found["dcfm_peer_sent_bytes_total", (("peer", "silo-0002"),)] == 1_000.0
    assert found["dcfm_sent_bytes_total", ()] == 2_000.0
    assert found["dcfm_silo_samples", (("silo", "silo-0000"),)] == 5.0


def test_what_is_not_known_has_no_sample() -> None:
    """A student's quality that nobody measured is not 0, nor is the loss of a node at rest."""
    names = {name for name, _ in told(Daemon())}
    assert not names & {"dcfm_student_expected_ratio", "dcfm_work_loss", "dcfm_student_round"}


def test_without_a_daemon_it_is_down_and_nothing_is_told_of_the_run() -> None:
    daemon = Daemon()
    daemon.fails = Unreachable("nobody")
    assert told(daemon) == {
        ("dcfm_up", ()): 0.0,
        ("dcfm_ready", ()): 0.0,
        ("dcfm_page_watchers", ()): 3.0,
    }


def test_everything_told_is_in_the_list_with_its_labels() -> None:
    daemon = Daemon()
    daemon.around["ways"] = ways(daemon, 1)
    for name, labels, _ in samples(looked(reader(daemon)), 0):
        assert len(labels) == len(METRICS[name].labels)


def test_names_follow_the_rules_of_prometheus() -> None:
    for name, metric in METRICS.items():
        assert re.fullmatch(r"dcfm(_[a-z]+)+", name)
        assert metric.help.endswith(".")
        assert not name.endswith(("_total", "_milliseconds", "_mb", "_percent"))
        assert exposed(name).endswith("_total") == (metric.kind == "counter")


def test_a_peers_words_are_no_label() -> None:
    """Addresses, reasons and versions of peers are text that peers choose."""
    daemon = Daemon()
    silos = daemon.status.silos
    evil = 'evil"} 1\ndcfm_up 0'
    daemon.changed["silos"] = tuple(
        s.model_copy(update={"version": evil, "trouble": evil, "refused": evil, "activity": evil})
        for s in silos
    )
    text = exposition(samples(looked(reader(daemon)), 0)).decode()
    assert "evil" not in text
