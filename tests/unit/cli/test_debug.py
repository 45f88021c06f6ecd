"""`debug bundle`: what helps, without what is private; and `start`'s errors as JSON."""

import json
import tarfile
from pathlib import Path

import pytest

from dcfm_node.cli import debug
from dcfm_node.cli.redacting import Redactor
from tests.unit.cli.running import run

SECRET = "0f" * 32
LINK = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
TOKEN = "page-token-0123456789"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    (folder / "keys").mkdir(parents=True)
    (folder / "state").mkdir()
    (folder / "keys" / "sign.key").write_text(SECRET + "\n")
    (folder / "keys" / "link.key").write_text(LINK)
    (folder / "token").write_text(TOKEN)
    (folder / "node.toml").write_text(
        'name = "north"\n[data]\nformat = "folder"\npath = "/srv/ward-7/scans"\n'
        'ignore = ["patient"]\n[page]\ntoken_file = "token"\n'
    )
    (folder / "run.toml").write_text('name = "r"\n')
    (folder / "state" / "worker.log").write_text(
        "/srv/ward-7/scans/jane-doe.png: cannot be read\n"
        f"key {SECRET} and {bytes.fromhex(SECRET)!r}\n{LINK} {TOKEN}\n"
        f"{folder}/state/work /home/someone/notes.txt /usr/lib/python3/x.py tcp://h:7400\n"
    )
    return folder


def written(site: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    code = run(monkeypatch, "debug", "bundle", "--yes", "--out", out, "-c", site / "node.toml")
    assert code == 0
    with tarfile.open(out) as archive:
        return {
            member.name.partition("/")[2]: file.read().decode()
            for member in archive
            if (file := archive.extractfile(member)) is not None
        }


def test_it_holds_what_helps_and_nothing_private(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "b.tar.gz"
    found = written(site, out, monkeypatch)
    assert {"README.txt", "versions.json", "machine.json", "status.json"} <= set(found)
    assert {"journals.json", "node.toml", "run.toml", "worker.log"} <= set(found)
    assert "no daemon answers" in found["status.json"]
    everything = "\n".join(found.values())
    for private in (SECRET, LINK, TOKEN, "ward-7", "jane-doe", "notes.txt", "patient", str(site)):
        assert private not in everything, private
    assert "DATA/…: cannot be read" in found["worker.log"]
    assert "STATE/work PATH /usr/lib/python3/x.py tcp://h:7400" in found["worker.log"]
    assert out.stat().st_mode & 0o777 == 0o600


def test_it_replaces_no_file(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine"
    out.write_text("mine")
    asked = ("debug", "bundle", "--yes", "--out", out, "-c", site / "node.toml")
    assert run(monkeypatch, *asked) == 1
    assert out.read_text() == "mine"
    assert "exists already" in capsys.readouterr().err


def test_it_asks_first_and_lists(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "debug", "bundle", "-c", site / "node.toml") == 2
    assert "--yes" in capsys.readouterr().err
    assert run(monkeypatch, "debug", "bundle", "--list", "--json", "-c", site / "node.toml") == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["file"] is None
    assert {part["name"] for part in listed["files"]} >= {"status.json", "redacted.json"}
    assert not list(tmp_path.glob("dcfm-debug*"))


def test_settings_that_are_wrong_can_be_bundled_too(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be what is asked about."""
    (site / "node.toml").write_text('name = "../../x"\nthreads = \n')
    asked = ("debug", "bundle", "--list", "-c", site / "node.toml")
    assert run(monkeypatch, *asked) in (0, 2)


def test_a_secret_that_slips_through_stops_it(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(debug, "ABOUT", f"oh {SECRET}")
    out = tmp_path / "b.tar.gz"
    assert run(monkeypatch, "debug", "bundle", "--yes", "--out", out, "-c", site / "node.toml") == 1
    assert not out.exists()
    said = capsys.readouterr().err
    assert "README.txt would hold one of this node's secrets" in said
    assert SECRET not in said


@pytest.mark.parametrize("form", [SECRET, bytes.fromhex(SECRET).decode("latin-1"), "Dw8P"])
def test_a_secret_is_found_in_its_forms(form: str) -> None:
    redactor = Redactor({}, [SECRET.encode()])
    if form == "Dw8P":  # base64 of its bytes
        form *= 10
        form += "Dw8"
    assert redactor.leaks(form.encode("latin-1"))


def test_long_places_are_replaced_before_the_short_ones_in_them() -> None:
    redactor = Redactor({"/a": "A", "/a/b": "B", "": "X"}, [])
    assert redactor.text("/a/b/c /a/x /a-b /ab") == "B/c A/x PATH PATH"


# `start`


def wrong(folder: Path, log: str) -> Path:
    file = folder / "node.toml"
    data = '[data]\nformat = "npz"\npath = "d.npz"\n'
    file.write_text(f'name = "a"\n{log}\n[worker]\nthreads = -1\n{data}')
    return file


def test_a_start_that_fails_is_one_json_line_where_the_log_is_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = wrong(tmp_path, '[log]\nformat = "json"')
    assert run(monkeypatch, "start", "--peers", "p.toml", "-c", file) == 2
    (line,) = capfd.readouterr().err.splitlines()
    said = json.loads(line)
    assert said["event"] == "cannot_start"
    assert said["level"] == "error"
    assert said["exit_code"] == 2
    assert "node.toml:5: worker.threads" in said["where"]
    assert said["timestamp"]


def test_it_is_text_for_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = wrong(tmp_path, '[log]\nformat = "console"')
    assert run(monkeypatch, "start", "--peers", "p.toml", "-c", file) == 2
    assert capfd.readouterr().err.startswith("dcfm-node: ")
    file.write_text("no toml [")
    assert run(monkeypatch, "start", "--peers", "p.toml", "-c", file) == 2
    assert "is not TOML" in capfd.readouterr().err
