"""A gateway with a configuration that operators copy, started as it is: in a folder of its own, by its command."""

import json
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from live.running_gateway import environment, eventually
from patience import PATIENCE_S

EMAIL, PASSWORD = "alice@example.com", "correct horse battery"
COMMAND = (sys.executable, "-m", "gateway")


@dataclass
class PackedGateway:
    """`configuration` and `folder` are its file and its working directory, `admin` the address of its admin port."""

    configuration: Path
    admin: str
    command: tuple[str, ...] = (*COMMAND, "run")
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.configuration.parent

    @property
    def log(self) -> str:
        return (self.folder / "messages.log").read_text()

    def start(self) -> "PackedGateway":
        """Start it and wait until it is ready."""
        with (self.folder / "access.log").open("ab") as access, (self.folder / "messages.log").open("ab") as messages:
            self._process = subprocess.Popen(
                self._named(*self.command),
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=access,
                stderr=messages,
            )
        eventually(self._is_ready)
        return self

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(PATIENCE_S)
        finally:
            self._process.kill()

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it, if it runs."""
        self._process.kill()
        self._process.wait()

    def say(self, *arguments: str, typed: str = "") -> "subprocess.CompletedProcess[str]":
        """One of its commands, as root would give it."""
        command = self._named(*COMMAND, *arguments)
        return subprocess.run(
            command,
            input=typed,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            env=self._environment(),
        )

    def revoke(self, *arguments: str) -> dict[str, Any]:
        """The receipt."""
        done = self.say("revoke", "--json", *arguments)
        assert done.returncode == 0, done.stderr
        receipt: dict[str, Any] = json.loads(done.stdout)
        return receipt

    def sign_in(self, client: httpx.Client) -> dict[str, str]:
        """Make Alice's account, sign in at the client's address; the header with the cookies."""
        added = self.say("users", "add", EMAIL, typed=f"{PASSWORD}\n")
        assert added.returncode == 0, added.stderr
        answer = client.post("/auth/login", json={"email": EMAIL, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        return {"Cookie": "; ".join(line.partition(";")[0] for line in answer.headers.get_list("set-cookie"))}

    def _named(self, *command: str) -> list[str]:
        """With the configuration, unless the command names it."""
        return [*command] if "-c" in command[2:] else [*command, "-c", str(self.configuration)]

    def _environment(self) -> dict[str, str]:
        return environment() | self.variables

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self.log[-3000:]
        try:
            return httpx.get(f"http://{self.admin}/readyz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False
