"""A night at a gateway, in half a minute: people, a thief, somebody who guesses, and everything that can be away.

Whatever a board can show happens here once, so that a panel that shows nothing asks for the wrong thing. One gateway with two
workers, a store of its own that can be frozen, an application, and an upstream at whose port nobody is.
"""

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx
from admin.people import APPLICATION, OTHER_PASSWORD, PASSWORD, People
from cryptography.hazmat.primitives.asymmetric import rsa
from issuing import Signer
from live.running_gateway import ISSUER, Child, eventually
from patience import PATIENCE_S
from ports import free_port
from store_process import StoreProcess
from websockets.sync.client import connect

LAPTOP = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"
PHONE = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36"
HOME = "192.0.2.7"
ELSEWHERE = "203.0.113.9"
TAIL_S = 10.0
FLOOD = 100
ROUTES: list[dict[str, Any]] = [
    {"name": "gone", "path": "/gone/", "access": "public", "upstream": "gone"},
    {"name": "slow", "path": "/slow/", "access": "public", "upstream": "slow"},
    {"name": "public", "path": "/public/", "access": "public", "upstream": "app"},
    {"name": "staff", "path": "/staff/", "groups": ["staff"], "upstream": "app"},
    {"name": "once", "path": "/once/", "token_use": "once", "upstream": "app"},
    {"name": "stale", "path": "/stale/", "on_outage": "stale", "upstream": "app"},
    {"name": "echo", "path": "/echo", "upstream": "socket"},
    {"name": "app", "path": "/", "upstream": "app"},
]


class Doorman(People):
    """A gateway with accounts and these routes, that believes what loopback says about addresses."""

    def __init__(self, folder: Path, application: Child, store_url: str) -> None:
        super().__init__(folder, application, store={"url": store_url}, trusted_proxies=["127.0.0.0/8"])
        app = f"http://127.0.0.1:{application.says['http']}"
        self._settings["routes"] = ROUTES
        self._settings["upstreams"] = {
            "app": {"url": app},
            "slow": {"url": app, "read_timeout": "1s"},
            "socket": {"url": f"http://127.0.0.1:{application.says['websocket']}"},
            "gone": {"url": f"http://127.0.0.1:{free_port()}"},
        }


