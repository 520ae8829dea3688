"""Everything that alerts are about and that can be brought about in seconds, done to real gateways that are being watched.

    shop      two workers, a store that can be frozen, an application that can be killed, a webhook that nobody takes
    branch    one worker, a certificate that expires in a day, an issuer whose key set is not there, a webhook that nobody
              wants; it is stopped in the end

Each act notes when it was done, so that it can be told how long its alert took.
"""

import base64
import os
import re
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import jwt
from alerting_stack import Pager, Watch
from live.running_gateway import ISSUER, RunningGateway, eventually
from night import ELSEWHERE, FLOOD, HOME, PHONE, TAIL_S, Night
from ports import free_port
from proxy.certificates import issued

SLOW_S = 2.6
"""Longer than the objective allows an answer to take."""
SLOW_AT_ONCE = 60
STOPPED_S = 1.3
"""Longer than a worker may take to enforce a revocation, and shorter than it takes to be thought stuck."""

Cause = tuple[str, str]
"""An alert, and the job it is about."""


class Troubles(Night):
    """Per process: both gateways, who watches them, and what was caused when."""

    def __init__(self, folder: Path) -> None:
        shop, branch, watch = (folder / name for name in ("shop", "branch", "watch"))
        for made in (shop, branch, watch):
            made.mkdir()
        super().__init__(shop)
        pager = Pager()
        self.gateway._settings["webhook"] = webhook(f"http://127.0.0.1:{free_port()}")
        self.branch = Branch(branch, webhook(f"{pager.url}/gone"))
        self.watch = Watch(watch, {"shop": [target(self.gateway)], "branch": [target(self.branch)]}, pager=pager)
        self.caused: dict[Cause, float] = {}
        self.inhibited: set[str] = set()
        self._refresh = ""
        self._of_a_retired_key = ""

    def begin(self) -> None:
        """Everything runs, and what will be replayed after its tail is revoked."""
        self.watch.launch()
        self.branch.launch()
        self.note("GatewayIssuerWithoutKeys", "GatewayCertificateExpiry", job="branch")
        super().begin()
        self._retire_a_key()
        self._end_a_session()
        self.watch.wait_until_it_sees()

    def happen(self) -> None:
        """All of it. What needs no patience fills the ten seconds after which a use of something revoked is a replay."""
        with ThreadPoolExecutor() as threads:
            slow = threads.submit(self._answers_are_slow)
            self._a_webhook_is_not_wanted()
            self._a_session_moves()
            self._a_session_comes_from_another_device()
            self._a_refresh_token_is_used_again()
            self._strangers_show_tokens()
            self._passwords_are_guessed()
            slow.result()
        self._a_worker_is_late()
        self._workers_die()
        eventually(lambda: time.monotonic() > self.revoked_at + TAIL_S + 0.5)
        self._what_was_revoked_is_replayed()
        self._a_gateway_is_gone()
        self._the_store_is_away()
        self._the_application_is_gone()
        eventually(lambda: self.watch.is_inhibited("GatewayInstanceDown"))
        self.inhibited.add("GatewayInstanceDown")

    def note(self, *names: str, job: str = "shop") -> None:
        """What is done next is the cause of these alerts."""
        self.caused.update({(name, job): time.time() for name in names})

    def close(self) -> None:
        self.store.thaw()
        self.watch.stop()
        self.branch.stop()
        super().close()

    def _retire_a_key(self) -> None:
        gateway = self.gateway
        gateway.add("carol@example.com")
        eventually(lambda: gateway.try_to_sign_in("carol@example.com").status_code == 200)  # the first key is made
        self._of_a_retired_key = gateway.sign_in("carol@example.com")
        answer = gateway.call("DELETE", f"/v1/keys/{jwt.get_unverified_header(self._of_a_retired_key)['kid']}")
        assert answer.status_code == 200, answer.text

    def _end_a_session(self) -> None:
        self.gateway.add("alice@example.com")
        self._refresh = self.signs_in("alice")["Cookie"]
        (sid,) = self.gateway.sessions_of("alice@example.com")
        self.gateway.revoke(session=sid)
        self.revoked_at = time.monotonic()

    def _a_webhook_is_not_wanted(self) -> None:
        """A token whose key nobody has is an event at the branch."""
        self.note("GatewayWebhookEventsLost", job="branch")
        with httpx.Client(verify=False, trust_env=False) as client:
            answer = client.get(f"{self.branch.url}/", headers={"Authorization": f"Bearer {self.gateway.token()}"})
        assert answer.headers["X-Gateway-Reason"] == "unknown-key"

    def _a_session_moves(self) -> None:
        moved = self.signs_in("alice")
        assert self.visit("/who", headers=moved | {"X-Forwarded-For": ELSEWHERE}) == "200"

    def _a_session_comes_from_another_device(self) -> None:
        robbed = self.signs_in("alice")
        self.note("GatewayFingerprintMismatch")
        thief = robbed | {"User-Agent": PHONE, "Sec-Fetch-Mode": "navigate", "Accept": "text/html"}
        assert self.visit("/who", headers=thief) == "401 device-changed"

    def _a_refresh_token_is_used_again(self) -> None:
        first = self.signs_in("alice")
        second = self.renewed(first)
        self.renewed(second)
        self.note("GatewayRefreshTokenReused")
        same_origin = {"Sec-Fetch-Site": "same-origin"}
        assert self.visit("/auth/refresh", headers=first | same_origin, method="POST") == "401 refresh-reused"

    def _strangers_show_tokens(self) -> None:
        gateway = self.gateway
        content, _, signature = gateway.token().rpartition(".")
        self.note("GatewaySignatureFailures", "GatewayWebhookBacklog")
        assert self.visit("/who", f"{content}.{signature[8:16]}{signature[:8]}{signature[16:]}") == "401 bad-signature"
        now = int(time.time())
        expired = {"Authorization": f"Bearer {gateway.token(iat=now - 900, exp=now - 600)}"}
        self.note("GatewayExpiredTokenLoop")
        with httpx.Client(base_url=gateway.url, trust_env=False, headers=expired) as insistent:  # one connection, one worker
            assert {insistent.get("/who").headers["X-Gateway-Reason"] for _ in range(10)} == {"expired-token"}

    def _passwords_are_guessed(self) -> None:
        self.note("GatewayLoginFlood")
        guesses = (self.gateway.try_to_sign_in("bob@example.com", f"guess number {number}") for number in range(FLOOD))
        assert {answer.status_code for answer in guesses} == {401, 429}

    def _answers_are_slow(self) -> None:
        asking = [socket.create_connection(("127.0.0.1", self.gateway.port)) for _ in range(SLOW_AT_ONCE)]
        for client in asking:
            client.sendall(b"GET /public/held?name=slow HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
        time.sleep(SLOW_S)  # the time that an answer takes is the cause itself
        self.note("GatewayLatencyBudgetBurn")
        assert self.visit("/public/release?name=slow") == "200"
        for client in asking:
            assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
            client.close()

    def _a_worker_is_late(self) -> None:
        stopped, _ = self.gateway.workers()
        with ThreadPoolExecutor() as threads:
            os.kill(stopped, signal.SIGSTOP)
            try:
                self.note("GatewayRevocationEnforcementSlow")
                revoked = threads.submit(self.gateway.revoke, session="somebody-else's")
                time.sleep(STOPPED_S)  # as above
            finally:
                os.kill(stopped, signal.SIGCONT)
            revoked.result()

    def _workers_die(self) -> None:
        """Both of them, as soon as they are there, until so many are missing for so long that somebody should know."""
        self.note("GatewayWorkersMissing", "GatewayWorkersRestarting")

        def kill_all() -> bool:
            for pid in self.gateway.workers():
                with suppress(ProcessLookupError, TypeError):  # it is waiting to be started
                    os.kill(pid, signal.SIGKILL)
            return self.watch.fires("GatewayWorkersMissing", severity="critical") and self.watch.fires("GatewayWorkersRestarting")

        eventually(kill_all)
        eventually(self.gateway.is_ready)

    def _what_was_revoked_is_replayed(self) -> None:
        self.note("GatewayRevokedTokenReplayed")
        assert self.visit("/who", self.stolen) == "401 revoked-token"
        assert self.visit("/who", self._of_a_retired_key) == "401 retired-key"
        self.note("GatewayRefreshAfterRevocation")
        headers = {"Cookie": self._refresh, "Sec-Fetch-Site": "same-origin"}
        assert self.visit("/auth/refresh", headers=headers, method="POST") == "401 revoked-session"

    def _the_store_is_away(self) -> None:
        """Until the consequences would be told, were not the cause told already."""
        consequences = ("GatewayReplicaNotLive", "GatewayReplicaLagging", "GatewayAvailabilityBudgetBurn")
        good = self.gateway.token(sub="erin", sid="erin-1")
        assert self.visit("/stale/who", good) == "200"
        eventually(lambda: not self.watch.fires("GatewayReplicaNotLive"))  # it did while the workers died
        self.note("GatewayStoreDown", "GatewayDegradedAdmissions", *consequences)
        self.store.freeze()

        def is_all_told() -> bool:
            self.visit("/who", good)
            assert self.visit("/stale/who", good) == "200"
            self.inhibited |= {name for name in consequences if self.watch.is_inhibited(name)}
            return self.inhibited >= set(consequences) and bool(self.watch.pager.told("GatewayStoreDown"))

        eventually(is_all_told)
        self.store.thaw()
        eventually(self.gateway.is_ready)

    def _the_application_is_gone(self) -> None:
        self.note("GatewayUpstreamDown")
        self.application.stop()
        eventually(lambda: self.visit("/public/who").startswith("502") and self.watch.pager.told("GatewayUpstreamDown"))

    def _a_gateway_is_gone(self) -> None:
        self.note("GatewayDown", "GatewayInstanceDown", job="branch")
        self.branch.stop()
        eventually(lambda: self.watch.pager.told("GatewayDown"))


class Branch(RunningGateway):
    """The one that speaks TLS, and that no client talks to."""

    def __init__(self, folder: Path, webhook: dict[str, Any]) -> None:
        certificate, key = issued().written(folder, "branch")
        super().__init__(
            folder,
            {"app": f"http://{HOME}"},
            [{"name": "app", "path": "/", "upstream": "app"}],
            workers=1,
            tls={"certificate": str(certificate), "key": str(key)},
            public_url="https://localhost",
            issuers=[{"issuer": ISSUER, "audience": "shop", "jwks": "not-there.json", "algorithms": ["RS256"]}],
            webhook=webhook,
        )

    def _announced(self) -> str:
        said = (re.match(r"Listening on (https://[^ ,]+)", line["message"]) for line in self.messages())
        return next((found[1] for found in said if found), "")


def webhook(url: str) -> dict[str, Any]:
    """Signature failures, posted to this address."""
    return {"url": url, "secret": f"whsec_{base64.b64encode(bytes(32)).decode()}", "events": ["signature-failure"]}


def target(gateway: RunningGateway) -> str:
    """What Prometheus scrapes."""
    return gateway.admin.removeprefix("http://")
