"""A member's words reach a terminal through no command: not to steer it, nor to forge a line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel
from safetensors.numpy import save_file

from dcfm_node.api.document import Document
from dcfm_node.api.journal import Journal
from dcfm_node.api.pairing import OtherPeer, PendingSite, Reloaded
from dcfm_node.api.requests import (
    ImportedBundle,
    ImportRequest,
    JournalRequest,
    PeersRequest,
    ReloadRequest,
    Request,
    StatusRequest,
    StudentsRequest,
    Withdrawn,
    WithdrawRequest,
)
from dcfm_node.api.status import Machine, Peers, PeerStatus, Stranger
from dcfm_node.cli import bundle as bundle_commands
from dcfm_node.cli import pairing, peers, query, recorded
from dcfm_node.cli import proof as proof_commands
from dcfm_node.daemon.facts import journal_facts, students_facts
from dcfm_node.daemon.status import Surroundings, status
from dcfm_node.errors import Failed
from dcfm_node.records.entries import Refuse, Verdict, Withdraw
from dcfm_node.records.messages import Entries, Sync
from dcfm_node.store.card import model_card
from dcfm_node.store.snapshots import describe
from dcfm_node.store.student import write_student
from dcfm_node.student.facts import facts_of
from dcfm_node.swarm.effects import LinkUp, Received
from dcfm_node.swarm.lineage import bundle, verify
from dcfm_node.swarm.node import Node
from dcfm_node.wire.envelope import seal_entry
from tests.unit.cli.running import answering, run
from tests.unit.swarm.builders import Run, endorse, expert, journals
from tests.unit.swarm.nodes import started

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


def answers() -> dict[type[Request[Any]], Document]:
    """What the daemon of such a node answers."""
    made = attacked()
    replica = made.replica
    stranger = Stranger(link_key=HOSTILE, address=HOSTILE, reason=HOSTILE)
    waiting = PendingSite(
        name=HOSTILE,
        fingerprint=HOSTILE,
        link_key=HOSTILE,
        control=HOSTILE,
        bulk=HOSTILE,
        introduced_by=HOSTILE,
        approved_there=True,
        time=HOSTILE,
    )
    around = Surroundings(
        refusals=dict.fromkeys(("silo-0001", "silo-0002"), HOSTILE),
        machine=Machine(pending=(stranger,)),
    )
    document = status(made, 2.0, around)
    peers = (silo for silo in document.silos if not silo.own)
    return {
        StatusRequest: document,
        PeersRequest: Peers(
            peers=tuple(PeerStatus(**dict(peer)) for peer in peers),
            pending=(stranger,),
            others=(OtherPeer(name=HOSTILE, fingerprint=HOSTILE, control="own", bulk=""),),
            waiting=(waiting,),
            fingerprint=HOSTILE,
        ),
        ReloadRequest: Reloaded(
            applied=(HOSTILE,), restart=(HOSTILE,), peers_file=HOSTILE, peers=(HOSTILE,), invites=1
        ),
        JournalRequest: journal_facts(replica.journals, replica.view, "silo-0001"),
        StudentsRequest: students_facts(replica.journals, replica.view, lambda _: False),
        WithdrawRequest: Withdrawn(already=True, reason=HOSTILE),
        ImportRequest: ImportedBundle(
            author=HOSTILE, records=1, new_records=1, snapshots=1, new_snapshots=1, wanted=1
        ),
    }


def command_of(kind: type[Request[Any]]) -> str:
    command: str = kind.model_fields["command"].default
    return command


KEPT = ("kind", "cause", "schema_", "health", "outcome", "severity", "metrics", "links")
"""Fields that admit a few words alone, and figures by name; and `links`, which are net's."""


def poisoned(value: Any) -> Any:
    """The same document in which every text, and every key that may be one's words, is hostile."""
    if isinstance(value, str):
        return HOSTILE
    if isinstance(value, list | tuple):
        return tuple(poisoned(item) for item in value)
    if isinstance(value, dict):
        return dict.fromkeys([HOSTILE] * bool(value), HOSTILE)
    if isinstance(value, BaseModel):
        found = {name: item if name in KEPT else poisoned(item) for name, item in value}
        if "metrics" in found:
            found["metrics"] |= {HOSTILE: 1.0}
        return value.model_copy(update=found)
    return value


COMMANDS = [
    ("status",),
    ("status", "--explain"),
    ("peers",),
    ("reload",),
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
    made = {kind: spoil(found) for kind, found in answers().items()}
    asked: list[str] = []
    for room in (query, pairing, peers, recorded, bundle_commands, proof_commands):
        monkeypatch.setattr(room, "call", answering(made, asked))
    assert run(monkeypatch, *command, "-c", config) in (0, 3)
    shown = capsys.readouterr()
    harmless(shown.out)
    assert shown.err == ""
    run(monkeypatch, *command, "-c", config, "--json")
    raw = capsys.readouterr().out
    assert raw.isascii()
    (document,) = (found for kind, found in made.items() if command_of(kind) == asked[-1])
    assert json.loads(raw) == json.loads(json.dumps(document.plain()))


def test_what_a_member_says_is_in_the_answers_at_all() -> None:
    """Else the test above would pass whatever commands do."""
    made = answers()
    for kind, parts in {
        StatusRequest: (HOSTILE, VERSION, ACTIVITY),
        PeersRequest: (HOSTILE, VERSION),
        JournalRequest: (HOSTILE,),
    }.items():
        text = json.dumps(made[kind].plain(), ensure_ascii=False)
        for part in parts:
            assert json.dumps(part, ensure_ascii=False)[1:-1] in text, (kind, part)
    journal = made[JournalRequest]
    assert isinstance(journal, Journal) and journal.entries[-1].time_ms == LAST_MS


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
    write_student(
        folder, model=model, manifest=told.manifest, scale=None, lineage=lineage, card=card
    )
    (folder / f"{HOSTILE.replace('/', '')}.py").write_text("")
    options = () if command == "verify" else ("--out", tmp_path / "x.npz")
    assert run(monkeypatch, "student", command, folder, *options) == (3 if not options else 1)
    shown = capsys.readouterr()
    harmless(shown.out + shown.err)
    if command == "verify":
        assert "SUPERSEDED: silo-0002 withdrew: \\x1b" in shown.out
        assert "not part of the student, not checked" in shown.out
        assert run(monkeypatch, "student", command, folder, "--json") == 3
        document = json.loads(capsys.readouterr().out)
        assert document["metrics"] == {"loss": 1.0}
    else:
        assert "does not fit the run's network" in shown.err
        assert not (tmp_path / "x.npz").exists()


def test_letters_that_the_terminal_has_not_are_shown_as_escapes(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes], config: Path
) -> None:
    import sys

    made = answers() | {WithdrawRequest: Withdrawn(already=True, reason="größer 雨")}
    monkeypatch.setattr(query, "call", answering(made, []))
    sys.stdout.reconfigure(encoding="latin-1")  # type: ignore[union-attr]
    assert run(monkeypatch, "withdraw", "--reason", "x", "--yes", "-c", config) == 0
    assert b"gr\xf6\xdfer \\u96e8" in capsysbinary.readouterr().out
