"""The command `debug bundle`: what somebody who helps needs to see, and nothing private."""

import io
import json
import os
import platform
import resource
import shutil
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from dcfm_node import __version__
from dcfm_node.api.client import Starting, call
from dcfm_node.api.debug import BundledFile, DebugBundle
from dcfm_node.api.journal import Journal
from dcfm_node.api.requests import PeersRequest, Request, StatusRequest
from dcfm_node.api.status import Status
from dcfm_node.cli.options import DEFAULT_CONFIG, AsJson, Config, state_folder
from dcfm_node.cli.output import answer, ask, say, size, table
from dcfm_node.cli.recorded import journal_of, students_of
from dcfm_node.cli.redacting import Redactor
from dcfm_node.errors import ConfigError, Failed, UserError
from dcfm_node.files import open_regular, read_bounded
from dcfm_node.words import utc

app = typer.Typer(
    help="What helps to find a fault: bundle.", no_args_is_help=True, rich_markup_mode=None
)

MAX_LOG_BYTES = 1 << 20
"""The last bytes of a log that a bundle has."""
MAX_LOG_FILE = 1 << 40
MAX_SETTINGS = 1 << 20
MAX_LISTED = 500
"""Most files of the state folder that are listed."""
PACKAGES = (
    *("torch", "numpy", "pydantic", "pyzmq", "cryptography", "blake3", "msgpack", "safetensors"),
    *("pillow", "structlog", "typer", "rich", "starlette", "uvicorn", "prometheus-client"),
)
ABOUT = """A debug bundle of dcfm-node.

It holds no key, token, sample, label or weight, and no name of a private file.
It holds names and addresses of the silos of the run, and what each of them published about itself:
public keys, numbers of samples, figures of its experts.
Words in capitals stand for what was taken out: DATA, STATE, NODE, PATH, SECRET, REDACTED.
"""


class Part(NamedTuple):
    """A file of the bundle."""

    name: str
    what: str
    content: bytes


@app.callback()
def _group() -> None:
    """Keeps `bundle` a command of its own while it is the only one."""


