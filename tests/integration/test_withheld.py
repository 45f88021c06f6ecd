"""A site whose privacy gate publishes no expert: the others finish, and it says why."""

from pathlib import Path

from tests.integration.cluster import cluster, released, until

GATE = "holdout = 0.002\n[privacy]\nmembership_auc = 0.9\n[worker]"


def test_a_tolerant_run_goes_on_without_an_expert_that_is_withheld(tmp_path: Path) -> None:
    """So few samples are held out that nobody can say what the expert tells."""
    with cluster(tmp_path, steps=60) as sites:
        south = sites[2]
        config = south.folder / "node.toml"
        config.write_text(config.read_text().replace("[worker]", GATE))
        for site in sites:
            site.start()
        until(lambda: len(released(sites)) == len(sites))
        latest = south.ask()["latest"]
        assert {teacher["silo"] for teacher in latest["teachers"]} == {"north", "east"}
        problems = {problem["code"]: problem for problem in south.ask()["problems"]}
        assert "fewer than 20 hold-out samples" in problems["expert-withheld"]["sentence"]
        own = {entry["body"]["kind"] for entry in south.ask("journal")["entries"]}
        assert "join" in own and "expert" not in own
