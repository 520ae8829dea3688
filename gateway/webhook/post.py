"""One message, one POST: no redirect, no cookie, no proxy, a connection of its own, ten seconds, certificates verified.

A connection is not kept: its receiver may close it at the very moment when the next message is written, and nobody could tell
whether it was read. What the receiver answers is its status; its body is not read.

The only file of this folder that knows aiohttp.
"""

import asyncio
import ssl
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

import aiohttp

DEADLINE_S: Final = 10.0
_GONE: Final = 410
# Nothing in these speaks about the message: the receiver, or somebody in front of it, is busy or away.
_AWAY: Final = frozenset((408, 425, 429, 502, 503, 504))


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a message. `why` says what is wrong, and is empty when it was taken.

    `is_away`: it is the receiver's trouble and not the message's. `is_final`: it need not be tried again. `asked_s`: it asked for
    a pause.
    """

    why: str = ""
    is_away: bool = False
    is_final: bool = False
    asked_s: float = 0.0


TAKEN: Final = Answer()


class Poster:
    """Per process: the way to one receiver. End it with `close`. `now_s` is asked for wall time, to read a date."""

    def __init__(self, url: str, ca: Path | None, *, deadline_s: float = DEADLINE_S) -> None:
        self._url = url
        self._ca = ca
        self._deadline_s = deadline_s
        self._session: aiohttp.ClientSession | None = None

    async def post(self, headers: dict[str, str], body: bytes, now: float) -> Answer:
        """Send it. `now` is wall time. Raises nothing of the network's."""
        try:
            session = await self._opened()
            async with session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
                return judge(response.status, response.headers.get("Retry-After", ""), now)
        except TimeoutError:
            return Answer(f"it gave no answer within {self._deadline_s:g} s", is_away=True)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(f"it cannot be reached: {type(error).__name__}", is_away=True)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            # In a thread: the system's authorities take 20 ms to read.
            trust = await asyncio.to_thread(ssl.create_default_context, cafile=self._ca)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=1, force_close=True, ssl=trust, use_dns_cache=False),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Content-Type": "application/json", "User-Agent": "gateway", "Accept-Encoding": "identity"},
                timeout=aiohttp.ClientTimeout(total=self._deadline_s),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


def judge(status: int, retry_after: str, now: float) -> Answer:
    """What a status says. 2xx is taken; everything else is not, a redirect neither."""
    if 200 <= status < 300:
        return TAKEN
    is_final = status == _GONE  # "not interested any more"
    return Answer(f"it answered {status}", status in _AWAY, is_final, read_retry_after(retry_after, now))


def read_retry_after(text: str, now: float) -> float:
    """Seconds to wait (RFC 9110 §10.2.3): a number, or a date. 0 for everything else."""
    if text.isascii() and text.isdecimal() and len(text) <= 9:
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return 0.0
