"""The application's log and the security lines."""

import json
import logging
from collections.abc import Iterator

import pytest

from gateway.telemetry.log import BURST_LINES, LINES_PER_SECOND, LOGGER_NAME, SecurityLog, configure

REPLAY = {"reason": "revoked-token", "age": "replay", "route": "app", "client": "192.0.2.7", "request_id": "r-1"}


class Collected(list[bytes]):
    """A writer that keeps its lines."""

    def write(self, line: bytes) -> None:
        self.append(line)

    def messages(self) -> list[str]:
        return [json.loads(line)["message"] for line in self]


@pytest.fixture
def lines() -> Iterator[Collected]:
    kept = {name: (logging.getLogger(name).handlers[:], logging.getLogger(name).level) for name in ("", LOGGER_NAME)}
    lines = Collected()
    configure("info", "json", "worker 0", lines)
    yield lines
    for name, (handlers, level) in kept.items():
        logging.getLogger(name).handlers[:] = handlers
        logging.getLogger(name).setLevel(level)
    logging.getLogger(LOGGER_NAME).propagate = True


def test_a_record_is_one_json_line(lines: Collected):
    logging.getLogger("gateway.supervisor").info("Worker %d started", 3)
    told = json.loads(lines[0])
    assert told.pop("time").endswith("Z")
    assert told == {
        "level": "info", "logger": "gateway.supervisor", "process": "worker 0", "message": "Worker 3 started",
    }  # fmt: skip


def test_the_level_is_obeyed_and_other_libraries_are_heard_from_warning_on(lines: Collected):
    logging.getLogger("gateway").debug("no")
    logging.getLogger("redis").info("no")
    logging.getLogger("redis").warning("yes")
    assert lines.messages() == ["yes"]


def test_O05_the_admin_servers_tracebacks_are_silenced(lines: Collected):
    logging.getLogger("aiohttp.server").error("Error handling request from %s", "192.0.2.7", exc_info=ValueError("bytes"))
    assert lines == []


@pytest.mark.parametrize("style", ["json", "text"])
def test_O03_a_message_cannot_leave_its_line(lines: Collected, style: str):
    configure("info", style, "supervisor", lines)
    try:
        raise ValueError("a\nb\x1b[31m\u202e")
    except ValueError:
        logging.getLogger("gateway").exception("broken\r\n\x1b[2Jtext\x9b")
    assert len(lines) == 1
    assert lines[0].count(b"\n") == 1
    assert lines[0].isascii()
    assert b"\x1b" not in lines[0]
    assert b"ValueError" in lines[0]


def test_an_old_version_is_told_in_the_words_of_the_sources(lines: Collected):
    security = SecurityLog(lambda: 0.0)
    security.revoked_token(**REPLAY | {"reason": "old-version"}, user="alice", version=1, expected_version=2)
    assert lines.messages() == [
        "Token revoked rejected sub=alice tokenVersion=1 (expected 2) "
        "reason=old-version age=replay route=app client=192.0.2.7 request_id=r-1"
    ]


def test_a_revoked_token_names_what_was_revoked(lines: Collected):
    SecurityLog(lambda: 0.0).revoked_token(**REPLAY, user="alice", token_id="t-1", session="s-1")
    assert lines.messages()[0].startswith("Token revoked rejected sub=alice jti=t-1 sid=s-1 reason=revoked-token age=replay ")


def test_a_signature_mismatch_and_a_late_refresh_have_their_lines(lines: Collected):
    security = SecurityLog(lambda: 0.0)
    security.bad_signature(
        reason="bad-signature",
        issuer="https://idp.example",
        key_id="k1",
        keys="rotated",
        route="app",
        client="::1",
        request_id="r",
    )
    security.refresh_after_revocation(user="alice", session="s", reason="revoked-session", client="::1", request_id="r")
    assert lines.messages() == [
        "Token signature mismatch iss=https://idp.example kid=k1 reason=bad-signature keys=rotated route=app client=::1"
        " request_id=r",
        "Refresh after revocation rejected sub=alice sid=s reason=revoked-session client=::1 request_id=r",
    ]


def test_another_client_and_a_flood_of_logins_have_their_lines(lines: Collected):
    security = SecurityLog(lambda: 0.0)
    security.another_client(
        user="alice", session="s", signal="device", action="deny", device="Firefox|Linux|desktop", client="::1"
    )
    security.another_client(user="alice", session=None, signal="network", action="alert", device="", client="::1")
    flood = {"count": 100, "window_s": 600, "network": "192.0.2.0/24", "request_id": "r"}
    security.login_flood(by="account", user="alice@example.com", **flood)
    security.login_flood(by="network", user=None, **flood)
    assert lines.messages() == [
        "Session used by another client sub=alice sid=s signal=device action=deny device=Firefox|Linux|desktop client=::1",
        "Session used by another client sub=alice signal=network action=alert client=::1",
        "Failed logins by the hundred by=account user=alice@example.com count=100 window=600s client_network=192.0.2.0/24"
        " request_id=r",
        "Failed logins by the hundred by=network count=100 window=600s client_network=192.0.2.0/24 request_id=r",
    ]


def test_an_operators_revocation_has_its_line(lines: Collected):
    SecurityLog(lambda: 0.0).revocation(kind="user", subject="alice", by="admin token 2", receipt="r-1", is_complete=True)
    assert lines.messages() == ['Revocation accepted kind=user subject=alice id=r-1 complete=true by="admin token 2"']


@pytest.mark.parametrize("hostile", ["alice age=tail", 'a"b', "a\nb", "\u202e", "x" * 10_000, ""])
def test_O03_a_user_name_cannot_pass_for_fields(lines: Collected, hostile: str):
    SecurityLog(lambda: 0.0).revoked_token(**REPLAY, user=hostile)
    message = lines.messages()[0]
    assert message.split(" age=")[-1].startswith("replay ")
    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 2000


def test_strangers_cannot_fill_the_log_and_what_was_left_out_is_told(lines: Collected):
    now = 0.0
    security = SecurityLog(lambda: now)
    for _ in range(int(BURST_LINES) + 50):
        security.revoked_token(**REPLAY, user="alice")
    assert len(lines) == BURST_LINES
    now += 1.0 / LINES_PER_SECOND
    security.revoked_token(**REPLAY, user="alice")
    assert lines.messages()[-1].endswith(" suppressed=50")


def test_one_kind_of_line_does_not_silence_another(lines: Collected):
    security = SecurityLog(lambda: 0.0)
    for _ in range(int(BURST_LINES) * 2):
        security.bad_signature(
            reason="unknown-key", issuer=None, key_id=None, keys="settled", route="app", client="::1", request_id="r"
        )
    security.revoked_token(**REPLAY, user="alice")
    assert lines.messages()[-1].startswith("Token revoked rejected")
