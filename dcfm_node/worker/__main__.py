"""`python -P -m dcfm_node.worker`: read jobs, train, report. Ends when stdin ends."""

import os
import sys
import threading
import traceback
from queue import SimpleQueue

from dcfm_node.errors import UserError
from dcfm_node.worker import ranks
from dcfm_node.worker.gate import Withheld
from dcfm_node.worker.jobs import JobRunner
from dcfm_node.worker.messages import MAX_REASON, SETUP, Broken, Job, Line, Setup, Starting

_told = threading.Lock()


def main() -> None:
    """Run jobs until the daemon ends; then end too."""
    lines: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    runner, shown = _set_up(lines.get()), ""
    while True:
        shown = _work(runner, lines.get(), shown)


def tell(line: Line) -> None:
    """Write one line to the daemon; only the first rank does."""
    if ranks.rank() == 0:
        with _told:
            sys.stdout.write(line.model_dump_json() + "\n")
            sys.stdout.flush()
    elif isinstance(line, Broken):
        print(line.reason, file=sys.stderr, flush=True)


def _read(lines: "SimpleQueue[str]") -> None:
    """Read lines. The end of stdin means that the daemon ended, so exit at once."""
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


def _set_up(line: str) -> JobRunner:
    """The first rank checks everything before it starts the others."""
    setup, first = Setup.model_validate_json(line), ranks.rank() == 0
    try:
        device = ranks.choose(setup.device)
        if not first:
            ranks.meet(device)
        tell(Starting(doing="reads the private data"))
        runner = JobRunner(setup, tell, device)
        if first and ranks.size() > 1:
            tell(Starting(doing=f"waits for the other {ranks.size() - 1} of its processes"))
            ranks.start_others(line, setup.scratch)
            ranks.meet(device)
        ready = runner.ready()
    except Exception as error:
        reason, _ = _reason(error, "")
        code = error.exit_code if isinstance(error, UserError) else 1
        tell(Broken(key=SETUP, reason=reason, exit_code=code))
        sys.exit(code)
    tell(ready)
    return runner


def _work(runner: JobRunner, line: str, shown: str) -> str:
    """Run a job, or report why it failed. A traceback equal to `shown` is not printed again.

    Returns: the last printed traceback.
    """
    job = Job.model_validate_json(line)
    try:
        ranks.share(line)
        done = runner.run(job)
    except Exception as error:
        reason, shown = _reason(error, shown)
        tell(Broken(key=job.key, reason=reason, withheld=isinstance(error, Withheld)))
        # The other ranks wait for this one in the middle of a step. After a CUDA error, every
        # later call fails.
        if ranks.size() > 1 or (runner.accelerated and not isinstance(error, UserError)):
            sys.exit(1)
        return shown
    tell(done)
    return shown


def _reason(error: Exception, shown: str) -> tuple[str, str]:
    """The reason for the operator, and the last printed traceback. A traceback is printed if it is
    new and the error is a fault of the program."""
    if isinstance(error, UserError):
        return str(error)[:MAX_REASON], shown
    if lost := ranks.ended():
        return lost, shown
    if (found := traceback.format_exc()) != shown:
        print(found, file=sys.stderr, flush=True)
    return f"{type(error).__name__}: {error}"[:MAX_REASON], found


if __name__ == "__main__":
    main()
