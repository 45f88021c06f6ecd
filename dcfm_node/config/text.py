"""The text of a settings file; light enough for commands that ask a daemon."""

from pathlib import Path

from dcfm_node.errors import ConfigError


def text_of(path: Path, absent: str) -> str:
    """A settings file's text; editors on Windows put a byte order mark before it.

    Args:
        absent: what to do when there is no such file.

    Raises:
        ConfigError: no such file, unreadable, or not UTF-8, with its line.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
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
