"""The node that distils is killed: the next one goes on where it was, to the very same student."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from dcfm_node.daemon.work import job_for
from dcfm_node.flow.averaging import merge
from dcfm_node.flow.sampling import Teacher
from dcfm_node.flow.trainer import Callbacks
from dcfm_node.methods.dcfm.learner import distil
from dcfm_node.swarm.effects import Distil
from dcfm_node.swarm.lineage import verify
from dcfm_node.swarm.view import View
from tests.integration.cluster import Site, cluster, dcfm, released, until


def handed_on(site: Site) -> int:
    """The step from which another could go on, once it lies on this site's disk."""
    checkpoint = site.ask().get("checkpoint")
    return checkpoint["step"] if checkpoint and checkpoint["held"] else 0


def snapshot(site: Site, digest: bytes) -> Path:
    return site.state / "snapshots" / f"{digest.hex()}.safetensors"


def key_of(site: Site, view: View) -> bytes:
    return next(silo.key for silo in view.manifest.roster if silo.name == site.name)


def test_the_next_leader_ends_with_what_the_killed_one_would_have_made(tmp_path: Path) -> None:
    with cluster(tmp_path, schedule="paper", steps=60, distil_steps=1_000) as sites:
        for site in sites:
            site.start()
        until(lambda: all(handed_on(site) for site in sites))
        leader = next(s for s in sites if s.name == sites[0].ask()["checkpoint"]["leader"])
        leader.kill()
        others = [site for site in sites if site is not leader]
        digests = until(lambda: released(others))
        assert len(set(digests.values())) == 1
        latest = others[0].ask()["latest"]
        assert latest["leader"] != leader.name
        assert latest["outcome"] == "COMPLETE"
        folder, config = tmp_path / "student", others[0].folder / "node.toml"
        assert dcfm("student", "fetch", "--latest", "--out", folder, "-c", config).returncode == 0
        lineage = verify((folder / "lineage.msgpack").read_bytes(), bytes.fromhex(latest["digest"]))
        student, view = lineage.student.body, lineage.view
        dead = key_of(leader, view)
        by_dead = [said.body for by in view.checkpoints.values() for said in by.get(dead, ())]
        assert student.resumed in [said.snapshot.digest for said in by_dead]
        assert not snapshot(others[0], student.resumed).exists()
        work = Distil(
            round=student.round,
            term=student.term,
            lease=student.lease,
            teachers=tuple(
                (e.author, e.digest, e.body.snapshot.digest)
                for e in (view.expert_entries[entry] for entry in student.teachers)
            ),
            missing=(),
            final=True,
        )
        job = job_for(
            work,
            manifest=view.manifest,
            me=lineage.student.author,
            view=view,
            path=lambda digest: snapshot(others[0], digest),
            folder=tmp_path,
            data="",
        )
        torch.set_num_threads(1)
        teachers = [Teacher(t.silo, load_file(t.path), dict(t.counts)) for t in job.teachers]
        init = merge(teachers)
        whole = distil(view.manifest, teachers, init=init, seed=job.seed, callbacks=Callbacks())
        made = load_file(snapshot(others[0], student.snapshot.digest))
        assert all(torch.equal(whole.weights[name], made[name]) for name in made)
