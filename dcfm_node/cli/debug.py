"""The command `debug bundle`: what somebody who helps needs to see, and nothing private."""

import io
import json
import os
import platform
import re
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
from dcfm_node.cli.options import DEFAULT_CONFIG, AsJson, Config
from dcfm_node.cli.output import answer, ask, say, size, table
from dcfm_node.cli.private import redactor_of, state_of, tables_of
from dcfm_node.cli.recorded import journal_of, students_of
from dcfm_node.cli.redacting import Redactor
from dcfm_node.errors import ConfigError, Failed, UserError
from dcfm_node.files import open_regular
from dcfm_node.words import utc

app = typer.Typer(
    help="What helps to find a fault: bundle.", no_args_is_help=True, rich_markup_mode=None
)

MAX_LOG_BYTES = 1 << 20
"""The last bytes of a log that a bundle has."""
MAX_LOG_FILE = 1 << 40
MAX_LISTED = 500
"""Most files of the state folder that are listed."""
PACKAGES = (
    *("torch", "numpy", "pydantic", "pyzmq", "cryptography", "blake3", "msgpack", "safetensors"),
    *("pillow", "structlog", "typer", "rich", "starlette", "uvicorn", "prometheus-client"),
)
_OWN_FILE = re.compile(
    r"(?:\w+\.log(?:\.1)?|(?:journals|egress)\.sqlite(?:-wal|-shm)?|lock|control\.sock|bundles\.json"
    r"|(?:snapshots|partial|work|import|pairing|page)(?:/[\w.-]+)*)",
    re.ASCII,
)
"""Names below the state folder that the program gives."""
ABOUT = """A debug bundle of dcfm-node.

It holds no key, token, sample or weight. Of node.toml it holds the settings that are not private;
of [data] only the format and numbers. Of run.toml it holds the settings without comments.
A private path is taken out with all that follows it, up to the closing quote or the end of the
line. Quoted words in messages are taken out, since they may be labels or columns of private data.
Words in capitals stand for what was taken out: DATA, STATE, NODE, HOME, PATH, SECRET, REDACTED.

What all members of the run know may remain: names and addresses of silos, names of attributes and
their values in run.toml, and what each silo published: public keys, numbers of samples, figures of
its experts. So may addresses of machines that tried to connect, ports, versions, and figures of
this machine.
The ends of logs hold what programs wrote. A word of your data that stands in a log without quotes
and is not in node.toml is not recognised. Look into the bundle before you send it.
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

    Keys, tokens, private paths, names of data files and quoted words are taken out. Names and
    addresses of silos remain, and names and values of the run's attributes. The command first
    lists what the archive would hold, and asks. It replaces no file. It works with and without a
    running daemon. Nothing is sent anywhere.
    """
    name = _name(config)
    redactor = redactor_of(config)
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
    state, (settings, wrong) = state_of(config), tables_of(config)

    def part(name: str, what: str, document: Any) -> Part:
        return Part(name, what, _json(redactor.document(document)))

    yield Part("README.txt", "what this is, and what may remain in it", ABOUT.encode())
    yield part("versions.json", "this program, Python, packages, kernel", _versions())
    yield part(
        "machine.json", "memory, disk, limits; files of the state folder", _machine(state, redactor)
    )
    status, said = _asked(state, StatusRequest())
    if isinstance(status, Status):
        # Which of its own figures a worker shows is up to the method: they are left out.
        worker = status.worker.model_copy(update={"metrics": {}})
        status = status.model_copy(update={"worker": worker})
    yield part("status.json", "status; names of silos, attributes and values", _plain(status, said))
    peers, said = _asked(state, PeersRequest())
    yield part("peers.json", "peers: names, addresses, public keys", _plain(peers, said))
    students, said = _tried(lambda: students_of(config, "", None))
    yield part("students.json", "students and their figures", _plain(students, said))
    names = [silo.name for silo in status.silos] if isinstance(status, Status) else [""]
    journals = [_tried(lambda silo=name: journal_of(config, "", None, silo)) for name in names]  # type: ignore[misc]
    found = [_summary(journal) if journal is not None else said for journal, said in journals]
    yield part("journals.json", "how many records of each kind each silo wrote", found)
    yield _settings_part(settings, wrong, redactor)
    run, absent = tables_of(config.parent / "run.toml")
    what = "run.toml without comments; names of attributes and values"
    if run is not None:
        yield part("run.json", what, run)
    elif absent:
        yield Part("run.json", f"left out: {absent}", _json({"left out": absent}))
    for name, path, what in (
        ("worker.log", state / "worker.log", "the end of the training process's log"),
        *([("node.log", log, "the end of the node's log")] if log is not None else []),
    ):
        if settings is None:
            told = "left out: without node.toml, it is not known what in it is private"
            yield Part(name, told, f"{told}\n".encode())
        elif (content := _end_of(path)) is not None:
            yield Part(name, what, redactor.log(content.decode(errors="replace")).encode())
    yield Part("redacted.json", "how much was taken out", _json(dict(redactor.taken)))


def _settings_part(settings: dict[str, Any] | None, wrong: str, redactor: Redactor) -> Part:
    from dcfm_node.cli.shown_settings import shown_settings

    if settings is None:
        told = f"left out: {wrong}"
        return Part("node.toml", told, f"# {told}\n".encode())
    text, hidden = shown_settings(settings)
    redactor.taken["settings"] += hidden
    what = "this node's settings; of [data] the format and numbers"
    return Part("node.toml", what, text.encode())


def _plain(document: Any, said: dict[str, Any]) -> Any:
    """A document, or why there is none."""
    return document.plain() if document is not None else said


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False, default=str).encode() + b"\n"


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


def _machine(state: Path, redactor: Redactor) -> dict[str, Any]:
    found: dict[str, Any] = {"cores": os.cpu_count(), "load": os.getloadavg()}
    found["memory_bytes"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found["open_files"] = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        disk = shutil.disk_usage(state)
        found |= {"disk_bytes": disk.total, "disk_free_bytes": disk.free}
        found["state"] = [
            {
                "name": _own_name(path, state, redactor),
                "bytes": of.st_size,
                "mode": f"{of.st_mode:o}",
            }
            for path in sorted(state.rglob("*"))[:MAX_LISTED]
            if (of := path.lstat()) is not None
        ]
    except OSError as error:
        found["state"] = error.strerror
    return found


def _own_name(path: Path, state: Path, redactor: Redactor) -> str:
    """The name of a file that the program made; others have no name here."""
    name = str(path.relative_to(state))
    if not _OWN_FILE.fullmatch(name) or redactor.is_data(str(path)):
        redactor.taken["names of other files"] += 1
        return "…"
    return name


def _end_of(path: Path) -> bytes | None:
    """The last whole lines of a file; None if it is not there."""
    try:
        with open_regular(path, MAX_LOG_FILE) as file:
            start = max(0, os.fstat(file.fileno()).st_size - MAX_LOG_BYTES)
            file.seek(start)
            content = file.read(MAX_LOG_BYTES)
    except OSError:
        return None
    # What is left of a cut line may be the end of a private name.
    return content.partition(b"\n")[2] if start else content


def _name(config: Path) -> str:
    """The silo's name, as a part of a file's name."""
    name = str((tables_of(config)[0] or {}).get("name", "node"))
    return "".join(c for c in name[:32] if c.isascii() and (c.isalnum() or c in "-_")) or "node"
