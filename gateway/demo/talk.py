"""The demo's client: one request on a connection of its own, so that either worker may get it; and a stream that is watched.

Plain http.client: it sends exactly the header lines it is given, also those that no honest client would send.
"""

import http.client
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

TIMEOUT_S: Final = 10.0
Lines = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `reason` is the word of a refusal, or empty."""

    status: int
    reason: str
    text: str

    def __str__(self) -> str:
        return f"{self.status} {self.reason or self.text.strip()}"

    def data(self) -> Any:
        return json.loads(self.text)


def ask(address: str, path: str, lines: Lines = (), *, method: str = "GET", body: object = None) -> Answer:
    """One request. Raises OSError when nobody answers."""
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT_S)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in lines:
            connection.putheader(name, value)
        raw = b"" if body is None else json.dumps(body).encode()
        if raw:
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Content-Length", str(len(raw)))
        connection.endheaders(raw or None)
        response = connection.getresponse()
        return Answer(response.status, response.headers.get("X-Gateway-Reason", ""), response.read().decode("utf-8", "replace"))
    except http.client.HTTPException as error:
        raise OSError(f"not an HTTP answer: {error!r}") from error
    finally:
        connection.close()


def bearer(token: str) -> tuple[str, str]:
    """The header line that shows a token."""
    return "Authorization", f"Bearer {token}"


class Stream:
    """An answer that goes on. Per connection."""

    def __init__(self, address: str, path: str, lines: Lines) -> None:
        self._connection = http.client.HTTPConnection(address, timeout=TIMEOUT_S)
        self._connection.request("GET", path, headers=dict(lines))
        self._response = self._connection.getresponse()
        self.status = self._response.status

    def read_events(self, number: int) -> int:
        """Wait for so many events; how many came before the stream ended, if it did."""
        seen = 0
        while seen < number and (piece := self._response.read1()):
            seen += piece.count(b"data:")
        return seen

    def wait_for_cut(self) -> bool:
        """Read on until it ends. True when it was torn off, False when it looked complete or did not end in time.

        NB: `readline` and `read` of a chunked answer may take a torn one for complete; `read1` does not.
        """
        deadline = time.monotonic() + TIMEOUT_S
        try:
            while time.monotonic() < deadline and self._response.read1():
                pass
        except (ConnectionError, http.client.IncompleteRead):
            return True
        except OSError:  # nothing came for TIMEOUT_S
            return False
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()
