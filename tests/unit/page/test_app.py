"""The routes: typed documents, bounded streams, and files that are what they are called."""

import asyncio
import json
import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from dcfm_node.api.page import Drawn, PageNow, PagePast, Ready
from dcfm_node.errors import Unreachable
from dcfm_node.page import app as serving
from dcfm_node.page.app import FILES, STATIC
from dcfm_node.records.entries import Withdraw
from tests.unit.page.made import Daemon, page

EVIL = '<img src=x onerror=alert(1)></script>\u202e"'


def client(daemon: Daemon, folder: Path) -> TestClient:
    return TestClient(page(daemon, folder).app)


@pytest.mark.parametrize("path", FILES)
def test_every_file_of_the_page_is_served(path: str, tmp_path: Path) -> None:
    answer = client(Daemon(), tmp_path).get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(FILES[path][1])


def test_documents_are_those_of_api(tmp_path: Path) -> None:
    daemon = Daemon()
    got = client(daemon, tmp_path)
    assert PageNow.read(got.get("/now").content).status == daemon.status
    assert PagePast.read(got.get("/past").content).records
    assert Ready.read(got.get("/readyz").content)


def test_readiness_is_a_status_code(tmp_path: Path) -> None:
    daemon = Daemon()
    silos = daemon.status.silos
    daemon.changed["silos"] = tuple(s.model_copy(update={"live": True}) for s in silos)
    assert client(daemon, tmp_path).get("/readyz").status_code == 200
    daemon.fails = Unreachable("nobody answers")
    answer = client(daemon, tmp_path).get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["why"] == ["nobody answers"]
    assert client(daemon, tmp_path).get("/healthz").text == "ok\n"


@pytest.mark.parametrize(
    "path",
    [
        *("/page.py", "/app.py", "/static/page.js", "/%2e%2e/guard.py", "/cells/x/0-0.png"),
        *("/student/x/model.safetensors", "/student/../x", "/cells/%00/%00.png", "/now/"),
    ],
)
def test_nothing_else_is_served(path: str, tmp_path: Path) -> None:
    answer = client(Daemon(), tmp_path).get(path, follow_redirects=False)
    assert answer.status_code in (404, 307)
    assert "location" not in answer.headers or answer.headers["location"].endswith("/now")


def test_pictures_and_files_are_of_the_student_that_is_named(tmp_path: Path) -> None:
    made = page(Daemon(), tmp_path)
    drawing = made._drawing
    folder = tmp_path / "student"
    (folder / "codec").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "secret").write_bytes(b"secret")
    drawing.pictures = {"0-1": b"png"}
    drawing._students = {"ab": folder}
    drawing.drawn = Drawn(state="drawn", student="ab", why="", cells=("0-1",))
    got = TestClient(made.app)
    assert got.get("/cells/ab/0-1.png").content == b"png"
    assert got.get("/cells/ac/0-1.png").status_code == 404
    answer = got.get("/student/ab/model.safetensors")
    assert answer.content == b"weights"
    assert answer.headers["content-disposition"] == "attachment"
    for name in ("codec", "..", "..%2fsecret", "%2e%2e%2fsecret", "absent"):
        assert got.get(f"/student/ab/{name}").status_code == 404


def test_a_loss_that_is_no_number_is_still_json(tmp_path: Path) -> None:
    daemon = Daemon()
    worker = daemon.status.worker.model_copy(update={"metrics": {"loss": float("nan")}})
    daemon.changed["worker"] = worker
    got = json.loads(client(daemon, tmp_path).get("/now").text, parse_constant=pytest.fail)
    assert got["status"]["worker"]["metrics"] == {"loss": None}


def test_words_of_peers_stay_words(tmp_path: Path) -> None:
    """They travel as JSON in ASCII, and no file of the page makes markup from text."""
    daemon = Daemon()
    author = daemon.run.authors[1]
    daemon.node.replica.journals.offer(author.join())
    daemon.node.replica.journals.offer(author.say(Withdraw(reason=EVIL)))
    body = client(daemon, tmp_path).get("/past").content
    assert body.isascii()
    assert b"\n" not in body
    said = [record.says for record in PagePast.read(body).records]
    assert any("<img" in text and "\u202e" not in text for text in said)


def test_no_file_of_the_page_makes_markup_or_asks_elsewhere() -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in STATIC.iterdir()}
    assert set(texts) == {name for name, _ in FILES.values()}
    for name, text in texts.items():
        code = text.replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", code), (
            name
        )
        assert not re.search(r"https?://|//cdn|@import|url\(", code), name
    page_ = texts["index.html"]
    assert not re.search(
        r"<script(?! type=\"module\" src=\"page\.js\")|<style|\bon\w+=|style=", page_
    )


