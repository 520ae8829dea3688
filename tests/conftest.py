"""Fixtures every test may use: a browser; a real store process, shared and emptied before each test, or private for the rough.

And how tests are spread over the three processes that run them: one more than there are processors, because much of what they
do is waiting for gateways that start, tokens that expire, replicas that grow stale.
"""

import signal
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import browsing
import hypothesis
import pytest
import pytest_asyncio
from patience import PATIENCE_S
from store_process import StoreProcess
from xdist.scheduler import LoadScopeScheduling

from gateway.clock import Clock
from gateway.store.client import Store, connect

if TYPE_CHECKING:
    from playwright.async_api import Browser

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, and so would all that tests start
hypothesis.settings.register_profile("untimed", deadline=None)  # another process may have the processor
hypothesis.settings.load_profile("untimed")

FOLDER_SHARES = ("tests/identity/", "tests/live/", "tests/login/", "tests/sources/")  # gateways, a database server
LONGEST_FIRST = (
    "tests/sources/",
    "tests/identity/",
    "tests/live/",
    "tests/demo/",
    "tests/grafana/",
    "tests/supervisor/",
    "tests/attacks/",
    "tests/admin/",
    "tests/login/",
    "tests/packaging/",
    "tests/revocation/",
    "tests/store/",
    "tests/proxy/",
)
"""What is begun last should be short, so that the processes end together."""


class Spread(LoadScopeScheduling):
    """Files, or folders whose files share something that takes long to start, in the order in which they were collected.

    NB: the mark `xdist_group` is not used: what xdist 3.8 writes into a test's id is not read by pytest 9.2 any more.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file.rpartition("/")[0] if file.startswith(FOLDER_SHARES) else file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {folder: place for place, folder in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get("/".join(item.nodeid.split("/")[:2]) + "/", len(places)))


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Spread | None:
    config.option.loadscopereorder = False
    return Spread(config, log) if config.getvalue("dist") == "loadgroup" else None


@pytest.fixture(scope="session")
def shared_store_process() -> Iterator[StoreProcess]:
    """One server per test process. Use `store_url`: it is empty then."""
    process = StoreProcess().start()
    yield process
    process.close()


@pytest.fixture
def store_url(shared_store_process: StoreProcess) -> str:
    """The URL of an empty, undeclared store."""
    shared_store_process.flush()
    return shared_store_process.url


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """A client of an empty, undeclared store."""
    client = connect(store_url)
    yield client
    await client.aclose()


@pytest.fixture
def store_process() -> Iterator[StoreProcess]:
    """A private server that a test may freeze, kill, wipe and roll back."""
    process = StoreProcess().start()
    yield process
    process.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> "AsyncIterator[Browser]":
    """One per test process. Use `browser`: what a test opens in it is closed then."""
    from playwright.async_api import async_playwright, expect

    if browsing.EXECUTABLE is None:
        pytest.skip(browsing.NEEDED)
    expect.set_options(timeout=PATIENCE_S * 1000)
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=browsing.EXECUTABLE, args=browsing.ARGUMENTS)
        yield launched
        await launched.close()


@pytest_asyncio.fixture(loop_scope="session")
async def browser(chromium: "Browser") -> "AsyncIterator[Browser]":
    """A browser without a context; for tests that run in the session's loop."""
    yield chromium
    for context in chromium.contexts:
        await context.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()
