"""Addresses held by the supervisor: real sockets, real paths."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ports import free_port

from gateway.config.address import Address
from gateway.listeners import CannotListen, Listeners

ANY = Address(host="127.0.0.1", port=0)


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def listening(listeners: Listeners, worker: int, workers: int) -> list[socket.socket]:
    """What a worker does with what it is lent: it has a descriptor of its own, and listens."""
    lent = [held.dup() for held in listeners.lent_to(worker, workers).values()]
    for held in lent:
        held.listen()
    return lent


def served(held: socket.socket, port: int) -> bool:
    """Whether a new connection comes to this socket, the only one that listens."""
    held.settimeout(5)
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        held.accept()[0].close()
    return True


def test_port_zero_is_resolved_once_and_every_worker_has_a_socket_there():
    listeners = Listeners.open([ANY], 2)
    port = port_of(listeners.addresses[0])
    assert port != 0
    (one,), (two,) = listening(listeners, 0, 2), listening(listeners, 1, 2)
    assert one.getsockname()[1] == two.getsockname()[1] == port
    listeners.close()


def test_until_a_worker_listens_there_are_no_connections():
    listeners = Listeners.open([ANY], 2)
    port = port_of(listeners.addresses[0])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert served(listening(listeners, 1, 2)[0], port)
    listeners.close()


def test_who_waits_in_a_dead_workers_queue_is_served_by_the_next_one():
    listeners = Listeners.open([ANY], 1)
    (dead,) = listening(listeners, 0, 1)
    with socket.create_connection(("127.0.0.1", port_of(listeners.addresses[0])), timeout=5) as client:
        dead.close()
        (successor,) = listening(listeners, 0, 1)
        accepted, _ = successor.accept()
        accepted.sendall(b"here")
        assert client.recv(4) == b"here"
        accepted.close()
    listeners.close()


def test_no_socket_is_left_alone_when_there_are_fewer_workers_than_before():
    listeners = Listeners.open([ANY], 3)
    after = listeners.followed_by([ANY], 2)
    lent = [set(after.lent_to(worker, 2)) for worker in range(2)]
    assert [len(names) for names in lent] == [2, 1]
    assert set.union(*lent) == {name for worker in range(3) for name in listeners.lent_to(worker, 3)}
    assert [len(after.followed_by([ANY], 4).lent_to(worker, 4)) for worker in range(4)] == [1, 1, 1, 1]
    listeners.close()


def test_what_both_listen_on_is_kept_and_what_is_left_out_is_let_go(tmp_path: Path):
    path = tmp_path / "gateway.sock"
    before = Listeners.open([ANY, Address(path=str(path))])
    after = before.followed_by([Address(host="127.0.0.1", port=0), Address(host="::1", port=0)], 1)
    assert after.addresses[0] == before.addresses[0]
    before.close(but=after)
    assert not path.exists()
    assert served(listening(after, 0, 1)[0], port_of(after.addresses[0]))
    after.close()


def test_the_same_port_on_every_interface_is_no_stranger():
    port = free_port()  # which the kernel gives to nobody: what is free on this interface may be taken on another
    before = Listeners.open([Address(host="127.0.0.1", port=port)])
    listening(before, 0, 1)
    after = before.followed_by([Address(host="0.0.0.0", port=port)], 1)
    before.close(but=after)
    after.close()


def test_what_cannot_be_had_leaves_nothing_open(tmp_path: Path):
    before = Listeners.open([ANY])
    path = tmp_path / "gateway.sock"
    missing = Address(path=str(tmp_path / "missing" / "gateway.sock"))
    with pytest.raises(CannotListen, match="missing"):
        before.followed_by([ANY, Address(path=str(path)), missing], 1)
    assert not path.exists()
    assert before.lent_to(0, 1)
    before.close()


def test_an_address_in_use_is_refused_by_name_even_by_a_gateway_like_ours():
    listeners = Listeners.open([ANY])
    port = port_of(listeners.addresses[0])
    listening(listeners, 0, 1)
    with pytest.raises(CannotListen, match=rf"127\.0\.0\.1:{port}: Address already in use"):
        Listeners.open([ANY, Address(host="127.0.0.1", port=port)])
    listeners.close()


def test_a_unix_socket_is_inherited_and_removed_at_the_end(tmp_path: Path):
    path = tmp_path / "gateway.sock"
    listeners = Listeners.open([Address(path=str(path)), ANY])
    assert listeners.addresses[0] == f"unix:{path}"
    with socket.socket(fileno=os.dup(listeners.descriptors[0])) as worker, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        accepted, _ = worker.accept()
        accepted.close()
    listeners.close()
    assert not path.exists()


def test_a_dead_gateways_path_is_taken_over_and_a_live_ones_is_not(tmp_path: Path):
    path = str(tmp_path / "gateway.sock")
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(path)
    dead.close()
    listeners = Listeners.open([Address(path=path)])
    with pytest.raises(CannotListen, match="in use"):
        Listeners.open([Address(path=path)])
    listeners.close()


def test_a_live_gateway_whose_queue_is_full_is_not_waited_for(tmp_path: Path):
    path = str(tmp_path / "gateway.sock")
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(path)
        busy.listen(0)
        waiting.connect(path)
        with pytest.raises(CannotListen, match="in use"):
            Listeners.open([Address(path=path)])


def test_a_file_in_the_way_is_not_removed(tmp_path: Path):
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    with pytest.raises(CannotListen, match=r"notes\.txt"):
        Listeners.open([Address(path=str(path))])
    assert path.read_text() == "mine"


def test_a_path_that_somebody_else_took_over_is_left_to_them(tmp_path: Path):
    path = tmp_path / "gateway.sock"
    listeners = Listeners.open([Address(path=str(path))])
    path.unlink()
    path.write_text("theirs")
    listeners.close()
    assert path.read_text() == "theirs"


def test_a_process_takes_as_many_descriptors_as_it_may_have():
    program = (
        "from resource import *; from gateway.listeners import allow_descriptors; setrlimit(RLIMIT_NOFILE, (256, 999));"
        "allow_descriptors(); print(getrlimit(RLIMIT_NOFILE))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "(999, 999)\n"


def test_a_name_that_no_resolver_can_be_asked_for_is_an_address_that_cannot_be_had(tmp_path: Path):
    opened = Address(path=str(tmp_path / "s"))
    with pytest.raises(CannotListen, match=r"cannot listen on a{64}:80: "):
        Listeners.open([opened, Address(host="a" * 64, port=80)])
    assert not (tmp_path / "s").exists()
