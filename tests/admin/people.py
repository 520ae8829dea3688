"""A running gateway with accounts, and people who use it: as clients of an application, and as operators."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
from live.running_gateway import CALM_STORE, ISSUER, Child, RunningGateway, environment
from patience import PATIENCE_S

PASSWORD = "seven green horses"
OTHER_PASSWORD = "eight red umbrellas"
APPLICATION = Path(__file__).resolve().parents[1] / "live" / "application.py"
ROUTES: list[dict[str, Any]] = [
    {"name": "staff", "path": "/staff/", "groups": ["staff"], "upstream": "app"},
    {"name": "app", "path": "/", "upstream": "app"},
]


class People(RunningGateway):
    """A gateway whose accounts are on, beside one issuer whose users begin with `shop|`."""

    def __init__(self, folder: Path, application: Child, **settings: Any) -> None:
        issuer = {"issuer": ISSUER, "audience": "shop", "jwks": "keys.json", "algorithms": ["RS256"], "user_prefix": "shop|"}
        defaults = {"public_url": "http://gateway.test", "issuers": [issuer], "cookies": {"secure": False}, "store": CALM_STORE}
        settings = defaults | settings
        super().__init__(folder, {"app": f"http://127.0.0.1:{application.says['http']}"}, ROUTES, **settings)

    def add(self, email: str, *groups: str, password: str = PASSWORD) -> str:
        """A new account; its name."""
        answer = self.call("POST", "/v1/users", json={"email": email, "password": password, "groups": list(groups)})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["user"])

    def sign_in(self, email: str, password: str = PASSWORD) -> str:
        """An access token of a new session. Its signature is remembered: no output may ever hold it."""
        answer = self.try_to_sign_in(email, password)
        assert answer.status_code == 200, answer.text
        self.shown.append(answer.json()["access_token"])
        return self.shown[-1]

    def try_to_sign_in(self, email: str, password: str = PASSWORD) -> httpx.Response:
        """From a browser that nobody signed in with."""
        body = {"email": email, "password": password, "delivery": "token"}
        answer = self.ask("/auth/login", method="POST", json=body)
        self._client.cookies.clear()
        return answer

    def sessions_of(self, email: str) -> list[str]:
        answer = self.call("GET", f"/v1/users/{email}/sessions")
        assert answer.status_code == 200, answer.text
        return [session["id"] for session in answer.json()["sessions"]]

    def events(self, **filters: str) -> list[dict[str, Any]]:
        """The trail, newest first."""
        return list(self.call("GET", "/v1/audit", params=filters).json()["events"])

    def typed(self, name: str, *arguments: str, typing: str = "") -> "subprocess.CompletedProcess[str]":
        """A command, with lines on its standard input."""
        command = [sys.executable, "-m", "gateway", *name.split(" "), "-c", str(self.configuration), *arguments]
        return subprocess.run(
            command, input=typing, capture_output=True, text=True, timeout=PATIENCE_S, check=False, env=environment()
        )

    def printed(self, name: str, *arguments: str, typing: str = "") -> Any:
        """What a command that must succeed prints as JSON."""
        done = self.typed(name, *arguments, "--json", typing=typing)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
