"""`debug bundle`: what helps, without what is private; and `start`'s errors as JSON."""

import json
import tarfile
import tomllib
from pathlib import Path

import pytest

from dcfm_node.cli import debug
from dcfm_node.cli.redacting import Redactor
from dcfm_node.errors import Failed
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
        f"/usr/lib/python3/x.py tcp://h:7400 {folder}/state/work, /home/someone/notes.txt\n"
    )
    return folder


def written(
    site: Path, out: Path, monkeypatch: pytest.MonkeyPatch, *more: object
) -> dict[str, str]:
    asked = ("debug", "bundle", "--yes", "--out", out, "-c", site / "node.toml", *more)
    code = run(monkeypatch, *asked)
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
    assert {"journals.json", "node.toml", "run.json", "worker.log"} <= set(found)
    assert "no daemon answers" in found["status.json"]
    everything = "\n".join(found.values())
    for private in (SECRET, LINK, TOKEN, "ward-7", "jane-doe", "notes.txt", "patient", str(site)):
        assert private not in everything, private
    assert found["worker.log"].splitlines()[0] == "DATA…"
    assert "/usr/lib/python3/x.py tcp://h:7400 STATE/work, PATH…" in found["worker.log"]
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
    text = """'Hans Meier' = 1\n'Hans Meier' = 2\n"""
    (site / "node.toml").write_text(text)
    found = written(site, tmp_path / "b.tar.gz", monkeypatch)
    assert found["node.toml"] == "# left out: it is not TOML, line 2\n"
    assert "left out" in found["worker.log"]
    assert "Meier" not in "".join(found.values())


