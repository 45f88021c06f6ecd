"""The runs of tokens in docs/data.md are runs that nodes accept."""

import re
from pathlib import Path

import pytest
from zmq.utils import z85

from dcfm_node.config.peers import Peer
from dcfm_node.config.run import load_run
from tests.packaging.tree import ROOT

BLOCKS = [
    block
    for block in re.findall(r"```toml\n(.*?)```", (ROOT / "docs/data.md").read_text(), re.DOTALL)
    if block.startswith("sample_shape")
]
TOP = 'name = "r"\n'
ATTRIBUTES = "".join(f'[[attribute]]\nname = "{a}"\nvalues = ["x", "y"]\n' for a in "ab")


@pytest.mark.parametrize("block", BLOCKS, ids=("text", "categories"))
def test_a_documented_run_of_tokens_is_accepted(block: str, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(TOP + block + ATTRIBUTES)
    keys = [bytes([k + 1]) * 32 for k in range(3)]
    peers = tuple(
        Peer.model_validate(
            {"name": f"silo-{k}", "sign_key": key.hex(), "link_key": z85.encode(key).decode()}
        )
        for k, key in enumerate(keys)
    )
    run = load_run(tmp_path / "run.toml", peers, None, listed=tmp_path / "peers.toml")
    assert run.path.alphabet == run.domain.alphabet > 0
    assert run.network.kind == "transformer"
