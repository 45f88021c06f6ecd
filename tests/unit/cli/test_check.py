"""`dcfm-node check` of a stopped node, as its operator sees it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcfm_node.api.checked import Checked, Finding
from dcfm_node.cli.check import checked_text
from dcfm_node.config.keys import create_keys
from dcfm_node.preflight import check
from dcfm_node.worker.messages import Machine
from tests.unit.cli.running import run

SITES = ("north", "east")


class Torch:
    """In place of a process that imports torch."""

    def __init__(self, *_: object) -> None:
        pass

    def answer(self) -> Machine:
        return Machine(torch="2.9", device="cpu", numbers=1_000)


@pytest.fixture
def sites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Path:
    """Two sites that only dial out or have an address nobody listens at, and their run."""
    monkeypatch.setattr(check, "Probe", Torch)
    monkeypatch.chdir(tmp_path)
    blocks, rng = [], np.random.default_rng(0)
    for number, site in enumerate(SITES):
        labels = np.repeat([["rain", "sand"], ["wind", ("ice", "sand")[number]]], 40, axis=0)
        x = rng.normal(size=(80, 3)).astype(np.float32)
        np.savez(f"{site}.npz", x=x, weather=labels[:, 0], ground=labels[:, 1])
        port = 1 + 2 * number  # nobody listens there
        address = f"127.0.0.1:{port}"
        assert run(monkeypatch, "init", site, "--data", f"{site}.npz", "--advertise", address) == 0
        settings = Path(site, "node.toml")
        text = settings.read_text()
        for own in (port, port + 1):
            text = text.replace(f"tcp://0.0.0.0:{own}", "tcp://127.0.0.1:*")
        settings.write_text(text)
        capsys.readouterr()
        assert run(monkeypatch, "id", "--config", settings) == 0
        blocks.append(capsys.readouterr().out)
    Path("peers.toml").write_text("\n".join(blocks))
    assert run(monkeypatch, "run", "merge", "run.toml", *(f"{s}/run.toml" for s in SITES)) == 0
    capsys.readouterr()
    return tmp_path


ARGUMENTS = ("--config", "north/node.toml", "--peers", "peers.toml", "--run", "run.toml")


def asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *more: str
) -> tuple[int, Checked]:
    code = run(monkeypatch, "check", *ARGUMENTS, "--json", *more)
    return code, Checked.read(capsys.readouterr().out)


def by_name(found: Checked) -> dict[str, Any]:
    return {one.check: one for one in found.findings}


def test_a_stopped_node_is_told_what_is_fine_and_what_could_not_be_checked(
    sites: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = asked(monkeypatch, capsys)
    told = by_name(found)
    assert (code, found.daemon, found.node) == (3, "down", "north")
    for check_ in ("node.toml", "peers.toml", "run.toml", "keys", "files", "torch", "disk"):
        assert told[check_].state == "ok", told[check_]
    assert told["links to east"].state == "degraded"
    assert told["peers dial this node"].state == told["rate"].state == "unknown"
    assert told["run of east"].state == told["clock of east"].state == "unknown"
    assert sum(one.own or 0 for one in found.combinations) == 72
    assert {one.reachable for one in found.combinations} == {None}


def test_what_is_printed_has_a_part_for_each_group_and_the_matrix(
    sites: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "check", *ARGUMENTS) == 3
    lines = capsys.readouterr().out.splitlines()
    groups = ["settings", "keys", "data", "run", "network", "machine", "coverage"]
    assert [line for line in lines if line in groups] == groups
    assert lines[0].split() == ["check", "finding", "fix"]
    assert any(line.split()[:3] == ["weather", "\\", "ground"] for line in lines if line)
    assert lines[-1] == "  start the node, and check again: what is marked ? shows only then"


def test_a_key_that_others_may_read_is_wrong(
    sites: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (sites / "north/keys/sign.key").chmod(0o644)
    code, found = asked(monkeypatch, capsys)
    told = by_name(found)
    assert (code, told["keys"].state) == (2, "wrong")
    assert told["keys"].fix.startswith("chmod 600 ")


def test_a_node_that_moved_away_is_wrong(
    sites: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state = Path("north/state")
    state.mkdir(mode=0o700, exist_ok=True)
    (state / "moved").touch()
    code, found = asked(monkeypatch, capsys)
    told = by_name(found)["state folder"]
    assert (code, told.state) == (2, "wrong")
    assert "exported to another machine" in told.finding
    run(monkeypatch, "check", *ARGUMENTS)
    assert "start the node, and check again" not in capsys.readouterr().out


def test_without_peers_the_sites_are_told_to_pair(
    sites: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("peers.toml").unlink()
    _, found = asked(monkeypatch, capsys)
    told = by_name(found)["peers.toml"]
    assert told.state == "wrong"
    assert told.fix.startswith("pair the sites: 'dcfm-node invite'")


def test_lost_keys_are_told_how_to_replace(
    sites: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (sites / "north/keys").rename(sites / "elsewhere")
    code, found = asked(monkeypatch, capsys)
    assert code == 2
    assert "restore them from your copy" in by_name(found)["keys"].fix


def test_data_with_an_unknown_value_are_wrong_and_the_rest_is_checked_all_the_same(
    sites: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with np.load("north.npz") as data:
        weather = np.where(data["weather"] == "rain", "rian", data["weather"])
        np.savez("north.npz", x=data["x"], weather=weather, ground=data["ground"])
    code, found = asked(monkeypatch, capsys)
    told = by_name(found)
    assert (code, told["files"].state, told["disk"].state) == (2, "wrong", "ok")
    assert "'rian'" in told["files"].finding
    assert {one.own for one in found.combinations} == {None}


@pytest.mark.parametrize(
    ("header", "finding"),
    [
        ("hum,load,wind", ""),
        ("Wind,hum,load", "numbers Wind, hum, load; the run has the features hum, load, wind"),
        ("hum,load,wind,at", "hum, load, wind; the run has the features hum, load, wind"),
        ("hum,load", "has the columns of numbers hum, load; the run has the features"),
    ],
)
def test_a_table_must_have_the_features_of_the_run_as_for_start(
    sites: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    header: str,
    finding: str,
) -> None:
    """Columns are read in the order of their names: another name is another order."""
    many = len(header.split(","))
    rows = [",".join(["rain" if i % 2 else "wind", "sand", *["0.5"] * many]) for i in range(40)]
    Path("north.csv").write_text("\n".join([f"weather,ground,{header}", *rows]))
    settings, run_file = Path("north/node.toml"), Path("run.toml")
    text = settings.read_text()
    settings.write_text(text.replace('"npz"', '"csv"').replace("north.npz", "north.csv"))
    text = run_file.read_text().replace("# features = ", 'features = ["hum", "load", "wind"]  # ')
    run_file.write_text(text)
    code, found = asked(monkeypatch, capsys)
    told = by_name(found)["files"]
    assert (code == 2, told.state) == (bool(finding), "wrong" if finding else "ok"), told
    assert finding in told.finding
    assert not finding or "rename the columns as these features" in told.fix


def test_a_list_of_peers_without_peers_is_told(
    sites: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("peers.toml").write_text("")
    code, found = asked(monkeypatch, capsys)
    told = by_name(found)
    assert (code, told["peers.toml"].state) == (3, "degraded")
    assert "'dcfm-node start' takes part in no run yet" in told["peers.toml"].finding
    text = Path("run.toml").read_text()
    Path("run.toml").write_text(f'roster = ["north"]\n{text}')
    assert "a run of one silo" in by_name(asked(monkeypatch, capsys)[1])["peers.toml"].finding


def test_a_node_that_has_not_paired_yet_is_not_wrong(
    sites: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`start` takes it, and waits for peers."""
    assert run(monkeypatch, "check", "--config", "north/node.toml", "--json") == 3
    told = by_name(Checked.read(capsys.readouterr().out))
    assert told["peers.toml"].state == "degraded"
    assert "waits for peers" in told["peers.toml"].finding
    assert "dcfm-node invite" in told["peers.toml"].fix


