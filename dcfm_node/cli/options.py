"""Options that several commands share."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import typer

from dcfm_node.config.text import text_of
from dcfm_node.data.names import at_home
from dcfm_node.errors import ConfigError

Config = Annotated[
    Path, typer.Option("--config", "-c", help="The node's settings.", show_default=True)
]
OfRun = Annotated[
    str,
    typer.Option(
        "--run",
        metavar="RUN",
        help="An earlier run: its name, the start of its id, or its run.toml with --peers.",
    ),
]
OfPeers = Annotated[
    Path | None, typer.Option("--peers", help="The peers.toml that goes with that run.toml.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Count = Annotated[
    int,
    typer.Option(
        "-n",
        min=1,
        max=65_536,
        help="Number of samples in all. Several combinations share it: they take turns.",
    ),
]
Weights = Annotated[
    str,
    typer.Option(
        "--guidance",
        metavar="TRAINED[,NOVEL]",
        help="Guidance weight of combinations that some silo trained on, and of novel ones, in"
        " place of the run's. A probe counts as novel. More than 1 follows the attributes more"
        " closely, with less variety.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the random source.")]
Correction = Annotated[
    Literal["none", "langevin", "mala", "smc"],
    typer.Option(
        help="Correct the bias of composing: by Langevin moves, by moves that are accepted or"
        " not, or by weighted samples of one combination, drawn anew (give -n at least 32 of"
        " each). Takes twice the time of composing."
    ),
]
CodecFile = Annotated[
    Path | None, typer.Option(help="The codec's file, in place of that in the folder.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")]
NamesColumns = Annotated[
    Path, typer.Option("--config", "-c", help="The node's settings; its table names the columns.")
]

DEFAULT_CONFIG = Path("node.toml")


def state_folder(config: Path) -> Path:
    """The state folder that a node.toml names, as an absolute path.

    Raises:
        ConfigError: the file cannot be read or is not TOML.
    """
    return (config.parent / (_path(config, "state") or "state")).absolute()


def codec_file(config: Path) -> Path | None:
    """The codec's file that a node's settings name.

    Raises:
        ConfigError: the file cannot be read or is not TOML.
    """
    codec = _path(config, "codec")
    return None if codec is None else (config.parent / codec).absolute()


def _path(config: Path, key: str) -> Path | None:
    """A path in a node's settings, as it is written there.

    Reads the one key it needs, so that asking a daemon does not wait for the settings' validation.
    """
    absent = "name the node's settings with --config, or make them with 'dcfm-node init DIR'"
    try:
        settings = tomllib.loads(text_of(config, absent))
        return at_home(Path(str(settings[key]))) if key in settings else None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"is not TOML: {error}", where=str(config)) from error
    except ValueError as error:
        what, _, fix = str(error).partition("; ")
        raise ConfigError(what, where=f"{config}: {key}", fix=fix) from error
