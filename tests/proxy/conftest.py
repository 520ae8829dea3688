"""The tests of the data plane run on uvloop, as the data plane does."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import uvloop
from backends import RecordingBackend
from data_plane import DataPlane, Start, configuration, data_plane


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], Any]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def backend() -> AsyncIterator[RecordingBackend]:
    """An application on a free port, that answers what the test says and keeps what it got."""
    async with RecordingBackend() as running:
        yield running


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts data planes: `await start(backend.port, upstream={"read_timeout": "10ms"}, limits={"body": 10})`."""
    async with AsyncExitStack() as running:

        async def start(
            where: int | str, *, upstream: Mapping[str, Any] | None = None, parts: Mapping[str, Any] | None = None, **changes: Any
        ) -> DataPlane:
            url = where if isinstance(where, str) else f"http://127.0.0.1:{where}"
            folder = tmp_path / str(len(list(tmp_path.iterdir())))
            folder.mkdir()
            path = configuration(folder, url, upstreams={"app": {"url": url} | dict(upstream or {})}, **changes)
            return await running.enter_async_context(data_plane(path, **(parts or {})))

        yield start


@pytest.fixture
async def gateway(start: Start, backend: RecordingBackend) -> DataPlane:
    """A data plane with the usual routes in front of `backend`."""
    return await start(backend.port)
