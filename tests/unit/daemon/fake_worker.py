"""A worker that trains nothing: `python fake_worker.py FOLDER`. Its lives do as files there say.

data      what it "reads"; it cannot start without
on-job    what it does with a job: done, progress N, kill SIGNAL, exit CODE, wait
children  it starts one that outlives it, and writes its pid there
warnings  what it finds odd about the data, as JSON
silent    it says nothing at all
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path


def tell(event: str, **fields: object) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


def serve(folder: Path) -> None:
    sys.stdin.readline()
    if (folder / "children").exists():
        child = subprocess.Popen(["sleep", "600"])  # holds this process's pipes
        (folder / "children").write_text(str(child.pid))
    if (folder / "silent").exists():
        time.sleep(600)
    tell("starting", doing="reads the private data")
    if not (folder / "data").exists():
        tell("broken", key="setup", reason="data: there is no such file", exit_code=2)
        sys.exit(2)
    data = (folder / "data").read_text()
    counts = [[[0], len(data)]]
    odd = folder / "warnings"
    warnings = json.loads(odd.read_text()) if odd.exists() else []
    told = {"counts": counts, "data": f"digest of {data}", "warnings": warnings}
    tell("ready", device="cpu", tensors={}, **told)
    for line in sys.stdin:
        work(json.loads(line)["key"], (folder / "on-job").read_text().split())
        with (folder / "jobs").open("a") as jobs:
            jobs.write(line)


def work(key: str, what: list[str]) -> None:
    match what:
        case ["done"]:
            tell("done", key=key, metrics={})
        case ["progress", number, *then]:
            tell("progress", key=key, done=int(number), total=1_000, metrics={})
            work(key, then)
        case ["kill", number]:
            os.kill(os.getpid(), int(number))
        case ["exit", code]:
            print("Traceback\nIndexError: label 1000", file=sys.stderr)
            sys.exit(int(code))
        case _:
            pass


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
