"""Who may ask the page what."""

import base64

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from dcfm_node.page.guard import HEADERS, LOCAL, Guard

TOKEN = b"a-token-of-some-length"


async def told(request: Request) -> PlainTextResponse:
    return PlainTextResponse("told")


async def raises(request: Request) -> PlainTextResponse:
    raise RuntimeError


def client(token: bytes | None = None, hosts: tuple[str, ...] | None = LOCAL) -> TestClient:
    routes = [Route("/", told), Route("/healthz", told), Route("/raises", raises)]
    app = Starlette(routes=routes)
    guard = Guard(app, token, hosts)
    return TestClient(guard, "http://127.0.0.1:7480", raise_server_exceptions=False)


@pytest.mark.parametrize("path", ["/", "/healthz", "/absent", "/raises"])
def test_every_answer_has_the_headers_that_keep_other_sites_out(path: str) -> None:
    answer = client().get(path)
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_nothing_but_reading_is_answered(method: str) -> None:
    answer = client().request(method, "/")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"
    assert answer.headers.get("content-security-policy")


@pytest.mark.parametrize(
    "host", ["127.0.0.1:7480", "localhost", "LOCALHOST:1", "[::1]:7480", "localhost:99999"]
)
def test_this_machine_may_be_called_by_its_names(host: str) -> None:
    assert client().get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "evil.example:7480", "", "localhost.evil", "[::2]"],
)
def test_a_site_whose_name_leads_here_reads_nothing(host: str) -> None:
    answer = client().get("/", headers={"host": host})
    assert answer.status_code == 421
    assert "told" not in answer.text


def basic(password: str, user: str = "anyone") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    "given", [f"Bearer {TOKEN.decode()}", f"bearer  {TOKEN.decode()}", basic(TOKEN.decode())]
)
def test_a_token_may_come_as_bearer_or_as_password(given: str) -> None:
    answer = client(TOKEN, None).get("/", headers={"authorization": given})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "given",
    [
        *("", "Bearer", "Bearer ", "Bearer wrong", basic("wrong"), basic(""), "Basic ###"),
        *(f"Digest {TOKEN.decode()}", TOKEN.decode(), f"Bearer {TOKEN.decode()}x", "Basic Og=="),
        *(basic(TOKEN.decode()[:-1]), "Basic " + base64.b64encode(TOKEN).decode(), "Bearer \xe9"),
    ],
)
def test_without_the_token_nothing_is_told(given: str) -> None:
    headers = {"authorization": given.encode("latin-1")}
    answer = client(TOKEN, None).get("/", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert "told" not in answer.text


def test_whether_the_process_answers_needs_no_token() -> None:
    assert client(TOKEN, None).get("/healthz").status_code == 200


def test_a_token_is_asked_for_on_this_machine_too_and_the_host_is_looked_at_first() -> None:
    assert client(TOKEN).get("/").status_code == 401
    headers = {"host": "evil.example", "authorization": f"Bearer {TOKEN.decode()}"}
    assert client(TOKEN).get("/", headers=headers).status_code == 421


def test_a_websocket_is_not_handed_on() -> None:
    reached = []

    async def socket(websocket: object) -> None:
        reached.append(websocket)

    guard = Guard(Starlette(routes=[WebSocketRoute("/ws", socket)]), None, None)
    with pytest.raises(WebSocketDisconnect), TestClient(guard).websocket_connect("/ws"):
        pass
    assert reached == []
