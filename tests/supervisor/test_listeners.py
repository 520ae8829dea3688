"""Addresses held by the supervisor: real sockets, real paths."""

import os
import socket
from pathlib import Path

import pytest

from gateway.config.address import Address
from gateway.listeners import CannotListen, Listeners

ANY = Address(host="127.0.0.1", port=0)


def bind(port: int, is_shared: bool) -> socket.socket:
    worker = socket.socket()
    worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if is_shared:
        worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    worker.bind(("127.0.0.1", port))
    worker.listen()
    return worker


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def test_port_zero_is_resolved_once_and_workers_share_it():
    listeners = Listeners.open([ANY])
    port = port_of(listeners.addresses[0])
    assert port != 0
    assert listeners.descriptors == (-1,)
    with bind(port, True) as one, bind(port, True), socket.create_connection(("127.0.0.1", port)):
        assert one.getsockname()[1] == port
    listeners.close()


def test_the_holder_itself_gets_no_connections():
    listeners = Listeners.open([ANY])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port_of(listeners.addresses[0])))
    listeners.close()


def test_an_address_in_use_is_refused_by_name_even_by_a_gateway_like_ours():
    listeners = Listeners.open([ANY])
    port = port_of(listeners.addresses[0])
    with bind(port, True), pytest.raises(CannotListen, match=rf"127\.0\.0\.1:{port}: Address already in use"):
        Listeners.open([ANY, Address(host="127.0.0.1", port=port)])
    listeners.close()


def test_a_unix_socket_is_inherited_and_removed_at_the_end(tmp_path: Path):
    path = tmp_path / "gateway.sock"
    listeners = Listeners.open([Address(path=str(path)), ANY])
    assert listeners.addresses[0] == f"unix:{path}"
    assert listeners.descriptors[1] == -1
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
