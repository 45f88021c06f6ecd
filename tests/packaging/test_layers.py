"""What a fresh interpreter loads, and that the contracts of pyproject.toml, which `lint-imports`
holds, name every room."""

import pkgutil
import tomllib

import pytest

import dcfm_node.daemon
import dcfm_node.page
from tests.packaging.tree import PACKAGE, ROOT, python

LOADS = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print("torch" in sys.modules)
"""


def test_every_room_is_in_the_layers():
    """import-linter's `exhaustive` says so too; this names the room that is in no layer."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    named = {room.strip() for layer in layers for room in layer.replace("|", ":").split(":")}
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert len(rooms) > 10
    alone = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert rooms | alone == named


@pytest.mark.parametrize(
    "modules",
    [
        ["dcfm_node.cli.main"],
        [
            f"dcfm_node.daemon.{found.name}"
            for found in pkgutil.iter_modules(dcfm_node.daemon.__path__)
        ],
        [f"dcfm_node.page.{found.name}" for found in pkgutil.iter_modules(dcfm_node.page.__path__)],
    ],
    ids=["cli", "daemon", "page"],
)
def test_the_control_process_does_not_load_torch(modules):
    done = python(LOADS, *modules)
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr


def test_torch_would_be_seen():
    """The check above can fail: a room of tensors does load torch."""
    assert python(LOADS, "dcfm_node.paths.linear").stdout.strip() == "True"
