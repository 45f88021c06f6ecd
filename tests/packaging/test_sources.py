"""Rules that hold for every source file: short, and never a pickle."""

import ast

import pytest

from tests.packaging.tree import imported, offences, tree_of

MAX_FILE_LINES, MAX_FUNCTION_LINES = 400, 70
PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def long_functions(tree):
    """(name, lines) of the functions that are too long."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    sized = [(node.name, node.end_lineno - node.lineno + 1) for node in found]
    return [(name, lines) for name, lines in sized if lines > MAX_FUNCTION_LINES]


def pickling(tree):
    """What in a module would run a pickle, or could."""
    found = [name for name in imported(tree) if name.split(".")[0] in PICKLES]
    found += [name for name in imported(tree) if name in ("torch.load", "torch.save")]
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="torch"), attr="load" | "save" as name):
                found.append(f"torch.{name}")
            case ast.keyword(arg="allow_pickle", value=value):
                if not (isinstance(value, ast.Constant) and value.value is False):
                    found.append("allow_pickle")
    return found


def linking(tree):
    """What in a module makes hard links, which CIFS, FAT and others do not have."""
    links = {"hardlink_to", "link_to", "os.link"}
    found = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    return [name for name in found if name in links or name.rsplit(".", 1)[-1] in links]


def test_nothing_is_linked():
    assert offences(lambda path: linking(tree_of(path))) == {}


@pytest.mark.parametrize("code", ["path.hardlink_to(other)", "import os\nos.link(a, b)"])
def test_a_link_would_be_seen(code):
    assert linking(ast.parse(code)) != []


def test_files_are_short():
    def excess(path):
        lines = path.read_text(encoding="utf-8").count("\n")
        return lines if lines > MAX_FILE_LINES else 0

    assert offences(excess) == {}


def test_functions_are_short():
    assert offences(lambda path: long_functions(tree_of(path))) == {}


def test_nothing_is_pickled():
    assert offences(lambda path: pickling(tree_of(path))) == {}


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "def f():\n    import dill as d",
        "import torch\ntorch.load('x')",
        "from torch import load",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import numpy as np\nnp.load('x', allow_pickle=flag)",
    ],
)
def test_a_pickle_would_be_seen(code):
    assert pickling(ast.parse(code))


def test_a_long_function_would_be_seen():
    def method(lines):
        return "class A:\n    async def f():\n" + "        x = 1\n" * (lines - 1)

    assert long_functions(ast.parse(method(MAX_FUNCTION_LINES + 1)))
    assert not long_functions(ast.parse(method(MAX_FUNCTION_LINES)))
