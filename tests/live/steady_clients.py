"""Clients that never stop asking, and do not forgive: one failed request is a find.

Some of them open a connection for each request; the others keep theirs for as long as the answers allow it, and send the next
request at once, which is when a server's end of a connection crosses the client's request. They retry nothing.
"""

import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPSConnection

from patience import PATIENCE_S

PAUSE_S = 0.005
"""200 requests a second and client, at most: enough to meet a gap of some milliseconds, and no flood."""


class SteadyClients:
    """`told` counts the statuses, `failures` holds what went wrong on the way, `slowest_s` is the longest wait."""

    def __init__(self, port: int, path: str, token: str = "", *, is_tls: bool = False, comes_back: bool = True) -> None:
        self._port = port
        self._path = path
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._tls = ssl._create_unverified_context() if is_tls else None  # which certificate it is, is asked elsewhere
        self._comes_back = comes_back  # after an answer that closes the connection
        self._is_over = threading.Event()
        self.told: Counter[int] = Counter()
        self.closes = 0
        self.failures: list[str] = []
        self.slowest_s = 0.0

    @contextmanager
    def asking(self, clients: int = 4, keep: int = 2) -> Iterator["SteadyClients"]:
        """They ask until the end of the block; so many of them keep their connections."""
        threads = [threading.Thread(target=self._ask, args=(number < keep,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._is_over.set()
            for thread in threads:
                thread.join()

    def _ask(self, keeps_its_connection: bool) -> None:
        connection = self._connection()
        while not self._is_over.wait(PAUSE_S):
            began = time.monotonic()
            try:
                connection.request("GET", self._path, headers=self._headers)
                answer = connection.getresponse()
                answer.read()
            except (OSError, HTTPException) as error:
                self.failures.append(f"{type(error).__name__}: {error} {'kept' if keeps_its_connection else 'new'}")
                connection.close()
                continue
            self.told[answer.status] += 1
            self.closes += answer.will_close
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            if answer.will_close and not self._comes_back:
                break
            if not keeps_its_connection:
                connection.close()
        connection.close()

    def _connection(self) -> HTTPConnection:
        if self._tls is None:
            return HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
        return HTTPSConnection("127.0.0.1", self._port, timeout=PATIENCE_S, context=self._tls)
