"""Data in physical units, from the sites' files to the samples of a student's folder."""

import json
from pathlib import Path

import numpy as np

from tests.integration.cluster import Site, cluster, dcfm, dcfm_json, released, until

OFFSET, UNITS = np.array([1013.0, 0.02]), np.array([9.0, 0.004])
"""hPa, and a share."""
HELD = ([(0, 0), (0, 1)], [(0, 0), (1, 0)], [(1, 0), (0, 1)])


def give(site: Site, held: list[tuple[int, int]], publish: bool) -> None:
    """Put a file of these modes at a site, in place of the domain's own samples."""
    rng = np.random.default_rng(0)
    c = np.repeat(held, 100, axis=0)
    x = 2.0 * c - 1.0 + 0.2 * rng.standard_normal((len(c), 2))
    np.savez(site.folder / "data.npz", x=(OFFSET + UNITS * x).astype(np.float32), c=c)
    file = site.folder / "node.toml"
    before, _, rest = file.read_text().partition("[data]")
    data = '[data]\nformat = "npz"\npath = "data.npz"\n' + rest[rest.index("[worker]") :]
    file.write_text(f"publish_moments = {str(publish).lower()}\n{before}{data}")


def test_samples_come_in_the_units_of_the_sites_and_of_one_that_keeps_its_moments(
    tmp_path: Path,
) -> None:
    with cluster(tmp_path, steps=200) as sites:
        for site, held in zip(sites, HELD, strict=True):
            give(site, held, publish=site is not sites[2])
            site.start()
        until(lambda: released(sites))
        config = ("--config", sites[2].folder / "node.toml")
        told = {
            site.name: dcfm_json("journal", "--silo", site.name, *config)["entries"][0]["body"]
            for site in sites
        }
        assert {name for name, join in told.items() if join["moments"]} == {"north", "east"}
        folder = tmp_path / "student"
        assert dcfm("student", "fetch", "--latest", "--out", folder, *config).returncode == 0
    assert dcfm("student", "verify", folder).returncode == 0
    out = tmp_path / "samples.npz"
    assert dcfm("student", "sample", folder, "-n", 400, "--out", out).returncode == 0
    x = (np.load(out)["x"] - OFFSET) / UNITS
    assert np.abs(x.mean(0)).max() < 0.6
    assert 0.3 < x.std(0).min() < x.std(0).max() < 3.0
    document = json.loads((folder / "config.json").read_text())
    assert np.allclose(document["scale"]["deviation"], UNITS, rtol=0.5)
    document["scale"]["deviation"][0] *= 2.0
    (folder / "config.json").write_text(json.dumps(document, indent=2) + "\n")
    refused = dcfm("student", "verify", folder)
    assert refused.returncode == 1
    assert "config.json (scale)" in refused.stderr
