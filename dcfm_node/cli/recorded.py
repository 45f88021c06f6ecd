"""What a run's records say: asked of the daemon, or read from the node's files where none answers
or an earlier run is meant. The answer is the same."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcfm_node.api.client import call
from dcfm_node.cli.options import state_folder
from dcfm_node.errors import ConfigError, Unreachable

if TYPE_CHECKING:
    from dcfm_node.store.archive import Archive

PATIENCE_S = 5.0
"""A daemon that does not answer by then is not needed."""


def journal_of(config: Path, run: str, peers: Path | None, silo: str) -> dict[str, Any]:
    """A silo's journal, this node's own by default (schema `dcfm-node/journal/1`).

    Args:
        run: which, as the operator names it; the present one by default.
        peers: the peers' file, where `run` is a manifest's.

    Raises:
        UserError: the folder keeps no such run or silo, or cannot be read.
    """
    found = _found(config, "journal", run, peers, silo=silo)
    if isinstance(found, dict):
        return found
    from dcfm_node.config.node import load_node
    from dcfm_node.daemon.facts import journal_facts

    return journal_facts(found.journals, found.view, silo or load_node(config).name)


def students_of(config: Path, run: str, peers: Path | None) -> dict[str, Any]:
    """All students of a run (schema `dcfm-node/students/1`); otherwise as `journal_of`."""
    found = _found(config, "students", run, peers)
    if isinstance(found, dict):
        return found
    from dcfm_node.daemon.facts import students_facts

    return students_facts(
        found.journals, found.view, lambda digest: found.snapshot(digest) is not None
    )


def _found(
    config: Path, command: str, run: str, peers: Path | None, **arguments: Any
) -> "dict[str, Any] | Archive":
    """The daemon's answer, or the run as the files keep it."""
    state = state_folder(config)
    if not run and peers is None:
        try:
            return call(state, command, timeout_s=PATIENCE_S, **arguments)
        except Unreachable:
            from dcfm_node.store.archive import find_archive

            if (archive := find_archive(state)) is None:
                raise
            return archive
    from dcfm_node.store.archive import open_archive

    return open_archive(state, _chosen(state, run, peers))


def _chosen(state: Path, wish: str, peers: Path | None) -> bytes:
    """The id of the run that is meant.

    Raises:
        ConfigError: no run that is kept here, or several.
    """
    from dcfm_node.store.archive import kept_runs
    from dcfm_node.wire.envelope import run_id

    name = wish
    if peers is not None:
        if not wish:
            raise ConfigError("one without the other", where="--run, --peers", fix="name both")
        wish, name = _of_files(Path(wish), peers), ""
    kept = [(run_id(manifest), manifest.name) for manifest in kept_runs(state)]
    found = [run for run, named in kept if run.hex().startswith(wish) or named == name]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{run.hex()[:16]} ({named})" for run, named in kept)
    raise ConfigError(
        f"{len(found) or 'no'} run{'s' * (len(found) > 1)} of this node fit {wish[:16]!r}",
        where="--run",
        fix=f"it was in {listed}; the first is the present one" if kept else "it was in none yet",
    )


def _of_files(run: Path, peers: Path) -> str:
    """The id, hex, of the run that two files make."""
    from dcfm_node.config.peers import load_peers
    from dcfm_node.config.run import load_run
    from dcfm_node.wire.envelope import run_id

    return run_id(load_run(run, load_peers(peers), None, listed=peers)).hex()
