"""Which slot a command is about, and which node has it."""

import pytest

from gateway.audit.keys import KEYS as AUDIT_KEYS
from gateway.audit.keys import batch_key
from gateway.keys.store import LEADER, RING
from gateway.login.known_devices import _key as known_devices_key
from gateway.login.limits import PER_ACCOUNT, PER_NETWORK, Counter, Watch
from gateway.revocation.keys import KEYS as LOG_KEYS
from gateway.sessions.keys import index_key, record_key
from gateway.store.cluster import HOME_SLOT
from gateway.store.cluster_slots import read_nodes, slot_of, slot_of_command

NODES = """\
07c37dfeb2 10.0.0.1:6379@16379,one.example master - 0 1426238317239 4 connected 0-5460 [5461->-e7d1eecce1]
67ed2db8d6 :6380@16380 myself,master - 0 1426238316232 7 connected 5461-10921 16383
292f8b365b [::1]:6381@16381 master,fail - 0 1426238318243 3 disconnected
e7d1eecce1 10.0.0.4:6379@16379 slave 67ed2db8d6 0 1426238316232 7 connected
"""


@pytest.mark.parametrize(
    ("key", "slot"),
    [("foo", 12182), (b"foo", 12182), ("{foo}bar", 12182), ("a{foo}{bar}", 12182), ("{}foo", 9500), ("a{foo", 113), ("", 0)],
)
def test_the_slot_of_a_key_is_that_of_its_first_braces(key: bytes | str, slot: int) -> None:
    assert slot_of(key) == slot


@pytest.mark.parametrize(
    ("command", "slot"),
    [
        (("EVALSHA", "digest", 2, "foo", "{foo}bar", "argument"), 12182),
        (("EVAL", "return 1", 0), None),
        (("XREAD", "COUNT", 1, "BLOCK", 5, "STREAMS", "foo", "0-0"), 12182),
        (("SET", "foo", "1", "NX"), 12182),
        (("CLIENT PAUSE", 5), None),
        (("info", "memory"), None),
        (("TIME",), None),
    ],
)
def test_the_slot_of_a_command_is_that_of_its_first_key(command: tuple[object, ...], slot: int | None) -> None:
    assert slot_of_command(command) == slot


def test_a_nodes_answer_is_read_with_its_epoch_and_without_those_that_have_nothing() -> None:
    found = read_nodes(NODES, ("10.0.0.2", 6380))
    assert found.epoch == 7
    assert found.nodes[0] == found.nodes[5460] == ("10.0.0.1", 6379)
    assert found.nodes[5461] == found.nodes[16383] == ("10.0.0.2", 6380)
    assert found.nodes[10922] is None
    assert found.masters() == (("10.0.0.1", 6379), ("10.0.0.2", 6380))


def test_a_node_is_called_by_the_name_it_announces_when_that_is_asked_for() -> None:
    found = read_nodes(NODES, ("10.0.0.2", 6380), by_name=True)
    assert found.masters() == (("one.example", 6379), ("10.0.0.2", 6380))
    assert found.names == {("10.0.0.1", 6379): ("one.example", 6379)}
    newer = NODES.replace(",one.example", ",,shard-id=69bc").replace("6380@16380", "6380@16380,two.example,shard-id=69bc")
    assert read_nodes(newer, ("10.0.0.2", 6380), by_name=True).masters() == (("10.0.0.1", 6379), ("two.example", 6380))


@pytest.mark.parametrize("text", ["nonsense", NODES.replace(" 7 ", " x "), NODES.replace("6379@", "port@")])
def test_an_answer_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read_nodes(text, ("10.0.0.2", 6380))


def test_L8_what_one_script_changes_lies_in_one_slot() -> None:
    assert {slot_of(key) for key in (*LOG_KEYS, RING, LEADER)} == {HOME_SLOT}
    for keys in (
        (*AUDIT_KEYS, batch_key("process")),
        (record_key("sub.one"), record_key("sub.two"), index_key("sub")),
        (
            Counter("account", ("a",), PER_ACCOUNT).key,
            Counter("network", ("b",), PER_NETWORK).key,
            Watch("account", ("c",), 0).key,
            known_devices_key("a"),
        ),
    ):
        assert len({slot_of(key) for key in keys}) == 1
