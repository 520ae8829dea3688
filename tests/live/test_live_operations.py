"""What goes wrong in operation: a store that hangs or dies, a worker that is killed, an orderly stop. And what an operator asks."""

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest
from conftest import StartGateway
from running_gateway import RunningGateway, eventually
from store_process import StoreProcess


@pytest.fixture
def external(store_process: StoreProcess, start_gateway: StartGateway) -> Iterator[RunningGateway]:
    """A gateway on an external store that its operator has declared; a replica is trusted for half a second."""
    store = {"url": store_process.url, "max_staleness": "500ms"}
    waiting = threading.Thread(target=_declare_when_asked, args=(store_process,))
    waiting.start()
    gateway = start_gateway(store=store)
    waiting.join()
    yield gateway
    store_process.thaw()


def _declare_when_asked(store_process: StoreProcess) -> None: ...
