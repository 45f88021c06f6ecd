"""A site without a network takes full part: what it says and hears is carried by hand (SPEC 10)."""

import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.integration.cluster import Site, cluster, dcfm, dcfm_json, dcfm_process, released, until


class Courier:
    """Carries bundles between two sites; each leaves out what the other told it to have."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._names = folder, (f"bundle-{number}" for number in itertools.count())
        self._last: dict[str, Path] = {}
        self.written: dict[Path, dict] = {}

    def carry(self, sender: Site, receiver: Site) -> dict:
        """Export at one site and import at the other."""
        bundle = self.export(sender, *self._since(receiver))
        taken = dcfm_json("bundle", "import", bundle, "-c", receiver.folder / "node.toml")
        written = self.written[bundle]
        for what in ("records", "snapshots"):
            assert taken[what] == written[what]
            assert taken[f"new_{what}"] <= taken[what]
        return taken

    def export(self, site: Site, *options: object) -> Path:
        bundle = self._folder / next(self._names)
        config = site.folder / "node.toml"
        self.written[bundle] = dcfm_json("bundle", "export", bundle, *options, "-c", config)
        self._last[site.name] = bundle
        return bundle

    def _since(self, receiver: Site) -> Iterator[object]:
        if receiver.name in self._last:
            yield from ("--since", self._last[receiver.name])


def test_a_site_reached_by_bundles_alone_takes_full_part(tmp_path: Path) -> None:
    with cluster(tmp_path, steps=60, dial_only=("south",)) as sites:
        north, east, south = sites
        run, peers = tmp_path / "run.toml", tmp_path / "peers.toml"
        run.write_text(run.read_text().replace('"tolerant"', '"strict"'))
        text = peers.read_text().splitlines()
        nowhere = [line for line in text if not line.startswith(("control", "bulk"))]
        (tmp_path / "nowhere.toml").write_text("\n".join(nowhere))
        north.start()
        east.start()
        south.peers = tmp_path / "nowhere.toml"
        south.start()
        until(lambda: north.ask() and south.ask())
        courier = Courier(tmp_path)

        def round_trip() -> bool:
            courier.carry(north, south)
            courier.carry(south, north)
            return bool(released(sites))

        until(round_trip)
        assert len(set(released(sites).values())) == 1
        latest = south.ask()["latest"]
        assert latest["outcome"] == "COMPLETE"
        assert {teacher["silo"] for teacher in latest["teachers"]} == {"north", "east", "south"}
        assert not any(peer["linked"] for peer in south.ask("peers")["peers"])
        until(
            lambda: (
                "south" in (courier.carry(south, north), north.ask()["latest"])[1]["endorsed_by"]
            )
        )
        # Who is reached by hand is told as such, also after a restart, where bundles came.
        config = north.folder / "node.toml"
        alive = dcfm_json("journal", "-c", config)["entries"]
        students = dcfm_json("student", "list", "-c", config)["students"]
        north.kill()
        # What left the building is told without a daemon too, and just the same.
        dead = json.loads(dcfm_process("journal", "-c", config, "--json").stdout)
        assert (dead["silo"], dead["entries"][: len(alive)]) == ("north", alive)
        listed = dcfm_json("student", "list", "-c", config)["students"]
        assert [s["digest"] for s in listed] == [s["digest"] for s in students]
        north.start()
        until(lambda: north.ask().get("health") == "healthy")
        status = dcfm_process("status", "-c", north.folder / "node.toml")
        assert (status.returncode, "bundle    south: " in status.stdout) == (0, True)
        assert dcfm("status", "-c", south.folder / "node.toml").returncode == 0
        until(
            lambda: (
                ("peer-silent", "south")
                in [(problem["code"], problem["subject"]) for problem in east.ask()["problems"]]
            )
        )

        # A stopped node's bundle, checked by somebody who has run.toml and peers.toml alone.
        assert dcfm("stop", "--grace", 0, "-c", north.folder / "node.toml").returncode == 0
        whole = courier.export(north)
        verify = ("--run", run, "--peers", peers, "--json")
        verified = json.loads(dcfm_process("bundle", "verify", whole, *verify).stdout)
        assert verified["verified"]
        assert verified["author"] == "north"
        assert min(verified["records"].values()) > 3
        assert verified["continuing"] == 0
        assert verified["snapshots"] == 4

        # One bit of a snapshot changed on the way.
        copy = tmp_path / "changed"
        shutil.copytree(whole, copy)
        victim = next((copy / "snapshots").iterdir())
        data = bytearray(victim.read_bytes())
        data[-1] ^= 1
        victim.write_bytes(bytes(data))
        damage = f"not what the name says, or not to be read: snapshots/{victim.name}"
        refused = dcfm("bundle", "verify", copy, "--run", run, "--peers", peers)
        assert (refused.returncode, damage in refused.stderr) == (1, True)
        # East has all of it: nothing of it is wanted there.
        refused = dcfm("bundle", "import", copy, "-c", east.folder / "node.toml")
        assert (refused.returncode, damage in refused.stderr) == (1, True)
        assert f"{copy}: " in refused.stderr
