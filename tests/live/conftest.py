"""Live tests share one gateway with two workers and an embedded store, and one process per application.

What a test revokes it names after itself, so tests do not meet. The rough ones (outages, killed workers, shutdown) start
a gateway of their own with `start_gateway`. Every gateway's output is searched for tokens when it has ended [O04].
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running_gateway import CALM_STORE, ROUTES, Child, RunningGateway, StartGateway

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def application() -> Iterator[Child]:
    child = Child(HERE / "application.py")
    yield child
    child.stop()


@pytest.fixture(scope="session")
def django() -> Iterator[Child]:
    child = Child(HERE / "django_application.py")
    yield child
    child.stop()


@pytest.fixture(scope="session")
def upstreams(application: Child, django: Child) -> dict[str, str]:
    return {
        "app": f"http://127.0.0.1:{application.says['http']}",
        "socket": f"http://127.0.0.1:{application.says['websocket']}",
        "django": f"http://127.0.0.1:{django.says['http']}",
    }


@pytest.fixture(scope="session")
def gateway(upstreams: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """The shared one. Nothing that a test does to it may hurt another test."""
    gateway = RunningGateway(tmp_path_factory.mktemp("shared"), upstreams, ROUTES, store=CALM_STORE)
    try:
        yield gateway.start()
    finally:
        gateway.stop()
    assert not gateway.leaks()


@pytest.fixture
def start_gateway(upstreams: dict[str, str], tmp_path: Path) -> Iterator[StartGateway]:
    """Starts a gateway for this test alone; arguments are keys of its configuration. `is_awaited=False`: it need not be ready."""
    started: list[RunningGateway] = []

    def start(*, is_awaited: bool = True, **settings: Any) -> RunningGateway:
        folder = tmp_path / f"gateway-{len(started)}"
        folder.mkdir()
        gateway = RunningGateway(folder, upstreams, ROUTES, **settings)
        started.append(gateway)
        return gateway.start() if is_awaited else gateway.launch()

    yield start
    for gateway in started:
        gateway.stop()
    for gateway in started:
        assert not gateway.leaks()
