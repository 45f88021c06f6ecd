"""What `run continue` writes, and of whom it warns."""

import json
from itertools import product
from pathlib import Path

import pytest

from dcfm_node.cli.succession import _continued
from dcfm_node.config.peers import Peer
from dcfm_node.config.run import load_run
from dcfm_node.demo.stage import to_toml
from dcfm_node.records.entries import Withdraw
from dcfm_node.records.manifest import Manifest
from dcfm_node.store.journals import JournalStore
from dcfm_node.swarm.succession import changed_keys
from dcfm_node.wire.envelope import manifest_bytes
from tests.unit.cli.running import run as dcfm
from tests.unit.swarm.builders import Run


def file_of(manifest: Manifest) -> str:
    """A run.toml that leaves nothing to a preset."""
    fields = {"name", "sample_shape", "attributes", "network", "method", "policy"}
    fields |= {"standardise", "probes"}
    said = json.loads(manifest.model_dump_json(include=fields, exclude_none=True))
    if manifest.feasible:
        named = [one.values for one in manifest.attributes]
        said["feasible"] = [
            [values[i] for values, i in zip(named, label, strict=True)]
            for label in manifest.feasible
        ]
    return to_toml({"attribute" if k == "attributes" else k: v for k, v in said.items()})


def node_of(run: Run, folder: Path) -> Path:
    """A node that took part in a run."""
    (folder / "state").mkdir()
    store = JournalStore(folder / "state" / "journals.sqlite")
    store.enter(run.id, manifest_bytes(run.manifest))
    entries = ((a.key, s.entry.seq, s.envelope) for a in run.authors for s in a.journal)
    store.append_many(run.id, entries)
    store.close()
    node = folder / "node.toml"
    node.write_text('name = "silo-0000"\n[data]\nformat = "npz"\npath = "gone.npz"\n')
    (folder / "run.toml").write_text(file_of(run.manifest))
    return node


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
    node, new = node_of(run, tmp_path), tmp_path / "next.toml"
    assert dcfm(monkeypatch, "run", "continue", new, "--json", "-c", node) == 0
    said = capsys.readouterr()
    gone = {"silo-0002": "withdrew: moving"} if leaves else {}
    assert json.loads(said.out)["departed"] == gone
    assert said.err.startswith("warning: silo-0002 withdrew: moving\n") == leaves
    assert (f"'roster' in {new}" in said.err) == bool(said.err) == leaves
    assert run.id.hex() in new.read_text()


def test_the_next_run_keeps_what_can_occur_and_what_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(3)
    first, *others = run.manifest.attributes
    attributes = (first.model_copy(update={"absent": first.values[0]}), *others)
    some = tuple(product(*(range(2) for _ in attributes)))[1:]
    run.begin(run.manifest.model_copy(update={"attributes": attributes, "feasible": some}))
    node, new = node_of(run, tmp_path), tmp_path / "next.toml"
    assert dcfm(monkeypatch, "run", "continue", new, "-c", node) == 0
    peers = tuple(
        Peer(name=silo.name, sign_key=silo.key, link_key="0" * 40) for silo in run.manifest.roster
    )
    found = load_run(new, peers, None, listed=tmp_path)
    assert (found.attributes, found.feasible) == (attributes, some)
    assert not changed_keys(run.manifest, found)
    file = tmp_path / "run.toml"
    text = file.read_text()
    wrong = {
        "attributes": text.replace(f'absent = "{first.values[0]}"\n', ""),
        "feasible": text.replace(text[text.index("feasible") :].split("\n")[0] + "\n", ""),
    }
    for field, said in wrong.items():
        file.write_text(said)
        assert dcfm(monkeypatch, "run", "continue", tmp_path / field, "-c", node) == 2
        assert f"{field} differ" in capsys.readouterr().err
    file.write_text(text.replace("feasible = [[", 'feasible = [["gone"], ['))
    assert dcfm(monkeypatch, "run", "continue", tmp_path / "no.toml", "-c", node) == 2
    assert "feasible[0]: has 1 values" in capsys.readouterr().err
