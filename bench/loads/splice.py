"""WebSocket messages through the splice, beside nginx: 32 connections, each sends a message when the last one came back.

Client and backend are Python and share the load core, so they may be the limit before the system is; the verdict
is therefore on CPU per message (there and back), where that does not flatter anybody.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Final

import uvloop

from bench.budgets import Verdict, at_least, taken_beside
from bench.loads import Options
from bench.loads.backends import backend
from bench.loads.cut import opened
from bench.place import Place, Running
from bench.process import Bystanders, cpu_seconds, tree
from bench.report import Report
from bench.systems import gateway, nginx

_PAYLOAD: Final = b"sixty-four bytes of text, as a chat or a quote would send them.."
_FRAME: Final = bytes((0x81, 0x80 | len(_PAYLOAD))) + bytes(4) + _PAYLOAD
_ANSWER_BYTES: Final = 2 + len(_PAYLOAD)
_OURS: Final = "this gateway"
_THEIRS: Final = "nginx"


@dataclass(frozen=True, slots=True)
class Messages:
    """Round trips per second, and CPU time of the system for each."""

    per_second: float
    cpu_us: float
    others_percent: float


class Player(asyncio.Protocol):
    """One connection that plays ping-pong until it is told to stop."""

    def __init__(self) -> None:
        self.messages = 0
        self._received = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        transport.write(_FRAME)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._received >= _ANSWER_BYTES:
            self._received -= _ANSWER_BYTES
            self.messages += 1
            self._transport.write(_FRAME)


def measure(place: Place, options: Options) -> Report:
    """Best of the rounds for each: what the machine can do when nobody disturbs it."""
    rounds: dict[str, list[Messages]] = {}
    with backend(place, "echo.py") as port:
        for _ in range(options.rounds):
            for name, start in _starts(place, port):
                with start as running:
                    rounds.setdefault(name, []).append(_play(running, options))
    best = {name: min(all_of, key=lambda one: one.cpu_us) for name, all_of in rounds.items()}
    verdicts: tuple[Verdict, ...] = ()
    if _OURS in best and _THEIRS in best:
        ratio = best[_THEIRS].cpu_us / best[_OURS].cpu_us
        others = max(best[_OURS].others_percent, best[_THEIRS].others_percent)
        verdicts = taken_beside(others, (at_least("messages per CPU second ÷ nginx", ratio, 0.7),))
    return Report(
        title=f"WebSocket messages of {len(_PAYLOAD)} bytes, there and back, {options.connections} connections",
        columns=("system", "messages/s", "µs CPU per message"),
        rows=tuple((name, f"{one.per_second:.0f}", f"{one.cpu_us:.1f}") for name, one in best.items()),
        verdicts=verdicts,
        values={"rounds": {name: [asdict(one) for one in all_of] for name, all_of in rounds.items()}},
    )


def _starts(place: Place, port: int) -> Iterator[tuple[str, AbstractContextManager[Running]]]:
    if nginx.missing() is None:
        yield _THEIRS, nginx.plain(place, backend_port=port)
    if gateway.missing() is None:
        yield _OURS, _gateway(place, port)


@contextlib.contextmanager
def _gateway(place: Place, port: int) -> Iterator[Running]:
    with gateway.ready(place, other_port=port) as ready:
        yield Running(ready.port, ready.process, ready.token.text)


def _play(running: Running, options: Options) -> Messages:
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(opened(running.port, running.token)) for _ in range(options.connections)]
        bystanders = Bystanders()
        before, start = cpu_seconds(tree(*running.roots)), time.perf_counter()
        messages = uvloop.run(_ping_pong([connection.socket.dup() for connection in connections], options.seconds))
        duration_s, used = time.perf_counter() - start, cpu_seconds(tree(*running.roots)) - before
    return Messages(messages / duration_s, used / messages * 1e6, bystanders.percent())


async def _ping_pong(sockets: list[socket.socket], seconds: float) -> int:
    loop = asyncio.get_running_loop()
    players = []
    for connected in sockets:
        connected.setblocking(False)
        _, player = await loop.create_connection(Player, sock=connected)
        players.append(player)
    await asyncio.sleep(seconds)
    return sum(player.messages for player in players)
