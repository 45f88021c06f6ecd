"""The baselines on a real network: three nodes, from keys to samples of a fetched student."""

from pathlib import Path

import numpy as np
import pytest

from tests.integration.cluster import cluster, dcfm_json, dcfm_process, released, until

COMMON = """
solver_steps = 5
[method.masks]
full = 0.8
marginal = 0.1
null = 0.1
[method.local]
steps = 240
learning_rate = 2e-3
"""
METHODS = {
    "fedflow": f'[method]\nname = "fedflow"\nmax_rounds = 4\n{COMMON}',
    "ddm": (
        f'[method]\nname = "ddm"\nrouting = "trained"\ntop_k = 2\n{COMMON}'
        "[method.distil]\nsteps = 100\n"
    ),
    "dfd": f'[method]\nname = "dfd"\n{COMMON}',
}
EXPERTS = {"fedflow": [0, 1, 2, 3], "ddm": [0], "dfd": [0]}
"""Rounds of which every silo publishes an expert."""
MORE = [pytest.param(name, marks=pytest.mark.full) for name in ("fedflow", "dfd")]


@pytest.mark.parametrize("name", ["ddm", *MORE])
def test_a_network_runs_the_method_to_samples(tmp_path: Path, name: str) -> None:
    with cluster(tmp_path, method=METHODS[name]) as sites:
        for site in sites:
            site.start()
        digests = until(lambda: released(sites))
        assert len(set(digests.values())) == 1
        status = sites[0].ask()
        assert status["method"] == name
        assert status["latest"]["outcome"] == "COMPLETE"
        assert sorted(teacher["silo"] for teacher in status["latest"]["teachers"]) == sorted(
            site.folder.name for site in sites
        )
        config = sites[1].folder / "node.toml"
        journal = dcfm_json("journal", "-c", config)
        rounds = [
            entry["body"]["round"]
            for entry in journal["entries"]
            if entry["body"]["kind"] == "expert"
        ]
        assert rounds == EXPERTS[name]
        folder = tmp_path / "student"
        fetched = dcfm_process("student", "fetch", "--latest", "--out", folder, "-c", config)
        assert fetched.returncode == 0, fetched.stderr
    assert dcfm_json("student", "verify", folder)["verified"]
    out = tmp_path / "samples.npz"
    where = ("--where", "horizontal=left", "--where", "vertical=bottom")
    drawn = dcfm_process("student", "sample", folder, *where, "-n", 200, "--out", out)
    assert drawn.returncode == 0, drawn.stderr
    with np.load(out) as samples:
        assert samples["x"].shape == (200, 2)
        # The mode asked for is at (-1.5, -1.5); training is too short for more than its side.
        assert (samples["x"] < 0).all(axis=1).mean() > 0.8
