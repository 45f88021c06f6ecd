"""Describes how a process ended. Imports no large package, so that the daemon can use it."""

import signal
from pathlib import Path

CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT}
CGROUPS = Path("/sys/fs/cgroup")


def how_it_ended(code: int, *, said: str = "", for_memory: bool = False) -> str:
    """Describe an exit status.

    Args:
        code: as `subprocess` gives it; negative for a signal.
        said: last line of the process's stderr, shown unless a signal killed it.
        for_memory: whether the kernel killed a process of the control group for memory meanwhile.
    """
    if code >= 0:
        return f"ended with exit code {code}" + (f": {said}" if said else "")
    try:
        number = signal.Signals(-code)
    except ValueError:
        return f"was killed by signal {-code}"
    name = f"signal {number.value} ({number.name})"
    if number in CRASHES:
        return f"crashed with {name}" + (f": {said}" if said else "")
    if number != signal.SIGKILL:
        return f"was killed by {name}"
    if for_memory:
        return (
            f"was killed by {name}, for memory: the kernel ended a process of this control group;"
            " give the machine or the unit more, or take less data or a smaller batch"
        )
    return (
        f"was killed by {name}, by hand or, most often, by the kernel for memory: 'journalctl -k'"
        " or 'dmesg' says which"
    )


def kills_for_memory(membership: str | None = None, root: Path = CGROUPS) -> int:
    """Number of processes of this control group that the kernel killed for memory; 0 if unknown.

    Args:
        membership: this process's /proc/self/cgroup, read if None.
    """
    try:
        text = Path("/proc/self/cgroup").read_text() if membership is None else membership
        group = next(line[3:] for line in text.splitlines() if line.startswith("0::"))
        events = (root / group.lstrip("/") / "memory.events").read_text()
        return next(int(line.split()[1]) for line in events.splitlines() if "oom_kill " in line)
    except (OSError, StopIteration, ValueError, IndexError):
        return 0
