"""Whether this machine suffices: torch and GPU, memory, disk."""

import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from dcfm_node.api.checked import Finding
from dcfm_node.api.status import Status
from dcfm_node.errors import ConfigError
from dcfm_node.preflight.findings import In
from dcfm_node.records.manifest import Manifest
from dcfm_node.wire.envelope import manifest_bytes
from dcfm_node.worker.messages import MACHINE, Asked, Machine

FOUND = In("machine")
BOUND_S = 60.0
"""Most seconds that torch may take to tell what it finds."""
TRAINING = 5
"""Copies of the weights while a network trains: weights, gradient, two moments, their average."""
STUDENTS = 10
"""Snapshots on the disk beside the experts: a checkpoint as large as four to eight students, the
newest student and the released one."""
LOGS_BYTES = 256 << 20
"""Room for journals, logs and private checkpoints."""
FLOAT_BYTES = 4
AT_LEAST_BYTES = 400 << 20
"""What Python and torch take before they hold any weights, about."""


class Probe:
    """Asks torch in another process, which this one waits for as late as it can."""

    def __init__(
        self, device: str, manifest: Manifest | None, command: Sequence[str] = MACHINE
    ) -> None:
        asked = Asked(device=device, manifest=manifest_bytes(manifest).hex() if manifest else "")
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._output, self._complaint = b"", b""
        self._thread = threading.Thread(
            target=self._talk, args=(asked.model_dump_json().encode() + b"\n",), daemon=True
        )
        self._thread.start()

    def _talk(self, line: bytes) -> None:
        self._output, self._complaint = self._process.communicate(line)

    def answer(self, bound_s: float = BOUND_S) -> Machine | str:
        """What it found, or why it failed; empty if it was too slow. Its process is gone then."""
        self._thread.join(bound_s)
        late = self._thread.is_alive()
        self._process.kill()
        self._thread.join(1.0)
        try:
            return Machine.model_validate_json(self._output)
        except ValidationError:
            last = self._complaint.decode(errors="replace").strip().splitlines()[-1:]
            return "" if late else "".join(last) or "torch ended without a word"


def torch_findings(found: Machine | str) -> list[Finding]:
    """What torch found, or why it failed; empty if it was too slow."""
    if not found:
        what = (
            f"not checked: torch did not answer within {BOUND_S:g} s; the machine may be too busy"
        )
        return [FOUND.unknown("torch", what, "check again when it is less busy")]
    if isinstance(found, str):
        fix = "try: python -c 'import torch; print(torch.cuda.is_available())'"
        return [FOUND.degraded("torch", found, fix)]
    version = FOUND.ok("torch", found.torch)
    if found.error:
        return [version, FOUND.wrong("device", ConfigError(found.error, fix=found.fix))]
    if found.gpu:
        free = f"{found.gpu_free_bytes / 1e9:.1f} GB free"
        return [version, FOUND.ok("device", f"{found.device}: {found.gpu}, {free}")]
    return [version, FOUND.ok("device", f"trains on the CPU, {os.cpu_count()} cores")]


def running_findings(status: Status, free_bytes: int | None) -> Iterator[Finding]:
    """What a running node has shown: its device, and the most memory that it took."""
    yield FOUND.ok("device", f"the node trains on {status.worker.device or 'no device yet'}")
    peak = status.peak_rss_mb
    free = f", {_size(free_bytes)} available now" if free_bytes is not None else ""
    what = f"the node took at most {_size(1e6 * peak)} since it started{free}"
    yield FOUND.ok("memory", what, peak_bytes=1e6 * peak)


def memory_finding(
    numbers: int, silos: int, data_bytes: int, free_bytes: int | None, place: str = "memory"
) -> Finding:
    """Whether the weights of a network and of all its teachers fit.

    Args:
        numbers: of the network; 0 if unknown.
        free_bytes: available memory of the machine or of the GPU; None if unknown.
    """
    if free_bytes is None:
        return FOUND.unknown(place, "this system does not say how much memory is available")
    if not numbers:
        what = f"{_size(free_bytes)} available; what the run needs is unknown"
        return FOUND.unknown(place, what, "mend the settings and torch first")
    need = FLOAT_BYTES * numbers * (TRAINING + silos) + 2 * data_bytes + AT_LEAST_BYTES
    what = (
        f"{_size(free_bytes)} available; weights, optimiser, an expert of each silo and data take"
        f" about {_size(need)}, activations come on top"
    )
    told = {"free_bytes": float(free_bytes), "need_bytes": float(need)}
    if free_bytes < need:
        fix = "end other programs, choose a smaller network, or train on another machine"
        return FOUND.degraded(place, what, fix, **told)
    return FOUND.ok(place, what, **told)


def disk_finding(path: Path, free_bytes: int, *, numbers: int, width: int, silos: int) -> Finding:
    """Whether the run's snapshots fit on the disk.

    Args:
        free_bytes: at `path`, for this user.
        numbers: of the network, at least.
        width: bytes of each number in a snapshot.
    """
    snapshot = numbers * width
    need = snapshot * (2 * silos + STUDENTS) + LOGS_BYTES
    what = (
        f"{_size(free_bytes)} free at {path}; the run may need {_size(need)}: two experts of"
        f" each silo, of {_size(snapshot)} each, students, checkpoints and"
        f" {_size(LOGS_BYTES)} of records and logs"
    )
    told = {"free_bytes": float(free_bytes), "need_bytes": float(need)}
    if free_bytes < need:
        fix = "make room, or set state in node.toml to a folder on a larger disk"
        return FOUND.degraded("disk", what, fix, **told)
    return FOUND.ok("disk", what, **told)


def free_disk(path: Path) -> tuple[Path, int]:
    """The nearest folder that exists, and the free bytes there for this user."""
    while not path.exists() and path != path.parent:
        path = path.parent
    found = os.statvfs(path)
    return path, found.f_bavail * found.f_frsize


def available_memory() -> int | None:
    """Bytes of memory that can be used without swapping; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        told = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(told.split()[1]) << 10
    except (OSError, StopIteration, ValueError):
        return None


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
