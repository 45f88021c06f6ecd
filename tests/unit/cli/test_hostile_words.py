"""A member's words reach a terminal through no command: not to steer it, nor to forge a line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from dcfm_node.cli import bundle as bundle_commands
from dcfm_node.cli import proof as proof_commands
from dcfm_node.cli import query, recorded, student
from dcfm_node.cli.lineage import facts_of
from dcfm_node.daemon.facts import journal_facts, students_facts
from dcfm_node.daemon.status import status
from dcfm_node.errors import Failed
from dcfm_node.records.entries import Refuse, Verdict, Withdraw
from dcfm_node.records.messages import Entries, Sync
from dcfm_node.store.card import model_card
from dcfm_node.store.snapshots import describe
from dcfm_node.store.student import write_student
from dcfm_node.swarm.effects import LinkUp, Received
from dcfm_node.swarm.lineage import bundle, verify
from dcfm_node.swarm.node import Node
from dcfm_node.wire.envelope import seal_entry
from tests.unit.cli.running import answering, run
from tests.unit.cli.test_lineage import journals
from tests.unit.daemon.test_status import SHELL
from tests.unit.swarm.builders import Run, endorse, expert
from tests.unit.swarm.test_node import started

HOSTILE = "\x1b]0;P\x07\x1b[31m\nproblem   all is well\r\u202e[bold]x[/bold]"
VERSION, ACTIVITY = HOSTILE[:32], f"\x1b[2J\n{'idle'}\u202e"
LAST_MS = 2**53


def harmless(text: str) -> None:
    """Lines, and nothing in them that is not to be seen; none of them a peer's."""
    assert text
    for line in text.split("\n"):
        assert line.isprintable(), ascii(line)
        assert not line.startswith(("problem   all is well", "idle"))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "node.toml"
    path.write_text("")
    return path


def attacked() -> Node:
    """A node that a member with valid keys told whatever the protocol lets it."""
    told = Run(3)
    made = started(told)
    peer = told.authors[1]
    words = [
        expert(0, "theirs").model_copy(update={"metrics": {"joint": 1.0}}),
        Verdict(subject=told.keys[2], cause="malformed", entry=None, reason=HOSTILE),
        Refuse(student=b"s" * 32, reason=HOSTILE, metrics={}),
        Withdraw(reason=HOSTILE),
    ]
    for body in words:
        sealed = peer.say(body)
        late = sealed.entry.model_copy(update={"time_ms": LAST_MS})
        peer.journal[-1] = seal_entry(late, peer.signer)
    heartbeat = peer.heartbeat(9, done=2**53)
    heartbeat = type(heartbeat)(
        heartbeat.heartbeat.model_copy(update={"activity": ACTIVITY}), heartbeat.envelope
    )
    entries = Entries(
        run=told.id, entries=tuple(sealed.envelope for sealed in peer.journal), beats=()
    )
    made.handle(LinkUp(peer.key), 1.0)
    made.handle(Received(peer.key, entries), 1.0)
    made.exchange.liveness.hear(heartbeat, 1.0)
    sync = Sync(run=told.id, version=VERSION, heads={}, beats={}, reply=False)
    made.handle(Received(peer.key, sync), 1.0)
    return made


def answers() -> dict[str, Any]:
    """What the daemon of such a node answers."""
    made = attacked()
    exchange = made.exchange
    document = status(made, 2.0) | SHELL
    document["pending"] = [{"link_key": HOSTILE, "address": HOSTILE, "reason": HOSTILE}]
    silos = [silo for silo in document["silos"] if not silo["self"]]
    for silo in silos:
        silo |= {"bytes_sent": 0, "bytes_received": 0, "refused": HOSTILE}
    return {
        "status": document,
        "peers": {"peers": silos, "pending": document["pending"], "pending_more": False},
        "journal": journal_facts(exchange.journals, exchange.view, "silo-0001"),
        "students": students_facts(exchange.journals, exchange.view, lambda _: False),
        "withdraw": {"withdrawn": True, "already": True, "reason": HOSTILE},
        "proof": {"proof": "00"},
        "import": {"from": HOSTILE, "wanted": 1}
        | dict.fromkeys(("records", "new_records", "snapshots", "new_snapshots"), 1),
    }


def poisoned(value: Any, kept: tuple[str, ...] = ("kind", "health", "schema")) -> Any:
    """The same document in which every text, and every key that may be one's words, is hostile."""
    if isinstance(value, str):
        return HOSTILE
    if isinstance(value, list | tuple):
        return [poisoned(item) for item in value]
    if isinstance(value, dict):
        found = {k: v if k in kept else poisoned(v) for k, v in value.items()}
        return found | ({HOSTILE: 1.0} if "ci_gap" in value or "loss" in value else {})
    return value


COMMANDS = [
    ("status",),
    ("status", "--explain"),
    ("peers",),
    ("journal",),
    ("student", "list"),
    ("withdraw", "--reason", "x", "--yes"),
    ("bundle", "import", "there"),
]


