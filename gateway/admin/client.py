"""The admin API from the command line's side: address and token come from the same configuration as the server's.

Owns one blocking request over `http.client`. No aiohttp here: a command should have answered before that is imported. It
does not interpret the answers, and it never follows a redirect, so the token goes nowhere else.
"""

import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any, Final

from gateway.config.address import Address
from gateway.errors import GatewayError

_LARGEST_ANSWER: Final = 64 << 20
_WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - replaced, not bound


class AdminUnreachable(GatewayError):
    """The gateway's admin listener does not answer. Whether it did what was asked is not known."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body as they came."""

    status: int
    body: str

    def data(self) -> dict[str, Any]:
        """The body as a JSON object; empty when it is not one."""
        try:
            parsed = json.loads(self.body)
        except ValueError:
            return {}
        return parsed if isinstance(parsed, dict) else {}

    def explanation(self) -> str:
        """What a refusal says, for people: title, detail and fields of a problem+json, else the status."""
        problem = self.data()
        said = [str(problem[name]) for name in ("title", "detail") if problem.get(name)]
        fields = problem.get("errors")
        if isinstance(fields, dict):
            said += [f"{name} {wrong}" if str(wrong)[:1].islower() else str(wrong) for name, wrong in fields.items()]
        text = f"{self.status}: {'; '.join(said)}" if said else f"status {self.status}"
        return "".join(character if character.isprintable() else "?" for character in text)


@dataclass(frozen=True, slots=True)
class AdminClient:
    """Speaks to one gateway. `timeout_s` covers each wait; a receipt may take the server 5 s, and some acts need two."""

    address: Address
    token: str
    timeout_s: float = 15.0

    def request(self, method: str, target: str, body: dict[str, Any] | None = None) -> Answer:
        """One request with the admin token. Raises AdminUnreachable."""
        headers = {"Authorization": f"Bearer {self.token}", "Connection": "close"}
        encoded = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            encoded = json.dumps(body).encode()
        connection = _connection(self.address, self.timeout_s)
        try:
            connection.request(method, target, body=encoded, headers=headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(_LARGEST_ANSWER).decode("utf-8", "replace"))
        except TimeoutError:
            raise AdminUnreachable(f"no answer from the admin listener at {self.address} in {self.timeout_s:g} s") from None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            what = f"nobody answers at the admin listener {self.address} ({reason})"
            raise AdminUnreachable(f"{what}; is the gateway running, and with this configuration?") from None
        except http.client.HTTPException as error:
            raise AdminUnreachable(f"no HTTP at the admin listener {self.address} ({type(error).__name__})") from None
        finally:
            connection.close()


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket; the `Host` is a loopback name, which the server always allows."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _connection(address: Address, timeout_s: float) -> http.client.HTTPConnection:
    if address.path is not None:
        return _UnixConnection(address.path, timeout_s)
    if not address.port:
        raise AdminUnreachable("admin.listen has port 0, so nobody but the running gateway knows its port")
    host = str(address.host)
    return http.client.HTTPConnection(_WILDCARDS.get(host, host), address.port, timeout=timeout_s)
