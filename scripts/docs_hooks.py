"""Hooks of mkdocs: the site has docs/ and every file of the repository that a page links to.

Links in Markdown files are paths in the repository, so that they work there too. Here they become
paths in the site: docs/x.md is x.md, and any other file keeps its path.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(\]\()(?!\w+:|#)([^)\s#]+)")
FENCE_OF_FILE = re.compile(r"(?m)^(```\w+) file=(\S+)$")


def on_files(files: Files, *, config: Any) -> Files:
    """Add what pages link to outside docs/, and what those pages link to in turn."""
    todo = {target for file in files.documentation_pages() for target in _targets(_place(file))}
    while todo:
        target = todo.pop()
        path, uri = ROOT / target, _uri(target)
        if files.get_file_from_path(uri) or not path.exists():
            continue  # mkdocs names what is missing
        if path.is_dir():
            files.append(File.generated(config, uri, content=_listing(path)))
            todo |= {f"{target}/{name}" for name in _pages(path)}
            continue
        files.append(File.generated(config, uri, abs_src_path=str(path)))
        todo |= _targets(target) if path.suffix == ".md" else set()
    return files


def _targets(place: str) -> set[str]:
    """The paths in the repository that a page links to."""
    links = LINK.findall((ROOT / place).read_text(encoding="utf-8"))
    return {_resolved(place, link) for _, link in links}


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Make links of the repository links of the site, and show the files that code blocks name."""
    uri, place = page.file.src_uri, _place(page.file)

    def link(found: re.Match[str]) -> str:
        target = _uri(_resolved(place, found[2]))
        return found[1] + posixpath.relpath(target, posixpath.dirname(uri) or ".")

    if not (ROOT / place).is_file():  # a listing, made for the site
        return markdown
    return FENCE_OF_FILE.sub(r'\1 title="\2"', LINK.sub(link, markdown))


def _place(file: File) -> str:
    """The path of a page in the repository."""
    inside = f"docs/{file.src_uri}"
    return inside if (ROOT / inside).is_file() else file.src_uri


def _resolved(place: str, link: str) -> str:
    """The path in the repository that a link of a file there means."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(place), link))


def _uri(target: str) -> str:
    """The path in the site of a file or folder of the repository."""
    if target == "README.md":
        return "index.md"
    if (ROOT / target).is_dir():
        target += "/index.md"
    return target.removeprefix("docs/")


def _pages(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.md"))


def _listing(folder: Path) -> str:
    """A page with a link to each Markdown file of a folder."""
    titles = {name: (folder / name).read_text(encoding="utf-8") for name in _pages(folder)}
    lines = [
        f"- [{text.partition(chr(10))[0].lstrip('# ')}]({name})" for name, text in titles.items()
    ]
    return "\n".join([f"# {folder.name.capitalize()}", "", *lines, ""])