def test_a_folder_without_a_node_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "check", "--json") == 2
    found = Checked.read(capsys.readouterr().out).findings
    assert [one.check for one in found if one.state == "wrong"] == ["node.toml"]


def test_a_node_with_other_keys_does_not_dial_itself(
    sites: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (sites / "north/keys").rename(sites / "elsewhere")
    create_keys(sites / "north/keys")
    code, found = asked(monkeypatch, capsys)
    told = by_name(found)
    assert (code, told["run.toml"].state) == (2, "wrong")
    assert "put the old keys back from the backup" in told["run.toml"].fix
    assert "--replaced north" in told["run.toml"].fix
    assert "links to east" in told
    assert "links to north" not in told


def test_the_end_says_how_many_more_are_bad() -> None:
    bad = Finding(group="network", check="links", state="degraded", finding="down", fix="see")
    for many, more in ((3, False), (5, True)):
        found = Checked(
            node="a",
            daemon="up",
            findings=(bad,) * many,
            features=(),
            attributes=(),
            combinations=(),
        )
        assert ("  and 2 more, which the table above has" in checked_text(found)) == more


def test_ports_that_differ_are_told(
    sites: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Path("north/node.toml")
    text, own = settings.read_text(), 'bulk = "tcp://127.0.0.1:2"'
    assert text.count(own) == 2
    settings.write_text(text.replace(own, 'bulk = "tcp://127.0.0.1:7825"', 1))
    told = by_name(asked(monkeypatch, capsys)[1])["addresses"]
    assert (told.state, "must forward 2 to 7825" in told.finding) == ("ok", True)


def test_settings_that_do_not_parse_are_wrong_with_their_line(
    sites: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("north/node.toml").write_text("name = north\n")
    code, found = asked(monkeypatch, capsys)
    told = by_name(found)
    assert (code, found.node, told["node.toml"].state) == (2, "", "wrong")
    assert "node.toml:1" in told["node.toml"].finding


def test_a_peer_that_does_not_exist_is_refused(
    sites: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "check", *ARGUMENTS, "--json", "esat") == 2
    assert "east" in json.loads(capsys.readouterr().out)["fix"]
