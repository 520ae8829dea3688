"""Several real servers that are one store: a master with replicas that sentinels watch, or a cluster. On loopback, by Debian's
redis-server, each in a folder of its own; killed, frozen and moved by their process ids.

Waiting is done on the servers themselves, never by guessing a time.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlencode

import pytest
import redis
from ports import free_ports

from gateway.lifeline import end_with_parent

SERVICE = "gateway"
DEADLINE_S = 40.0


def binary() -> str:
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("redis-server (Debian: redis-server) is not installed")
    return found


@dataclass(frozen=True)
class Tls:
    """The files with which servers prove who they are, to clients and to each other. Nobody is let in without a certificate."""

    certificate: Path
    key: Path
    authority: Path

    def lines(self, port: int) -> list[str]:
        files = [f"tls-cert-file {self.certificate}", f"tls-key-file {self.key}", f"tls-ca-cert-file {self.authority}"]
        return ["port 0", f"tls-port {port}", *files, "tls-replication yes", "tls-cluster yes"]

    @property
    def options(self) -> dict[str, str]:
        """What a client needs, as it is written behind the `?` of a URL."""
        return {"ssl_ca_certs": f"{self.authority}", "ssl_certfile": f"{self.certificate}", "ssl_keyfile": f"{self.key}"}


class Server:
    """One server on a port. `options` are lines of its configuration file, which a sentinel and a node write to themselves."""

    def __init__(self, port: int, *options: str, is_sentinel: bool = False, tls: Tls | None = None) -> None:
        self.port = port
        self.directory = Path(tempfile.mkdtemp(prefix="gateway-test-"))
        self._tls = tls
        listening = tls.lines(port) if tls else [f"port {port}"]
        memory_only = [] if is_sentinel else ['save ""']
        lines = [*listening, "bind 127.0.0.1", f"dir {self.directory}", *memory_only, *options]
        (self.directory / "conf").write_text("\n".join(lines) + "\n")
        self._command = [binary(), str(self.directory / "conf"), *(["--sentinel"] if is_sentinel else [])]
        self._process: subprocess.Popen[bytes] | None = None
        self._is_sentinel = is_sentinel

    def start(self) -> "Server":
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=subprocess.STDOUT, preexec_fn=end_with_parent(os.getpid())
            )
        until_answered(lambda: self.command("PING"))
        return self

    def command(self, *parts: str | bytes | int | float) -> Any:
        """The answer, unread."""
        secured: dict[str, Any] = {"ssl": True, "ssl_check_hostname": False, **self._tls.options} if self._tls else {}
        with redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=5, protocol=2, **secured) as client:
            client.response_callbacks.clear()
            return client.execute_command(*parts)

    def role(self) -> str:
        """`master`, `slave`, or nothing when it does not answer."""
        with suppress(redis.RedisError, OSError):
            return self.command("ROLE")[0].decode()
        return ""

    def acknowledging(self) -> int:
        """How many replicas have said that they have something."""
        return sum(1 for _, _, offset in self.command("ROLE")[2] if int(offset) > 0)

    def log(self) -> str:
        return (self.directory / "log").read_text("utf-8", "replace")

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


class Watched:
    """A service: one master, its replicas, the sentinels that watch it."""

    def __init__(self, servers: list[Server], sentinels: list[Server], tls: Tls | None = None) -> None:
        self.servers = servers
        self.sentinels = sentinels
        self._tls = tls

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        if self._tls is None:
            return f"redis+sentinel://{hosts}/{SERVICE}"
        return f"rediss+sentinel://{hosts}/{SERVICE}?{urlencode(self._tls.options)}"

    def master(self) -> Server:
        """Who the first sentinel says is the master."""
        port = int(self.sentinels[0].command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])
        return next(server for server in self.servers if server.port == port)

    def until_failed_over(self, old: Server) -> Server:
        """Until a sentinel names another master, and that one is. Who it is."""
        until(lambda: self.master() is not old and self.master().role() == "master")
        return self.master()

    def fail_over(self) -> Server:
        """As an operator would, without a failure: the new master. A replica that was just started is none to promote yet."""
        old = self.master()
        until_answered(lambda: self.sentinels[0].command("SENTINEL", "FAILOVER", SERVICE))
        return self.until_failed_over(old)


class Cluster:
    """Masters that share the slots, and their replicas."""

    def __init__(self, nodes: list[Server], tls: Tls | None = None) -> None:
        self.nodes = nodes
        self._tls = tls

    @property
    def url(self) -> str:
        if self._tls is None:
            return f"redis+cluster://{','.join(f'127.0.0.1:{node.port}' for node in self.nodes[:2])}"
        return f"rediss+cluster://{','.join(f'localhost:{node.port}' for node in self.nodes[:2])}?{urlencode(self._tls.options)}"

    def owner(self, slot: int) -> Server:
        """The node that has the slot, as one that lives says."""
        for node in self.nodes:
            with suppress(redis.RedisError, OSError):
                for first, last, master, *_ in node.command("CLUSTER SLOTS"):
                    if first <= slot <= last:
                        return next(each for each in self.nodes if each.port == master[1])
        raise AssertionError(f"nobody has slot {slot}")

    def masters(self) -> list[Server]:
        return [node for node in self.nodes if node.role() == "master"]

    def move(self, slot: int, target: Server, *, keys_at_once: int = 10) -> None:
        """Move a slot with all its keys to another master, as `redis-cli --cluster reshard` does."""
        source = self.owner(slot)
        ids = {node: node.command("CLUSTER", "MYID").decode() for node in (source, target)}
        target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
        while keys := source.command("CLUSTER", "GETKEYSINSLOT", slot, keys_at_once):
            source.command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        for node in (target, source, *self.masters()):
            node.command("CLUSTER", "SETSLOT", slot, "NODE", ids[target])


@contextmanager
def watched(
    *,
    sentinels: int,
    replicas: int,
    down_after_ms: int = 1000,
    failover_timeout_ms: int = 5000,
    options: tuple[str, ...] = (),
    tls: Tls | None = None,
) -> Iterator[Watched]:
    """A service on which writes need a replica where there are two, and its sentinels."""
    ports = free_ports(1 + replicas + sentinels)
    quick = ("repl-diskless-sync-delay 0", "repl-ping-replica-period 1", *options)
    servers = [Server(ports[0], *quick, tls=tls)]
    servers += [Server(port, *quick, f"replicaof 127.0.0.1 {ports[0]}", tls=tls) for port in ports[1 : replicas + 1]]
    watch = (
        f"sentinel monitor {SERVICE} 127.0.0.1 {ports[0]} {sentinels // 2 + 1}",
        f"sentinel down-after-milliseconds {SERVICE} {down_after_ms}",
        f"sentinel failover-timeout {SERVICE} {failover_timeout_ms}",
    )
    guards = [Server(port, *watch, is_sentinel=True, tls=tls) for port in ports[replicas + 1 :]]
    try:
        for server in servers:
            server.start()
        until(lambda: servers[0].acknowledging() == replicas)
        for guard in guards:
            guard.start()

        def know(guard: Server) -> bool:
            flat = guard.command("SENTINEL", "MASTER", SERVICE)
            told = dict(zip(flat[::2], flat[1::2], strict=True))
            return int(told[b"num-slaves"]) == replicas and int(told[b"num-other-sentinels"]) == sentinels - 1

        until(lambda: all(know(guard) for guard in guards))
        yield Watched(servers, guards, tls)
    finally:
        for server in (*guards, *servers):
            server.close()


@contextmanager
def clustered(
    *, masters: int = 3, replicas: int = 0, node_timeout_ms: int = 1000, options: tuple[str, ...] = (), tls: Tls | None = None
) -> Iterator[Cluster]:
    """A cluster, healthy: `replicas` of each master."""
    ports = free_ports(masters * (1 + replicas))
    settings = ("cluster-enabled yes", f"cluster-node-timeout {node_timeout_ms}", "repl-diskless-sync-delay 0", *options)
    nodes = [Server(port, *settings, tls=tls) for port in ports]
    try:
        for node in nodes:
            node.start()
        for number, node in enumerate(nodes[:masters]):
            node.command("CLUSTER", "ADDSLOTSRANGE", 16384 * number // masters, 16384 * (number + 1) // masters - 1)
            node.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in nodes[1:]:
            node.command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
        until(lambda: all(node.command("CLUSTER NODES").count(b" connected") == len(nodes) for node in nodes))
        for number, node in enumerate(nodes[masters:]):
            node.command("CLUSTER", "REPLICATE", nodes[number % masters].command("CLUSTER", "MYID").decode())
        until(lambda: all(b"cluster_state:ok" in node.command("CLUSTER INFO") for node in nodes))
        until(lambda: all(node.acknowledging() == replicas for node in nodes[:masters]))
        yield Cluster(nodes, tls)
    finally:
        for node in nodes:
            node.close()


def until(condition: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
    """Until it holds; a server that does not answer meanwhile is one for which it does not."""
    deadline = monotonic() + deadline_s
    while True:
        with suppress(redis.RedisError, OSError, StopIteration):
            if condition():
                return
        assert monotonic() < deadline, f"did not happen within {deadline_s} s"
        sleep(0.02)


def until_answered(ask: Callable[[], object]) -> None:
    def answers() -> bool:
        ask()
        return True

    until(answers)
