"""The backend for large bodies: sends any number of bytes, and swallows any number, faster than a proxy can pass them on.

Only the last segment of a path counts: `GET /BYTES` answers that many bytes; `PUT /swallow` reads the body and answers
200; `PUT /slow` reads 64 KiB every 20 ms.
Bodies never reach Python: sendfile from memory one way, MSG_TRUNC the other. One thread per connection.
`python streams.py PORT`.
"""

import contextlib
import os
import socket
import sys
import threading
import time
from typing import Final

FILE_BYTES: Final = 64 << 20
PIECE_BYTES: Final = 1 << 20
SLOW_PIECE_BYTES: Final = 64 << 10
SLOW_PAUSE_S: Final = 0.02


def serve(client: socket.socket, source: int) -> None:
    """Exchanges of one connection, until the other side is gone."""
    scratch = bytearray(PIECE_BYTES)
    with client, contextlib.suppress(ConnectionError):
        buffer = b""
        while True:
            while b"\r\n\r\n" not in buffer:
                piece = client.recv(65536)
                if not piece:
                    return
                buffer += piece
            head, _, buffer = buffer.partition(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            name = lines[0].split()[1].rpartition(b"/")[2]
            length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
            is_slow = name == b"slow"
            while len(buffer) < length:
                length -= len(buffer)
                buffer = b""
                taken = client.recv_into(scratch, min(length, SLOW_PIECE_BYTES if is_slow else PIECE_BYTES), socket.MSG_TRUNC)
                if not taken:
                    return
                length -= taken
                if is_slow:
                    time.sleep(SLOW_PAUSE_S)
            buffer = buffer[length:]
            answer_bytes = int(name) if name.isdigit() else 0
            client.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % answer_bytes
            )
            while answer_bytes:
                answer_bytes -= os.sendfile(client.fileno(), source, 0, min(answer_bytes, FILE_BYTES))


def main(port: int) -> None:
    source = os.memfd_create("source")
    os.truncate(source, FILE_BYTES)
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            client, _ = listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=(client, source), daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
