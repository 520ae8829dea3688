"""Workers that die, hang, never start or do not want to end; real processes, real signals."""

import asyncio
import errno
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from store_process import StoreProcess
from supervising import (
    ISSUER,
    TINY_WORKER,
    TOKENS,
    Running,
    configuration,
    ends_at_once,
    eventually,
    is_alive,
    running,
    signal_process,
)

from gateway.boot import Boot
from gateway.clock import Clock
from gateway.config.load import load
from gateway.errors import GatewayError
from gateway.launcher import WORKER_COMMAND
from gateway.listeners import CannotListen
from gateway.revocation.entry import Kind, Revocation
from gateway.revocation.log import RevocationLog
from gateway.store.client import Store, connect
from gateway.store.embedded import EmbeddedServer


@pytest.fixture
async def declared(store: Store, store_url: str, clock: Clock) -> str:
    await RevocationLog(store, clock, 2.0).declare()
    return store_url


async def value(gateway: Running, sample: str) -> float:
    _, _, page = await gateway.call("GET", "/metrics")
    return float(next(line for line in page.splitlines() if line.startswith(sample + " ")).rpartition(" ")[2])


def test_a_boot_letter_survives_the_envelope():
    boot = Boot(1, 2, 3, 7, 8, (9, 10), 11, 12, "unix:///s", "f00", 42)
    assert Boot.from_json(boot.to_json()) == boot
    assert boot.descriptors() == [7, 8, 9, 10, 11, 12]
    assert Boot.from_json(boot.environment({"PATH": "/bin"})["GATEWAY_BOOT"]) == boot


async def test_a_worker_s_environment_holds_no_password_of_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A real worker: whoever may see the environment of a process, in a crash's report say, sees no more than that."""
    url = "redis://gateway:a-password-of-the-store@127.0.0.1:9/0"
    monkeypatch.setenv("GATEWAY_STORE__URL", url)
    async with running(configuration(tmp_path, url, workers=1), WORKER_COMMAND, until="admin_address") as gateway:
        environment = Path(f"/proc/{gateway.pids()[0]}/environ").read_bytes()
    assert b"GATEWAY_BOOT=" in environment
    assert b"PATH=" in environment
    assert b"a-password-of-the-store" not in environment


async def test_a_worker_whose_line_has_ended_ends(declared: str, tmp_path: Path):
    """Nobody knows of it: another one may have been started with its letter."""
    async with running(configuration(tmp_path, declared, workers=1), WORKER_COMMAND) as gateway:
        (child,) = gateway.supervisor._present.children
        before = gateway.pids()
        child._line.close()
        await eventually(lambda: gateway.pids() != before)
        assert child.ended_with == 0


async def test_ready_when_every_worker_is_live_and_says_so_once(declared: str, tmp_path: Path):
    said: list[str] = []
    async with running(configuration(tmp_path, declared), announce=said.append) as gateway:
        assert len(set(gateway.pids())) == 2
        await eventually(lambda: said)
        assert said == [
            f"Listening on {gateway.supervisor.addresses[0]} with 2 workers; admin on {gateway.supervisor.admin_address}"
        ]
        assert (await gateway.call("GET", "/readyz", None))[0] == 200
        for pid in gateway.pids():
            assert b"gateway" in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert gateway.ended.result() == 0
    assert len(said) == 1


async def test_a_dead_worker_is_replaced_and_its_counts_stay(declared: str, tmp_path: Path):
    async with running(configuration(tmp_path, declared)) as gateway:
        before = gateway.pids()
        incarnation = gateway.supervisor.workers()[0].incarnation
        assert await value(gateway, 'gateway_requests_total{code="200",method="GET",route="app"}') == 2
        signal_process(before[0], signal.SIGKILL)
        await eventually(lambda: gateway.pids()[0] not in {None, before[0]})
        assert gateway.pids()[1] == before[1]
        await eventually(lambda: all(worker.is_ready for worker in gateway.supervisor.workers()))
        assert gateway.supervisor.workers()[0].incarnation != incarnation
        async with asyncio.timeout(10):
            while await value(gateway, 'gateway_requests_total{code="200",method="GET",route="app"}') != 3:
                pass
        assert await value(gateway, 'gateway_connections{side="client"}') == 2
        assert await value(gateway, "gateway_worker_restarts_total") == 1
        assert await value(gateway, "gateway_workers") == 2


