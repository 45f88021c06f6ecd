"""dcfm-node: Decentralized Compositional Flow Matching between private silos.

`load_student` loads a student that a run made, without a daemon: see `dcfm_node.student`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dcfm_node.student.loaded import Drawn, Student, load_student

__all__ = ["Drawn", "Student", "__version__", "load_student"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """The Python interface, loaded on first use: the command line imports this module too."""
    if name not in ("Drawn", "Student", "load_student"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("dcfm_node.student.loaded"), name)