def test_without_settings_there_is_no_bundle(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("debug", "bundle", "--list", "-c", site / "other.toml")
    assert run(monkeypatch, *asked) == 2


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


def test_a_token_may_have_umlauts() -> None:
    token = "Schl\u00fcssel-der-Station-7"
    assert Redactor({}, [token.encode()]).text(f"with {token}.") == "with SECRET."


def test_long_places_are_replaced_before_the_short_ones_in_them() -> None:
    redactor = Redactor({"/a": "A", "/a/b": "B", "": "X"}, [])
    assert redactor.text("/a/b/c /a/x /a-b /ab") == "B/c A/x PATH…"


CANARIES = (
    *("Hans", "Meier", "1961", "Klinik", "S\u00fcd", "M\u00fcller", "u00fc", "patient"),
    *("geheim", "oncology", "ward", "Strahlung", "O'Brien", "kapsel", "Station"),
    *(TOKEN, SECRET, LINK),
)
PRIVATE_SETTINGS = (
    """
name = "north"  # of Hans Meier
state = "state"
codec = "/srv/Klinik S\u00fcd/codec.safetensors"
"geheim" = 'Hans'
[data]
format = "csv"
"path" = "/srv/Klinik S\u00fcd/M\u00fcller/patient_7.csv"
holdout = 0.25
ignore = ["patient_id", 'Hans Meier']
"features" = [
  "Strahlung", # Hans
]
names = '''
{shape}/Hans Meier/*'''
labels = """
    + '"""'
    + """
Hans
Meier 1961"""
    + '"""'
    + """
index = 1961
[data.attributes.sex]
column = "geschlecht_geheim"
values = {"Hans Meier" = "m"}
[data.attributes.place]
constant = "ward-17-oncology"
["Hans Meier"]
x = 1
[worker]
threads = 2
device = "Meier"
[listen]
control = "tcp://0.0.0.0:7400"
[page]
listen = "unix:/srv/Klinik S\u00fcd/sock"
token_file = "Hans Meier.token"
"""
)
SAID = (
    "'Hans Meier' is not a value of attribute 'sex', read from 'geschlecht_geheim'",
    "lists 'Meier_Hans_1961.png', which row 2 lists already",
    "/srv/scans/Hans Meier 1961/scan 1.png: cannot be read",
    "/srv/Klinik S\u00fcd/M\u00fcller/patient_7.csv:3: has no column 'Hans', only Meier, 1961",
    "/mnt/Hans Meier/S\u00fcd",
    'FileNotFoundError: "/opt/Klinik S\u00fcd/O\'Brien 1961", line 3',
    """names "O'Brien", which is not a file""",
    "map ward-17-oncology, geschlecht_geheim",
    "data.attributes.sex.values.Hans Meier: 'x' is not a value",
    "node.toml:3: data.attributes.sex.values.Hans Meier: unknown",
    "[type=string_type, input_value='Hans Meier', input_type=str]",
    "np.str_('Hans'), b'Meier', 'it is Hans Me",
    "Hans Meier 1961.PNG is broken",
    "see ~meier_1961/Hans, ../Hans Meier, file:///srv/Hans, //nas/Hans Meier",
    "/usr/lib/../../srv/Hans /usrdata/Hans Meier",
    "opened HOME and /run/media/Hans Meier/1961",
    f"key {SECRET} {LINK} {TOKEN}",
)


def planted(site: Path) -> Path:
    """Private words in every place that a bundle is made from."""
    (site / "node.toml").write_text(PRIVATE_SETTINGS)
    (site / "Hans Meier.token").write_text(TOKEN + "\n")
    (site / "run.toml").write_text(
        'name = "r"  # Hans Meier\n[[attribute]]\nname = "sex"\nvalues = ["m", "f"]\n'
        '[domain]\nroot = "/srv/Klinik S\u00fcd/x"\n'
    )
    for name in ("Hans Meier 1961", "work/patient_7.png", "lock", "worker.log.1"):
        (site / "state" / name).parent.mkdir(exist_ok=True)
        (site / "state" / name).write_text("")
    lines = [*SAID, *(f"[info] broken why={said!r} round=3" for said in SAID)]
    # A line that is cut in two shows the end of a name.
    long = "/srv/" + "x" * debug.MAX_LOG_BYTES + "/Hans Meier\n"
    (site / "state" / "worker.log").write_text(long + "\n".join(lines))
    entries = [json.dumps({"event": "broken", "why": said, "n": [{said: said}]}) for said in SAID]
    log = site / "node.log"
    log.write_text("\n".join([*lines, *entries, *(f"host dcfm[1]: {it}" for it in entries)]))
    return log


def test_private_words_planted_everywhere_are_nowhere(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = planted(site)

    def failing(*_: object) -> None:
        raise Failed("\n".join(SAID[:-1]), fix="look at '/srv/Hans Meier/x'")

    for name in ("call", "students_of", "journal_of"):
        monkeypatch.setattr(debug, name, lambda *_, **__: failing())
    out = tmp_path / "b.tar.gz"
    found = written(site, out, monkeypatch, "--log", log)
    for name, text in found.items():
        for canary in CANARIES:
            assert canary not in text, (name, canary, text)
    settings = tomllib.loads(found["node.toml"])
    assert settings["data"] == {"format": "csv", "holdout": 0.25}
    assert settings["worker"] == {"device": "REDACTED", "threads": 2}
    assert settings["listen"] == {"control": "tcp://0.0.0.0:7400"}
    assert settings["name"] == "north"
    assert json.loads(found["run.json"])["attribute"] == [{"name": "sex", "values": ["m", "f"]}]
    kept = {file["name"] for file in json.loads(found["machine.json"])["state"]}
    assert {"lock", "worker.log", "worker.log.1", "work", "…"} == kept


@pytest.mark.parametrize("said", [s for s in SAID if not s.startswith(("map", "key", "opened"))])
def test_words_that_no_setting_names_are_hidden_too(said: str) -> None:
    redactor = Redactor({}, [])
    for line in (said, json.dumps({"why": said}), f"[info] broken why={said!r} round=3"):
        left = redactor.log(line)
        assert not [canary for canary in CANARIES if canary in left], left


def test_what_helps_stays_in_a_log() -> None:
    redactor = Redactor({"/v/site-packages": "PYTHON", "/s/state": "STATE"}, [])
    for said, left in {
        '  File "/v/site-packages/x/y.py", line 3, in f': '  File "PYTHON/x/y.py", line 3, in f',
        '  File "/home/a/b c.py", line 3, in <module>': '  File "PATH…", line 3, in <module>',
        "[warning] link why='timed out after 3 s' peer=east": None,
        "/s/state/work: No space left on device": None,
        "see 'dcfm-node status --json' at tcp://h:7400 and http://h/x": None,
        "10/20 steps, 3 samples/s, /proc/self/cgroup": None,
    }.items():
        expected = said.replace("/s/state", "STATE") if left is None else left
        assert redactor.log(said) == f"{expected}\n"


def test_it_says_what_may_remain(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = " ".join(written(site, tmp_path / "b", monkeypatch)["README.txt"].split())
    for remains in ("names and addresses of silos", "values in run.toml", "Look into the bundle"):
        assert remains in told


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
