"""The embedded store: its folder, its lock, its end, its first start [B4, L5]."""

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from store_process import until

from gateway.errors import ConfigurationError, StoreUnavailable
from gateway.store import embedded
from gateway.store.client import command, connect
from gateway.store.embedded import LONGEST_SOCKET_PATH, EmbeddedServer


async def ask(url: str, *parts: str | int) -> object:
    client = connect(url)
    try:
        return await command(client, *parts)
    finally:
        await client.aclose()


async def test_B4_private_without_a_port_and_flushed_before_each_answer(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "var")
    url = await server.start()
    assert url == f"unix://{tmp_path}/var/store.sock"
    assert stat.S_IMODE((tmp_path / "var").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "var/store.sock").stat().st_mode) == 0o600
    wanted = {"port": "0", "appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "save": ""}
    for name, value in wanted.items():
        assert await ask(url, "CONFIG GET", name) == {name: value}
    await server.stop()
    assert server.process_id is None
    assert not (tmp_path / "var/store.sock").exists()


async def test_B4_what_was_answered_survives_a_kill_and_the_socket_stays(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    url = await server.start()
    await ask(url, "SET", "a", "b")
    assert server.process_id
    os.kill(server.process_id, signal.SIGKILL)
    assert await server.wait() == -signal.SIGKILL
    assert await server.start() == url
    assert await ask(url, "GET", "a") == b"b"
    await server.stop()


async def test_B4_a_folder_has_one_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_LOCK_DEADLINE_S", 0.05)
    server = EmbeddedServer(tmp_path)
    await server.start()
    with pytest.raises(ConfigurationError, match="used by another gateway"):
        await EmbeddedServer(tmp_path).start()
    await server.stop()
    again = EmbeddedServer(tmp_path)
    await again.start()
    await again.stop()


PARENT = """
import asyncio, sys
from pathlib import Path
from gateway.store.embedded import EmbeddedServer

async def main():
    server = EmbeddedServer(Path(sys.argv[1]))
    await server.start()
    print(server.process_id, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_B4_the_server_ends_with_its_parent_and_gives_the_folder_free(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    process_id = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    await until(lambda: not is_running(process_id))
    server = EmbeddedServer(tmp_path)
    await server.start()
    await server.stop()


def is_running(process_id: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{process_id}/status").read_text()
    except FileNotFoundError:
        return False


async def test_a_deep_folder_gets_a_short_private_socket(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / ("deep" * 30))
    url = await server.start()
    socket = Path(url.removeprefix("unix://"))
    assert len(os.fsencode(socket)) <= LONGEST_SOCKET_PATH
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    await server.stop()
    assert not socket.parent.exists()


async def test_a_restart_that_fails_keeps_the_socket_and_the_folder_for_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers were told the path at their start, and look nowhere else."""
    server = EmbeddedServer(tmp_path / ("deep" * 30))
    url = await server.start()
    assert server.process_id
    os.kill(server.process_id, signal.SIGKILL)
    await server.wait()
    with monkeypatch.context() as broken:
        broken.setattr(embedded, "find_server", lambda: "/bin/false")
        with pytest.raises(StoreUnavailable):
            await server.start()
        with pytest.raises(ConfigurationError, match="used by another gateway"):
            broken.setattr(embedded, "_LOCK_DEADLINE_S", 0.05)
            await EmbeddedServer(tmp_path / ("deep" * 30)).start()
    assert await server.start() == url
    assert await ask(url, "PING")
    await server.stop()


async def test_L5_only_the_very_first_start_is_a_first_start(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    await server.start()
    assert server.is_first_start
    await server.stop()
    await server.start()
    assert server.is_first_start, "it ended before anybody declared"
    server.mark_declared()
    assert not server.is_first_start
    await server.stop()
    await server.start()
    assert not server.is_first_start
    await server.stop()


async def test_L5_a_wiped_store_is_no_first_start(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    await server.start()
    server.mark_declared()
    await server.stop()
    shutil.rmtree(tmp_path / "data")
    await server.start()
    assert not server.is_first_start
    await server.stop()


async def test_L5_a_folder_wiped_under_a_running_gateway_is_no_first_start(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "var")
    await server.start()
    server.mark_declared()
    assert server.process_id
    os.kill(server.process_id, signal.SIGKILL)
    await server.wait()
    shutil.rmtree(tmp_path / "var")
    await server.start()
    assert not server.is_first_start
    await server.stop()


async def test_L5_data_without_a_marker_is_no_first_start(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "appendonlydir").mkdir()
    server = EmbeddedServer(tmp_path)
    await server.start()
    assert not server.is_first_start
    await server.stop()


async def test_a_folder_that_cannot_be_made_is_told_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"store\.directory"):
        await EmbeddedServer(tmp_path / "file" / "var").start()


async def test_a_hung_server_is_ended_too(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    await server.start()
    process_id = server.process_id
    assert process_id
    os.kill(process_id, signal.SIGSTOP)
    await asyncio.wait_for(server.stop(), 20)
    assert not is_running(process_id)
