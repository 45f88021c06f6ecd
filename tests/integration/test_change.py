"""A run whose members change, by real nodes: who comes late, who leaves."""

from pathlib import Path

from tests.integration.cluster import cluster, dcfm, dcfm_json, released, until


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
