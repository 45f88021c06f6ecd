"""The text of a settings file; light enough for commands that ask a daemon."""

from pathlib import Path

from dcfm_node.errors import ConfigError
from dcfm_node.files import read_bounded

MAX_BYTES = 1 << 20
"""Of a file of settings: what a thousand peers take, and more."""


def text_of(path: Path, absent: str) -> str:
    """A settings file's text; editors on Windows put a byte order mark before it.

    Args:
        absent: what to do when there is no such file.

    Raises:
        ConfigError: no such file, not a regular one, unreadable, or not UTF-8, with its line.
    """
    try:
        text = read_bounded(path, MAX_BYTES).decode("utf-8-sig")
        return text.replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError as error:
        raise ConfigError("there is no such file", where=str(path), fix=absent) from error
    except OSError as error:
        raise ConfigError(
            f"cannot be read: {error.strerror}",
            where=str(path),
            fix="name a file that this user may read",
        ) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(
            "is not UTF-8 text", where=f"{path}:{line}", fix="save the file as UTF-8"
        ) from error
