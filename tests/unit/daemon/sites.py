"""Sites on the disk, to pair in tests."""

from pathlib import Path

from dcfm_node.config.keys import create_keys
from dcfm_node.config.node import node_template
from dcfm_node.config.pairing import Home, home

ADDRESSES = """
[advertise]
control = "tcp://127.0.0.1:{port}"
bulk = "tcp://127.0.0.1:{next}"
"""
RUN = """
name = "shapes"
sample_shape = [2]
[[attribute]]
name = "shape"
values = ["{name}", "square"]
"""


def made_home(folder: Path, name: str, port: int) -> Home:
    """A node's folder with keys, node.toml and run.toml."""
    site = folder / name
    site.mkdir()
    create_keys(site / "keys")
    text = node_template(name) + ADDRESSES.format(port=port, next=port + 1)
    (site / "node.toml").write_text(text)
    (site / "run.toml").write_text(RUN.format(name=name))
    return home(site / "node.toml")
