"""What a node brings along from the run that its present one continues (SPEC 2.7)."""

import structlog

from dcfm_node.daemon.limits import Settings
from dcfm_node.errors import ConfigError
from dcfm_node.records.entries import Expert
from dcfm_node.records.manifest import Manifest
from dcfm_node.store.archive import find_archive
from dcfm_node.swarm.succession import changed_keys, check_student, inherited

log = structlog.get_logger()


def legacy(settings: Settings) -> Expert | None:
    """The expert that this silo goes on from; None for a newcomer, or where nothing is continued.

    Raises:
        ConfigError: this node took part in the run before, and this one does not go on from it.
    """
    manifest, continues = settings.manifest, settings.manifest.continues
    if continues is None:
        return None
    before = find_archive(settings.config.state, continues.run)
    if before is None:
        log.info("newcomer", continues=continues.run.hex()[:8])
        return None
    try:
        changed = changed_keys(before.manifest, manifest)
        check_student(before.view, manifest)
    except ValueError as error:
        raise ConfigError(
            f"this run does not go on from {before.manifest.name!r}: {error}",
            where=f"{settings.run}: continues",
            fix="take this file from 'dcfm-node run continue', and every [[peer]] block from"
            " 'dcfm-node id'; a silo that lost its old keys is named in 'replaced'",
        ) from error
    for silo in changed:
        log.info("key_changed", silo=silo.name, how=silo.how)
    return inherited(before.view, settings.config.name)


def kept(manifest: Manifest, own: Expert | None) -> list[bytes]:
    """Snapshots of the run before that this one still needs, by digest."""
    student = manifest.continues.student if manifest.continues is not None else None
    found = (student, own.snapshot if own is not None else None)
    return [snapshot.digest for snapshot in found if snapshot is not None]
