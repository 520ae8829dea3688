"""The block `webhook`: who is told, with which secret, of what."""

from base64 import b64encode
from pathlib import Path
from typing import get_args

import pytest
from configuring import MINIMAL, loaded, problems, warnings

from gateway.audit.event import Action
from gateway.config.schema import AuditAction, Webhook

SECRET = "whsec_" + b64encode(bytes(range(32))).decode()
OLDER = "whsec_" + b64encode(bytes(range(32, 64))).decode()


def webhook(**keys: str) -> str:
    keys = {"url": "https://siem.example/hooks?of=gateway", "secret": SECRET} | keys
    return MINIMAL + "webhook:\n" + "".join(f"  {key}: {value}\n" for key, value in keys.items())


def block(folder: Path, text: str, **environ: str) -> Webhook:
    found = loaded(folder, text, **environ).config.webhook
    assert found is not None
    return found


def test_nobody_is_told_unless_it_is_written(tmp_path: Path) -> None:
    assert loaded(tmp_path, MINIMAL).config.webhook is None


def test_a_url_and_a_secret_are_enough(tmp_path: Path) -> None:
    found = block(tmp_path, webhook())
    assert (found.url, found.secret) == ("https://siem.example/hooks?of=gateway", (SECRET,))
    assert {"replay", "login-flood", "signature-failure"} < set(found.events)
    assert warnings(tmp_path, webhook()) == []


def test_events_are_actions_of_the_trail_and_every_action_can_be_one() -> None:
    assert get_args(AuditAction) == tuple(action.value for action in Action)


def test_two_secrets_while_one_is_exchanged(tmp_path: Path) -> None:
    assert block(tmp_path, webhook(secret=f"[{SECRET}, {OLDER}]")).secret == (SECRET, OLDER)


def test_address_and_secret_come_from_files_too(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("https://siem.example/token-in-the-path\n")
    (tmp_path / "secrets").write_text(f"{SECRET}\n{OLDER}\n")
    found = block(tmp_path, MINIMAL + "webhook: {url_file: url, secret_file: secrets}\n")
    assert found.url.endswith("/token-in-the-path")
    assert found.secret == (SECRET, OLDER)


def test_and_from_the_environment(tmp_path: Path) -> None:
    environ = {"GATEWAY_WEBHOOK__URL": "https://siem.example/", "GATEWAY_WEBHOOK__SECRET": SECRET}
    assert block(tmp_path, MINIMAL, **environ).secret == (SECRET,)


def test_neither_shows_in_what_is_printed(tmp_path: Path) -> None:
    shown = repr(loaded(tmp_path, webhook()).config)
    assert SECRET not in shown
    assert "siem.example" not in shown


@pytest.mark.parametrize(
    ("keys", "where", "what"),
    [
        ({"url": "siem.example/hooks"}, "url", "must be a URL that begins with https:// or http://"),
        ({"url": "ftp://siem.example/"}, "url", "must be a URL that begins with"),
        ({"url": "https://"}, "url", "must be a URL"),
        ({"url": "https://user:word@siem.example/"}, "url", "must not carry a user or password"),
        ({"url": "'https://siem.example/#here'"}, "url", "must end before '#'"),
        ({"secret": "hunter2"}, "secret", "must be whsec_ and 24 to 64 random bytes"),
        ({"secret": SECRET.removeprefix("whsec_")}, "secret", "must be whsec_"),
        ({"secret": "whsec_" + b64encode(bytes(23)).decode()}, "secret", "24 to 64"),
        ({"secret": "whsec_" + b64encode(bytes(65)).decode()}, "secret", "24 to 64"),
        ({"secret": "'whsec_!!!!'"}, "secret", "must be whsec_"),
        ({"secret": f"[{SECRET}, {SECRET}]"}, "secret", "lists the same secret twice"),
        ({"secret": f"[{SECRET}, {OLDER}, {SECRET}]"}, "secret", "may list at most 2"),
        ({"events": "[]"}, "events", ""),
        ({"events": "[replays]"}, "events.0", ""),
        ({"events": "[replay, replay]"}, "events", "lists replay twice"),
        ({"ca": "nowhere.pem"}, "ca", "there is no file"),
        ({"method": "PUT"}, "method", ""),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, keys: dict[str, str], where: str, what: str) -> None:
    told = problems(tmp_path, webhook(**keys))
    assert len(told) == 1
    assert f"webhook.{where}: " in told[0]
    assert what in told[0]
    assert "hunter2" not in told[0] and SECRET not in told[0]


def test_a_block_without_its_secret_is_refused(tmp_path: Path) -> None:
    (told,) = problems(tmp_path, MINIMAL + "webhook: {url: https://siem.example/}\n")
    assert "webhook.secret" in told


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        ({"url": "http://siem.example/"}, "webhook.url: is sent without TLS"),
        ({"secret": "whsec_" + b64encode(bytes(32)).decode()}, "webhook.secret: is long enough but easily guessed"),
        ({"url": "http://127.0.0.1:9000/", "ca": "ca.pem"}, "webhook.ca: has no effect"),
    ],
)
def test_what_is_probably_not_meant_is_warned_about(tmp_path: Path, keys: dict[str, str], what: str) -> None:
    (tmp_path / "ca.pem").touch()
    (told,) = warnings(tmp_path, webhook(**keys))
    assert what in told


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000/", "http://localhost/", "'http://[::1]/'"])
def test_a_receiver_on_this_machine_needs_no_tls(tmp_path: Path, url: str) -> None:
    assert warnings(tmp_path, webhook(url=url)) == []
