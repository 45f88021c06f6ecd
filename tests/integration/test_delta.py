"""A run in bfloat16 with deltas, between real nodes of which two only dial out (SPEC 5.4)."""

import json
from pathlib import Path

import pytest

from tests.integration.cluster import cluster, dcfm_json, released, until

TRANSFER = '[transfer]\nprecision = "bf16"\ndelta = true\n'


@pytest.mark.full
def test_later_rounds_travel_as_what_changed(tmp_path: Path) -> None:
    with cluster(tmp_path, transfer=TRANSFER, dial_only=("east", "south")) as sites:
        for site in sites:
            site.start()
        digests = until(lambda: released(sites))
        assert len(set(digests.values())) == 1
        latest = sites[0].ask()["latest"]
        assert latest["outcome"] == "COMPLETE"
        names = sorted(teacher["silo"] for teacher in latest["teachers"])
        assert names == ["east", "north", "south"]
        experts = {}
        for site in sites:
            journal = dcfm_json("journal", "-c", site.folder / "node.toml")
            bodies = [entry["body"] for entry in journal["entries"]]
            experts[site] = {b["round"]: b for b in bodies if b["kind"] == "expert"}
        for rounds in experts.values():
            assert rounds[0]["delta"] is None
            whole, coded = rounds[1]["snapshot"]["size"], rounds[1]["delta"]["coded"]["size"]
            assert coded < whole < 0.52 * 4 * numbers(sites[0].state, rounds[1])
        # Who fetched a snapshot by its delta keeps that too, to give it on.
        kept = [site.state / "snapshots" for site in sites]
        coded = [rounds[1]["delta"]["coded"]["digest"] for rounds in experts.values()]
        found = [(folder / f"{digest}.safetensors").exists() for folder in kept for digest in coded]
        assert sum(found) > len(sites)


def numbers(state: Path, record: dict[str, dict[str, str]]) -> int:
    """How many a snapshot has, by its header."""
    path = state / "snapshots" / f"{record['snapshot']['digest']}.safetensors"
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert {tensor["dtype"] for tensor in header.values()} == {"BF16"}
    return (len(data) - 8 - length) // 2
