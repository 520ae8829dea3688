"""One data plane and one backend for a whole test file, on uvloop as in production."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import uvloop
from attack_backend import ByteBackend
from data_plane import DataPlane, configuration, data_plane


@pytest.fixture(scope="session")
def event_loop_policy() -> uvloop.EventLoopPolicy:
    return uvloop.EventLoopPolicy()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def byte_backend() -> AsyncIterator[ByteBackend]:
    async with ByteBackend() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared_gateway(byte_backend: ByteBackend, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DataPlane]:
    path = configuration(tmp_path_factory.mktemp("gateway"), f"http://127.0.0.1:{byte_backend.port}")
    async with data_plane(path) as running:
        yield running
