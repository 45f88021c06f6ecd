"""Real nodes whose peers reach the control ports alone: a run needs no more (SPEC 4.1.4)."""

import re
from itertools import count
from pathlib import Path

from tests.integration.cluster import cluster, dcfm, released, until


def test_a_run_whose_bulk_ports_are_all_blocked_ends_with_the_student(tmp_path: Path) -> None:
    with cluster(tmp_path, steps=60) as sites:
        peers, ports = tmp_path / "peers.toml", count(1)
        # Nothing listens on the lowest ports.
        blocked = re.sub(
            r'(?m)^bulk = ".*"$',
            lambda _: f'bulk = "tcp://127.0.0.1:{next(ports)}"',
            peers.read_text(),
        )
        peers.write_text(blocked)
        for site in sites:
            site.start()
        digests = until(lambda: released(sites))
        assert len(set(digests.values())) == 1
        north = sites[0]
        status = north.ask()
        assert status["latest"]["outcome"] == "COMPLETE"
        others = [silo for silo in status["silos"] if not silo["self"]]
        assert {silo["links"]["bulk"]["via"] for silo in others} == {"control port"}
        assert (status["health"], status["problems"]) == ("healthy", [])
        settings = north.folder / "node.toml"
        for command in (("status", "--explain"), ("peers",)):
            told = dcfm(*command, "--config", settings).stdout
            for name, port in (("east", 2), ("south", 3)):
                assert re.search(rf"{name} .*  control port  ", told), told
                place = rf"dials +{name}: bulk at tcp://127\.0\.0\.1:{port}: "
                failed = place + r"failed (once|\d+ times in a row):"
                assert re.search(failed + r" 127\.0\.0\.1 refused the connection", told), told
