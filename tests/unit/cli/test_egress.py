"""`egress`, also called `audit`: what left a site, for people, spreadsheets and other sites."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from dcfm_node.cli.egress import when
from dcfm_node.config.keys import create_keys
from dcfm_node.errors import ConfigError
from dcfm_node.records.carried import CARRIED
from dcfm_node.records.entries import Audit, Expert
from dcfm_node.store.egress import Ledger
from dcfm_node.store.journals import JournalStore
from dcfm_node.swarm.egress import Sum, What
from dcfm_node.wire.envelope import Signer, manifest_bytes
from tests.unit.cli.running import run as dcfm
from tests.unit.swarm.builders import Author, Run, expert

DAY = 86_400_000
AT = 20_000 * DAY


@pytest.fixture
def told(tmp_path: Path) -> Run:
    """A run of three, in which our silo is the first, with the keys in its folder."""
    keys = create_keys(tmp_path / "keys")
    run = Run(3)
    mine = run.manifest.roster[0].model_copy(update={"key": keys.sign_public})
    changed = run.manifest.model_copy(update={"roster": (mine, *run.manifest.roster[1:])})
    run.members = [Signer(keys.sign), *run.members[1:]]
    run.begin(changed)
    for number, author in enumerate(run.authors):
        author.say(expert(0, f"expert {number}"))
    return run


@pytest.fixture
def node(tmp_path: Path, told: Run) -> Path:
    """Its settings, journals and ledger."""
    (tmp_path / "state").mkdir()
    me, east, south = told.authors
    seen = me.journal[-1]
    south.say(Audit(round=0, scores=((seen.digest, {"joint": 0.5}),)))
    store = JournalStore(tmp_path / "state" / "journals.sqlite")
    store.enter(told.id, manifest_bytes(told.manifest))
    rows = ((a.key, s.entry.seq, s.envelope) for a in told.authors for s in a.journal)
    store.append_many(told.id, rows)
    store.put(f"counts/{told.id.hex()}", b"rounded to multiples of 10")
    store.close()
    _sent(Ledger(tmp_path / "state"), told, me, east, south)
    config = tmp_path / "node.toml"
    config.write_text('name = "silo-0000"\n[data]\nformat = "npz"\npath = "gone.npz"\n')
    return config


def _sent(ledger: Ledger, told: Run, me: Author, east: Author, south: Author) -> None:
    own, others = (a.journal[-1] for a in (me, east))
    assert isinstance(own.entry.body, Expert) and isinstance(others.entry.body, Expert)
    weights = own.entry.body.snapshot.digest
    passed_on = others.entry.body.snapshot.digest
    names = [(east.key, "=cmd|evil"), (south.key, "silo-0002")]
    lines = [
        (What(east.key, "control", "expert", me.key, own.digest), Sum(AT, AT, 1, 400)),
        (What(east.key, "bulk", "chunk", b"", weights), Sum(AT, AT, 1, 9_000)),
        (What(south.key, "bulk", "chunk", b"", passed_on), Sum(AT + DAY, AT + DAY, 1, 7_000)),
        (What(south.key, "control", "sync"), Sum(AT + DAY, AT + DAY, 3, 60)),
        (What(b"", "hand", "bundle"), Sum(AT + DAY, AT + DAY, 1, 500)),
    ]
    ledger.begin(AT)
    ledger.write(told.id, names, lines, AT + DAY, opened_ms=AT)
    ledger.begin(AT + 2 * DAY)
    ledger.write(told.id, names, [], AT + 3 * DAY, opened_ms=AT + 2 * DAY, closed=True)


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], node: Path) -> Any:
    def say(*arguments: object, code: int = 0) -> str:
        assert dcfm(monkeypatch, *arguments) == code
        read = capsys.readouterr()
        return read.err or read.out

    return say


def test_totals_holders_and_gaps_are_told(say: Any, node: Path, told: Run) -> None:
    found = json.loads(say("egress", "--json", "-c", node))
    totals = {(of["peer"], of["kind"], of["own"]): of["bytes"] for of in found["totals"]}
    assert totals == {
        ("", "bundle", None): 500,
        ("=cmd|evil", "chunk", True): 9_000,
        ("=cmd|evil", "expert", True): 400,
        ("silo-0002", "chunk", False): 7_000,
        ("silo-0002", "sync", None): 60,
    }
    (weights,) = found["snapshots"]
    assert weights["what"] == "expert of round 0" and weights["from_private_data"]
    assert [(of["silo"], of["known_by"]) for of in weights["holders"]] == [
        ("silo-0001", ["sent"]),
        ("silo-0002", ["audit"]),
    ]
    assert found["gaps"] == [{"from_ms": AT + DAY, "until_ms": AT + 2 * DAY}]
    assert "rounded to multiples of 10" in found["counts"][0]["told"]
    assert {of["kind"] for of in found["kinds"]} == {"bundle", "chunk", "expert", "sync"}


def test_audit_is_another_name_of_it(say: Any, node: Path) -> None:
    (one, other) = (json.loads(say(name, "--json", "-c", node)) for name in ("egress", "audit"))
    assert one | {"made_ms": 0} == other | {"made_ms": 0}
    assert "egress" in say("--help") and " audit" not in say("--help")


def test_people_read_what_each_kind_carries_and_that_a_time_is_missing(
    say: Any, node: Path
) -> None:
    text = say("egress", "-c", node)
    for kind in ("chunk", "expert", "sync", "bundle"):
        assert CARRIED[kind].what.split(",")[0] in " ".join(text.split())
    assert "Complete  no: the node was killed" in text
    assert "nothing can be called back" in " ".join(text.split())
    assert "Samples   none" in text
    assert max(map(len, text.splitlines())) < 240


def test_what_was_sent_before_can_be_left_out(say: Any, node: Path) -> None:
    later = json.loads(say("egress", "--since", "2024-10-05", "--json", "-c", node))
    assert AT < later["since_ms"] <= AT + DAY
    assert {of["peer"] for of in later["totals"]} == {"", "silo-0002"}
    assert later["snapshots"][0]["holders"][0]["known_by"] == ["sent"], "of all time"
    assert "is not a time" in say("egress", "--since", "soon", "-c", node, code=2)


def test_times_are_dates_times_and_ages() -> None:
    assert when("1970-01-02", 0) == DAY
    assert when("1970-01-01T01:00", 0) == 3_600_000
    assert when("1970-01-01T01:00+01:00", 0) == 0
    assert (when("2d", 5 * DAY), when("90m", DAY)) == (3 * DAY, DAY - 5_400_000)
    for text in ("", "d", "-1d", "99999999999999d", "2026-13-01", "x"):
        with pytest.raises(ConfigError, match="is not a time"):
            when(text, 0)


def test_counts_are_told_by_the_runs_id_as_two_may_have_one_name(
    say: Any, node: Path, told: Run
) -> None:
    text = " ".join(say("egress", "-c", node).split())
    assert f"told in run {told.manifest.name} {told.id.hex()[:8]}: " in text


def test_a_spreadsheet_runs_no_cell(say: Any, node: Path, told: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(say("egress", "--csv", "-c", node))))
    assert sum(int(row["bytes"]) for row in rows) == 16_960
    assert {row["peer"] for row in rows} == {"", "'=cmd|evil", "silo-0002"}
    assert rows[0]["from_utc"] == "2024-10-04 00:00:00"
    assert {row["run"] for row in rows} == {told.id.hex()}
    assert "neither" in say("egress", "--csv", "--json", "-c", node, code=2)


def test_a_signed_report_is_checked_anywhere_and_no_byte_of_it_can_change(
    say: Any, node: Path, told: Run, tmp_path: Path
) -> None:
    file, peers = tmp_path / "report.json", tmp_path / "peers.toml"
    assert "wrote" in say("audit", "--out", file, "-c", node)
    assert "exists already" in say("audit", "--out", file, "-c", node, code=1)
    assert "verified  what left silo silo-0000" in say("egress", "verify", file)
    blocks = [
        f'[[peer]]\nname = "{name}"\nsign_key = "{key.hex()}"\nlink_key = "{letter * 40}"\n'
        for name, key, letter in (("us", told.keys[0], "a"), ("them", told.keys[1], "b"))
    ]
    peers.write_text(blocks[0])
    known = json.loads(say("egress", "verify", file, "--peers", peers, "--json"))
    assert (known["silo"], known["listed"], known["bytes_sent"]) == ("us", True, 16_960)
    peers.write_text(blocks[1])
    assert "is not in" in say("egress", "verify", file, "--peers", peers, code=1)

    text = file.read_text()
    file.write_text(json.dumps(json.loads(text)))  # laid out anew, and the same
    assert "verified" in say("audit", "verify", file)
    for before, after in (('"bytes": 9000', '"bytes": 9'), ("silo-0002", "silo-0003")):
        assert before in text
        file.write_text(text.replace(before, after))
        assert "the signature does not fit" in say("egress", "verify", file, code=1)
    raw = json.loads(text)
    raw["report"]["more"] = "unsigned words"
    file.write_text(json.dumps(raw))
    assert "the signature does not fit" in say("egress", "verify", file, code=1)


@pytest.mark.parametrize("text", ["", "[]", "{}", "\udcff", '{"report": 3}', "[" * 100_000])
def test_what_is_no_report_is_refused(say: Any, tmp_path: Path, text: str) -> None:
    file = tmp_path / "report.json"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert "is not a signed report" in say("egress", "verify", file, code=1)
    assert "cannot be read" in say("egress", "verify", tmp_path / "none", code=1)


def test_a_node_that_sent_nothing_says_so(say: Any, node: Path, tmp_path: Path) -> None:
    config = tmp_path / "other" / "node.toml"
    config.parent.mkdir()
    create_keys(config.parent / "keys")
    config.write_text(node.read_text())
    text = say("egress", "-c", config)
    assert "nothing is recorded yet" in text and "sent nothing yet" in text


def test_without_its_key_a_node_is_known_by_its_run(say: Any, node: Path, told: Run) -> None:
    (node.parent / "keys").rename(node.parent / "elsewhere")
    found = json.loads(say("egress", "--json", "-c", node))
    assert found["key"] == told.keys[0].hex()
    assert "sign.key" in say("egress", "--out", node.parent / "r", "-c", node, code=2)
