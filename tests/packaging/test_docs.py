"""All Markdown: no link leads nowhere, no generated page is stale, and the site builds."""

import re
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.packaging.tree import ROOT

PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "protocol").rglob("*.md")]
)
FENCED = re.compile(r"(?ms)^```.*?^```$")
LINK = re.compile(r"\]\(([^)\s]+)\)")
README_LINES = 110
"""About two screens."""


@cache
def text_of(page: Path) -> str:
    """A page without its blocks of code."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def slug(heading: str) -> str:
    """The anchor that both GitHub and the site (pymdownx.slugs) give a heading."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")


@cache
def anchors(page: Path) -> set[str]:
    return {slug(heading) for heading in re.findall(r"(?m)^#+ (.+)$", text_of(page))}


def broken(page: Path, text: str) -> list[str]:
    """The links of a page's text that lead nowhere."""
    found = []
    for link in LINK.findall(text):
        place, _, anchor = unquote(link).partition("#")
        if re.match(r"\w+:", place):
            continue
        target = (page.parent / place).resolve() if place else page
        within = target.is_relative_to(ROOT) and target.exists()
        if not within or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    assert broken(page, text_of(page)) == []


@pytest.mark.parametrize("link", ["no-such-page.md", "#no-such-heading", "docs/style.md#nowhere"])
def test_a_broken_link_would_be_seen(link):
    assert broken(ROOT / "README.md", f"see [this]({link})") == [link]


@pytest.mark.parametrize("script", ["make_schemas", "make_docs"])
def test_generated_pages_are_those_of_the_code(script):
    command = [sys.executable, f"scripts/{script}", "--verify"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_readme_fits_two_screens():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("material") is None:
        pytest.skip("mkdocs-material is not installed (pip install '.[docs]')")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_has_every_page(site):
    pages = [page.relative_to(ROOT / "docs") for page in (ROOT / "docs").rglob("*.md")]
    assert [str(page) for page in pages if not (site / page.with_suffix(".html")).is_file()] == []
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [
        str(page) for page in pages if "results/" not in str(page) and str(page) not in menu
    ] == []


def test_the_site_loads_nothing_from_elsewhere(site):
    loaded = re.compile(
        r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=\"?(?:https?:)?//"
    )
    pages = [*site.rglob("*.html")]
    assert len(pages) > 20
    for page in pages:
        assert not loaded.search(page.read_text(encoding="utf-8")), page
