"""Who is let in, and what is said of those who are not."""

import sys
from pathlib import Path
from typing import Any

from tests.integration.cluster import Site, cluster, dcfm, dcfm_json, until

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


def peer(site: Site, name: str) -> dict[str, Any]:
    """What a site says of a peer; nothing while it does not answer."""
    peers = site.ask("peers").get("peers", [])
    return next((found for found in peers if found["name"] == name), {})


def trouble(site: Site, name: str, word: str) -> str:
    """What a site says is wrong with a peer, once it says a word."""

    def said() -> str:
        text = str(peer(site, name).get("trouble", ""))
        return text if word in text else ""

    return str(until(said))


def test_each_of_three_that_do_not_fit_is_told_why_and_named(tmp_path: Path) -> None:
    """A peer of another protocol (SPEC 4.2.1), one of another manifest (2.6), and a stranger."""
    with cluster(tmp_path, nodes=4) as (north, east, south, stranger):
        everyone, run = north.peers.read_text(), north.run.read_text()
        block = dcfm("id", "--config", stranger.folder / "node.toml").stdout.strip()
        north.peers.write_text(everyone.replace(block, ""))
        south.run, stranger.peers = tmp_path / "other.toml", tmp_path / "everyone.toml"
        south.run.write_text(run.replace("tolerance = 0.01", "tolerance = 0.25"))
        stranger.peers.write_text(everyone)
        for site in (north, south, stranger):
            site.start()
        east.start((sys.executable, "-c", OLDER))

        told = trouble(north, "east", "protocol")
        assert told == "speaks protocol 0 (dcfm-node 0.0.9), this node 1; upgrade east"
        told = trouble(east, "north", "protocol")
        assert told.startswith("speaks protocol 1") and told.endswith("upgrade this node")
        trouble(north, "south", "method.tolerance")
        trouble(south, "north", "method.tolerance")

        pending = until(lambda: north.ask("peers").get("pending"))
        key = dcfm_json("id", "--config", stranger.folder / "node.toml")["peer"]["link_key"]
        assert [knock["link_key"] for knock in pending] == [key]
        until(lambda: peer(stranger, "north").get("refused"))
        assert all(silo["name"] != stranger.name for silo in north.ask()["silos"])

        status = dcfm("status", "--config", north.folder / "node.toml")
        assert status.returncode == 3
        for text in ("east: speaks protocol 0", "east 0.0.9", "method.tolerance"):
            assert text in status.stdout
        shown = dcfm("peers", "--config", north.folder / "node.toml").stdout
        assert key in shown
        assert "dcfm-node peers add" in shown
        assert "other_protocol" in north.log.read_text()
