"""What a worker remembers of tokens: bounded, and never at the cost of those in use."""

from pathlib import Path

import pytest
from data_plane import configuration
from deciding import World

from gateway.config.load import load
from gateway.enforce.known import Known, TokenMemory
from gateway.enforce.verified import Verified
from gateway.revocation.view import View


@pytest.fixture(scope="module")
def token() -> Verified:
    world = World()
    return world.allowed(world.token())


@pytest.mark.parametrize("limit", [1, 2, 3, 10, 100])
def test_the_memory_of_tokens_is_bounded(token: Verified, limit: int) -> None:
    memory = TokenMemory(limit)
    for number in range(10 * limit + 10):
        memory.put(b"%d" % number, token)
        assert len(memory) <= max(2, limit)
        assert memory.get(b"%d" % number) is token


def test_a_token_in_use_stays_while_others_pass_through(token: Verified) -> None:
    memory = TokenMemory(10)
    memory.put(b"used", token)
    for number in range(1000):
        memory.put(b"%d" % number, token)
        assert memory.get(b"used") is token
    assert memory.get(b"0") is None


def test_a_token_that_nobody_uses_leaves(token: Verified) -> None:
    memory = TokenMemory(10)
    memory.put(b"unused", token)
    for number in range(10):
        memory.put(b"%d" % number, token)
    assert memory.get(b"unused") is None


def test_a_token_that_moves_to_the_younger_generation_is_not_remembered_twice(token: Verified) -> None:
    memory = TokenMemory(10)
    for number in range(6):
        memory.put(b"%d" % number, token)
    for _ in range(5):
        assert memory.get(b"0") is token
    assert len(memory) == 6


def test_forgetting_forgets_both_generations(token: Verified) -> None:
    memory = TokenMemory(4)
    for number in range(4):
        memory.put(b"%d" % number, token)
    memory.clear()
    assert len(memory) == 0
    assert [memory.get(b"%d" % number) for number in range(4)] == [None] * 4


def test_what_was_never_shown_is_not_known() -> None:
    assert TokenMemory().get(b"x") is None


def test_the_configuration_says_what_is_known_before_keys_arrive(tmp_path: Path) -> None:
    path = configuration(
        tmp_path,
        "http://127.0.0.1:9",
        store={"max_staleness": "3s", "stale_limit": "1m"},
        identity={"preset": "remote-user"},
    )
    view = View()
    known = Known.of(load(path).config, view, [b"csrf"])
    assert known.replica is view
    assert (known.max_staleness_s, known.stale_limit_s, known.preset) == (3.0, 60.0, "remote-user")
    assert list(known.issuers) == ["https://idp.example", known.own_issuer]
    assert known.issuers["https://idp.example"].keys is None
