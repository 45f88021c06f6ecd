"""Reads the text of a settings file. Imports little, so that commands start fast."""

from pathlib import Path

from dcfm_node.errors import ConfigError
from dcfm_node.files import owner_of, read_bounded

MAX_BYTES = 1 << 20
"""The most bytes of a settings file: more than a thousand peers need."""


def text_of(path: Path, absent: str) -> str:
    """A settings file's text, without the byte order mark that editors on Windows add.

    Args:
        absent: what to do if the file does not exist.

    Raises:
        ConfigError: the file does not exist, is not regular, cannot be read, or is not UTF-8 (with
            the line).
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
            fix="name a file that this user may read"
            + f", or use 'sudo -u {owner_of(path)}'" * isinstance(error, PermissionError),
        ) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(
            "is not UTF-8 text", where=f"{path}:{line}", fix="save the file as UTF-8"
        ) from error
