"""docs/man: every command has its page, the pages say what --help says, and troff reads them."""

import shutil
import subprocess
import sys

import pytest

from tests.packaging.tree import ROOT

PAGES = sorted((ROOT / "docs" / "man").glob("*.1"))


def test_the_pages_are_those_of_the_present_commands():
    make = [sys.executable, str(ROOT / "scripts" / "make_man"), "--verify"]
    done = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    names = {path.stem for path in PAGES}
    assert {"dcfm-node", "dcfm-node-start", "dcfm-node-student-fetch"} <= names


def test_a_page_has_the_usual_sections_in_the_usual_order():
    for path in PAGES:
        sections = [line[4:] for line in path.read_text().splitlines() if line.startswith(".SH ")]
        assert sections[:4] == ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS"] or (
            sections[:3] == ["NAME", "SYNOPSIS", "DESCRIPTION"]
        ), path.name
        assert sections[-1] == "SEE ALSO", path.name


def test_pages_that_are_named_exist():
    for path in PAGES:
        seen = path.read_text().splitlines()[-1].replace("\\-", "-")
        named = [part.partition("\\fR")[0] for part in seen.split("\\fB")[1:]]
        assert all((path.parent / f"{name}.1").is_file() for name in named), path.name


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_troff_reads_them_without_a_warning():
    check = ["groff", "-man", "-Tutf8", "-ww", "-z", *map(str, PAGES)]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
