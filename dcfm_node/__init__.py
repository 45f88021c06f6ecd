"""dcfm-node: Decentralized Compositional Flow Matching between private silos.

`load_student` loads a student that a run made, without a daemon: see `dcfm_node.student`. `compose`
makes one law of several students.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dcfm_node.student.composing import Composition, compose
    from dcfm_node.student.loaded import Drawn, Student, load_student

__all__ = ["Composition", "Drawn", "Student", "__version__", "compose", "load_student"]
__version__ = "0.1.0"
_HOME = {
    "Composition": "composing",
    "compose": "composing",
    "Drawn": "loaded",
    "Student": "loaded",
    "load_student": "loaded",
}


def __getattr__(name: str) -> object:
    """The Python interface, loaded on first use: the command line imports this module too."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"dcfm_node.student.{_HOME[name]}"), name)
