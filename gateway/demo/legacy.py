"""The application behind the gateway: old, plain, and sure that whoever is named in X-User is who he says.

    GET /          Hello alice
    GET /ticks     an event stream that never ends by itself
    GET /headers   the header lines as they arrived
    GET /about     for everybody

It knows nothing of tokens, sessions or revocation, and that is the point of it.

    python -m gateway.demo.legacy [ADDRESS:]PORT      on loopback, unless an address of a network that nobody else is in is given
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Event
from typing import Final

TICK_S: Final = 0.1


class Legacy(BaseHTTPRequestHandler):
    """One connection. The server makes a thread for each, as it was done in the year of this application."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes; the second would wait 40 ms for the first one's receipt

    def do_GET(self) -> None:
        match self.path:
            case "/":
                self._say(f"Hello {self.headers.get('X-User', 'stranger')}\n")
            case "/headers":
                self._say("".join(f"{name}: {value}\n" for name, value in self.headers.items()))
            case "/about":
                self._say("A legacy application. It reads X-User.\n")
            case "/ticks":
                self._tick()
            case _:
                self._say("There is nothing here.\n", 404)

    def _say(self, text: str, status: int = 200) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _tick(self) -> None:
        """Server-sent events, until the client is gone."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        pause = Event()
        try:
            for number in count(1):
                self.wfile.write(f"data: tick {number} for {self.headers.get('X-User')}\n\n".encode())
                pause.wait(TICK_S)
        except ConnectionError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """The gateway logs what matters."""


def main() -> None:
    address, _, port = sys.argv[1].rpartition(":")
    ThreadingHTTPServer((address or "127.0.0.1", int(port)), Legacy).serve_forever()


if __name__ == "__main__":
    main()