def test_the_page_has_landmarks_labels_and_a_language() -> None:
    text = (STATIC / "index.html").read_text(encoding="utf-8")
    for part in ('lang="en"', "<main>", "<nav aria-label=", "<header>", "<footer", 'class="skip"'):
        assert part in text
    ids = set(re.findall(r'\bid="([\w-]+)"', text))
    assert set(re.findall(r'href="#([\w-]+)"', text)) <= ids
    assert set(re.findall(r'aria-labelledby="([\w-]+)"', text)) <= ids
    css = (STATIC / "page.css").read_text(encoding="utf-8")
    assert "prefers-color-scheme: dark" in css
    assert "prefers-reduced-motion: reduce" in css


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(scheme: str) -> None:
    """WCAG 2.2 AA: 4.5 to 1 for text, on every ground that text stands on."""
    css = (STATIC / "page.css").read_text(encoding="utf-8")
    light, dark = css.split("prefers-color-scheme: dark", maxsplit=1)
    found = dict(re.findall(r"--([\w]+): (#[0-9a-f]{6})", light if scheme == "light" else dark))
    inks = ["ink", "soft", "link", "good", "warn", "bad"]
    pairs = [(ink, ground) for ink in inks for ground in ("ground", "sheet")]
    pairs += [("ink", ground) for ground in ("own", "other", "probe")]
    for ink, ground in pairs:
        bright, dim = sorted((luminance(found[ink]), luminance(found[ground])), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) >= 4.5, (ink, ground)


class Stream:
    """A client of /events at the level of ASGI: one that can stop reading, or leave."""

    def __init__(self, made: serving.Page, method: str = "GET") -> None:
        self.sent: list[dict[str, object]] = []
        self.left = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()
        scope = {
            **{"type": "http", "method": method, "path": "/events", "raw_path": b"/events"},
            **{"query_string": b"", "headers": [], "root_path": "", "scheme": "http"},
            **{"http_version": "1.1", "asgi": {"version": "3.0", "spec_version": "2.3"}},
        }
        self.task = asyncio.create_task(made.app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, object]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, object]) -> None:
        await self.reads.wait()
        self.sent.append(message)

    @property
    def status(self) -> object:
        return self.sent[0]["status"] if self.sent else None

    @property
    def text(self) -> str:
        return b"".join(m.get("body", b"") for m in self.sent[1:]).decode()  # type: ignore[misc]

    async def until(self, what: str) -> None:
        async with asyncio.timeout(20):
            while what not in self.text:
                await asyncio.sleep(0.01)

    async def leave(self) -> None:
        self.left.set()
        async with asyncio.timeout(20):
            await self.task


def test_events_carry_both_documents(tmp_path: Path) -> None:
    async def watch() -> None:
        made = page(Daemon(), tmp_path)
        stream = Stream(made)
        await stream.until("event: now")
        assert made.watchers == 1
        events = dict(re.findall(r"event: (\w+)\ndata: (.*)\n\n", stream.text))
        assert PagePast.read(events["past"])
        assert PageNow.read(events["now"])
        await stream.leave()
        assert made.watchers == 0

    asyncio.run(watch())


def test_as_many_watch_as_may_and_their_places_come_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(serving, "MAX_WATCHERS", 3)

    async def crowd() -> None:
        made = page(Daemon(), tmp_path)
        streams = [Stream(made) for _ in range(3)]
        for stream in streams:
            await stream.until("event: now")
        late = Stream(made)
        await late.task
        assert late.status == 503
        await streams.pop().leave()
        again = Stream(made)
        await again.until("event: now")
        for stream in (*streams, again):
            await stream.leave()
        assert made.watchers == 0

    asyncio.run(crowd())


def test_a_client_that_stops_reading_holds_up_only_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(serving, "EVERY_S", 0.001)

    async def two() -> None:
        made = page(Daemon(), tmp_path)
        slow, quick = Stream(made), Stream(made)
        await slow.until("event: now")
        slow.reads.clear()
        before = len(slow.sent)
        await quick.until("event: now")
        seen = len(quick.sent)
        async with asyncio.timeout(20):
            while len(quick.sent) < seen + 10:
                await asyncio.sleep(0.001)
        assert len(slow.sent) <= before + 1  # nothing piles up for it
        slow.reads.set()
        await slow.leave()
        await quick.leave()

    asyncio.run(two())
