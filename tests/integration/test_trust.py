"""Who is let in, and what is said of those who are not."""

from pathlib import Path

from tests.integration.cluster import cluster, dcfm, dcfm_json, until


def test_a_peer_with_another_manifest_is_named_with_the_field(tmp_path: Path) -> None:
    with cluster(tmp_path) as (north, east, _):
        north.start()
        until(north.ask)
        run = tmp_path / "run.toml"
        run.write_text(run.read_text().replace("tolerance = 0.01", "tolerance = 0.25"))
        east.start()
        for one, other in ((north, "east"), (east, "north")):
            trouble = until(
                lambda one=one, other=other: next(
                    (
                        peer["trouble"]
                        for peer in one.ask("peers").get("peers", [])
                        if peer["name"] == other and "method.tolerance" in peer["trouble"]
                    ),
                    None,
                )
            )
            assert "method.tolerance" in trouble
        done = dcfm("status", "--config", north.folder / "node.toml")
        assert done.returncode == 3
        assert "method.tolerance" in done.stdout


def test_an_unknown_key_is_refused_and_waits_for_approval(tmp_path: Path) -> None:
    with cluster(tmp_path) as (north, _, stranger):
        peers = tmp_path / "peers.toml"
        everyone = peers.read_text()
        block = dcfm("id", "--config", stranger.folder / "node.toml").stdout.strip()
        peers.write_text(everyone.replace(block, ""))
        north.start()
        until(north.ask)
        peers.write_text(everyone)
        stranger.start()
        pending = until(lambda: north.ask("peers").get("pending"))
        key = dcfm_json("id", "--config", stranger.folder / "node.toml")["peer"]["link_key"]
        assert [knock["link_key"] for knock in pending] == [key]
        shown = dcfm("peers", "--config", north.folder / "node.toml").stdout
        assert key in shown
        assert "peers.toml" in shown
        refused = until(
            lambda: next(
                (peer["refused"] for peer in stranger.ask("peers")["peers"] if peer["refused"]),
                None,
            )
        )
        assert refused
        assert all(silo["name"] != "south" for silo in north.ask()["silos"])


def test_a_second_start_on_one_state_folder_is_refused(tmp_path: Path) -> None:
    with cluster(tmp_path) as (north, *_):
        north.start()
        until(north.ask)
        again = dcfm(
            "start",
            *("--peers", tmp_path / "peers.toml", "--run", tmp_path / "run.toml"),
            *("--config", north.folder / "node.toml"),
        )
        assert again.returncode == 1
        assert north.process is not None
        assert str(north.process.pid) in again.stderr


def test_stop_drains_and_the_next_start_goes_on(tmp_path: Path) -> None:
    with cluster(tmp_path, steps=4_000) as (north, *_):
        north.start()
        until(lambda: north.ask().get("doing", {}).get("done", 0) > 200)
        until(lambda: list((north.state / "work").glob("*.checkpoint")))
        stopped = dcfm_json("stop", "--grace", 0, "--config", north.folder / "node.toml")
        assert stopped["stopped"]
        assert north.process is not None
        assert north.process.wait(30) == 0
        north.start()
        first = until(lambda: north.ask().get("doing", {}).get("done", 0))
        assert first > 100