async def test_a_stuck_worker_is_killed_and_replaced(declared: str, tmp_path: Path):
    async with running(configuration(tmp_path, declared)) as gateway:
        before = gateway.pids()
        signal_process(before[1], signal.SIGSTOP)
        await eventually(lambda: not is_alive(before[1]))
        await eventually(lambda: all(worker.is_ready for worker in gateway.supervisor.workers()))
        assert gateway.pids()[0] == before[0]


async def test_what_is_meant_for_a_stopped_worker_is_lent_to_its_neighbour_and_given_back(declared: str, tmp_path: Path):
    async with running(configuration(tmp_path, declared)) as gateway:
        neighbour, stopped = gateway.supervisor._present.children
        await eventually(lambda: [len(child.lent) for child in (neighbour, stopped)] == [1, 1])
        signal_process(stopped.pid, signal.SIGSTOP)
        await eventually(lambda: set(neighbour.lent) > set(stopped.lent))
        signal_process(stopped.pid, signal.SIGCONT)
        await eventually(lambda: [len(child.lent) for child in (neighbour, stopped)] == [1, 1])
        assert gateway.supervisor.workers()[1].restarts == 0


async def test_a_worker_that_takes_too_much_memory_is_replaced_with_its_neighbours_and_counted(
    declared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gateway.supervisor.OLD_ENOUGH_S", 2.0)
    loaded = configuration(tmp_path, declared)
    loaded.path.write_text(loaded.text + "limits: {worker_memory: 1MiB}\n")
    loaded = load(loaded.path, {})
    async with running(loaded) as gateway:
        before = gateway.pids()
        await eventually(lambda: not set(before) & set(gateway.pids()))
        assert gateway.supervisor.is_ready
        assert await value(gateway, "gateway_workers_over_memory_total") >= 1
        assert await value(gateway, "gateway_worker_restarts_total") == 0
        assert await value(gateway, 'gateway_config_reloads_total{result="success"}') == 0
        assert await value(gateway, 'gateway_worker_resident_memory_bytes{worker="1"}') > 1 << 20
        assert await value(gateway, 'gateway_worker_cpu_seconds_total{worker="0"}') > 0


async def test_a_configuration_whose_workers_end_at_once_is_given_up(
    declared: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    async with running(configuration(tmp_path, declared), (*TINY_WORKER, "choosy")) as gateway:
        before = gateway.pids()
        path = tmp_path / "gateway.yaml"
        path.write_text(path.read_text() + "log: {level: debug}\n")
        gateway.supervisor.reload()
        await eventually(lambda: "stays as it was: a new worker ended as soon as it was started" in caplog.text)
        assert gateway.pids() == before
        assert await value(gateway, 'gateway_config_reloads_total{result="failure"}') == 1
        await eventually(lambda: not gateway.supervisor._succession.past)


async def test_a_stop_during_a_succession_ends_it_and_nobody_begins_to_serve(declared: str, tmp_path: Path):
    """Whether its workers are being prepared, or are asked to listen already."""
    async with running(configuration(tmp_path, declared, workers=1), (*TINY_WORKER, "deaf")) as gateway:
        supervisor = gateway.supervisor
        before, operating = supervisor._present, supervisor._control_plane
        path = tmp_path / "gateway.yaml"
        path.write_text(path.read_text() + "log: {level: debug}\n")
        supervisor.reload()
        await eventually(lambda: (coming := supervisor._succession._coming) and coming.children[0].lent)
        pid = supervisor._succession.children()[-1].pid
        supervisor.stop()
        assert await gateway.ended == 0
        assert (supervisor._present, supervisor._control_plane) == (before, operating)
        assert not is_alive(pid)


async def test_a_worker_that_ends_when_it_is_asked_to_listen_does_not_take_over(
    declared: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    async with running(configuration(tmp_path, declared, workers=1), (*TINY_WORKER, "deaf")) as gateway:
        supervisor, before = gateway.supervisor, gateway.pids()
        path = tmp_path / "gateway.yaml"
        path.write_text(path.read_text() + "log: {level: debug}\n")
        supervisor.reload()
        await eventually(lambda: (coming := supervisor._succession._coming) and coming.children[0].lent)
        signal_process(supervisor._succession.children()[-1].pid, signal.SIGKILL)
        await eventually(lambda: "stays as it was: a new worker ended" in caplog.text)
        assert gateway.pids() == before
        assert gateway.supervisor.is_ready


async def test_what_past_workers_counted_is_told_on_and_then_left_alone(declared: str, tmp_path: Path):
    async with running(configuration(tmp_path, declared, workers=1)) as gateway:
        supervisor, served = gateway.supervisor, 'gateway_requests_total{code="200",method="GET",route="app"}'
        first = gateway.pids()
        supervisor.reload()
        await eventually(lambda: gateway.pids() != first and not supervisor._succession.past)
        async with asyncio.timeout(10):
            while await value(gateway, served) != 2:
                pass
        assert supervisor._journal._log() is supervisor._store.log  # type: ignore[union-attr]
        cells, told_on = supervisor._present.cells, supervisor._present.layout.routes["app"].requests
        carried = cells.block(supervisor._present.count + 1)
        carried[told_on] = 7.0  # a cell that nobody counts in: GET, 101
        for _ in range(3):  # turns of the loop
            supervisor._news.set()
            await eventually(lambda: not supervisor._news.is_set())
        assert carried[told_on] == 7.0


async def test_a_disk_that_is_full_when_promises_are_taken_up_ends_nothing(
    declared: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """A promised revocation of a worker that is no more: it stays where it is until it can be taken up [R5]."""
    folder = tmp_path / "store"
    folder.mkdir()
    promise = folder / "pending.7.jsonl"
    fact = Revocation(Kind.USER, "alice", ISSUER, id="0" * 32)
    promise.write_text(json.dumps({"facts": [asdict(fact)]}))
    in_the_way = folder / "pending.1000000.new"
    in_the_way.mkdir()  # nothing can be written there
    async with running(configuration(tmp_path, declared, workers=1)) as gateway:
        await eventually(lambda: "_take_up_orphans has failed" in caplog.text)
        assert promise.exists()
        assert gateway.supervisor.is_ready
        in_the_way.rmdir()
        await eventually(lambda: not promise.exists() and not gateway.supervisor._journal._pending)  # type: ignore[union-attr]


async def test_systemd_s_watchdog_is_fed_until_the_very_end(
    store_process: StoreProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """No worker is left, and the store, which is told so, hangs for as long as it may."""
    said: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        notices.bind("\0" + f"gateway-supervisor-{os.getpid()}")
        asyncio.get_running_loop().add_reader(notices, lambda: said.append(notices.recv(4096).decode()))
        monkeypatch.setenv("NOTIFY_SOCKET", f"@gateway-supervisor-{os.getpid()}")
        monkeypatch.setenv("WATCHDOG_USEC", "400000")
        async with running(configuration(tmp_path, store_process.url), ends_at_once(0), until="admin_address") as gateway:
            await eventually(lambda: all(worker.restarts for worker in gateway.supervisor.workers()))
            store_process.freeze()
            gateway.supervisor.stop()
            await gateway.ended
            store_process.thaw()
        asyncio.get_running_loop().remove_reader(notices)
        stopping = next(place for place, words in enumerate(said) if words.startswith("STOPPING=1"))
        assert said[stopping:].count("WATCHDOG=1") >= 3


async def test_workers_that_know_what_is_revoked_are_not_replaced_by_some_that_do_not(
    store_process: StoreProcess, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """During an outage of the store: routes with `on_outage: stale` go on by what the present workers know."""
    monkeypatch.setattr("gateway.succession.PREPARED_WITHIN_S", 3.0)
    client = connect(store_process.url)
    await RevocationLog(client, clock, 2.0).declare()
    await client.aclose()
    async with running(configuration(tmp_path, store_process.url, workers=1)) as gateway:
        before = gateway.pids()
        store_process.kill()
        await eventually(lambda: not gateway.supervisor.is_ready)
        gateway.supervisor.reload()
        await eventually(lambda: "the new workers were not ready to serve within 3 s" in caplog.text)
        assert gateway.pids() == before


async def test_of_many_configurations_that_still_finish_the_oldest_is_told_to_end(
    declared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gateway.succession.MOST_PAST", 1)
    async with running(configuration(tmp_path, declared, workers=1, drain="1h"), (*TINY_WORKER, "busy")) as gateway:
        pids: list[int | None] = []

        def is_another() -> bool:
            return gateway.pids() != pids[-1:]

        for _ in range(2):
            pids += gateway.pids()
            gateway.supervisor.reload()
            await eventually(is_another)
        await eventually(lambda: not is_alive(pids[0]))
        assert all(is_alive(pid) for pid in pids[1:])


async def test_ready_stays_while_one_worker_is_live(declared: str, tmp_path: Path):
    async with running(configuration(tmp_path, declared)) as gateway:
        signal_process(gateway.pids()[0], signal.SIGKILL)
        await eventually(lambda: not gateway.supervisor.workers()[0].is_ready)
        assert (await gateway.call("GET", "/readyz", None))[0] == 200


async def test_W2_a_dead_workers_membership_ends_with_it(declared: str, tmp_path: Path, store: Store, clock: Clock):
    log = RevocationLog(store, clock, 2.0)
    async with running(configuration(tmp_path, declared)) as gateway:
        members = {worker.incarnation for worker in gateway.supervisor.workers()}
        assert {member.incarnation for member in (await log.members()).members} == members
        signal_process(gateway.pids()[0], signal.SIGKILL)
        dead = gateway.supervisor.workers()[0].incarnation
        await eventually(lambda: gateway.supervisor.workers()[0].incarnation != dead)
        async with asyncio.timeout(10):
            while dead in {member.incarnation for member in (await log.members()).members}:
                await asyncio.sleep(0.02)
    assert (await log.members()).members == ()


async def test_workers_that_end_at_once_are_started_again_with_pauses(declared: str, tmp_path: Path):
    loaded = configuration(tmp_path, declared, workers=1)
    async with running(loaded, ends_at_once(3), until="admin_address") as gateway:
        await eventually(lambda: gateway.supervisor.workers() and gateway.supervisor.workers()[0].restarts >= 2)
        assert (await gateway.call("GET", "/livez", None))[0] == 200
        assert (await gateway.call("GET", "/readyz", None))[0] == 503
        await eventually(lambda: gateway.supervisor.workers()[0].state == "waiting")


async def test_an_orderly_end_waits_for_the_drain_and_then_kills(declared: str, tmp_path: Path):
    loaded = configuration(tmp_path, declared, workers=1, drain="100ms")
    async with running(loaded, (*TINY_WORKER, "stubborn")) as gateway:
        pid = gateway.pids()[0]
        gateway.supervisor.stop()
        assert (await gateway.call("GET", "/readyz?verbose", None))[0] == 503
        assert await gateway.ended == 0
        assert not is_alive(pid)


async def test_a_second_signal_ends_it_at_once(declared: str, tmp_path: Path):
    loaded = configuration(tmp_path, declared, workers=1, drain="1h")
    async with running(loaded, (*TINY_WORKER, "stubborn")) as gateway:
        pid = gateway.pids()[0]
        os.kill(os.getpid(), signal.SIGTERM)
        await eventually(lambda: gateway.supervisor.is_stopping)
        assert is_alive(pid)
        os.kill(os.getpid(), signal.SIGINT)
        assert await gateway.ended == 1
        assert not is_alive(pid)


async def test_a_store_that_is_away_at_the_start_is_waited_for_and_said_once(
    store_process: StoreProcess, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO", "gateway.supervisor")
    url = store_process.url
    store_process.kill()
    async with running(configuration(tmp_path, url), until="admin_address") as gateway:
        await eventually(lambda: "cannot be used, waiting for it" in caplog.text)
        await eventually(lambda: [worker.state for worker in gateway.supervisor.workers()] == ["running", "running"])
        status, _, text = await gateway.call("GET", "/readyz?verbose", None)
        assert (status, text.splitlines()[0]) == (503, "[-] store: not to be used; why: gateway status")
        assert await value(gateway, "gateway_store_up") == 0
        store_process.start()
        await eventually(lambda: "answers again" in caplog.text)
        assert caplog.text.count("cannot be used, waiting for it") == 1
        await eventually(lambda: {worker.reading.state for worker in gateway.supervisor.workers()} == {"lost"})
        client = connect(url)
        await RevocationLog(client, clock, 2.0).declare()
        await client.aclose()
        await eventually(lambda: gateway.supervisor.is_ready)


async def test_L5_an_embedded_store_declares_itself_and_comes_back(tmp_path: Path):
    async with running(configuration(tmp_path, "embedded")) as gateway:
        status, _, document = await gateway.call("GET", "/v1/status")
        assert status == 200
        assert document["store"]["url"] == "embedded"
        assert document["store"]["epoch"]
        server = gateway.supervisor._store._server  # type: ignore[union-attr]
        killed = server.process_id
        signal_process(killed, signal.SIGKILL)
        await eventually(lambda: server.process_id not in {None, killed})
        await eventually(lambda: gateway.supervisor.store.is_up and gateway.supervisor.is_ready)
    async with running(configuration(tmp_path, "embedded")) as gateway:
        assert (await gateway.call("GET", "/v1/status"))[2]["store"]["epoch"] == document["store"]["epoch"]


async def test_a_disk_error_does_not_end_the_watch_over_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with running(configuration(tmp_path, "embedded")) as gateway:
        server = gateway.supervisor._store._server  # type: ignore[union-attr]
        killed = server.process_id
        with monkeypatch.context() as full:
            full.setattr(EmbeddedServer, "_launch", _no_space_left)
            signal_process(killed, signal.SIGKILL)
            await eventually(lambda: "No space left" in gateway.supervisor.store.problem)
        await eventually(lambda: server.process_id is not None and gateway.supervisor.store.is_up)


def _no_space_left(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


async def test_an_admin_address_that_no_resolver_can_be_asked_for_is_told_by_name(declared: str, tmp_path: Path):
    unasked = f"{'a' * 64}:9090"
    with pytest.raises(CannotListen, match=unasked):
        async with running(configuration(tmp_path, declared, admin=unasked, workers=1), until="admin_address"):
            raise AssertionError("it must not start")


async def test_an_address_in_use_is_told_by_name_and_nothing_is_left(declared: str, tmp_path: Path):
    async with running(configuration(tmp_path, declared)) as gateway:
        taken = gateway.supervisor.admin_address.removeprefix("http://")
        with pytest.raises(CannotListen, match=taken):
            async with running(configuration(tmp_path, declared, admin=taken), until="admin_address"):
                raise AssertionError("it must not start")


async def test_an_address_that_somebody_takes_while_the_gateway_starts_ends_the_start_by_name(declared: str, tmp_path: Path):
    """A real worker, which is the one to listen: what is only bound can be listened on by another program."""
    taken = tmp_path / "taken"
    command = ("sh", "-c", f"until [ -e {taken} ]; do sleep 0.02; done; exec {' '.join(WORKER_COMMAND)}")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(CannotListen, match=r"cannot listen on http://127\.0\.0\.1:\d+: a worker says why"):
            async with running(configuration(tmp_path, declared, workers=1), command, until="addresses") as gateway:
                host, _, port = gateway.supervisor.addresses[0].removeprefix("http://").rpartition(":")
                other.bind((host, int(port)))
                other.listen()
                taken.touch()
                async with asyncio.timeout(20):
                    await gateway.ended
        assert is_reachable(host, int(port)), "the other one's"
    assert not is_alive(gateway.supervisor._present.children[0].pid)


def is_reachable(host: str, port: int) -> bool:
    with socket.create_connection((host, port), timeout=5):
        return True


async def test_workers_die_with_their_supervisor(declared: str, tmp_path: Path):
    """The supervisor as a process of its own, killed without a word."""
    loaded = configuration(tmp_path, declared, workers=2)
    program = f"""
import sys, uvloop
sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
from supervising import TINY_WORKER
from gateway.config.load import load
from gateway.launcher import Launcher
from gateway.supervisor import Supervisor
supervisor = Supervisor(load({str(loaded.path)!r}, {{}}), launcher=Launcher(TINY_WORKER), announce=lambda line: print(
    *(worker.pid for worker in supervisor.workers()), flush=True))
uvloop.run(supervisor.run())
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout
        pids = [int(pid) for pid in (await asyncio.to_thread(supervisor.stdout.readline)).split()]
        assert len(pids) == 2
        assert all(is_alive(pid) for pid in pids)
        supervisor.kill()
    await eventually(lambda: not any(is_alive(pid) for pid in pids))


def test_a_supervisor_that_cannot_start_raises_our_own_error():
    assert issubclass(CannotListen, GatewayError)
    assert all(len(token) >= 32 for token in TOKENS)
