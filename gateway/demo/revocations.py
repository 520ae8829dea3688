"""The second act, played by itself: tokens of another issuer, let through, revoked in each of the four ways, refused, undone.

Revocations go over the admin API, one is lifted by the command; both are what an operator has.
"""

import json
import re
import time
from collections import Counter
from typing import Any, Final

from gateway.demo import issuer as idp
from gateway.demo.commands import type_line
from gateway.demo.configuration import WORKERS
from gateway.demo.stage import Stage
from gateway.demo.talk import Answer, Lines, Stream, ask, bearer
from gateway.demo.tally import Tally

# So many new connections reach both workers but once in 2^15 times, and every one of them is refused all the same.
CONNECTIONS: Final = 16
COUNTED_WITHIN_S: Final = 3.0
LOGGED_WITHIN_S: Final = 3.0
_PAUSE_S: Final = 0.05
_AT_ONCE_MS: Final = 10.0

# What a backend might take for X-User: CGI and WSGI read all of these as HTTP_X_USER, others trust the neighbours.
SPOOFS: Final = ("X-User", "x-user", "X_User", "X-USER_", "X.User", "X-Forwarded-User", "Remote-User", "X-User-Groups")


def play(stage: Stage, tally: Tally) -> None:
    """The whole of it."""
    story = _Revocations(stage, tally)
    for scene in (story.let_through, story.token, story.session, story.user, story.key, story.who_tried):
        try:
            scene()
        except OSError as error:  # then the rest of the scene makes no sense
            tally.judge(False, "nobody answers", str(error))


