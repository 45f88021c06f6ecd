"""Students that a stopped node holds, fetched into a folder; and back to the one before."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save
from torch import zeros

from dcfm_node.cli import fetched
from dcfm_node.records.entries import Student, Withdraw
from dcfm_node.store.journals import JournalStore
from dcfm_node.student.columns import Columns
from dcfm_node.swarm.chunks import snapshot_of
from dcfm_node.wire.envelope import manifest_bytes
from tests.unit.cli.running import run as dcfm
from tests.unit.swarm.builders import Run

MODELS = [bytes(save({"w": zeros(1) + number})) for number in range(2)]
FIRST, SECOND = (snapshot_of(model).digest.hex() for model in MODELS)


class Node:
    """A stopped node with a released student; and, once a teacher left, with the next one."""

    def __init__(self, folder: Path) -> None:
        self.state, self.config = folder / "state", folder / "node.toml"
        self.config.write_text('name = "silo-0000"\n[data]\nformat = "npz"\npath = "gone.npz"\n')
        (self.state / "snapshots").mkdir(parents=True)
        self.run = Run(4, schedule="paper")
        self.run.publish_experts(0)
        self.first = self.run.student(self.run.elect(0))
        self.publish(self.first.model_copy(update={"snapshot": snapshot_of(MODELS[0])}), 0)

    def publish(self, body: Student, number: int) -> None:
        said = self.run.authors[number].say(body)
        self.run.endorse(said)
        self.path(number).write_bytes(MODELS[number])
        store = JournalStore(self.state / "journals.sqlite")
        store.enter(self.run.id, manifest_bytes(self.run.manifest))
        entries = ((a.key, s.entry.seq, s.envelope) for a in self.run.authors for s in a.journal)
        store.append_many(self.run.id, entries)
        store.close()

    def move_on(self) -> None:
        self.run.authors[3].say(Withdraw(reason="consent ended"))
        lease = self.run.elect(1, term=2)
        body = self.run.student(lease, snapshot=snapshot_of(MODELS[1]))
        self.publish(body, 1)

    def path(self, number: int) -> Path:
        return self.state / "snapshots" / f"{(FIRST, SECOND)[number]}.safetensors"


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.fixture
def ask(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], node: Node, tmp_path: Path
) -> Any:
    monkeypatch.chdir(tmp_path)

    def ask(*arguments: object) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = dcfm(monkeypatch, "student", *arguments, "--json")
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return code, document

    return ask


FETCH = ("fetch", "--latest", "--out", "student")


def test_a_student_is_fetched_from_the_files_of_a_stopped_node(ask: Any, node: Node) -> None:
    before = sorted(path for path in node.state.rglob("*"))
    code, told = ask(*FETCH)
    assert (code, told["digest"], told["written"], told["offline"]) == (0, FIRST, True, True)
    code, found = ask("verify", "student")
    assert (code, found["digest"], found["standing"]) == (0, FIRST, "released")
    assert ask("fetch", FIRST[:6], "--out", "other")[0] == 0
    code, told = ask("fetch", "00", "--out", "other")
    assert (code, told["error"]) == (1, "no student '00'")
    assert sorted(path for path in node.state.rglob("*")) == before


def test_the_names_of_the_site_s_columns_are_fetched_too(
    ask: Any, node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = Columns(("load", "wind"), "named as in t.csv")
    monkeypatch.setattr(fetched, "columns_of", lambda *_: named)
    assert ask(*FETCH)[0] == ask(*FETCH)[0] == 0
    assert json.loads((tmp_path / "student" / "columns.json").read_text()) == ["load", "wind"]
    code, found = ask("verify", "student")
    assert (code, found["unchecked"]) == (0, ["columns.json"])


def test_a_damaged_or_missing_snapshot_is_not_fetched(ask: Any, node: Node, tmp_path: Path) -> None:
    node.path(0).write_bytes(MODELS[1])
    code, told = ask(*FETCH)
    assert (code, "is damaged" in told["error"]) == (1, True)
    node.path(0).unlink()
    code, told = ask(*FETCH)
    assert (code, "does not hold that student" in told["error"]) == (1, True)
    assert not list(tmp_path.glob("*student*"))


def test_the_student_before_is_kept_and_gone_back_to(ask: Any, node: Node, tmp_path: Path) -> None:
    ask(*FETCH)
    code, told = ask("rollback", "student")
    assert (code, "no earlier student is kept" in told["error"]) == (1, True)
    node.move_on()
    code, told = ask(*FETCH)
    assert (code, told["digest"], told["replaced"]) == (0, SECOND, FIRST)
    ask(*FETCH)  # the same once more replaces nothing
    code, told = ask("list", "--folder", "student")
    here = {"folder": "student", "current": SECOND, "previous": FIRST}
    assert (code, told["fetched"]) == (0, here)

    code, told = ask("rollback", "student")
    # Its folder was written before its teacher left: that it counts no more, it cannot know.
    assert (code, told["digest"], told["previous"]) == (0, FIRST, SECOND)
    assert told["standing"] == "released"
    assert (tmp_path / "student" / "model.safetensors").read_bytes() == MODELS[0]
    code, told = ask(*FETCH)  # from cron
    assert (code, told["written"], told["replaced"]) == (0, False, FIRST)
    assert ask("verify", "student")[1]["digest"] == FIRST
    assert ask("rollback", "student")[1]["digest"] == SECOND
    ask("rollback", "student")
    code, told = ask(*FETCH, "--force")
    assert (code, told["written"]) == (0, True)
    assert ask("verify", "student")[1]["digest"] == SECOND
    assert {path.name for path in tmp_path.glob("*student*")} == {"student", "student.previous"}


def test_nothing_goes_back_to_a_student_that_is_not_valid(
    ask: Any, node: Node, tmp_path: Path
) -> None:
    ask(*FETCH)
    node.move_on()
    ask(*FETCH)
    (tmp_path / "student.previous" / "model.safetensors").write_bytes(MODELS[1][::-1])
    code, told = ask("rollback", "student")
    assert (code, told["where"]) == (1, str(tmp_path / "student.previous"))
    assert ask("verify", "student")[1]["digest"] == SECOND
    assert ask("rollback", "nowhere")[0] == 1
    assert ask("list", "--folder", "nowhere")[0] == 1


def test_a_folder_beside_it_that_holds_other_things_is_left_alone(
    ask: Any, node: Node, tmp_path: Path
) -> None:
    ask(*FETCH)
    node.move_on()
    (tmp_path / "student.previous").mkdir()
    (tmp_path / "student.previous" / "thesis.tex").write_text("x")
    code, told = ask(*FETCH)
    assert (code, "thesis.tex" in told["error"]) == (1, True)
    assert ask("verify", "student")[1]["digest"] == FIRST


@pytest.mark.parametrize("kernel", [True, False])
def test_two_folders_swap_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: bool
) -> None:
    from dcfm_node import files

    one, other = tmp_path / "one", tmp_path / "other"
    for path in (one, other):
        path.mkdir()
        (path / path.name).write_text("")
    if not kernel:
        monkeypatch.setattr(files, "_exchanged", lambda *_: False)
    files.exchange(one, other)
    assert [[p.name for p in path.iterdir()] for path in (one, other)] == [["other"], ["one"]]
    with pytest.raises(FileNotFoundError):
        files.exchange(one, tmp_path / "none")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]
