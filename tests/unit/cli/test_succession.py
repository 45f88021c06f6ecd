"""What `run continue` writes, and of whom it warns."""

import json
from pathlib import Path

import pytest

from dcfm_node.cli.succession import _continued
from dcfm_node.demo.stage import to_toml
from dcfm_node.records.entries import Withdraw
from dcfm_node.records.manifest import Manifest
from dcfm_node.store.journals import JournalStore
from dcfm_node.wire.envelope import manifest_bytes
from tests.unit.cli.running import run as dcfm
from tests.unit.swarm.builders import Run


def file_of(manifest: Manifest) -> str:
    """A run.toml that leaves nothing to a preset."""
    fields = {"name", "sample_shape", "attributes", "network", "method", "policy"}
    fields |= {"standardise", "probes"}
    said = json.loads(manifest.model_dump_json(include=fields, exclude_none=True))
    return to_toml({"attribute" if k == "attributes" else k: v for k, v in said.items()})


def test_a_run_is_continued_again_and_again_and_its_file_stays_as_long() -> None:
    text = '# Ours.\nname = "r"\n\n[method.local]\nsteps = 1\n'
    first = _continued(text, ['run = "aa"', 'replaced = ["x"]'])
    assert first.startswith(text)
    second = _continued(first, ['run = "bb"'])
    assert second.replace("bb", "aa") == first.replace('replaced = ["x"]\n', "")
    assert _continued(second, ['run = "bb"']) == second
    assert second.count("goes on from") == 1


def test_what_stands_after_the_table_is_kept() -> None:
    again = _continued('name = "r"\n[continues]\nrun = "aa"\n[policy]\nstall_s = 1.0\n', [])
    assert "[policy]\nstall_s = 1.0" in again
    assert "aa" not in again


@pytest.mark.parametrize("leaves", [False, True])
def test_who_left_the_run_is_warned_of_before_the_next_one_waits_for_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    leaves: bool,
) -> None:
    run = Run(3)
    if leaves:
        run.authors[2].say(Withdraw(reason="moving"))
    (tmp_path / "state").mkdir()
    store = JournalStore(tmp_path / "state" / "journals.sqlite")
    store.enter(run.id, manifest_bytes(run.manifest))
    entries = ((a.key, s.entry.seq, s.envelope) for a in run.authors for s in a.journal)
    store.append_many(run.id, entries)
    store.close()
    node, new = tmp_path / "node.toml", tmp_path / "next.toml"
    node.write_text('name = "silo-0000"\n[data]\nformat = "npz"\npath = "gone.npz"\n')
    (tmp_path / "run.toml").write_text(file_of(run.manifest))
    assert dcfm(monkeypatch, "run", "continue", new, "--json", "-c", node) == 0
    said = capsys.readouterr()
    gone = {"silo-0002": "withdrew: moving"} if leaves else {}
    assert json.loads(said.out)["departed"] == gone
    assert said.err.startswith("warning: silo-0002 withdrew: moving\n") == leaves
    assert (f"'roster' in {new}" in said.err) == bool(said.err) == leaves
    assert run.id.hex() in new.read_text()
