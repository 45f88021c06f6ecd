"""The demo's folder: what it makes, what it refuses, what it leaves alone."""

import tomllib
from pathlib import Path

import pytest

from dcfm_node.config.node import load_node
from dcfm_node.config.peers import load_peers
from dcfm_node.demo import radiographs, stage
from dcfm_node.demo.run import read_manifest
from dcfm_node.demo.stage import (
    MARKER,
    Wish,
    called,
    free_addresses,
    prepare,
    run_settings,
    to_toml,
)
from dcfm_node.errors import ConfigError, Failed
from tests.unit.domains.chest.radiographs import write


@pytest.mark.parametrize("domain", stage.DOMAINS)
@pytest.mark.parametrize("schedule", stage.SCHEDULES)
def test_every_node_reads_the_same_run(tmp_path, domain, schedule):
    silos, data = stage.silos_of(domain), None
    if domain == radiographs.DOMAIN:
        (data := tmp_path / "data").mkdir()
        write(data)
    made = prepare(tmp_path / "demo", Wish(domain, schedule, seed=7, silos=silos, data=data))
    manifest = read_manifest(made)
    assert [silo.name for silo in manifest.roster] == sorted(stage.NAMES[:silos])
    assert manifest.method.schedule == schedule
    assert manifest.method.seed == 7
    assert manifest.policy.participation == "tolerant"
    assert manifest.policy.stall_s == stage.STALL_S


def test_nodes_hold_different_shares_of_one_domain(tmp_path):
    made = prepare(tmp_path / "demo", Wish("gaussians", seed=3, silos=4))
    configs = [load_node(node.config) for node in made.nodes]
    assert [config.data.silo for config in configs] == [0, 1, 2, 3]
    assert {(c.data.name, c.data.silos, c.data.seed) for c in configs} == {("gaussians", 4, 3)}
    assert {config.worker.threads for config in configs} == {1}
    assert len({peer.sign_key for peer in load_peers(made.peers)}) == 4


def test_every_address_is_used_once(tmp_path):
    made = prepare(tmp_path / "demo", Wish("gaussians", silos=8))
    configs = [load_node(node.config) for node in made.nodes]
    addresses = [address for c in configs for address in (c.listen.control, c.listen.bulk)]
    assert len(set(addresses)) == 16
    assert all(address.startswith("tcp://127.0.0.1:") for address in addresses)
    peers = {(peer.control, peer.bulk) for peer in load_peers(made.peers)}
    assert peers == {(c.listen.control, c.listen.bulk) for c in configs}


@pytest.mark.parametrize(
    ("wish", "where"),
    [
        (Wish(domain="faces"), "--domain"),
        (Wish(schedule="random"), "--schedule"),
        (Wish(silos=1), "--silos"),
        (Wish(silos=9), "--silos"),
        (Wish(seed=-1), "--seed"),
        (Wish(seed=2**31), "--seed"),
        (Wish(data=Path("data")), "--data"),
    ],
)
def test_a_wish_out_of_bounds_names_its_option_and_makes_nothing(tmp_path, wish, where):
    with pytest.raises(ConfigError) as caught:
        prepare(tmp_path / "demo", wish)
    assert caught.value.where == where
    assert caught.value.fix
    assert not (tmp_path / "demo").exists()


def test_a_demo_folder_is_reused_and_other_files_in_it_are_kept(tmp_path):
    out = tmp_path / "demo"
    first = prepare(out, Wish("gaussians", silos=3))
    (out / "report.json").write_text("{}")
    (out / "notes.txt").write_text("mine")
    keys = first.peers.read_text()
    second = prepare(out, Wish("gaussians", silos=2))
    assert second.peers.read_text() != keys
    assert sorted(path.name for path in (out / "nodes").iterdir()) == ["east", "north"]
    assert not (out / "report.json").exists()
    assert (out / "notes.txt").read_text() == "mine"


def test_a_folder_that_holds_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "nodes").mkdir()
    (tmp_path / "nodes" / "thesis.tex").write_text("precious")
    with pytest.raises(Failed, match="that are not from a demo") as caught:
        prepare(tmp_path, Wish("gaussians"))
    assert "--out" in caught.value.fix
    assert [path.name for path in tmp_path.rglob("*.*")] == ["thesis.tex"]


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "demo").write_text("")
    with pytest.raises(Failed, match="cannot be written") as caught:
        prepare(tmp_path / "demo", Wish("gaussians"))
    assert "demo" in caught.value.where


def test_a_folder_whose_nodes_still_run_is_refused(tmp_path, monkeypatch):
    made = prepare(tmp_path / "demo", Wish("gaussians"))
    state = made.nodes[1].state
    state.mkdir()
    (state / "control.sock").touch()
    monkeypatch.setattr(stage, "call", lambda folder, command, timeout_s: {"node": folder.name})
    with pytest.raises(Failed, match="still runs") as caught:
        prepare(tmp_path / "demo", Wish("gaussians"))
    assert "dcfm-node stop --config" in caught.value.fix
    assert made.peers.exists()


def test_a_socket_nobody_answers_on_is_no_obstacle(tmp_path):
    made = prepare(tmp_path / "demo", Wish("gaussians"))
    made.nodes[0].state.mkdir()
    (made.nodes[0].state / "control.sock").touch()
    again = prepare(tmp_path / "demo", Wish("gaussians"))
    assert not again.nodes[0].state.exists()


def test_a_shortened_run_keeps_one_round():
    whole, short = (run_settings(Wish("gaussians", shorten=part)) for part in (1.0, 0.1))
    for name in ("local", "refine", "distil"):
        assert short["method"][name]["steps"] == whole["method"][name]["steps"] // 10
    assert (short["method"]["min_rounds"], short["method"]["max_rounds"]) == (1, 1)
    assert run_settings(Wish("gaussians", shorten=1e-9))["method"]["local"]["steps"] == 1


def test_toml_comes_back_as_it_was():
    document = {
        "name": 'a "quoted" name',
        "rate": 2e-3,
        "tiny": 1e-07,
        "on": True,
        "shape": [3, 8, 8],
        "table": {"inner": {"x": 1}, "y": "z"},
        "item": [{"name": "a", "values": ["p", "q"]}, {"name": "b", "values": ["r"]}],
    }
    assert tomllib.loads(to_toml(document)) == document


def test_addresses_are_free_and_distinct():
    found = free_addresses(20)
    assert len(set(found)) == 20


def test_the_marker_says_what_will_happen(tmp_path):
    prepare(tmp_path / "demo", Wish("gaussians"))
    assert "replaces" in (tmp_path / "demo" / MARKER).read_text()


def test_a_shell_calls_it_by_name_where_it_finds_it_and_else_by_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my clone" / ".venv" / "bin"
    folder.mkdir(parents=True)
    monkeypatch.setattr("sys.executable", str(folder / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert called() == "dcfm-node", "nothing better is known"
    own = folder / "dcfm-node"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o700)
    assert called() == f"'{own}'"
    monkeypatch.chdir(tmp_path / "my clone")
    assert called() == ".venv/bin/dcfm-node"
    monkeypatch.setenv("PATH", str(folder))
    assert called() == "dcfm-node"
