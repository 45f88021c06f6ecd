"""A run whose members change, by real nodes: who comes late, who leaves."""

from pathlib import Path

from dcfm_node.api.client import Starting, call
from dcfm_node.api.requests import StatusRequest
from dcfm_node.errors import Unreachable
from tests.integration.cluster import Site, cluster, dcfm, dcfm_json, dcfm_process, released, until


def test_one_comes_after_the_release_and_one_withdraws(tmp_path: Path) -> None:
    """SPEC 6.1.5 and 6.2: who comes days later catches up, for the others went on without it; the
    student of who leaves is superseded, and another one is released without it."""
    with cluster(tmp_path, steps=60, nodes=4) as sites:
        north, east, south, west = sites
        config = ("-c", north.folder / "node.toml")
        for site in (north, east, west):
            site.start()
        (first,) = set(until(lambda: released([north, east, west])).values())
        latest = north.ask()["latest"]
        assert (latest["outcome"], latest["missing"]) == ("DEGRADED", ["south"])
        # What is missing shows as soon as its cause has lasted long enough to show.
        status = until(lambda: found if (found := dcfm("status", *config)).returncode else None)
        assert (status.returncode, "south" in status.stdout) == (3, True)

        south.start()
        until(lambda: starting(south))
        assert set(until(lambda: released(sites)).values()) == {first}
        behind = south.ask()["catching_up"]
        assert any("went on without this silo's expert" in what for what in behind)
        assert any("a run that continues this one takes it in" in what for what in behind)
        assert north.ask()["catching_up"] == []
        # It scores the student all the same, and everybody hears of it.
        judged = until(
            lambda: "south" in (latest := north.ask()["latest"])["endorsed_by"] and latest
        )
        assert judged["digest"] == first

        leave = ("withdraw", "--reason", "consent ended", "-c", east.folder / "node.toml")
        unasked = dcfm_process(*leave)
        assert (unasked.returncode, "--yes" in unasked.stderr) == (2, True)
        left = dcfm_json(*leave, "--yes")
        assert (left["withdrawn"], left["already"]) == (True, False)
        latest = until(
            lambda: next((s for s in (south.ask().get("latest"),) if s and s["digest"] != first), 0)
        )
        teachers = {teacher["silo"] for teacher in latest["teachers"]}
        assert {"north", "west"} <= teachers <= {"north", "south", "west"}  # south may have trained
        again = until(lambda: (now := released(sites)) and first not in now.values() and now)
        assert len(set(again.values())) == 1
        twice = dcfm(*leave)
        assert (twice.returncode, twice.stderr) == (0, "")
        assert "had withdrawn already: consent ended" in twice.stdout
        assert "superseded: east withdrew: " in dcfm_process("student", "list", *config).stdout
        folder = tmp_path / "student"
        assert dcfm("student", "fetch", "--latest", "--out", folder, *config).returncode == 0
        ours = ("--run", north.run, "--peers", north.peers)
        proof = dcfm_json("student", "verify", folder, *ours)
        assert proof["verified"] and proof["of_given_run"]
        assert proof["withdrawn"] == ["east"]
        assert "east" not in {silo for silo, _, _ in proof["teachers"]}
        assert "east withdrew" not in dcfm("student", "verify", folder).stdout
        north.run.write_text(north.run.read_text().replace("tolerance = 0.01", "tolerance = 0.02"))
        foreign = dcfm("student", "verify", folder, *ours)
        assert (foreign.returncode, "this model is from run" in foreign.stderr) == (1, True)
        assert "silo_withdrew" in north.log.read_text()


def first_expert(site: Site) -> dict:
    """What a site published for round 0."""
    entries = dcfm_json("journal", "-c", site.folder / "node.toml")["entries"]
    return next(e["body"] for e in entries if e["body"]["kind"] == "expert")


def test_a_run_is_continued_with_a_newcomer_and_rotated_keys(tmp_path: Path) -> None:
    """SPEC 2.7: who stays trains nothing anew, and the lineage goes across."""
    with cluster(tmp_path, steps=60) as sites:
        north, east, south = sites
        run, peers = tmp_path / "run.toml", tmp_path / "peers.toml"
        with_roster = f'roster = ["east", "north"]\n{run.read_text()}'
        run.write_text(with_roster)
        for site in (north, east):
            site.start()
        (old,) = set(until(lambda: released([north, east])).values())
        old_experts = {
            silo["name"]: [
                e["body"]["snapshot"]["digest"]
                for e in dcfm_json(
                    "journal", "--silo", silo["name"], "-c", north.folder / "node.toml"
                )["entries"]
                if e["body"]["kind"] == "expert"
            ][-1]
            for silo in north.ask()["silos"]
        }
        for site in (north, east):
            stop = ("stop", "--grace", 0, "-c", site.folder / "node.toml")
            assert dcfm_process(*stop).returncode == 0

        before = dcfm("id", "-c", east.folder / "node.toml").stdout
        rotate = ("keys", "rotate", "-c", east.folder / "node.toml")
        assert dcfm_process(*rotate).returncode == 0
        after = dcfm("id", "-c", east.folder / "node.toml").stdout
        assert "handover" in after
        assert dcfm(*rotate).returncode == 2
        text = peers.read_text()
        assert before.strip() in text
        stolen = after.replace("handover", "# handover")
        following = tmp_path / "next.toml"
        written = dcfm_json(
            "run", "continue", following, "--run", run, "-c", north.folder / "node.toml"
        )
        assert written["student"] == old
        following.write_text(following.read_text().replace('"north"]', '"north", "south"]'))

        # Without the old key's signature, who knew the old key refuses the new one.
        peers.write_text(text.replace(before.strip(), stolen.strip()))
        options = ("--peers", peers, "--run", following, "-c", north.folder / "node.toml")
        refused = dcfm_process("start", *options)
        assert refused.returncode == 2
        assert "the old key of east did not hand over to its new one" in refused.stderr

        peers.write_text(text.replace(before.strip(), after.strip()))
        for site in sites:
            site.run = following
            site.start()
        (new,) = set(until(lambda: released(sites)).values())
        assert new != old
        for site in (north, east):
            assert first_expert(site)["snapshot"]["digest"] == old_experts[site.name]
        assert first_expert(south)["parents"] == [old]
        # What left under the old keys is told still, of the run that it was said in.
        of_old = ("--run", written["continues"][:12], "-c", east.folder / "node.toml")
        said = dcfm_json("journal", *of_old)
        assert (said["run"]["id"], said["silo"]) == (written["continues"], "east")
        published = [e["body"] for e in said["entries"] if e["body"]["kind"] == "expert"]
        assert published[-1]["snapshot"]["digest"] == old_experts["east"]
        (kept,) = [s for s in dcfm_json("student", "list", *of_old)["students"] if s["released"]]
        assert kept["digest"] == old
        config, folder = north.folder / "node.toml", tmp_path / "student"
        assert dcfm("student", "fetch", "--latest", "--out", folder, "-c", config).returncode == 0
        proof = dcfm_json("student", "verify", folder)
        assert {silo for silo, _, _ in proof["teachers"]} == {"north", "east", "south"}
        earlier = proof["continues"]
        assert earlier["verified"]
        assert earlier["student"] == old
        assert set(earlier["teachers"]) == {"north", "east"}
        assert earlier["changed_keys"] == {"east": "handed over"}
        assert "new key   east: handed over" in dcfm("student", "verify", folder).stdout


def starting(site: Site) -> bool:
    """Whether a node says that it is not ready yet."""
    try:
        call(site.state, StatusRequest())
    except Starting:
        return True
    except Unreachable:
        return False
    return False
