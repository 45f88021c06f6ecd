"""Reads a run's records: from the daemon, or from the node's files if no daemon answers or an
earlier run is asked for. Both give the same answer."""

from pathlib import Path
from typing import TYPE_CHECKING

from dcfm_node.api.client import call
from dcfm_node.api.document import RunName
from dcfm_node.api.journal import Journal
from dcfm_node.api.requests import (
    Answer,
    JournalRequest,
    Request,
    StudentRequest,
    StudentsRequest,
)
from dcfm_node.api.students import StudentFiles, Students
from dcfm_node.cli.options import state_folder
from dcfm_node.errors import ConfigError, Failed, Unreachable

if TYPE_CHECKING:
    from dcfm_node.store.archive import Archive

PATIENCE_S = 5.0
"""Seconds to wait for the daemon before the files are read instead."""


def journal_of(config: Path, run: str, peers: Path | None, silo: str) -> Journal:
    """A silo's journal, this node's own by default.

    Args:
        run: name, start of the id, or run.toml of a run; the present run if empty.
        peers: the peers.toml, if `run` is a run.toml; else None.

    Raises:
        UserError: the folder keeps no such run or silo, or cannot be read.
    """
    found = _found(config, JournalRequest(silo=silo), run, peers)
    if isinstance(found, Journal):
        return found
    from dcfm_node.config.node import load_node
    from dcfm_node.daemon.facts import journal_facts

    return journal_facts(found.journals, found.view, silo or load_node(config).name)


def other_runs(config: Path, shown: str) -> list[RunName]:
    """The runs in the node's files, but the one that is shown; none where they cannot be read.

    Args:
        shown: id of a run, hex.
    """
    from dcfm_node.store.archive import kept_runs
    from dcfm_node.wire.envelope import run_id

    try:
        kept = kept_runs(state_folder(config))
    except (Failed, OSError):  # the daemon answered; files are not this user's to read
        return []
    runs = [RunName(name=manifest.name, id=run_id(manifest).hex()) for manifest in kept]
    return [run for run in runs if run.id != shown]


def students_of(config: Path, run: str, peers: Path | None) -> Students:
    """All students of a run; arguments and errors as for `journal_of`."""
    found = _found(config, StudentsRequest(), run, peers)
    if isinstance(found, Students):
        return found
    from dcfm_node.daemon.facts import students_facts

    return students_facts(
        found.journals, found.view, lambda digest: found.snapshot(digest) is not None
    )


def student_files_of(config: Path, wish: str) -> tuple[StudentFiles, bool]:
    """What `student fetch` writes a folder from, and whether the node's files told it.

    Args:
        wish: the start of a digest, or "latest".

    Raises:
        UserError: there is no such student, or the state folder cannot be read.
    """
    found = _found(config, StudentRequest(digest=wish), "", None)
    if isinstance(found, StudentFiles):
        return found, False
    from dcfm_node.daemon.students import student_files
    from dcfm_node.store.archive import earlier_lineage

    earlier = earlier_lineage(found.state, found.manifest)
    return student_files(found.journals, found.view, wish, found.snapshot, earlier), True


def _found(
    config: Path, request: Request[Answer], run: str, peers: Path | None
) -> "Answer | Archive":
    """The daemon's answer, or the run from the node's files."""
    state = state_folder(config)
    if not run and peers is None:
        try:
            return call(state, request, timeout_s=PATIENCE_S)
        except Unreachable:
            from dcfm_node.store.archive import find_archive

            if (archive := find_archive(state)) is None:
                raise
            return archive
    from dcfm_node.store.archive import open_archive

    return open_archive(state, _chosen(state, run, peers))


def _chosen(state: Path, wish: str, peers: Path | None) -> bytes:
    """The id of the run that the operator asks for.

    Raises:
        ConfigError: no run in the state folder matches, or several do.
    """
    from dcfm_node.store.archive import kept_runs
    from dcfm_node.wire.envelope import run_id

    name = wish
    if peers is not None:
        if not wish:
            raise ConfigError("--run and --peers must be given together", where="--peers")
        wish, name = run_of_files(Path(wish), peers).hex(), ""
    kept = [(run_id(manifest), manifest.name) for manifest in kept_runs(state)]
    found = [run for run, named in kept if run.hex().startswith(wish) or named == name]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{run.hex()[:16]} ({named})" for run, named in kept)
    what = f"{len(found)} runs of this node match" if found else "no run of this node matches"
    raise ConfigError(
        f"{what} {wish[:16]!r}",
        where="--run",
        fix=f"choose one of {listed}; the first is the present run" if kept else "start it first",
    )


def run_of_files(run: Path, peers: Path) -> bytes:
    """The id of the run that a run.toml and a peers.toml make."""
    from dcfm_node.config.peers import load_peers
    from dcfm_node.config.run import load_run
    from dcfm_node.wire.envelope import run_id

    return run_id(load_run(run, load_peers(peers), None, listed=peers))
