"""A receiver of webhooks over loopback, with a will of its own: it hangs, refuses, asks for a pause, closes in the middle.

    async with Receiver() as receiver:
        receiver.answer = lambda message: HANG if message.type == "replay" else "200 OK"

What it is sent is verified here by hand, as https://www.standardwebhooks.com says, and not by the code under test.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

HANG = "hang"
CLOSE = "close in the middle"
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OLDER = "whsec_" + base64.b64encode(bytes(range(32, 64))).decode()


@dataclass(frozen=True)
class Message:
    """One request as it came. `at` is when, by a clock that does not go back."""

    line: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def document(self) -> dict[str, Any]:
        return dict(json.loads(self.body))

    @property
    def type(self) -> str:
        return str(self.document["type"])

    @property
    def event(self) -> dict[str, Any]:
        return dict(self.document["data"])

    def is_signed_with(self, secret: str) -> bool:
        """Whether one of the signatures is this secret's."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        content = f"{self.id}.{self.headers['webhook-timestamp']}.".encode() + self.body
        expected = "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        return expected in self.headers["webhook-signature"].split(" ")


@dataclass
class Receiver:
    """`answer` says what becomes of a message: a status line with further header lines, or `HANG` or `CLOSE`."""

    answer: Callable[[Message], str] = lambda message: "200 OK"
    context: ssl.SSLContext | None = None
    listens_at: int = 0
    messages: list[Message] = field(default_factory=list)
    taken: list[Message] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._serving: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.listens_at, ssl=self.context)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    @property
    def port(self) -> int:
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        return f"{'https' if self.context else 'http'}://localhost:{self.port}/hooks?of=gateway"

    def told(self) -> list[str]:
        """The types of what was taken, as it came."""
        return [message.type for message in self.taken]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers["content-length"]))
            message = Message(head[0], headers, body, time.monotonic())
            self.messages.append(message)
            await self._answer(message, self.answer(message), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._serving.discard(task)
            writer.transport.abort() if task.cancelling() else writer.close()

    async def _answer(self, message: Message, answer: str, writer: asyncio.StreamWriter) -> None:
        if answer == HANG:
            await asyncio.Event().wait()
        if answer == CLOSE:
            writer.write(b"HTTP/1.1 200")
            await writer.drain()
            writer.transport.abort()
            return
        if answer.startswith("2"):
            self.taken.append(message)
        writer.write(f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
