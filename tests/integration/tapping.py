"""A node whose every byte is tapped where it goes to a socket, before it is encrypted.

python -m tests.integration.tapping FILE start …    what `dcfm-node start …` does, with a tap
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

LENGTH_BYTES = 8


def tap(module: ModuleType, fd: int, skip: int) -> None:
    """Write down each message that a socket of this module took.

    Args:
        skip: frames before the message: those that say to whom it goes and never leave.
    """
    original: Callable[[Any, list[Any]], bool] = module.try_send  # type: ignore[attr-defined]

    def tapped(socket: Any, frames: list[Any]) -> bool:
        sent = original(socket, frames)
        message = b"".join(bytes(frame) for frame in frames[skip:])
        if sent and message:
            os.write(fd, len(message).to_bytes(LENGTH_BYTES, "big") + message)
        return sent

    module.try_send = tapped  # type: ignore[attr-defined]


def tapped_messages(file: Path) -> Iterator[bytes]:
    """What a tap wrote down."""
    with file.open("rb") as lines:
        while prefix := lines.read(LENGTH_BYTES):
            yield lines.read(int.from_bytes(prefix, "big"))


if __name__ == "__main__":
    from dcfm_node.cli.main import main
    from dcfm_node.net import dialer, listener

    file = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    tap(dialer, file, 0)
    tap(listener, file, 1)  # a ROUTER's first frame names the route
    main()
