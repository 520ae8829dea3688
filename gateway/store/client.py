"""The way to the store: how a client is made, and the one door where its errors become ours.

redis-py's defaults would let one command on a store that accepts and hangs wait for a minute, and would repeat
commands on its own. Here every wait has a limit and nothing is repeated: who asks knows whether repeating is safe. Who finds
all connections taken waits for one, as long as for an answer: a hundred logins at once are not an outage.

Every failure is `StoreUnavailable`: no connection, a timeout, and each error the store answers (`LOADING`, `READONLY`,
`OOM`, `BUSY`, `WRONGTYPE`, `NOAUTH`, `MOVED`…). None of them says anything about what is revoked, so none is read as
"nothing is".
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from gateway.errors import ConfigurationError, StoreUnavailable

Store = Redis
Argument = bytes | str | int | float

DEFAULT_TIMEOUT_S: Final = 1.0
SCHEMES: Final = ("redis://", "rediss://", "unix://")


def connect(url: str, *, timeout_s: float = DEFAULT_TIMEOUT_S, max_connections: int = 32) -> Store:
    """A client for the store. Nothing is sent before its first command; close it with `aclose()`."""
    if not url.startswith(SCHEMES):
        raise ConfigurationError(
            [f"store.url: {url.partition('://')[0]}:// is not supported; use redis://, rediss:// or unix://"]
        )
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
            max_connections=max_connections,
            protocol=2,
            decode_responses=False,
        )
        client: Store = Redis.from_pool(pool)
    except ValueError as error:
        raise ConfigurationError([f"store.url: {error}"]) from error
    return client


async def command(store: Store, *parts: Argument) -> Any:
    """One command; the answer is the store's, unread. Raises `StoreUnavailable`."""
    with store_errors():
        return await store.execute_command(*parts)  # type: ignore[no-untyped-call]


@contextmanager
def store_errors() -> Iterator[None]:
    """The door: what the client library raises inside comes out as `StoreUnavailable`.

    NB: redis-py may swallow a cancellation (seen while it connects). Cancellation always passes, so it is raised again
    here.
    """
    task = asyncio.current_task()
    cancelled_before = task.cancelling() if task else 0
    try:
        yield
    except (RedisError, OSError, TimeoutError, asyncio.IncompleteReadError, EOFError) as error:
        if task is None or task.cancelling() == cancelled_before:
            raise StoreUnavailable(f"{type(error).__name__}: {error}"[:200]) from error
    if task is not None and task.cancelling() > cancelled_before:
        raise asyncio.CancelledError
