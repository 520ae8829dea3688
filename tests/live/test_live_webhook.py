"""The whole: two workers, a supervisor, a receiver elsewhere. What is done to the doorman is told to whoever asked for it."""

import asyncio
import re
import ssl
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from admin.people import APPLICATION, People
from live.running_gateway import Child, eventually
from patience import PATIENCE_S
from proxy.certificates import authority, issued
from webhook.receiving import HANG, SECRET, Message, Receiver

from gateway.login.limits import FLOOD_FAILURES

T = TypeVar("T")
ALICE = "alice@example.com"


class Elsewhere:
    """A receiver on a loop of its own in a thread."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="receiver", daemon=True).start()
        self.receiver = Receiver(context=context)
        self.run(self.receiver.__aenter__())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    def close(self) -> None:
        self.run(self.receiver.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)

    def taken(self, kind: str) -> list[Message]:
        return [message for message in self.receiver.taken if message.type == kind]


class Doorman(People):
    """One that speaks TLS."""

    def __init__(self, folder: Path, application: Child, **settings: Any) -> None:
        super().__init__(folder, application, **settings)
        self._client = httpx.Client(
            timeout=PATIENCE_S, trust_env=False, verify=False, limits=httpx.Limits(max_keepalive_connections=0)
        )

    def _announced(self) -> str:
        for line in self.messages()[self._said :]:
            if found := re.match(r"Listening on (https://[^ ,]+)", line["message"]):
                return found[1]
        return ""

    def messages(self) -> list[dict[str, Any]]:
        return [line for line in super().messages() if line.get("process")]

    def lines(self, beginning: str) -> list[str]:
        return [line["message"] for line in self.messages() if line["message"].startswith(beginning)]

    def fails(self, email: str, times: int) -> set[int]:
        """So many wrong passwords, over connections of their own: both workers see some."""
        with ThreadPoolExecutor(4) as threads:
            return {
                answer.status_code for answer in threads.map(lambda n: self.try_to_sign_in(email, f"wrong {n}"), range(times))
            }


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    made = Elsewhere(issued().server_context(tmp_path_factory.mktemp("receiver")))
    yield made
    made.close()


@pytest.fixture(scope="module")
def doorman(tmp_path_factory: pytest.TempPathFactory, elsewhere: Elsewhere) -> Iterator[Doorman]:
    folder = tmp_path_factory.mktemp("doorman")
    certificate, key = issued().written(folder, "server")
    application = Child(APPLICATION)
    settings = {
        "tls": {"certificate": str(certificate), "key": str(key)},
        "webhook": {
            "url": elsewhere.receiver.url,
            "secret": SECRET,
            "ca": str(authority().written(folder, "authority")[0]),
            "events": ["login-flood", "signature-failure"],
        },
    }
    running = Doorman(folder, application, **settings)
    try:
        yield running.start()
    finally:
        running.stop()
        application.stop()
    assert not running.leaks()
    assert SECRET not in running.path("messages").read_text()


def test_the_certificate_in_force_is_told(doorman: Doorman) -> None:
    expires = issued().certificate.not_valid_after_utc.timestamp()
    assert doorman.metrics()["gateway_tls_certificate_expiry_timestamp_seconds"] == expires


def test_failed_logins_by_the_hundred_are_counted_over_all_workers_and_told_everywhere(
    doorman: Doorman, elsewhere: Elsewhere
) -> None:
    doorman.add(ALICE)
    before = doorman.metrics()
    assert before['gateway_login_floods_total{by="account"}'] == before['gateway_login_floods_total{by="network"}'] == 0
    assert doorman.fails(ALICE, FLOOD_FAILURES) == {401, 429}
    eventually(lambda: doorman.metrics()['gateway_login_floods_total{by="account"}'] == 1)
    (line,) = eventually(lambda: doorman.lines("Failed logins by the hundred"))
    assert f"by=account user={ALICE} count=100 window=600s client_network=127.0.0.0/24 request_id=" in line
    (message,) = eventually(lambda: elsewhere.taken("login-flood"))
    assert message.is_signed_with(SECRET)
    (event,) = doorman.events(action="login-flood")
    assert message.event == event
    assert (event["user"], event["reason"], event["network"]) == (ALICE, "account", "127.0.0.0/24")
    eventually(lambda: doorman.metrics()['gateway_webhook_events_total{outcome="delivered"}'] == 1)


def test_privacy_a_name_that_nobody_has_is_told_nowhere(doorman: Doorman, elsewhere: Elsewhere) -> None:
    typed = "my-password-by-mistake@example.com"
    told = len(elsewhere.taken("login-flood"))
    doorman.fails(typed, FLOOD_FAILURES)
    message = eventually(lambda: elsewhere.taken("login-flood")[told:])[0]
    assert (message.event["user"], message.event["reason"]) == (None, "account")
    assert "by-mistake" not in doorman.path("messages").read_text()
    assert b"by-mistake" not in b"".join(one.body for one in elsewhere.receiver.messages)
    assert "by-mistake" not in str(doorman.events())


def test_a_receiver_that_hangs_costs_no_request_anything_and_an_end_is_an_end(doorman: Doorman, elsewhere: Elsewhere) -> None:
    elsewhere.receiver.answer = lambda message: HANG
    doorman.add("bob@example.com")
    token = doorman.sign_in("bob@example.com")
    doorman.shown.append(forged := token[:-10] + ("A" * 10 if token[-10:] != "A" * 10 else "B" * 10))
    sent = len(elsewhere.receiver.messages)
    assert doorman.told("/who", forged) == "401 bad-signature"
    eventually(lambda: len(elsewhere.receiver.messages) > sent)
    assert {doorman.told("/who", token) for _ in range(10)} == {"200"}
    eventually(lambda: doorman.metrics()["gateway_webhook_queue_length"] == 1)
    assert doorman.stop() == 0
    elsewhere.receiver.answer = lambda message: "200 OK"
    doorman.start()
    (message,) = eventually(lambda: elsewhere.taken("signature-failure"))
    assert message.id == elsewhere.receiver.messages[sent].id, "the same as before the end"
    assert message.event["reason"] == "bad-signature"
