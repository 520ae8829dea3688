"""A cluster as one store: each command goes to the node that has its slot.

    ClusterStore ──► slot of {log} ──► a pool that follows that slot (failover_pool.py): the log, its register, acks, durability
                 └─► other slots ──► a pool for each node: sessions {sub}, the trail {audit}, limits, first uses…

What concerns the log asks for a connection of its own, for messages and for the connection that wrote (`WAIT`); so the store *is*
the client of the log's node, and only commands about other keys are sent elsewhere. A command without a key (`TIME`, `INFO`)
asks the log's node too.

Which node has a slot is asked when it is not known, and again when a connection fails or a node says so (`MOVED`, followed at
once, at most four times in a row; `ASK` while a slot is being moved). What was cut off in the middle is not repeated: who asks
knows whether he may.

A slot on the move. A script whose keys are in part here and in part there is answered `TRYAGAIN`, which is `StoreUnavailable`
until the move is over. The log's scripts name a channel among their keys, which is never there: while the slot of `{log}` is
being moved, nobody revokes, and nobody proves that he is fresh.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AskError, MovedError, RedisError
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import TimeoutError as NoAnswer

from gateway.store.cluster_slots import Map, read_nodes, slot_of, slot_of_command
from gateway.store.failover_pool import Address, FailoverPool, says_wrong_server
from gateway.store.newest_answer import newest
from gateway.store.single_flight import SingleFlight

HOME_SLOT: Final = slot_of("{log}")
_REDIRECTIONS: Final = 4
_MOST_ASKED: Final = 5


class Nodes:
    """Which node has which slot, and a client for each node. Per store.

    `by_name`: with TLS a node is called by the host name it announces, when it does: certificates are for names.
    """

    def __init__(
        self, seeds: Sequence[Address], make_client: Callable[[Address], Redis], timeout_s: float, *, by_name: bool = False
    ) -> None:
        self._seeds = tuple(seeds)
        self._make_client = make_client
        self._timeout_s = timeout_s
        self._by_name = by_name
        self._names: Mapping[Address, Address] = {}
        self._clients: dict[Address, Redis] = {}
        self._heard_of: tuple[Address, ...] = ()
        self._map: Map | None = None
        self._moved: dict[int, Address] = {}
        self._question = SingleFlight(self._ask_some, self._heard)

    def __repr__(self) -> str:
        return f"<Nodes {self._map.masters() if self._map else self._seeds}>"

    async def address_of(self, slot: int) -> Address:
        """The node that has the slot. Raises the client library's `ConnectionError`."""
        if (moved := self._moved.get(slot)) is not None:
            return moved
        found = (self._map or await self._question.answer()).nodes[slot]
        if found is None:
            self.forget()
            raise NoConnection(f"no node of the cluster has slot {slot}")
        return found

    async def masters(self) -> tuple[Address, ...]:
        """Every node that has a slot, as they are now."""
        return (await self._question.answer()).masters()

    def client_of(self, node: Address) -> Redis:
        """The client of one node, whichever way it is called."""
        node = self._names.get(node, node)
        client = self._clients.get(node)
        if client is None:
            client = self._clients[node] = self._make_client(node)
        return client

    def note_moved(self, slot: int, node: Address) -> None:
        """A node said that another one has the slot: true until the cluster is asked again."""
        self._moved[slot] = node

    def forget(self) -> None:
        """What is known may be out of date: ask when it is needed next."""
        self._map = None
        self._moved.clear()

    async def close(self) -> None:
        await self._question.close()
        for client in self._clients.values():
            await client.aclose()

    def _heard(self, found: Map) -> None:
        self.forget()
        self._map, self._names = found, found.names

    async def _ask_some(self) -> Map:
        known = tuple(dict.fromkeys((*self._heard_of, *self._seeds)))
        asked = random.sample(known, min(len(known), _MOST_ASKED))
        found = await newest([self._ask_one(node) for node in asked], self._timeout_s, "no node of the cluster answers")
        self._heard_of = found.masters()
        for node in self._clients.keys() - {*self._heard_of, *self._seeds}:
            await self._clients.pop(node).aclose()  # it has left, or has no slot any more
        return found

    async def _ask_one(self, node: Address) -> Map:
        raw = await self.client_of(node).execute_command("CLUSTER", "NODES")  # type: ignore[no-untyped-call]
        return read_nodes(raw.decode(), node, by_name=self._by_name)


