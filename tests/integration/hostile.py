"""A node whose operator spoils what its worker makes, signed with a valid key: `python -m
tests.integration.hostile Train|Distil ARGUMENTS OF dcfm-node`."""

import sys
from pathlib import Path

from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from dcfm_node.cli.main import main
from dcfm_node.daemon.runner import JobRunner

adopt = JobRunner._adopt


def spoil(path: Path) -> None:
    """Finite weights of the right names and shapes, which say nonsense."""
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    save_file({name: -2 * value for name, value in load_file(path).items()}, path, metadata)


async def spoilt(self, work, output, done):
    if type(work).__name__ == kind:
        spoil(output)
    await adopt(self, work, output, done)


if __name__ == "__main__":
    kind = sys.argv.pop(1)
    JobRunner._adopt = spoilt  # type: ignore[method-assign]
    main()
