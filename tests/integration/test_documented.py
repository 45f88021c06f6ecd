"""Every block of commands of README.md and docs/tutorial.md runs, in order, with real nodes."""

import socket

import pytest

from tests.integration.cluster import ROOT
from tests.integration.documented import Page, machines, page_of

SITES = ("north", "east", "south")


def free_pairs(number: int) -> list[int]:
    """Ports of loopback that are free together with the next one."""
    found: list[int] = []
    taken: list[socket.socket] = []
    while len(found) < number:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        pair = [socket.socket(), socket.socket()]
        taken += pair
        try:
            for end, one in enumerate(pair):
                one.bind(("127.0.0.1", port + end))
        except OSError:
            continue
        found.append(port)
    for one in taken:
        one.close()
    return found


def test_the_commands_of_the_readme_run(tmp_path):
    page = page_of(ROOT / "README.md")
    with machines(tmp_path, ("here",), {"DATA": "data.csv", "HOST:7400": "127.0.0.1"}) as made:
        (tmp_path / "here" / "data.csv").write_text(
            "x,y,weather,terrain\n" + "1,2,dry,sand\n3,4,rain,sand\n5,6,dry,gravel\n" * 4
        )
        said = [text for step in page.steps for text in made.run(step)]
    assert len(said) == 3
    assert (tmp_path / "here" / "demo-out" / "nodes" / "east" / "node.toml").is_file()
    assert "found 12 samples" in said[1]


@pytest.fixture(scope="module")
def tutorial() -> Page:
    return page_of(ROOT / "docs" / "tutorial.md")


@pytest.mark.timeout(1_800)  # some fifty commands, each a process: minutes on a busy machine
def test_the_tutorial_leads_from_nothing_to_samples(tutorial, tmp_path):
    ports = zip(SITES, free_pairs(len(SITES)), strict=True)
    addresses = {f"{site}.example.org:7400": f"127.0.0.1:{port}" for site, port in ports}
    with machines(tmp_path, SITES, addresses) as made:
        for name, text in tutorial.files.items():
            (tmp_path / "north" / name).write_text(text, encoding="utf-8")
        said = {step.block: "\n".join(made.run(step)) for step in tutorial.steps}
    every = "\n".join(said.values())
    for words in ("found 300 samples of shape 4", "terrain: asphalt, gravel, sand", "verified "):
        assert words in every
    drawn = (tmp_path / "north" / "north" / "rain-sand.csv").read_text().splitlines()
    assert drawn[0] == "current,slip,speed,vibration,weather,terrain"
    assert len(drawn) == 201
    assert all(line.endswith(",rain,sand") for line in drawn[1:])


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_no_block_is_left_out(page):
    """A block that a test would not run: another language's name for a shell, or one indented."""
    text = (ROOT / page).read_text(encoding="utf-8")
    fences = [line for line in text.splitlines() if line.lstrip().startswith("```")][::2]
    shown = [line for line in fences if line == "```text" or "file=" in line]
    steps = page_of(ROOT / page).steps
    assert len(fences) == len(shown) + len(steps)
    assert all(line.startswith(("```sh", "```python")) for line in fences if line not in shown)
    assert all(step.commands.strip() for step in steps)
