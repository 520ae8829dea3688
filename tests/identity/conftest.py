"""Gateways with accounts for this folder: two workers, a backend that records; in a second one tokens live for two seconds."""

import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest
from attacks.wire_gateway import Wire, wire
from browser import CALM, Browser, NewBrowser

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """Shared; nobody hurts it. Users are named by their tests."""
    with wire(tmp_path_factory.mktemp("identity"), **CALM) as running:
        yield running


@pytest.fixture(scope="session")
def quick_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """The same with access tokens that live for two seconds and a grace of one."""
    settings = CALM | {"tokens": {"access_ttl": "2s"}, "sessions": {"grace": "1s"}}
    with wire(tmp_path_factory.mktemp("quick"), **settings) as running:
        yield running


@pytest.fixture(scope="session")
def resident(shop: Wire) -> NewBrowser:
    """Copies of one browser in which somebody is signed in, for tests that change nothing about him: accounts cost hashes."""
    original = Browser(shop)
    original.sign_in("resident@example.com")

    def copy() -> Browser:
        if original.claims()["exp"] < time.time() + 120:
            original.get("/who", without=("access",))
        return original.stolen()

    return copy


@pytest.fixture
def browser(shop: Wire) -> NewBrowser:
    """A browser at the shared gateway in which a new user is signed in."""

    def new(*, wire: Wire = shop, **options: Any) -> Browser:
        made, email = Browser(wire, **options), f"user-{next(_numbers)}@example.com"
        made.sign_in(email)
        return made

    return new
