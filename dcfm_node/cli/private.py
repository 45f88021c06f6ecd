"""What is private to a node: its paths, its secrets, and words of its data."""

import os
import re
import sysconfig
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

from dcfm_node.cli.options import state_folder
from dcfm_node.cli.redacting import Redactor
from dcfm_node.config.text import text_of
from dcfm_node.errors import ConfigError
from dcfm_node.files import read_bounded


def tables_of(path: Path) -> tuple[dict[str, Any] | None, str]:
    """The tables of a settings file, else None and why; the reason is empty if there is no file.

    The reason has no words of the file.
    """
    try:
        return tomllib.loads(text_of(path, "")), ""
    except ConfigError as error:
        return None, "" if isinstance(error.__cause__, FileNotFoundError) else "it cannot be read"
    except (ValueError, RecursionError) as error:
        line = re.search(r"at line (\d+)", str(error))
        return None, "it is not TOML" + (f", line {line[1]}" if line else "")


def state_of(config: Path) -> Path:
    """The state folder; the usual one, if the settings cannot be read.

    Raises:
        ConfigError: there are no settings.
    """
    try:
        return state_folder(config)
    except ConfigError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise
        return config.parent.absolute() / "state"


def redactor_of(config: Path) -> Redactor:
    """Knows this node's secrets, private paths and words."""
    from dcfm_node.cli.shown_settings import words_of_data

    settings = tables_of(config)[0] or {}
    run, _ = tables_of(config.parent / "run.toml")
    words = words_of_data(settings, _public(run or {}))
    return Redactor(_places(config, settings), _secrets(config.parent.absolute(), settings), words)


def _public(run: dict[str, Any]) -> set[str]:
    """Names and values of a run's attributes, which all members know."""
    found: set[str] = set()
    attributes = run.get("attribute")
    for attribute in attributes if isinstance(attributes, list) else []:
        if isinstance(attribute, dict):
            values = attribute.get("values")
            found.update(str(value) for value in (values if isinstance(values, list) else []))
            found.add(str(attribute.get("name")))
    return found


def _places(config: Path, settings: dict[str, Any]) -> dict[str, str]:
    """What stands for each path that is known."""
    folder, data = config.parent.absolute(), settings.get("data", {})
    installed = {sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib")}
    places = dict.fromkeys((*installed, str(Path(__file__).parents[1])), "PYTHON")
    places |= {str(Path.home()): "HOME", str(folder): "NODE", str(state_of(config)): "STATE"}
    for key in ("path", "labels", "index"):
        if isinstance(data, dict) and isinstance(value := data.get(key), str) and value:
            places[str(folder / _home(value))] = "DATA"
            if {"/", "."} & set(value):  # a bare word may stand for something else in a log
                places[value] = "DATA"
    for useless in ("/", ".", ".."):
        places.pop(useless, None)
    return places


def _home(value: str) -> Path:
    with suppress(RuntimeError):  # a user who does not exist
        return Path(value).expanduser()
    return Path(value)


def _secrets(folder: Path, settings: dict[str, Any]) -> list[bytes]:
    page = settings.get("page", {})
    keys = folder / _home(str(settings.get("keys", "keys")))
    files = [p for at in (keys, keys / "previous") for p in (at / "sign.key", at / "link.key")]
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials:
        files += [Path(credentials) / "sign.key", Path(credentials) / "link.key"]
    if isinstance(page, dict) and isinstance(page.get("token_file"), str):
        files.append(folder / _home(page["token_file"]))
    secrets = []
    for file in files:
        try:
            secrets.append(read_bounded(file, 4_096))
        except (OSError, ValueError):  # not there, or not this user's to read: then no part has it
            continue
    return secrets
