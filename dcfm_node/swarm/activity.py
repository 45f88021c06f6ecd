"""What a node does now, as its heartbeats tell it (SPEC 4.6). Pure."""

from typing import NamedTuple

from dcfm_node.swarm.effects import DISK_FULL, Work, activity_of


class Activity(NamedTuple):
    """Fields of a heartbeat: the name, the round, and the steps done of all; 0 while unknown."""

    activity: str
    round: int = 0
    done: int = 0
    total: int = 0


WAITS_FOR_DISK = Activity(DISK_FULL)


def present(
    work: Work | None, progress: tuple[int, int], *, disk_refuses: bool, fetching: bool
) -> Activity:
    """What a node does that has this work, or none."""
    if work is not None:
        return Activity(activity_of(work), getattr(work, "round", 0), *progress)
    return WAITS_FOR_DISK if disk_refuses else Activity("fetch" if fetching else "idle")
