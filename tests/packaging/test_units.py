"""systemd/: every line explained, every section known, and systemd's own opinion where it is."""

import shutil
import subprocess

import pytest

from tests.packaging.tree import ROOT

UNIT = ROOT / "systemd" / "dcfm-node.service"
FILES = [UNIT, *sorted((ROOT / "systemd").glob("*.d/*.conf"))]
EVERY_FILE = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)


def settings(text):
    """(section, key, value, explained) of every setting."""
    section, before = "", ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line.strip() and not line.startswith("#"):
            key, separator, value = line.partition("=")
            assert separator, f"no setting: {line!r}"
            yield section, key, value, len(before.strip("# ")) > 8 and before.startswith("# ")
        before = line


@EVERY_FILE
def test_every_setting_is_explained(path):
    found = list(settings(path.read_text()))
    assert len(found) > 5
    assert [key for _, key, _, explained in found if not explained] == []
    assert {section for section, *_ in found} <= {"Unit", "Service", "Install"}


def test_a_bare_setting_would_be_seen():
    found = list(settings("[Service]\n# Why it is so.\nType=notify\nUser=x\n\nGroup=x\n"))
    assert [explained for *_, explained in found] == [True, False, False]


def test_the_unit_says_what_the_daemon_needs():
    said = {(section, key): value for section, key, value, _ in settings(UNIT.read_text())}
    assert said["Service", "Type"] == "notify"
    assert said["Service", "StateDirectory"] == "dcfm-node"
    assert said["Service", "NoNewPrivileges"] == "yes"
    assert said["Service", "ProtectSystem"] == "strict"
    assert said["Service", "Restart"] == "on-failure"
    assert said["Service", "RestartPreventExitStatus"] == "2", "the operator must mend it first"
    assert int(said["Service", "WatchdogSec"]) > 10
    assert " start --config " in said["Service", "ExecStart"]


SYSTEMD = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd is not installed"
)


@SYSTEMD
@pytest.mark.parametrize("files", [[UNIT], FILES], ids=["cpu", "gpu"])
def test_systemd_finds_little_exposed(tmp_path, files):
    for path in files:
        target = tmp_path / path.relative_to(ROOT / "systemd")
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)
    analyze = ["systemd-analyze", "security", "--offline=true", "--no-pager"]
    done = subprocess.run(
        [*analyze, str(tmp_path / UNIT.name)], capture_output=True, text=True, check=False
    )
    if "unrecognized option" in done.stderr:
        pytest.skip("systemd is older than 250")
    last = done.stdout.splitlines()[-1]
    assert "Overall exposure level for dcfm-node.service: " in last
    assert float(last.partition("service: ")[2].split()[0]) <= 1.5


@SYSTEMD
def test_systemd_understands_it(tmp_path):
    for path in FILES:
        target = tmp_path / path.relative_to(ROOT / "systemd")
        target.parent.mkdir(exist_ok=True)
        lines = path.read_text().splitlines(keepends=True)
        # What it would start is not installed here.
        kept = ["ExecStart=/bin/true\n" if s.startswith("ExecStart=") else s for s in lines]
        target.write_text("".join(kept))
    verify = ["systemd-analyze", "verify", "--man=no", str(tmp_path / UNIT.name)]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if str(tmp_path) in line]
    assert (done.returncode, ours) == (0, []), done.stderr