class Night:
    """Per process: the gateway, and what stands around it."""

    def __init__(self, folder: Path) -> None:
        self.store = StoreProcess().start()
        self.application = Child(APPLICATION)
        self.gateway = Doorman(folder, self.application, self.store.url)
        self.visitor = self.stolen = ""
        self.revoked_at = 0.0

    def begin(self) -> None:
        """The gateway is ready, and a token has been stolen and revoked."""
        gateway = self.gateway.launch()
        assert gateway.command("store init").returncode == 0
        eventually(gateway.is_ready)
        self.visitor = gateway.token(sub="visitor", sid="visit")
        self.stolen = gateway.token(sub="alice", jti="stolen", sid="alice-1")
        assert self.visit("/who", self.stolen) == "200"
        gateway.revoke(token_id="stolen", issuer=ISSUER)
        self.revoked_at = time.monotonic()

    def pass_by(self) -> None:
        """All of it. The replays come last: for ten seconds a revoked token may have been on its way."""
        self.people_come()
        self.people_sign_in()
        self.strangers_come()
        self.connections_are_cut()
        self.upstreams_fail()
        self.store_is_away()
        self.worker_is_killed()
        assert self.visit("/gone/") == "502 upstream-unreachable"
        eventually(lambda: self.people_come() and time.monotonic() > self.revoked_at + TAIL_S)
        self.steal()

    def steal(self) -> None:
        assert [self.visit(path, self.stolen) for path in ("/who", "/staff/who")] == 2 * ["401 revoked-token"]

    def close(self) -> None:
        self.gateway.stop()
        self.application.stop()
        self.store.close()

    def visit(self, path: str, token: str | None = None, **options: Any) -> str:
        """Status and reason of one request, from home, by a laptop."""
        headers = _AT_HOME | options.pop("headers", {})
        answer = self.gateway.ask(path, token, headers=headers, **options)
        return f"{answer.status_code} {answer.headers.get('X-Gateway-Reason', '')}".strip()

    def people_come(self) -> bool:
        assert self.visit("/who", self.visitor) == "200"
        assert self.visit("/public/bytes?n=1000") == "200"
        assert self.visit("/who", headers={"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}) == "303 no-token"
        return True

    def people_sign_in(self) -> None:
        gateway = self.gateway
        for name in ("alice", "bob", "carol"):
            gateway.add(f"{name}@example.com")
        phone = self.signs_in("alice")
        assert self.visit("/auth/logout", headers=phone | _SAME_ORIGIN, method="POST") == "204"
        moved = self.signs_in("alice")
        assert self.visit("/who", headers=moved | {"X-Forwarded-For": ELSEWHERE}) == "200"
        robbed = self.signs_in("alice")
        thief = robbed | {"User-Agent": PHONE, "Sec-Fetch-Mode": "navigate", "Accept": "text/html"}
        assert self.visit("/who", headers=thief) == "401 device-changed"
        changing = self.signs_in("alice")
        body = {"current": PASSWORD, "new": OTHER_PASSWORD}
        assert self.visit("/auth/password", headers=changing | _SAME_ORIGIN, method="POST", json=body) == "204"
        self.tokens_are_renewed()
        gateway.call("POST", "/v1/users/bob@example.com/block")
        assert gateway.try_to_sign_in("bob@example.com").status_code in (401, 403)
        guesses = {gateway.try_to_sign_in("carol@example.com", f"guess number {number}").status_code for number in range(FLOOD)}
        assert guesses == {401, 429}

    def tokens_are_renewed(self) -> None:
        """Rotated, repeated, and used again when its successor's successor is out."""
        first = self.signs_in("bob")
        second = self.renewed(first)
        assert self.renewed(first)["Cookie"]
        assert self.renewed(second)["Cookie"]
        assert self.visit("/auth/refresh", headers=first | _SAME_ORIGIN, method="POST") == "401 refresh-reused"

    def strangers_come(self) -> None:
        gateway = self.gateway
        for told, token in {
            "401 no-token": None,
            "401 malformed-token": "no.token.at-all",
            "401 bad-signature": gateway.token(signer=_forger(gateway.signers[0].kid)),
            "401 unknown-key": gateway.token(signer=_forger("nobody-knows")),
            "401 wrong-audience": gateway.token(aud="elsewhere"),
        }.items():
            assert self.visit("/who", token) == told
        assert self.visit("/staff/who", gateway.token(groups=[])) == "403 forbidden"
        once = gateway.token(jti="once")
        assert [self.visit("/once/who", once) for _ in range(2)] == ["200", "401 replayed-token"]
        old = gateway.token(iat=int(time.time()) - 900, exp=int(time.time()) - 600)
        with httpx.Client(base_url=gateway.url, trust_env=False, headers={"Authorization": f"Bearer {old}"}) as insistent:
            assert {insistent.get("/who").headers["X-Gateway-Reason"] for _ in range(12)} == {"expired-token"}

    def connections_are_cut(self) -> None:
        gateway = self.gateway
        token = gateway.token(sub="dave", sid="dave-1")
        address = f"ws://127.0.0.1:{gateway.port}/echo"
        with connect(address, additional_headers={"Authorization": f"Bearer {token}"}, proxy=None) as socket:
            assert socket.recv() == "user shop|dave"
            undone = gateway.revoke(session="dave-1")
            with contextlib.suppress(Exception):
                socket.recv(timeout=PATIENCE_S)
        gateway.undo(undone)

    def upstreams_fail(self) -> None:
        assert self.visit("/gone/") == "502 upstream-unreachable"
        assert self.visit("/slow/held?name=nobody") == "504 upstream-timeout"
        with contextlib.suppress(httpx.ReadTimeout):
            self.gateway.ask("/public/held?name=impatient", timeout=0.1)

    def store_is_away(self) -> None:
        gateway = self.gateway
        good = gateway.token(sub="erin", sid="erin-1")
        assert self.visit("/stale/who", good) == "200"
        self.store.freeze()
        eventually(lambda: self.visit("/who", good) == "503 store-unavailable")
        assert self.visit("/stale/who", good) == "200"
        self.store.thaw()
        eventually(gateway.is_ready)

    def worker_is_killed(self) -> None:
        gateway = self.gateway
        killed = gateway.workers()[0]
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: killed not in gateway.workers() and all(worker["ready"] for worker in gateway.status()["workers"]))

    def signs_in(self, name: str) -> dict[str, str]:
        """A laptop's headers with the cookies of a new session."""
        with httpx.Client(base_url=self.gateway.url, trust_env=False, headers=_AT_HOME) as browser:
            answer = browser.post("/auth/login", json={"email": f"{name}@example.com", "password": PASSWORD})
            assert answer.status_code == 200, answer.text
            return _cookies(browser)

    def renewed(self, headers: dict[str, str]) -> dict[str, str]:
        """The same laptop with the cookies of the next generation."""
        with httpx.Client(base_url=self.gateway.url, trust_env=False, headers={"X-Forwarded-For": HOME} | headers) as browser:
            answer = browser.post("/auth/refresh", headers=_SAME_ORIGIN)
            assert answer.status_code == 200, answer.text
            return _cookies(browser)


_AT_HOME = {"User-Agent": LAPTOP, "X-Forwarded-For": HOME}
_SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


def _cookies(browser: httpx.Client) -> dict[str, str]:
    return {"User-Agent": LAPTOP, "Cookie": "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.cookies.jar)}


def _forger(kid: str | None) -> Signer:
    """Another key, perhaps under a name that is known."""
    return Signer("RS256", rsa.generate_private_key(65537, 2048), kid)
