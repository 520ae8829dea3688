"""The way to the store: how a client is made, and the one door where its errors become ours.

redis-py's defaults would let one command on a store that accepts and hangs wait for a minute, and would repeat
commands on its own. Here every wait has a limit and nothing is repeated: who asks knows whether repeating is safe. Who finds
all connections taken waits for one, as long as for an answer: a hundred logins at once are not an outage. The store may be one
server, the master that sentinels name (sentinel.py), or a cluster (cluster.py); whoever asks sees one `Store`.

Every failure is `StoreUnavailable`: no connection, a timeout, and each error the store answers (`LOADING`, `READONLY`,
`OOM`, `BUSY`, `WRONGTYPE`, `NOAUTH`, `MOVED`…). None of them says anything about what is revoked, so none is read as
"nothing is".
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from gateway.config.store_url import StoreUrl, parse_store_url
from gateway.errors import ConfigurationError, StoreUnavailable
from gateway.store.cluster import HOME_SLOT, ClusterStore, Nodes, SlotPlace
from gateway.store.failover_pool import Address, FailoverPool
from gateway.store.sentinel import SentinelPlace
from gateway.store.tls import with_shared_context

Store = Redis
Argument = bytes | str | int | float

DEFAULT_TIMEOUT_S: Final = 1.0


def connect(url: str, *, timeout_s: float = DEFAULT_TIMEOUT_S, max_connections: int = 32) -> Store:
    """A client for the store. Nothing is sent before its first command; close it with `aclose()`.

    `max_connections` is the bound for each server, of which a cluster has several.
    """
    try:
        found = parse_store_url(url)
        options: dict[str, Any] = {
            "timeout": timeout_s,
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
            "retry": Retry(NoBackoff(), 0),
            "health_check_interval": 0,
            "max_connections": max_connections,
            "protocol": 2,
            "decode_responses": False,
            "driver_info": None,  # a server that is told who we are answers first: a round trip for each connection
        }
        client = _KINDS[found.kind](found, options)
    except ValueError as error:
        raise ConfigurationError([f"store.url: {error}"]) from error
    try:  # an option that nobody knows is told by the first connection that is made: now, and not connected
        client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    except TypeError as error:  # its text names the option, and no value
        raise ConfigurationError([f"store.url: {str(error).rpartition('() ')[2]}"]) from error
    return client


async def command(store: Store, *parts: Argument) -> Any:
    """One command; the answer is the store's, unread. Raises `StoreUnavailable`."""
    with store_errors():
        return await store.execute_command(*parts)  # type: ignore[no-untyped-call]


async def many_commands(store: Store, commands: Sequence[Sequence[Argument]]) -> list[Any]:
    """The answers, in order; a command's error answer is the `RedisError` in its place. Raises `StoreUnavailable`: no answer.

    One write to each server. They are no transaction.
    """
    with store_errors():
        if isinstance(store, ClusterStore):
            return await store.many(commands)
        pipeline = store.pipeline(transaction=False)
        for parts in commands:
            pipeline.execute_command(*parts)
        return await pipeline.execute(raise_on_error=False)
    raise AssertionError  # for the type checker: the door lets nothing through in silence


async def each_server(store: Store) -> AsyncIterator[Store]:
    """Every server that takes writes: the masters of a cluster, else the only one. Raises `StoreUnavailable`."""
    if not isinstance(store, ClusterStore):
        yield store
        return
    with store_errors():
        masters = await store.nodes.masters()
    for node in masters:
        yield store.nodes.client_of(node)


@contextmanager
def store_errors() -> Iterator[None]:
    """The door: what the client library raises inside comes out as `StoreUnavailable`.

    NB: uvloop says RuntimeError ("the handler is closed") where asyncio has a ConnectionResetError, when a connection that was
    reset a moment ago is written to. And redis-py may swallow a cancellation (seen while it connects). Cancellation always
    passes, so it is raised again here.
    """
    task = asyncio.current_task()
    cancelled_before = task.cancelling() if task else 0
    try:
        yield
    except (RedisError, OSError, TimeoutError, asyncio.IncompleteReadError, EOFError, RuntimeError) as error:
        if task is None or task.cancelling() == cancelled_before:
            raise StoreUnavailable(f"{type(error).__name__}: {error}"[:200]) from error
    if task is not None and task.cancelling() > cancelled_before:
        raise asyncio.CancelledError


def _server(url: StoreUrl, options: dict[str, Any]) -> Store:
    client: Store = Redis.from_pool(BlockingConnectionPool(**_connection_options(url, options)))
    return client


def _sentinel(url: StoreUrl, options: dict[str, Any]) -> Store:
    shared = _without_address(_connection_options(url, options))
    theirs = shared | {"db": 0, "username": url.sentinel_user, "password": url.sentinel_password, "max_connections": 1}
    sentinels = [_at(address, theirs) for address in url.hosts]
    place = SentinelPlace(sentinels, url.service, options["socket_timeout"])
    client: Store = Redis.from_pool(FailoverPool(place, **shared))
    return client


def _cluster(url: StoreUrl, options: dict[str, Any]) -> Store:
    shared = _without_address(_connection_options(url, options))
    nodes = Nodes(url.hosts, lambda address: _at(address, shared), options["socket_timeout"], by_name="tls" in shared)
    return ClusterStore(FailoverPool(SlotPlace(nodes, HOME_SLOT), **shared), nodes)


_KINDS: Final = {"server": _server, "sentinel": _sentinel, "cluster": _cluster}


def _connection_options(url: StoreUrl, options: dict[str, Any]) -> dict[str, Any]:
    """What a connection is made with. Raises ValueError."""
    found: dict[str, Any] = {"connection_class": Connection, **options, **parse_url(url.plain)}
    return with_shared_context(found) if found["connection_class"] is SSLConnection else found


def _without_address(options: dict[str, Any]) -> dict[str, Any]:
    """What every server of the store is connected with."""
    return {name: value for name, value in options.items() if name not in ("host", "port")}


def _at(address: Address, options: dict[str, Any]) -> Store:
    host, port = address
    client: Store = Redis.from_pool(BlockingConnectionPool(host=host, port=port, **options))
    return client