@app.command()
def bundle(
    out: Annotated[
        Path | None, typer.Option(help="Archive to write; default: dcfm-debug-NAME-TIME.tar.gz.")
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="The node's log, if it goes to a file; its end is added.")
    ] = None,
    only_list: Annotated[
        bool, typer.Option("--list", help="List what the bundle would hold, and write nothing.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask; required without a terminal.")
    ] = False,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Collect what helps to find a fault into one archive.

    It holds status, peers, a summary of the journals, settings, versions, and the ends of logs.

    Keys, tokens, private paths and names of data files are taken out. The command first lists what
    the archive would hold, and asks. It replaces no file. It works with and without a running
    daemon. Nothing is sent anywhere.
    """
    name = _name(config)
    redactor = _redactor(config)
    parts = list(_parts(config, log, redactor))
    for part in parts:
        if redactor.leaks(part.content):
            raise Failed(
                f"{part.name} would hold one of this node's secrets: nothing was written",
                fix="please report this",
            )
    stamp = utc(time.time() * 1_000).translate({ord(c): None for c in "-: "})
    found = DebugBundle(
        file=None,
        files=tuple(BundledFile(name=p.name, bytes=len(p.content), what=p.what) for p in parts),
        redacted={kind: times for kind, times in sorted(redactor.taken.items()) if times},
    )
    if only_list:
        answer(found, as_json, _text)
        return
    target = out if out is not None else Path(f"dcfm-debug-{name}-{stamp}.tar.gz")
    if not yes:
        _confirm(found, target)
    _write(target, f"dcfm-debug-{name}-{stamp}", parts)
    answer(found.model_copy(update={"file": str(target)}), as_json, _text)


def _confirm(found: DebugBundle, target: Path) -> None:
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigError(
            "there is no terminal to confirm on what leaves this machine",
            where="debug bundle",
            fix="look at 'dcfm-node debug bundle --list', then pass --yes",
        )
    say(*_text(found).split("\n"), err=True)
    ask(f"Write these to {target}?")


def _text(found: DebugBundle) -> str:
    rows = [(part.name, size(part.bytes), part.what) for part in found.files]
    taken = ", ".join(f"{times} {kind}" for kind, times in found.redacted.items()) or "nothing"
    lines = [table(("file", "size", "what"), rows), "", f"taken out: {taken}"]
    if found.file is not None:
        lines.append(f"wrote {found.file}; look into it before you send it: tar -xzOf {found.file}")
    return "\n".join(lines)


def _write(target: Path, folder: str, parts: list[Part]) -> None:
    """Write the archive, for its owner alone.

    Raises:
        Failed: a file is there already.
    """
    try:
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        fix = "name another with --out"
        raise Failed("exists already", where=str(target), fix=fix) from None
    with os.fdopen(fd, "wb") as file, tarfile.open(None, "w:gz", file) as archive:
        for part in parts:
            entry = tarfile.TarInfo(f"{folder}/{part.name}")
            entry.size, entry.mode, entry.mtime = len(part.content), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(part.content))


def _parts(config: Path, log: Path | None, redactor: Redactor) -> Iterator[Part]:
    state = state_folder(config)
    yield Part("README.txt", "what this is", ABOUT.encode())
    yield Part("versions.json", "this program, Python, packages, kernel", _json(_versions()))
    yield Part(
        "machine.json", "memory, disk, limits; files of the state folder", _json(_machine(state))
    )
    status, said = _asked(state, StatusRequest())
    if isinstance(status, Status):
        # Which of its own figures a worker shows is up to the method: they are left out.
        worker = status.worker.model_copy(update={"metrics": {}})
        status = status.model_copy(update={"worker": worker})
    yield Part(
        "status.json", "what 'dcfm-node status --json' says", _redacted(redactor, status, said)
    )
    peers, said = _asked(state, PeersRequest())
    yield Part("peers.json", "what 'dcfm-node peers --json' says", _redacted(redactor, peers, said))
    students, said = _tried(lambda: students_of(config, "", None))
    what = "what 'dcfm-node student list --json' says"
    yield Part("students.json", what, _redacted(redactor, students, said))
    names = [silo.name for silo in status.silos] if isinstance(status, Status) else [""]
    journals = [_tried(lambda silo=name: journal_of(config, "", None, silo)) for name in names]  # type: ignore[misc]
    found = [_summary(journal) if journal is not None else said for journal, said in journals]
    yield Part("journals.json", "how many records of each kind each silo wrote", _json(found))
    for name, path, what in (
        ("node.toml", config, "this node's settings"),
        (
            "run.toml",
            config.parent / "run.toml",
            "the run's settings, if they are beside node.toml",
        ),
        ("worker.log", state / "worker.log", "the end of the training process's log"),
        *([("node.log", log, "the end of the node's log")] if log is not None else []),
    ):
        if (content := _end_of(path)) is not None:
            hide = redactor.settings if name == "node.toml" else redactor.text
            yield Part(name, what, hide(content.decode(errors="replace")).encode())
    yield Part("redacted.json", "how much was taken out", _json(dict(redactor.taken)))


def _redacted(redactor: Redactor, document: Any, said: dict[str, Any]) -> bytes:
    """A document, or why there is none, without what is private."""
    found = document.plain() if document is not None else said
    return redactor.text(_json(found).decode()).encode()


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"


def _asked(state: Path, request: Request[Any]) -> tuple[Any, dict[str, Any]]:
    try:
        return call(state, request, timeout_s=10.0), {}
    except Starting as starting:
        return starting.status, {}
    except UserError as error:
        return None, {"error": error.what, "fix": error.fix}


def _tried(ask_: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    try:
        return ask_(), {}
    except UserError as error:
        return None, {"error": error.what, "fix": error.fix}


def _summary(journal: Journal) -> dict[str, Any]:
    """How many records of each kind, and when the first and the last were written."""
    times = [entry.time_ms for entry in journal.entries]
    return {
        "silo": journal.silo,
        "records": len(times),
        "kinds": dict(Counter(entry.body.kind for entry in journal.entries)),
        "first": utc(times[0]) if times else None,
        "last": utc(times[-1]) if times else None,
    }


def _versions() -> dict[str, Any]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return {
        "dcfm-node": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": found,
    }


def _machine(state: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"cores": os.cpu_count(), "load": os.getloadavg()}
    found["memory_bytes"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found["open_files"] = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        disk = shutil.disk_usage(state)
        found |= {"disk_bytes": disk.total, "disk_free_bytes": disk.free}
        found["state"] = {
            str(path.relative_to(state)): {"bytes": of.st_size, "mode": f"{of.st_mode:o}"}
            for path in sorted(state.rglob("*"))[:MAX_LISTED]
            if (of := path.lstat()) is not None
        }
    except OSError as error:
        found["state"] = error.strerror
    return found


def _end_of(path: Path) -> bytes | None:
    """The last bytes of a file; None if it is not there."""
    try:
        with open_regular(path, MAX_LOG_FILE) as file:
            file.seek(max(0, path.stat().st_size - MAX_LOG_BYTES))
            return file.read(MAX_LOG_BYTES)
    except OSError:
        return None


def _settings(config: Path) -> dict[str, Any]:
    """The tables of a node.toml, as far as they can be read: it may be what is wrong."""
    import tomllib

    try:
        return tomllib.loads(read_bounded(config, MAX_SETTINGS).decode())
    except (OSError, ValueError, RecursionError):
        return {}


def _name(config: Path) -> str:
    """The silo's name, as a part of a file's name."""
    name = str(_settings(config).get("name", "node"))
    return "".join(c for c in name[:32] if c.isascii() and (c.isalnum() or c in "-_")) or "node"


def _redactor(config: Path) -> Redactor:
    """Knows this node's secrets and private paths."""
    folder, settings = config.parent.absolute(), _settings(config)
    data = settings.get("data", {})
    page = settings.get("page", {})
    places = {str(Path.home()): "HOME", str(folder): "NODE", str(state_folder(config)): "STATE"}
    for key in ("path", "labels", "index"):
        if isinstance(data, dict) and isinstance(value := data.get(key), str) and value:
            places[str(folder / Path(value).expanduser())] = "DATA"
            if {"/", "."} & set(value):  # a bare word may stand for something else in a log
                places[value] = "DATA"
    places.pop("/", None)
    keys = folder / str(settings.get("keys", "keys"))
    files = [p for at in (keys, keys / "previous") for p in (at / "sign.key", at / "link.key")]
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials:
        files += [Path(credentials) / "sign.key", Path(credentials) / "link.key"]
    if isinstance(page, dict) and isinstance(page.get("token_file"), str):
        files.append(folder / page["token_file"])
    secrets = []
    for file in files:
        try:
            secrets.append(read_bounded(file, 4_096))
        except OSError:  # it is not there, or this user may not read it: then no part has it
            continue
    return Redactor(places, secrets)
