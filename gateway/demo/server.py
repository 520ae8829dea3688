"""The demo's own little server: one page, and what its buttons do.

    GET  /                        the page, its script and style inside, allowed by their hashes
    GET  /story                   what does not change
    GET  /state?version=&line=    what changes; waits until there is something newer
    POST /next /scene /over /do   JSON

It listens on loopback, which keeps other machines out and nobody else: any page in the person's browser can send requests here,
under any name that it makes resolve to 127.0.0.1. So `Host` must be ours (DNS rebinding), and a POST must come from this page, by
`Origin` and, where the browser says it, `Sec-Fetch-Site`. Everything it serves is text that the page shows as text.

Owns the socket and its threads.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from socket import socket
from threading import BoundedSemaphore, Thread
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from gateway.demo import view
from gateway.demo.theatre import Busy, Theatre

MOST_CONNECTIONS: Final = 32
LARGEST_BODY: Final = 1024
IDLE_S: Final = 30.0
NEWS_WITHIN_S: Final = 15.0

_COMMON: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


class PageServer:
    """Serves until `close`. `url` is what a person opens."""

    def __init__(self, theatre: Theatre, address: str) -> None:
        host, _, port = address.rpartition(":")
        try:
            self._server = _Server((host, int(port)), theatre)
        except OSError:  # somebody was quicker
            self._server = _Server((host, 0), theatre)
        self.port = self._server.server_port
        self.url = f"http://{host}:{self.port}/"
        self._server.hosts = frozenset({f"{host}:{self.port}", f"localhost:{self.port}"})
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    """Per process. Connections above the bound are closed at once."""

    daemon_threads = True
    hosts: frozenset[str] = frozenset()

    def __init__(self, address: tuple[str, int], theatre: Theatre) -> None:
        self.theatre = theatre
        self.page = files("gateway.demo").joinpath("page.html").read_bytes()
        self.policy = policy_of(self.page.decode())
        self._places = BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: "socket | tuple[bytes, socket]", client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that closes its tab is no event."""


class _Refused(Exception):
    """The request is not served: with this status, for this reason."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    """Per connection."""

    protocol_version = "HTTP/1.1"
    server_version = "gateway-demo"
    sys_version = ""
    timeout = IDLE_S
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, serve: Callable[[], tuple[str, bytes]]) -> None:
        try:
            self._refuse_strangers()
            kind, body = serve()
            status = 200
        except _Refused as refused:
            status, kind, body = refused.status, "text/plain; charset=utf-8", f"{refused}\n".encode()
            self.close_connection = True  # whatever else it sent is not read
        self.send_response(status)
        for name, value in {**_COMMON, "Content-Security-Policy": self.server.policy}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _refuse_strangers(self) -> None:
        """Raises _Refused unless the request was sent to us under our own name, and not by another site's page."""
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or hosts[0] not in self.server.hosts:
            raise _Refused(421, "This address is not known here.")
        if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") and not self._is_link():
            raise _Refused(403, "Another site's page sent this.")

    def _is_link(self) -> bool:
        """Somebody followed a link to the page itself."""
        return self.command == "GET" and self.path == "/" and self.headers.get("Sec-Fetch-Mode") == "navigate"

    def _get(self) -> tuple[str, bytes]:
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        match path:
            case "/":
                return "text/html; charset=utf-8", self.server.page
            case "/story":
                return _json(view.story(self.server.theatre.stage))
            case "/state":
                version, line = _number(query, "version"), _number(query, "line")
                self.server.theatre.wait_for(version, NEWS_WITHIN_S)
                return _json(view.state(self.server.theatre, line))
            case _:
                raise _Refused(404, "There is nothing here.")

    def _post(self) -> tuple[str, bytes]:
        if self.headers.get_all("Origin") != [f"http://{self.headers['Host']}"]:
            raise _Refused(403, "Only the page itself may do this.")
        asked = self._body()
        theatre = self.server.theatre
        try:
            match self.path:
                case "/next":
                    theatre.next()
                case "/scene":
                    theatre.go_to(int(asked["scene"]))
                case "/over":
                    theatre.start_over()
                case "/do":
                    theatre.do(str(asked["who"]), str(asked["what"]))
                case _:
                    raise _Refused(404, "There is nothing here.")
        except Busy:
            raise _Refused(409, "Something is being played.") from None
        except (KeyError, IndexError, TypeError, ValueError):
            raise _Refused(422, "That is not known here.") from None
        return _json({})

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "")
        if self.headers.get("Content-Type") != "application/json" or "Transfer-Encoding" in self.headers:
            raise _Refused(415, "The body must be JSON.")
        if not re.fullmatch("[0-9]{1,4}", length) or int(length) > LARGEST_BODY:
            raise _Refused(413, "The body is too large.")
        try:
            asked = json.loads(self.rfile.read(int(length)))
        except ValueError:
            asked = None
        if not isinstance(asked, dict):
            raise _Refused(400, "The body must be a JSON object.")
        return asked

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the terminal belongs to the story."""


def policy_of(page: str) -> str:
    """Nothing but the page's own script and style, by their hashes, and requests to here."""
    script, style = (
        " ".join(f"'sha256-{_digest(text)}'" for text in re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.S))
        for tag in ("script", "style")
    )
    return (
        f"default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json(document: object) -> tuple[str, bytes]:
    return "application/json", json.dumps(document).encode()


def _number(query: dict[str, list[str]], name: str) -> int:
    text = query.get(name, ["0"])[0]
    if not re.fullmatch("[0-9]{1,9}", text):
        raise _Refused(422, f"`{name}` is a number.")
    return int(text)
