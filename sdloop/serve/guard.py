"""Who may ask the server anything: the right address, the right origin, the token."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY_BYTES = 64 * 1024
LOOPBACK = ("127.0.0.1", "localhost", "::1")
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """Lets through what comes from the page itself, with the token.

    - Another Host header: a name that was made to point here (DNS rebinding).
    - Another Origin, or a browser that says the request is another site's: a page elsewhere.
    - Neither token nor cookie: another user or program of this machine.
    """

    def __init__(self, app: ASGIApp, token: str, port: Callable[[], int], host: str) -> None:
        """Guard an app.

        Args:
            app: What is guarded.
            token: Whoever knows it may ask.
            port: Returns the port that the server listens to.
            host: The name or address that it listens to.
        """
        self._app, self._token, self._port = app, token, port
        self._hosts = {*LOOPBACK, host.lower()}
        # other machines use an address of this one, which no rebinding has
        self._any_address = host in ("0.0.0.0", "::")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or hand it on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        request = Request(scope)
        refused = self._refuse(request)
        if refused is not None:
            await refused(scope, receive, _with_headers(send))
            return
        await self._app(scope, _limited(receive), _with_headers(send))

    def _refuse(self, request: Request) -> Response | None:
        """Return what refuses a request; None if it is fine."""
        headers, path = request.headers, request.url.path
        if not self._is_ours(headers.get("host", "")):
            return _no(400, "this is not the server's address")
        origin = headers.get("origin")
        if origin is not None and not self._is_own_origin(origin):
            return _no(403, "another page may not ask this server")
        is_entry = request.method == "GET" and path == "/"
        site = headers.get("sec-fetch-site", "none")
        if site not in ("none", "same-origin") and not is_entry:
            return _no(403, "another page may not ask this server")
        given = request.query_params.get("token")
        if given is not None and is_entry:
            if not _equal(given, self._token):
                return _no(403, "wrong token")
            entered = RedirectResponse("/", 303)
            entered.set_cookie(
                self._cookie, self._token, httponly=True, samesite="strict", path="/"
            )
            return entered
        if not _equal(request.cookies.get(self._cookie, ""), self._token):
            return _no(403, "open the address that `python -m sdloop.watch` printed")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > LARGEST_BODY_BYTES:
            return _no(413, "too large")
        is_json = headers.get("content-type", "").split(";")[0].strip() == "application/json"
        if request.method == "POST" and not is_json:  # a form of another page cannot send it
            return _no(415, "must be application/json")
        return None

    @property
    def _cookie(self) -> str:
        """Name the cookie; servers on other ports share a browser's cookies."""
        return f"sdloop-{self._port()}"

    def _is_ours(self, host: str) -> bool:
        """Tell whether a Host header names this server."""
        try:
            parts = urlsplit(f"//{host}")
            name, port = parts.hostname or "", parts.port or 80
        except ValueError:
            return False
        return port == self._port() and (
            name in self._hosts or (self._any_address and _is_address(name))
        )

    def _is_own_origin(self, origin: str) -> bool:
        """Tell whether an Origin header names this server."""
        return origin.startswith("http://") and self._is_ours(origin.removeprefix("http://"))


def _no(status: int, why: str) -> PlainTextResponse:
    """Refuse with one line."""
    return PlainTextResponse(f"{why}\n", status)


def _equal(given: str, token: str) -> bool:
    """Compare in constant time."""
    return secrets.compare_digest(given.encode(), token.encode())


def _is_address(name: str) -> bool:
    """Tell whether a name is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _limited(receive: Receive) -> Receive:
    """Count a body that does not say its length."""
    read = 0

    async def limited() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > LARGEST_BODY_BYTES:
            raise HTTPException(413, "too large")
        return message

    return limited


def _with_headers(send: Send, names: Collection[str] = HEADERS) -> Send:
    """Add the headers that every answer has, unless it has its own."""

    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = Headers(raw=message["headers"])
            headers = MutableHeaders(scope=message)
            for name in names:
                if name not in own:
                    headers[name] = HEADERS[name]
        await send(message)

    return with_headers
