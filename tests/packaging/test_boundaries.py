"""What others wrote goes to a terminal, and files of others are read, through one door each."""

import ast

import pytest

from tests.packaging.tree import PACKAGE, offences, tree_of

PRINTS = {
    "cli/output.py": "the command line's",
    "daemon/logs.py": "the log's",
    "demo/live.py": "the demo's",
    "experiment/progress.py": "an experiment's progress",
    "experiment/lines.py": "a pipe to its parent",
    "page/__main__.py": "a pipe to its daemon",
    "student/sampler.py": "a program without this package",
    "worker/__main__.py": "a pipe to its daemon",
    "worker/machine.py": "a pipe to its parent",
    "worker/ranks.py": "the worker's own log",
}
"""Files that print, and what for: the first four sanitise, others speak to a process or a log,
or have nothing of others to print."""
READS = {
    "page/app.py": "its own static files, which the package brings along",
    "page/pictures.py": "members of an archive that `files` opened",
    "store/delta.py": "snapshots of this node's own, verified before",
    "student/sampler.py": "its own settings, on machines without this package",
}
"""Files of these rooms that read without `files`, and why they may."""
READING_ROOMS = ("cli", "config", "store", "api", "student", "swarm", "page")
ALSO_READING = ("experiment/results.py", "experiment/show.py", "daemon/imports.py")


def printing(tree):
    """What in a module writes to a terminal by itself."""
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="print" | "Console" as name)):
                found.append(name)
            case ast.Call(
                func=ast.Attribute(
                    attr="print" | "echo" | "secho" | "confirm" | "prompt" | "Console" as name
                )
            ):
                found.append(name)
            case ast.Attribute(value=ast.Name(id="sys"), attr="stdout" | "stderr" as name):
                found.append(f"sys.{name}")
    return found


def reading(tree):
    """What in a module opens a file for reading by itself."""
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="read_text" | "read_bytes" as name)):
                found.append(name)
            case ast.Call(func=ast.Name(id="open") | ast.Attribute(attr="open") as called):
                if isinstance(called, ast.Attribute) and ast.unparse(called) == "os.open":
                    continue
                modes = [a.value for a in node.args if isinstance(a, ast.Constant)]
                if not any(set(str(mode)) & set("wax") for mode in modes):
                    found.append("open")
    return found


def formatting_times(tree):
    names = {"fromtimestamp", "utcfromtimestamp", "strftime", "isoformat"}
    return [n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr in names]


def misprinting(path):
    """How a file prints that may not; for one that may, that it does not."""
    found = printing(tree_of(path))
    if str(path.relative_to(PACKAGE)) in PRINTS:
        return [] if found else ["prints nothing: take it from the list"]
    # Whether a stream is a terminal may be asked anywhere.
    asked = {"sys.stderr", "sys.stdout"}
    text = path.read_text(encoding="utf-8")
    used = [
        stream
        for stream in asked & set(found)
        if text.count(stream) != text.count(f"{stream}.isatty(")
    ]
    return used + [what for what in found if what not in asked]


def misreading(path):
    """How a file reads that may not; for one that may, that it does not."""
    name = str(path.relative_to(PACKAGE))
    if name.split("/")[0] not in READING_ROOMS and name not in ALSO_READING:
        return []
    found = reading(tree_of(path))
    if name in READS:
        return [] if found else ["reads nothing: take it from the list"]
    return found


def test_nothing_prints_but_through_a_boundary():
    assert offences(misprinting) == {}


def test_files_of_others_are_read_through_one_door():
    assert offences(misreading) == {}


def test_times_are_formatted_in_one_place():
    found = offences(lambda path: formatting_times(tree_of(path)))
    assert found.keys() == {"words.py"}


def test_every_listed_file_exists():
    assert [
        name for name in (*PRINTS, *READS, *ALSO_READING) if not (PACKAGE / name).exists()
    ] == []


@pytest.mark.parametrize(
    "code",
    [
        "print(1)",
        "import typer\ntyper.echo(1)",
        "import typer as t\nt.confirm('?')",
        "import sys\nsys.stdout.write('')",
        "from rich.console import Console\nConsole()",
        "def f(console):\n    console.print('')",
    ],
)
def test_printing_would_be_seen(code):
    assert printing(ast.parse(code))


@pytest.mark.parametrize(
    "code", ["p.read_text()", "p.read_bytes()", "p.open('rb')", "open(p)", "p.open()"]
)
def test_reading_would_be_seen(code):
    assert reading(ast.parse(code))
    assert not reading(ast.parse("p.open('wb')"))


def test_a_time_would_be_seen():
    assert formatting_times(ast.parse("datetime.fromtimestamp(0)"))