class _Revocations:
    """Per process."""

    def __init__(self, stage: Stage, tally: Tally) -> None:
        self._stage = stage
        self._tally = tally

    def let_through(self) -> None:
        self._tally.scene("let through")
        stage = self._stage
        direct = ask(stage.legacy, "/", [("X-User", "root")])
        self._expect("straight to the application, X-User: root", direct, 200, "Hello root")
        self._expect("GET /", ask(stage.listen, "/"), 401, "no-token")
        self._expect("GET /about   a public route", ask(stage.listen, "/about"), 200, "A legacy application. It reads X-User.")
        self._get("alice-phone", 200, "Hello alice")
        self._get("bob", 200, "Hello bob", ("X-User", "root"))
        seen = ask(stage.listen, "/headers", [bearer(stage.tokens["bob"]), *((name, "root") for name in SPOOFS)]).text
        arrived = [line for line in seen.splitlines() if re.match(r"(x[-_.]user|x.session|remote|x.forwarded.user)", line, re.I)]
        is_clean = "root" not in seen and arrived == ["X-User: bob", "X-Session-Id: desktop"]
        self._judge(is_clean, f"GET /headers   bob, {len(SPOOFS)} spellings of X-User: root", f"arrived: {', '.join(arrived)}")

    def token(self) -> None:
        self._tally.scene("revoke a token: the phone was left on a train")
        receipt = self._revoke(token_id=idp.token_id(self._stage.tokens["alice-phone"]), issuer=idp.NAME)
        self._everywhere("alice-phone", "revoked-token")
        self._get("alice-laptop", 200, "Hello alice")
        self._tally.scene("undo: it was in the other bag")
        self._undo(receipt)
        self._get("alice-phone", 200, "Hello alice")
        self._tally.scene("revoke it again: it was not")
        self._revoke(token_id=idp.token_id(self._stage.tokens["alice-phone"]), issuer=idp.NAME)
        self._everywhere("alice-phone", "revoked-token")

    def session(self) -> None:
        self._tally.scene("revoke a session: what is open ends with it")
        stage = self._stage
        with Stream(stage.listen, "/ticks", [bearer(stage.tokens["alice-laptop"])]) as stream:
            events = stream.read_events(3)
            self._judge(stream.status == 200 and events == 3, "GET /ticks   alice-laptop, an event stream", f"{events} events")
            self._revoke(session="laptop")
            answered_at = time.monotonic()
            is_cut = stream.wait_for_cut()
            after_ms = (time.monotonic() - answered_at) * 1000
            told = "cut when the receipt came" if after_ms < _AT_ONCE_MS else f"cut {after_ms:.0f} ms after the receipt"
            self._judge(is_cut, "the same stream", told if is_cut else "not cut")
        self._everywhere("alice-laptop", "revoked-session")
        later = ask(stage.listen, "/", [bearer(stage.issuer.token("alice", "laptop"))])
        self._expect("GET /   a token issued to that session later", later, 401, "revoked-session")

    def user(self) -> None:
        self._tally.scene("revoke a user: whatever bob has been given until now")
        self._revoke(user="bob")
        second = int(time.time())
        self._everywhere("bob", "old-version")
        while int(time.time()) == second:  # `iat` counts whole seconds, and this one is revoked
            time.sleep(_PAUSE_S)
        again = ask(self._stage.listen, "/", [bearer(self._stage.issuer.token("bob", "desktop"))])
        self._expect("GET /   bob has signed in again", again, 200, "Hello bob")

    def key(self) -> None:
        self._tally.scene("revoke a key: somebody who has it can be anybody")
        self._get("thief", 200, "Hello root")
        self._revoke(key=idp.LEAKED_KEY)
        self._everywhere("thief", "retired-key")
        another = ask(self._stage.listen, "/", [bearer(self._stage.issuer.token("carol", "desk"))])
        self._expect("GET /   carol, another key", another, 200, "Hello carol")

    def who_tried(self) -> None:
        self._tally.scene("who tried")
        uses = self._uses_counted()
        for kind in ("token", "session", "version", "key"):
            self._judge(uses[kind] >= CONNECTIONS, f'gateway_revoked_use_total{{kind="{kind}"}}', f"{uses[kind]:.0f}")
        line = self._security_line(f"jti={idp.token_id(self._stage.tokens['alice-phone'])}")
        self._judge(line != "", "the gateway's log", line.partition(" route=")[0])
        is_silent = not any(token.rpartition(".")[2] in self._stage.log.read_text() for token in self._stage.tokens.values())
        self._judge(is_silent, "tokens in the log", "none" if is_silent else "some")

    def _get(self, holder: str, status: int, word: str, *lines: tuple[str, str]) -> None:
        said = "".join(f", {name}: {value}" for name, value in lines)
        answer = ask(self._stage.listen, "/", [bearer(self._stage.tokens[holder]), *lines])
        self._expect(f"GET /   {holder}{said}", answer, status, word)

    def _everywhere(self, holder: str, reason: str) -> None:
        """Refused on every one of many connections, and so by every worker."""
        lines: Lines = [bearer(self._stage.tokens[holder])]
        answers = Counter(str(ask(self._stage.listen, "/", lines)) for _ in range(CONNECTIONS))
        told = ", ".join(f"{answer} × {number}" for answer, number in answers.items())
        self._judge(answers == {f"401 {reason}": CONNECTIONS}, f"GET /   {holder}, {CONNECTIONS} new connections", told)

    def _revoke(self, **subject: str) -> dict[str, Any]:
        """Revoke over the admin API. The receipt."""
        admin = [("Authorization", f"Bearer {self._stage.admin_token}")]
        answer = ask(self._stage.admin, "/v1/revocations", admin, method="POST", body=subject)
        receipt: dict[str, Any] = answer.data() if answer.status in (201, 202) else {}
        self._judge_receipt(f"POST /v1/revocations {_shown(subject)}", answer.status == 201, receipt, str(answer))
        return receipt

    def _undo(self, receipt: dict[str, Any]) -> None:
        """Lift a revocation by the command."""
        code, output = type_line(self._stage, f"gateway revoke --undo {receipt.get('id')} --json")
        lifted = json.loads(output) if code == 0 else {}
        self._judge_receipt(f"gateway revoke --undo {str(receipt.get('id'))[:8]}…", code == 0, lifted, output)

    def _judge_receipt(self, sent: str, is_accepted: bool, receipt: dict[str, Any], otherwise: str) -> None:
        is_good = (
            is_accepted
            and receipt.get("complete") is True
            and receipt.get("durable") is True
            and receipt.get("enforced_by") == receipt.get("workers") == WORKERS
        )
        told = otherwise.strip()
        if receipt:
            durable = "on disk" if receipt["durable"] else "not durable"
            told = f"enforced by {receipt['enforced_by']} of {receipt['workers']}, {durable}, {receipt['took_ms']:.1f} ms"
        self._judge(is_good, sent, told)

    def _uses_counted(self) -> Counter[str]:
        """Uses of what was revoked, by kind; a worker's counts take a moment to be seen."""
        deadline = time.monotonic() + COUNTED_WITHIN_S
        while True:
            uses: Counter[str] = Counter()
            for kind, value in re.findall(
                r'gateway_revoked_use_total\{.*?kind="(\w+)".*?\} (\S+)', ask(self._stage.admin, "/metrics").text
            ):
                uses[kind] += int(float(value))
            if len([number for number in uses.values() if number]) >= 4 or time.monotonic() > deadline:
                return uses
            time.sleep(_PAUSE_S)

    def _security_line(self, words: str) -> str:
        """The message of the first line about a revoked token that holds the words; lines are written 20 times a second."""
        deadline = time.monotonic() + LOGGED_WITHIN_S
        while time.monotonic() < deadline:
            for line in self._stage.log.read_text(errors="replace").splitlines():
                if "Token revoked rejected" in line and words in line:
                    return str(json.loads(line)["message"])
            time.sleep(_PAUSE_S)
        return ""

    def _expect(self, sent: str, answer: Answer, status: int, word: str) -> None:
        self._judge((answer.status, answer.reason or answer.text.strip()) == (status, word), sent, str(answer))

    def _judge(self, is_good: bool, sent: str, answered: str) -> None:
        self._tally.judge(is_good, sent, answered)


def _shown(subject: dict[str, str]) -> str:
    """A body as it is sent, without what is the same in each."""
    return json.dumps({name: value for name, value in subject.items() if name != "issuer"})
