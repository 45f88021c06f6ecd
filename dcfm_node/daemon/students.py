"""Which student an operator asks for, and what its folder is made from: of a running daemon, or of
the files of a node."""

from collections.abc import Callable
from pathlib import Path

from dcfm_node.api.students import StudentFiles
from dcfm_node.daemon.facts import student_facts
from dcfm_node.errors import Failed
from dcfm_node.swarm.journal import Journals
from dcfm_node.swarm.lineage import bundle
from dcfm_node.swarm.verdicts import superseding
from dcfm_node.swarm.view import View

_SEE = "see 'dcfm-node student list' and 'dcfm-node status --explain'"


def student_files(
    journals: Journals,
    view: View,
    wish: str,
    snapshot: Callable[[bytes], Path | None],
    earlier: bytes | None,
) -> StudentFiles:
    """All that `student fetch` needs to write a student's folder.

    Args:
        wish: the start of a digest, in hex, or "latest" for the released student.
        snapshot: the path of a snapshot in the state folder; None if the node does not hold it.
        earlier: the lineage of the run that this one continues.

    Raises:
        Failed: there is no such student, or the node does not hold it.
    """
    latest = view.latest()
    if wish == "latest":
        if latest is None:
            raise none_released(view)
        said = latest
    else:
        students = view.valid_students()
        found = [one for one in students if one.body.snapshot.digest.hex().startswith(wish)]
        if not found:
            raise Failed(f"no student {wish!r}", fix=_SEE)
        said = found[-1]
    path = snapshot(said.body.snapshot.digest)
    if path is None or not path.is_file():  # deleted by hand: `upkeep` sees it
        raise Failed(
            "this node does not hold that student: it is being fetched, or a later one took its"
            " place",
            fix="see 'dcfm-node status'; interim students are kept for their own round alone",
        )
    return StudentFiles(
        path=f"{path.parent.name}/{path.name}",
        lineage=bundle(view.manifest, journals, earlier).hex(),
        student=student_facts(view, said),
    )


def none_released(view: View) -> Failed:
    """Why there is no student to fetch."""
    final = [said for said in view.valid_students() if said.body.final]
    if final and (why := superseding(view, final[-1].body)):
        left = "; ".join(f"{silo} {reason}" for silo, reason in why.items())
        digest = final[-1].body.snapshot.digest.hex()[:12]
        return Failed(
            f"the last student is superseded: {left}; no other is released yet",
            fix="to mark a folder that holds it: dcfm-node student fetch --digest"
            f" {digest} --out DIR",
        )
    if final and view.rejected(final[-1]):
        return Failed("the last student was refused by too many silos to be released", fix=_SEE)
    if final and view.below_floor(final[-1]):
        expected = view.announcement(final[-1])
        return Failed(
            f"the last student stays interim, below the floor of its quality: {expected}",
            fix="'dcfm-node status' says what to try; --digest fetches it all the same",
        )
    return Failed("no student is released yet", fix=_SEE)