class SlotPlace:
    """The node that has one slot."""

    def __init__(self, nodes: Nodes, slot: int) -> None:
        self._nodes = nodes
        self._slot = slot

    async def find(self) -> Address:
        """Asks anew: whoever connects has just lost a connection, or never had one."""
        self._nodes.forget()
        return await self._nodes.address_of(self._slot)

    async def is_still_at(self, address: Address) -> bool:
        """A node without the slot says so itself, and one that is cut off from the others says that it is."""
        return True

    async def refuse_wrong(self, connection: AbstractConnection) -> None:
        """Nothing to ask: the first command is answered `MOVED`."""

    async def close(self) -> None:
        await self._nodes.close()


class ClusterStore(Redis):
    """The client of the log's node, which sends commands about other keys to their nodes."""

    def __init__(self, pool: FailoverPool, nodes: Nodes) -> None:
        super().__init__(connection_pool=pool)
        self.auto_close_connection_pool = True
        self.nodes = nodes

    def client(self) -> Redis:
        """A client of one connection, to the log's node."""
        return Redis(connection_pool=self.connection_pool, single_connection_client=True)

    async def execute_command(self, *parts: Any, **options: Any) -> Any:
        """On the node that has the slot. Who is told that it has moved has done nothing yet, and follows."""
        slot = slot_of_command(parts)
        for _ in range(_REDIRECTIONS):
            with suppress(MovedError):
                if slot is None or slot == HOME_SLOT:
                    return await super().execute_command(*parts, **options)  # type: ignore[no-untyped-call]
                return await self._on_its_node(slot, parts, options)
        self.nodes.forget()
        raise NoConnection(f"the nodes of the cluster do not agree about slot {HOME_SLOT if slot is None else slot}")

    async def many(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Each command on its node, those of one node in one write. A command's error answer is the `RedisError` in its place."""
        by_node: dict[Address, list[int]] = {}
        for at, parts in enumerate(commands):
            slot = slot_of_command(parts)
            by_node.setdefault(await self.nodes.address_of(HOME_SLOT if slot is None else slot), []).append(at)
        answers: list[Any] = [None] * len(commands)

        async def ask(node: Address, places: list[int]) -> None:
            pipeline = self.nodes.client_of(node).pipeline(transaction=False)
            for at in places:
                pipeline.execute_command(*commands[at])
            try:
                found = await pipeline.execute(raise_on_error=False)
            except (RedisError, OSError):
                self.nodes.forget()
                raise
            for at, answer in zip(places, found, strict=True):
                answers[at] = await self._again(commands[at]) if _is_redirection(answer) else answer

        await asyncio.gather(*(ask(node, places) for node, places in by_node.items()))
        return answers

    async def _again(self, parts: Sequence[Any]) -> Any:
        self.nodes.forget()
        try:
            return await self.execute_command(*parts)
        except RedisError as error:
            return error

    async def _on_its_node(self, slot: int, parts: Sequence[Any], options: dict[str, Any]) -> Any:
        node = await self.nodes.address_of(slot)
        try:
            return await self.nodes.client_of(node).execute_command(*parts, **options)  # type: ignore[no-untyped-call]
        except MovedError as moved:
            self.nodes.note_moved(slot, (moved.host or node[0], moved.port))
            raise
        except AskError as asked:
            return await self._ask_there((asked.host or node[0], asked.port), parts)
        except (RedisError, OSError) as error:
            if says_wrong_server(error) or isinstance(error, (OSError, NoConnection, NoAnswer)):
                self.nodes.forget()
            raise

    async def _ask_there(self, node: Address, parts: Sequence[Any]) -> Any:
        """While the slot is being moved: what is not here any more is there, for whoever says that he was sent."""
        pipeline = self.nodes.client_of(node).pipeline(transaction=False)
        pipeline.execute_command("ASKING")
        pipeline.execute_command(*parts)
        return (await pipeline.execute())[1]


def _is_redirection(answer: object) -> bool:
    return isinstance(answer, AskError) or (isinstance(answer, RedisError) and says_wrong_server(answer))
