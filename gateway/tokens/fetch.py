"""A key set over HTTP: one request, no redirect, no cookie, no proxy, no compression, a mebibyte at most.

Apart from jwks.py because aiohttp takes longer to load than everything else a worker needs before it listens.
"""

from typing import Final

import aiohttp

from gateway.errors import KeySetError
from gateway.tokens.jwk import MAX_BYTES

_CHUNK_BYTES: Final = 64 * 1024


async def fetch(url: str, timeout_s: float) -> bytes:
    """The body at `url`, at most 1 MiB within the deadline. Raises `KeySetError` for everything else."""
    try:
        async with _session(timeout_s) as session, session.get(url, allow_redirects=False) as response:
            if response.status != 200:
                raise KeySetError(f"the server answered {response.status}; only 200 is taken, and no redirect is followed")
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise KeySetError("the server compressed the answer, though it was not asked to")
            return await _read_bounded(response.content)
    except TimeoutError as error:
        raise KeySetError(f"no complete answer within {timeout_s:g} s") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise KeySetError(f"the server cannot be reached: {type(error).__name__}") from error


def _session(timeout_s: float) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=1, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"},
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        auto_decompress=False,
        trust_env=False,
    )


async def _read_bounded(content: aiohttp.StreamReader) -> bytes:
    body = bytearray()
    while chunk := await content.read(_CHUNK_BYTES):
        body += chunk
        if len(body) > MAX_BYTES:
            raise KeySetError(f"the key set is larger than {MAX_BYTES} bytes")
    return bytes(body)
