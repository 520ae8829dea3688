"""A real store that does wrong, behind a proxy that does more, before a whole gateway: fault after fault on the same one.

Asked of each: nothing revoked is let in, what needs the store is 503 with Retry-After and takes no cookie, public pages are
served meanwhile, all is well within two seconds of the store answering, and no connection is left behind.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic

import pytest
import redis
from attacks.wire_gateway import Wire, wire, within
from live.running_gateway import eventually
from store_faults import CLOSED, CUT, NONE, RESET, SLICED, SLOW, SWALLOWED, Fault, FaultProxy
from store_process import StoreProcess

UNAVAILABLE = "503 store-unavailable"
RECOVERY_S = 2.0
MOST_CONNECTIONS = 40
"""Of two workers and their supervisor, in the steady state: far below what their pools would allow."""

Act = Callable[[StoreProcess, FaultProxy], None]


@dataclass(frozen=True)
class Wrong:
    """How it begins and how it ends. `is_refused`: what needs the store is refused meanwhile, else it is served as ever."""

    begin: Act
    end: Act
    is_refused: bool = True


def told(*parts: str | int) -> Act:
    return lambda store, proxy: void(store.command(*parts))


def void(_: object) -> None:
    return


def replies(fault: Fault, *, is_refused: bool = True) -> Wrong:
    def begin(store: StoreProcess, proxy: FaultProxy) -> None:
        proxy.fault = fault

    def end(store: StoreProcess, proxy: FaultProxy) -> None:
        proxy.fault = NONE

    return Wrong(begin, end, is_refused)


def asleep(store: StoreProcess, proxy: FaultProxy) -> None:
    threading.Thread(target=store.command, args=("DEBUG", "SLEEP", 4)).start()


def locked(store: StoreProcess, proxy: FaultProxy) -> None:
    with redis.Redis(unix_socket_path=str(store.socket)) as client:
        client.execute_command("CONFIG", "SET", "requirepass", "another")
        client.execute_command("CLIENT", "KILL", "TYPE", "normal")


def unlocked(store: StoreProcess, proxy: FaultProxy) -> None:
    with redis.Redis(unix_socket_path=str(store.socket), password="another") as client:
        client.execute_command("CONFIG", "SET", "requirepass", "")


def until_it_answers(store: StoreProcess, proxy: FaultProxy) -> None:
    store.command("PING")


WRONG: dict[str, Wrong] = {
    "frozen": Wrong(lambda store, proxy: store.freeze(), lambda store, proxy: store.thaw()),
    "killed": Wrong(lambda store, proxy: store.kill(), lambda store, proxy: void(store.start())),
    "all commands paused": Wrong(told("CLIENT", "PAUSE", 4000, "ALL"), until_it_answers),
    "writes paused": Wrong(told("CLIENT", "PAUSE", 600_000, "WRITE"), told("CLIENT", "UNPAUSE")),
    "asleep": Wrong(asleep, until_it_answers),
    "out of memory": Wrong(told("CONFIG", "SET", "maxmemory", 1), told("CONFIG", "SET", "maxmemory", 0)),
    "a read-only replica": Wrong(told("REPLICAOF", "127.0.0.1", 1), told("REPLICAOF", "NO", "ONE")),
    "another password": Wrong(locked, unlocked),
    "replies never come": replies(SWALLOWED),
    "replies are cut off": replies(CUT),
    "replies end in a reset": replies(RESET),
    "connections are closed": replies(CLOSED),
    "replies take half a second": replies(SLOW, is_refused=False),
    "replies come byte by byte": replies(SLICED, is_refused=False),
}


@pytest.fixture(scope="module")
def store() -> Iterator[StoreProcess]:
    process = StoreProcess("--enable-debug-command", "yes").start()
    yield process
    process.close()


@pytest.fixture(scope="module")
def proxy(store: StoreProcess) -> Iterator[FaultProxy]:
    with FaultProxy(store.socket) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def behind(proxy: FaultProxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    with wire(tmp_path_factory.mktemp("behind"), is_awaited=False, store={"url": proxy.url}) as running:
        assert running.gateway.command("store init").returncode == 0
        eventually(running.gateway.is_ready)
        yield running


@pytest.mark.parametrize("name", WRONG)
def test_R02_R03_R04_R05_R07_whatever_the_store_does_nobody_gets_in_and_it_ends_with_it(
    behind: Wire, store: StoreProcess, proxy: FaultProxy, name: str
) -> None:
    gateway, wrong = behind.gateway, WRONG[name]
    sid = name.replace(" ", "-")
    good, revoked = gateway.token(sub="good"), gateway.token(sid=sid)
    gateway.revoke(session=sid)
    wrong.begin(store, proxy)
    if wrong.is_refused:
        eventually(lambda: behind.everywhere(good) == {UNAVAILABLE})
        answer = behind.show(good)
        assert b"\r\nretry-after: " in answer.head.lower() and b"set-cookie" not in answer.head.lower()
    else:
        deadline = monotonic() + 5
        while monotonic() < deadline:
            assert behind.everywhere(good) == {"200"}
        gateway.revoke(session=f"{sid}-2")
    assert behind.everywhere(revoked) == behind.everywhere(revoked, "/stale/who") == {"401 revoked-session"}
    assert behind.everywhere(good, "/public/who") == behind.everywhere(good, "/stale/who") == {"200"}
    wrong.end(store, proxy)
    within(RECOVERY_S, lambda: behind.everywhere(good, times=8) == {"200"})
    assert behind.everywhere(revoked) == {"401 revoked-session"}
    eventually(gateway.is_ready)
    gateway.revoke(session=f"{sid}-after")
    eventually(lambda: proxy.open <= MOST_CONNECTIONS)
    assert not [line for line in gateway.messages() if line["message"] == "an exchange failed"]


def test_R12_a_store_that_would_evict_is_told_as_down_until_it_would_not(behind: Wire, store: StoreProcess) -> None:
    store.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru", "maxmemory", "1gb")
    eventually(lambda: behind.gateway.metrics()["gateway_store_up"] == 0)
    assert any("maxmemory-policy is allkeys-lru" in line["message"] for line in behind.gateway.messages())
    store.command("CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "0")
    eventually(lambda: behind.gateway.metrics()["gateway_store_up"] == 1)
