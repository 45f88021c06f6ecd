"""A hostile node among real ones, with a valid key: what it spoils teaches nobody."""

import sys
from pathlib import Path

import pytest

from dcfm_node.config.peers import load_peers
from dcfm_node.config.run import load_run
from dcfm_node.swarm.election import rank
from dcfm_node.wire.envelope import run_id
from tests.integration.cluster import cluster, dcfm, released, until

STRICT = 'participation = "strict"\nstall_s = 60.0\n'
"""So that a busy machine leaves nobody out, whom nobody would judge then."""


def hostile(kind: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.integration.hostile", kind)


def test_the_student_of_a_hostile_leader_is_refused_and_distilled_again(tmp_path: Path) -> None:
    """SPEC 6.1.5: of the interim student, before anyone trains on from it."""
    with cluster(tmp_path, policy=STRICT) as sites:
        manifest = load_run(sites[0].run, load_peers(sites[0].peers), None, listed=sites[0].peers)
        run = run_id(manifest)
        first = min(manifest.roster, key=lambda silo: rank(run, 0, 0, silo.key)).name
        for site in sites:
            site.start(hostile("Distil") if site.name == first else ())
        honest = [site for site in sites if site.name != first]
        digests = until(lambda: released(honest))
        assert len(set(digests.values())) == 1
        students = honest[0].ask("students")["students"]
        bad = [student for student in students if student["leader"] == first]
        good = [student for student in students if student["leader"] != first]
        assert bad and all(student["rejected"] for student in bad)
        assert not any(student["refused_by"] for student in good)
        assert {student["round"] for student in good} == {0, 1}
        assert good[-1]["released"]
        assert sorted(teacher["silo"] for teacher in good[-1]["teachers"]) == sorted(
            site.name for site in sites
        )
        shown = dcfm("student", "list", "--config", honest[0].folder / "node.toml")
        assert "refused it" in shown.stdout and first in shown.stdout
        status = dcfm("status", "--config", honest[0].folder / "node.toml")
        assert "distilled was refused" not in status.stdout  # a good one took its place


@pytest.mark.full
def test_hostile_experts_teach_nobody_and_put_their_silo_out(tmp_path: Path) -> None:
    """SPEC 6.6, 6.7.3: a quorum scored two of them."""
    with cluster(tmp_path, nodes=4, policy=STRICT) as sites:
        *honest, culprit = sites
        for site in honest:
            site.start()
        culprit.start(hostile("Train"))
        digests = until(lambda: released(honest))
        assert len(set(digests.values())) == 1
        status = honest[0].ask()
        teachers = {teacher["silo"] for teacher in status["latest"]["teachers"]}
        assert teachers == {site.name for site in honest}
        silo = next(silo for silo in status["silos"] if silo["name"] == culprit.name)
        assert "score" in {said["cause"] for said in silo["verdicts"]}
        assert silo["quarantined"]
        shown = dcfm("status", "--config", honest[0].folder / "node.toml")
        assert shown.returncode == 3
        assert f"{culprit.name} is in quarantine" in shown.stdout
