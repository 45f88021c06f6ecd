"""`python -m dcfm_node.worker`: read jobs, train, tell. Ends when stdin ends."""

import os
import sys
import threading
from queue import SimpleQueue

from dcfm_node.errors import UserError
from dcfm_node.worker import ranks
from dcfm_node.worker.jobs import Bench
from dcfm_node.worker.messages import Broken, Job, Line, Setup


def main() -> None:
    """Serve jobs until the daemon goes away, and never outlive it."""
    ranks.begin()
    lines: SimpleQueue[str] = SimpleQueue()
    if ranks.rank() == 0:
        threading.Thread(target=_read, args=(lines,), daemon=True).start()
    bench = None
    while True:
        line = ranks.share(lines.get() if ranks.rank() == 0 else "")
        if bench is None:
            bench = _set_up(Setup.model_validate_json(line))
        else:
            _work(bench, Job.model_validate_json(line))


def tell(line: Line) -> None:
    """One line to the daemon; of several ranks only the first speaks."""
    if ranks.rank() == 0:
        sys.stdout.write(line.model_dump_json() + "\n")
        sys.stdout.flush()


def _read(lines: "SimpleQueue[str]") -> None:
    """The end of stdin is the daemon's end: exit at once, whatever the main thread computes."""
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


def _set_up(setup: Setup) -> Bench:
    try:
        bench = Bench(setup, tell)
    except UserError as error:
        tell(Broken(key="setup", reason=str(error), exit_code=error.exit_code))
        sys.exit(error.exit_code)
    tell(bench.ready())
    return bench


def _work(bench: Bench, job: Job) -> None:
    try:
        done = bench.run(job)
    except (UserError, OSError, RuntimeError, ValueError, ArithmeticError) as error:
        tell(Broken(key=job.key, reason=f"{type(error).__name__}: {error}"))
        if ranks.size() > 1:
            raise
        return
    tell(done)


if __name__ == "__main__":
    main()
