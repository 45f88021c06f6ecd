"""A run whose members change, by real nodes: who comes late, who leaves."""

import sys
from pathlib import Path

from tests.integration.cluster import Site, cluster, dcfm, dcfm_json, released, until

OLDER = """
from dcfm_node.swarm import exchange
from dcfm_node.wire import envelope
from dcfm_node.wire.canonical import pack
envelope.PROTOCOL = exchange.PROTOCOL = 0
exchange.__version__ = "0.0.9"
def encode(message):
    fields = message.model_dump()
    del fields["protocol"]
    return pack(fields)
envelope.encode_message = encode
from dcfm_node.cli.main import main
main()
"""
"""A node of the version before messages said theirs: 0."""


def test_a_peer_of_an_older_protocol_is_refused_by_name_on_both_sides(tmp_path: Path) -> None:
    """SPEC 4.2.1."""
    with cluster(tmp_path, steps=20) as (north, east, _):
        north.start()
        east.start((sys.executable, "-c", OLDER))

        def trouble(site: Site, peer: str) -> str:
            found = {p["name"]: p["trouble"] for p in site.ask("peers").get("peers", [])}
            return str(found.get(peer, ""))

        told = until(lambda: "protocol" in (why := trouble(north, "east")) and why)
        assert told == "speaks protocol 0 (dcfm-node 0.0.9), this node 1; upgrade east"
        told = until(lambda: "protocol" in (why := trouble(east, "north")) and why)
        assert told.startswith("speaks protocol 1") and told.endswith("upgrade this node")
        status = dcfm("status", "--config", north.folder / "node.toml")
        assert status.returncode == 3
        assert "east speaks protocol 0" in status.stdout
        assert "versions  this node" in status.stdout
        assert "east 0.0.9" in status.stdout
        assert "other_protocol" in north.log.read_text()


def test_a_silo_that_withdraws_after_the_release_is_distilled_out(tmp_path: Path) -> None:
    """SPEC 6.1.5 and 6.2: its student is superseded, and another one is released without it."""
    with cluster(tmp_path, steps=60) as sites:
        for site in sites:
            site.start()
        (first,) = set(until(lambda: released(sites)).values())
        north, east, south = sites
        left = dcfm_json("withdraw", "--reason", "consent ended", "-c", east.folder / "node.toml")
        assert left["withdrawn"]
        latest = until(
            lambda: next((s for s in (south.ask().get("latest"),) if s and s["digest"] != first), 0)
        )
        assert sorted(teacher["silo"] for teacher in latest["teachers"]) == ["north", "south"]
        assert latest["outcome"] == "COMPLETE"
        again = until(lambda: (now := released(sites)) and first not in now.values() and now)
        assert len(set(again.values())) == 1
        listed = dcfm("student", "list", "-c", north.folder / "node.toml").stdout
        assert "superseded: east withdrew" in listed
        config, folder = north.folder / "node.toml", tmp_path / "student"
        assert dcfm("student", "fetch", "--latest", "--out", folder, "-c", config).returncode == 0
        proof = dcfm_json("student", "verify", folder)
        assert proof["verified"]
        assert proof["withdrawn"] == ["east"]
        assert "east" not in {silo for silo, _, _ in proof["teachers"]}
