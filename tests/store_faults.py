"""A proxy before a real store that does to its replies what networks and dying servers do: on loopback, on a thread of its own.

    client ──► FaultProxy ──► the store's socket
           ◄── late, byte by byte, cut off in the middle, or never

`fault` may be changed at any time; it holds for what comes from then on, on open connections too. `made` and `open` count the
client's connections.
"""

import asyncio
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from patience import PATIENCE_S


@dataclass(frozen=True)
class Fault:
    """What happens to replies. `cut_after`: so many bytes of one pass, then the connection ends; `is_reset`: with a reset."""

    delay_s: float = 0.0
    is_sliced: bool = False
    is_swallowed: bool = False
    cut_after: int | None = None
    is_reset: bool = False


NONE: Final = Fault()
SLOW: Final = Fault(delay_s=0.5)
SLICED: Final = Fault(is_sliced=True)
SWALLOWED: Final = Fault(is_swallowed=True)
CUT: Final = Fault(cut_after=7)
RESET: Final = Fault(cut_after=7, is_reset=True)
CLOSED: Final = Fault(cut_after=0)


class FaultProxy:
    """Listens as long as the block lasts."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self.fault = NONE
        self.made = 0
        self.open = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()
        self._port = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1"), self._loop).result(PATIENCE_S)
        self._port = int(server.sockets[0].getsockname()[1])
        return self

    def __exit__(self, *error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(PATIENCE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    async def _end(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.made += 1
        self.open += 1
        store: asyncio.StreamWriter | None = None
        try:
            answers, store = await asyncio.open_unix_connection(self._store)
            pumps = [asyncio.ensure_future(self._up(reader, store)), asyncio.ensure_future(self._down(answers, client))]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            pass  # the store is away: the client sees its connection end, as it would without us
        finally:
            self.open -= 1
            for writer in (client, store):
                if writer is not None:
                    writer.close()

    async def _up(self, reader: asyncio.StreamReader, store: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                store.write(data)
                await store.drain()

    async def _down(self, answers: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        client.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(ConnectionError):
            while data := await answers.read(65536):
                fault = self.fault
                if fault.is_swallowed:
                    continue
                await asyncio.sleep(fault.delay_s)
                if fault.cut_after is not None:
                    await self._cut(data[: fault.cut_after], client, is_reset=fault.is_reset)
                    return
                for piece in _pieces(data) if fault.is_sliced else (data,):
                    client.write(piece)
                    await client.drain()

    async def _cut(self, data: bytes, client: asyncio.StreamWriter, *, is_reset: bool) -> None:
        client.write(data)
        await client.drain()
        if is_reset:
            client.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.transport.abort()


def _pieces(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]