@pytest.mark.parametrize("spoil", [lambda found: found, poisoned], ids=["as told", "all of it"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_shows_a_members_words_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    config: Path,
    command: tuple[str, ...],
    spoil: Callable[[Any], Any],
) -> None:
    made = {name: spoil(found) for name, found in answers().items()}
    for room in (query, recorded, student, bundle_commands, proof_commands):
        monkeypatch.setattr(room, "call", answering(made, []))
    assert run(monkeypatch, *command, "-c", config) in (0, 3)
    shown = capsys.readouterr()
    harmless(shown.out)
    assert shown.err == ""
    run(monkeypatch, *command, "-c", config, "--json")
    raw = capsys.readouterr().out
    assert raw.isascii()
    asked = command[1] if command[0] in ("student", "bundle") else command[0]
    assert json.loads(raw) == json.loads(json.dumps(made["students" if asked == "list" else asked]))


def test_what_a_member_says_is_in_the_answers_at_all() -> None:
    """Else the test above would pass whatever commands do."""
    made = answers()
    for name, parts in {
        "status": (HOSTILE, VERSION, ACTIVITY),
        "peers": (HOSTILE, VERSION),
        "journal": (HOSTILE,),
    }.items():
        text = json.dumps(made[name], ensure_ascii=False)
        for part in parts:
            assert json.dumps(part, ensure_ascii=False)[1:-1] in text, (name, part)
    assert made["journal"]["entries"][-1]["time_ms"] == LAST_MS


def test_an_error_shows_a_members_words_on_its_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config: Path
) -> None:
    def call(*_: object, **__: object) -> None:
        raise Failed(HOSTILE, where=HOSTILE, fix=HOSTILE, more=[HOSTILE])

    monkeypatch.setattr(query, "call", call)
    assert run(monkeypatch, "status", "-c", config) == 1
    told = capsys.readouterr()
    harmless(told.err)
    assert len(told.err.splitlines()) == 3
    assert run(monkeypatch, "status", "-c", config, "--json") == 1
    assert json.loads(capsys.readouterr().out)["where"] == HOSTILE


@pytest.mark.parametrize("arguments", [("status", HOSTILE), (HOSTILE,), ("peers", f"--{HOSTILE}")])
def test_a_files_name_in_a_mistake_of_usage_steers_nothing(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
) -> None:
    assert run(monkeypatch, *arguments) == 2
    told = capsys.readouterr().err
    harmless(told)


@pytest.mark.parametrize("command", ["verify", "sample"])
def test_a_students_folder_shows_nobodys_words_as_they_are(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    told, model, folder = Run(3, schedule="paper"), tmp_path / "model", tmp_path / "student"
    save_file({"w": np.zeros(1, np.float32)}, model)
    told.publish_experts(0)
    claimed = told.distil(0).entry.body
    told.authors[0].journal.pop()
    made = told.authors[0].say(
        claimed.model_copy(
            update={
                "snapshot": describe(model),
                "version": VERSION,
                "metrics": {"loss": 1.0},
            }
        )
    )
    told.authors[1].say(endorse(made))
    told.authors[2].say(Withdraw(reason=HOSTILE))
    lineage = bundle(told.manifest, journals(told))
    proven = verify(lineage, describe(model).digest)
    card = model_card(told.manifest, facts_of(proven))
    harmless(card)
    write_student(folder, model=model, manifest=told.manifest, lineage=lineage, card=card)
    (folder / f"{HOSTILE.replace('/', '')}.py").write_text("")
    options = () if command == "verify" else ("--out", tmp_path / "x.npz")
    assert run(monkeypatch, "student", command, folder, *options) == (3 if not options else 1)
    shown = capsys.readouterr()
    harmless(shown.out + shown.err)
    if command == "verify":
        assert "SUPERSEDED: silo-0002 withdrew: \\x1b" in shown.out
        assert "no part of it, not checked" in shown.out
        assert run(monkeypatch, "student", command, folder, "--json") == 3
        document = json.loads(capsys.readouterr().out)
        assert document["metrics"] == {"loss": 1.0}
    else:
        assert "not the run's network" in shown.err
        assert not (tmp_path / "x.npz").exists()


def test_letters_that_the_terminal_has_not_are_shown_as_escapes(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes], config: Path
) -> None:
    import sys

    answer = {"withdrawn": True, "already": True, "reason": "größer 雨"}
    made = answers() | {"withdraw": answer}
    monkeypatch.setattr(query, "call", answering(made, []))
    sys.stdout.reconfigure(encoding="latin-1")  # type: ignore[union-attr]
    assert run(monkeypatch, "withdraw", "--reason", "x", "--yes", "-c", config) == 0
    assert b"gr\xf6\xdfer \\u96e8" in capsysbinary.readouterr().out
