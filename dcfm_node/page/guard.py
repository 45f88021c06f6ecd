"""Who may ask the page what: a layer before every route."""

import base64
import binascii
import hmac
from collections.abc import Collection
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for"
    " 'script'; trusted-types 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
"""Of every answer. Nothing is loaded from elsewhere, and no other site may embed or read it."""
LOCAL = ("localhost", "127.0.0.1", "::1")
OPEN = ("/healthz",)
"""What needs no token: it says only that this process answers."""


@dataclass(frozen=True)
class Guard:
    """Lets through only what may read the page.

    Attributes:
        token: what clients must know; None asks for none.
        hosts: names that a request may call this host by; None takes any. With names of this
            machine alone, a site whose own name leads here (DNS rebinding) reads nothing.
    """

    app: ASGIApp
    token: bytes | None
    hosts: Collection[str] | None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on. Nothing but HTTP is handed on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1003})
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope)
        await (self.app if refusal is None else refusal)(scope, receive, sealed)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        if self.hosts is not None and _name(headers.get("host", "")) not in self.hosts:
            what = f"call this host one of {', '.join(self.hosts)}: other names are not answered\n"
            return PlainTextResponse(what, 421)
        if scope["method"] not in ("GET", "HEAD"):
            allowed = {"allow": "GET, HEAD"}
            return PlainTextResponse("this page only reads\n", 405, headers=allowed)
        if self.token is None or scope["path"] in OPEN:
            return None
        if hmac.compare_digest(_given(headers.get("authorization", "")), self.token):
            return None
        asks = {"www-authenticate": 'Basic realm="dcfm-node", charset="UTF-8"'}
        what = "give the token of [page] token_file: as the password, or as a bearer token\n"
        return PlainTextResponse(what, 401, headers=asks)


def _name(host: str) -> str:
    """The host of "host:port", without the brackets of IPv6."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _given(authorization: str) -> bytes:
    """The token of a request; empty if it has none."""
    kind, _, value = authorization.partition(" ")
    if kind.lower() == "bearer":
        return value.strip().encode()
    if kind.lower() != "basic":
        return b""
    try:
        return base64.b64decode(value, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""
