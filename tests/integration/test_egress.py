"""No sample leaves a node, and the ledger has every byte that does. Real nodes on loopback, tapped
where bytes go to a socket."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from dcfm_node.records.carried import CARRIED
from tests.integration.canaries import Planted, leaked
from tests.integration.cluster import Site, cluster, dcfm, dcfm_json, released, until
from tests.integration.tapping import tapped_messages

LB, RB, LT, RT = ("left", "bottom"), ("right", "bottom"), ("left", "top"), ("right", "top")
HELD = {
    "north": {LB: 120, RB: 110, LT: 3},
    "east": {LB: 104, LT: 111, RT: 4},
    "south": {RB: 90, LT: 95, LB: 1},
}
PRIVACY = {
    "north": 'counts = "laplace"\nthreshold = 20\nepsilon = 1.0',
    "east": 'counts = "rounded"\nthreshold = 10',
    "south": "",
}
DATA = """[data]
format = "csv"
path = "{path}"
ignore = ["canary_person"]
[privacy]
{privacy}
[worker]"""


def planted(site: Site, seed: int) -> Planted:
    """Give a site a table of canaries in place of its data."""
    folder = site.folder / "canary-folder"
    folder.mkdir()
    made = Planted.write(folder / "canary-table.csv", site.name, HELD[site.name], seed)
    settings = site.folder / "node.toml"
    data = DATA.format(path="canary-folder/canary-table.csv", privacy=PRIVACY[site.name])
    settings.write_text(re.sub(r"\[data\].*\[worker\]", data, settings.read_text(), flags=re.S))
    return made


def tap_of(site: Site) -> Path:
    return site.folder / "tap"


def stop(site: Site) -> None:
    dcfm("stop", "--grace", "0", "--config", site.folder / "node.toml")
    assert site.process is not None
    site.process.wait(60)


def kept(site: Site) -> Iterable[bytes]:
    """Files that a node keeps and others may come to see. Its data is not among them."""
    state = site.state
    for path in (
        *state.glob("*.sqlite*"),
        *state.glob("snapshots/*"),
        *site.folder.glob("b-*/**/*"),
    ):
        if path.is_file():
            yield path.read_bytes()
    yield (site.folder / "report.json").read_bytes()


def test_no_canary_leaves_a_node_and_the_ledger_has_every_byte(tmp_path: Path) -> None:
    with cluster(tmp_path, steps=20, policy="stall_s = 120.0\n") as sites:
        canaries = {site.name: planted(site, seed) for seed, site in enumerate(sites)}
        for site in sites:
            site.start((sys.executable, "-m", "tests.integration.tapping", str(tap_of(site))))
        until(lambda: released(sites))
        scale = next(
            entry["body"]["preparation"]["scale"]
            for entry in sites[0].ask("journal")["entries"]
            if entry["body"]["kind"] in ("propose", "accept")
        )
        for site in sites:
            config = ("--config", site.folder / "node.toml")
            assert dcfm("bundle", "export", site.folder / "b-out", *config).returncode == 0
            assert dcfm("egress", "--out", site.folder / "report.json", *config).returncode == 0
        forms = [form for of in canaries.values() for form in of.forms(**scale)]
        for site in sites:
            assert leaked(forms, tapped_messages(tap_of(site))) == set(), site.name
            assert leaked(forms, kept(site)) == set(), site.name
            people = [person.encode() for person in canaries[site.name].people]
            assert leaked(people, [site.log.read_bytes()]) == set()
        _counts_are_as_each_silo_chose(sites)

        # What an operator types does leave: the same search finds it, so it can find something.
        leaky, name = sites[2], canaries["south"].people[0]
        reason = ("withdraw", "--yes", "--reason", f"asked by {name}")
        assert dcfm(*reason, "--config", leaky.folder / "node.toml").returncode == 0
        until(lambda: leaked(forms, tapped_messages(tap_of(leaky))))
        assert leaked(forms, tapped_messages(tap_of(leaky))) == {name.encode()}

        for site in sites:
            stop(site)
        for site in sites:
            _the_ledger_has_what_was_tapped(site)


def _the_ledger_has_what_was_tapped(site: Site) -> None:
    found = dcfm_json("egress", "--config", site.folder / "node.toml")
    assert found["gaps"] == []
    tapped = list(tapped_messages(tap_of(site)))
    lines = [line for line in found["lines"] if line["plane"] != "hand"]
    assert sum(line["bytes"] for line in lines) == sum(map(len, tapped)) > 100_000
    chunks = [data for data in tapped if data[:8].find(b"\xa5chunk") == 1]
    counted = [line for line in lines if line["kind"] == "chunk"]
    assert sum(line["bytes"] for line in counted) == sum(map(len, chunks))
    assert sum(line["items"] for line in counted) == len(chunks)
    assert {line["kind"] for line in lines} <= CARRIED.keys()
    files = sum(p.stat().st_size for p in (site.folder / "b-out").rglob("*") if p.is_file())
    assert sum(line["bytes"] for line in found["lines"] if line["plane"] == "hand") == files


def _counts_are_as_each_silo_chose(sites: list[Site]) -> None:
    told = {}
    for site in sites:
        join = site.ask("journal")["entries"][0]
        assert join["body"]["kind"] == "join"
        told[site.name] = {tuple(of.values()): n for of, n in join["means"]["counts"]}
    assert told["south"] == {RB: told["south"][RB], LT: told["south"][LT], LB: 1}
    assert told["east"] == {LB: 90, LT: 100} or told["east"] == {LB: 100, LT: 100}
    assert told["north"].keys() == {LB, RB}
    assert all(abs(n - HELD["north"][of]) < 20 for of, n in told["north"].items())


def test_a_planted_sample_is_found_in_every_form(tmp_path: Path) -> None:
    """In weights, in a message, standardised, as text: else finding nothing proves nothing."""
    made = Planted.write(tmp_path / "table.csv", "silo", {LB: 20}, 1)
    forms = list(made.forms((0.5, 1.5), (2.0, 3.0)))
    x = made.numbers[7].astype(np.float64)
    standard = ((x - [0.5, 1.5]) / [2.0, 3.0]).astype(np.float32)
    noise = np.random.default_rng(0).normal(size=400).astype(np.float32)
    hidden = np.concatenate([noise, standard, noise])
    for data in (
        save({"w": hidden}),
        save({"w": np.concatenate([noise, made.numbers[7]])}),
        b"\x93" + np.asarray(made.numbers[7], ">f4").tobytes(),
        b"log: " + str(made.numbers[7][0]).encode(),
        np.float64(made.numbers[7][1]).tobytes(),
        b"of canary-silo-0003 there",
    ):
        assert leaked(forms, [data]), data
    assert leaked(forms, [save({"w": noise}), b"canary"]) == set()
