"""One data plane and one backend for a file of tests where that is enough, fresh ones where not; on uvloop, as in production."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import uvloop
from attack_backend import ByteBackend
from backends import RecordingBackend
from data_plane import DataPlane, Start, configuration, data_plane


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], Any]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def byte_backend() -> AsyncIterator[ByteBackend]:
    async with ByteBackend() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared_gateway(byte_backend: ByteBackend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DataPlane]:
    path = configuration(tmp_path_factory.mktemp("gateway"), f"http://127.0.0.1:{byte_backend.port}")
    async with data_plane(path) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def backend() -> AsyncIterator[RecordingBackend]:
    """An application that answers what the test says. One for the file: a test that changes `answer` says so first."""
    async with RecordingBackend() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def gateway(backend: RecordingBackend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DataPlane]:
    """A data plane with the usual routes in front of `backend`."""
    path = configuration(tmp_path_factory.mktemp("gateway"), f"http://127.0.0.1:{backend.port}")
    async with data_plane(path) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", scope="function")
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts data planes of a test's own: `await start(backend.port, {"read_timeout": "100ms"}, limits={"body": 10})`."""
    async with AsyncExitStack() as running:

        async def start(port: int, upstream: Mapping[str, Any] | None = None, **changes: Any) -> DataPlane:
            url = f"http://127.0.0.1:{port}"
            folder = tmp_path / str(len(list(tmp_path.iterdir())))
            folder.mkdir()
            path = configuration(folder, url, upstreams={"app": {"url": url} | dict(upstream or {})}, **changes)
            return await running.enter_async_context(data_plane(path))

        yield start
