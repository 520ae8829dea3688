"""One random walk over real workers: people sign in, renew, are robbed, sign out and are revoked, while processes die.

    Walk(gateway, seed, graves).run()

`random.Random(seed)` chooses every step, the place of every fault and its moment; `outcome` says what each answer may be. A
broken promise raises `Broken`, with the seed and the steps so far. What a walk saw end goes to `graves`, which later
walks on the same gateway visit: a fault of theirs must not bring it back.

A browser that gave up waiting for a stopped worker is left alone until that worker goes on: what it had asked for may still
be done then, and a browser that had renewed twice in between would look like a thief's.
"""

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from attacks.wire_gateway import at_once
from identity.browser import PASSWORD, Browser, Reply, claims_of
from issuing import OMITTED, Signer
from live.running_gateway import ISSUER, eventually
from model.outcome import AWAY, PASSED, Fate, broken_promise, is_honest
from model.rough_gateway import RoughGateway
from patience import PATIENCE_S

STEPS = 12


class Broken(AssertionError):
    """A promise was broken."""


@dataclass(eq=False)
class Person:
    """Somebody with an account. `is_open`: an act on all of it got no answer, so nothing more is done with it."""

    email: str
    password: str = PASSWORD
    is_blocked: bool = False
    is_open: bool = False


@dataclass(eq=False)
class Guest:
    """A session in a browser, and older copies of its jar with their generation."""

    browser: Browser
    person: Person
    fate: Fate = Fate.ALIVE
    is_resting: bool = False
    copies: list[tuple[int, Browser]] = field(default_factory=list)

    @property
    def expected(self) -> Fate:
        return Fate.ENDED if self.person.is_blocked and self.fate is Fate.ALIVE else self.fate

    @property
    def is_usable(self) -> bool:
        return self.expected is Fate.ALIVE and not self.is_resting and not self.person.is_open


@dataclass(eq=False)
class Visitor:
    """A token of another issuer. `facts`: what refuses it, with the receipt's id; `open_facts`: what perhaps does."""

    token: str = field(repr=False)
    subjects: dict[str, str]
    facts: dict[str, str] = field(default_factory=dict)
    open_facts: set[str] = field(default_factory=set)
    owed_facts: set[str] = field(default_factory=set)

    @property
    def expected(self) -> Fate:
        if self.facts:
            return Fate.ENDED
        return Fate.OPEN if self.open_facts else Fate.OWED if self.owed_facts else Fate.ALIVE


@dataclass
class Graves:
    """What has ended, of all walks of one gateway, and what happened so far."""

    guests: list[Guest] = field(default_factory=list)
    visitors: list[Visitor] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


class Walk:
    """One walk. Per walk: `people`, `guests`, `visitors`, `steps`."""

    def __init__(self, gateway: RoughGateway, seed: int, graves: Graves, *, faults: int = 2) -> None:
        self._gateway = gateway
        self._seed = seed
        self._random = random.Random(seed)
        self._graves = graves
        self._faults = faults
        self._is_disturbed = False
        self._people: list[Person] = []
        self._guests: list[Guest] = []
        self._visitors: list[Visitor] = []
        self._steps: list[str] = []
        self._key: Signer = gateway.spare_keys.pop()
        self._number = 0

    def run(self) -> None:
        self._begin()
        choose = self._random
        disturbed = set(choose.sample(range(1, STEPS), self._faults))
        acts: list[tuple[int, Callable[[], None]]] = [
            (3, self._visit), (3, self._look), (4, self._renew), (2, self._renew_in_many_tabs), (2, self._lose_an_answer),
            (2, self._be_robbed), (2, self._sign_out), (1, self._sign_out_everywhere), (2, self._change_password),
            (1, self._block_or_not), (2, self._revoke_session), (1, self._revoke_person), (4, self._revoke_visitor),
            (2, self._undo), (3, self._sign_in),
        ]  # fmt: skip
        weights, doings = [weight for weight, _ in acts], [act for _, act in acts]
        for number in range(STEPS):
            act = choose.choices(doings, weights)[0]
            if number in disturbed:
                self._disturb(act)
            else:
                self._note(act.__name__)
                act()
            if self._random.random() < 0.5:
                self._check_one()
        self._settle()
        self._bury()

    # What people and operators do.

    def _begin(self) -> None:
        for _ in range(2):
            person = Person(f"walker-{self._seed}-{len(self._people)}@example.com")
            reply = eventually(partial(self._registered, person))
            assert reply in (201, 409)
            self._people.append(person)
            self._sign_in(person)
        for name in ("x", "y", "z"):
            subjects = {
                "user": f"idp-{self._seed}-{'xy' if name in 'xy' else name}",
                "session": f"sid-{self._seed}-{name}",
                "token_id": f"jti-{self._seed}-{name}",
                "key": self._key.kid or "",
            }
            now = int(time.time())
            token = self._gateway.gateway.token(
                signer=self._key if name == "z" else self._gateway.gateway.signers[0],
                sub=subjects["user"], sid=subjects["session"], jti=subjects["token_id"], iat=now - 5, exp=now + 3500,
                groups=OMITTED,
            )  # fmt: skip
            if name != "z":
                del subjects["key"]
            subjects["user"] = f"idp|{subjects['user']}"
            visitor = Visitor(token, subjects)
            eventually(partial(self._is_served, visitor))
            self._visitors.append(visitor)

    def _is_served(self, visitor: Visitor) -> bool:
        return self._gateway.show(visitor.token).status == 200

    def _registered(self, person: Person) -> int:
        return {201: 201, 409: 409}.get(Browser(self._gateway).register(person.email, person.password).status, 0)

    def _sign_in(self, person: Person | None = None) -> None:
        person = person or self._random.choice(self._people)
        if person.is_open or person.is_blocked or sum(guest.person is person for guest in self._guests) > 7:
            return
        browser = Browser(self._gateway, email=person.email)
        reply = browser.post("/auth/login", {"email": person.email, "password": person.password})
        if reply.status == 200:
            self._guests.append(Guest(browser, person))
        elif reply.status not in (0, 503):
            self._fail(f"{person.email} could not sign in: {reply.told}")

    def _visit(self) -> None:
        visitor = self._random.choice(self._visitors)
        self._judge(visitor.expected, self._gateway.show(visitor.token).told, visitor)

    def _look(self) -> None:
        if guest := self._any_guest():
            self._ask(guest)

    def _renew(self) -> None:
        """The access token has run out; the answer brings new cookies."""
        if guest := self._any_guest():
            if self._random.random() < 0.7:
                guest.copies.append((self._generation(guest), guest.browser.stolen()))
            self._ask(guest, without=("access",))

    def _renew_in_many_tabs(self) -> None:
        if not (guest := self._any_guest()):
            return
        replies = at_once(5, lambda number: guest.browser.get(f"/who?{number}", without=("access",), is_kept=False))
        for reply in replies:
            self._judge_reply(guest, reply)
        given = {claims_of(reply.cookies["refresh"])["jti"] for reply in replies if reply.cookies.get("refresh")}
        if len(given) > 1:
            self._fail("tabs that renewed at once got different successors")
        self._keep(guest, next((reply for reply in replies if reply.cookies), replies[0]))

    def _lose_an_answer(self) -> None:
        if guest := self._any_guest():
            self._judge_reply(guest, guest.browser.get("/who", without=("access",), is_kept=False))

    def _be_robbed(self) -> None:
        """A refresh token of two generations ago is shown: reuse, and the family ends. A thief's is never let in."""
        if not (guest := self._any_guest()):
            return
        old = [copy for generation, copy in guest.copies if generation <= self._generation(guest) - 2]
        if not old:
            return
        reply = self._random.choice(old).get("/who", without=("access",), is_kept=False)
        if reply.told == "401 refresh-reused":
            guest.fate = Fate.OWED
        elif reply.told.partition(" ")[0] in AWAY:
            guest.fate = Fate.OPEN
        else:
            self._fail(f"a stolen refresh token was told {reply.told}")

    def _sign_out(self) -> None:
        if guest := self._any_guest():
            reply = guest.browser.post("/auth/logout", is_kept=False)
            self._ended([guest], reply)

    def _sign_out_everywhere(self) -> None:
        if guest := self._any_guest():
            reply = guest.browser.post("/auth/logout-all", is_kept=False)
            self._ended(self._of(guest.person), reply)
            guest.person.is_open = reply.status != 204

    def _change_password(self) -> None:
        if not (guest := self._any_guest()):
            return
        before, person = guest.browser.stolen(), guest.person
        self._number += 1
        new = f"another good phrase {self._number}"
        reply = guest.browser.post("/auth/password", {"current": person.password, "new": new})
        if reply.status == 204:
            person.password = new
            for other in self._of(person):
                other.fate = Fate.ALIVE if other is guest else Fate.ENDED
            guest.copies.clear()
            self._guests.append(Guest(before, person, Fate.ENDED))
        else:
            self._ended(self._of(person), reply)
            person.is_open = True

    def _block_or_not(self) -> None:
        person = self._random.choice(self._people)
        if person.is_open:
            return
        method = "DELETE" if person.is_blocked else "POST"
        is_done = self._receipt(*self._gateway.admin(method, f"/v1/users/{person.email}/block"))
        if is_done:
            person.is_blocked = not person.is_blocked
        else:
            person.is_open, person.is_blocked = True, False
            for guest in self._of(person):
                guest.fate = Fate.ENDED if guest.fate is Fate.ENDED else Fate.OPEN

    def _revoke_session(self) -> None:
        if not (guest := self._any_guest()):
            return
        claims = guest.browser.claims("refresh")
        subject = self._random.choice([{"session": claims["sid"]}, {"token_id": claims["jti"]}])
        is_done = self._receipt(*self._gateway.admin("POST", "/v1/revocations", json=subject))
        guest.fate = Fate.ENDED if is_done else Fate.OPEN if is_done is None else Fate.OWED

    def _revoke_person(self) -> None:
        person = self._random.choice(self._people)
        if person.is_open:
            return
        status, receipt = self._random.choice(
            [
                lambda: self._gateway.admin("POST", "/v1/revocations", json={"user": person.email}),
                lambda: self._gateway.admin("DELETE", f"/v1/users/{person.email}/sessions"),
            ]
        )()
        is_done = self._receipt(status, receipt)
        person.is_open = not is_done
        for guest in self._of(person):
            if guest.fate is not Fate.ENDED:
                guest.fate = Fate.ENDED if is_done else Fate.OPEN if is_done is None else Fate.OWED

    def _revoke_visitor(self) -> None:
        visitor = self._random.choice(self._visitors)
        kind = self._random.choice(sorted(visitor.subjects))
        name = visitor.subjects[kind]
        if any(kind in (*one.facts, *one.open_facts, *one.owed_facts) for one in self._sharing(kind, name)):
            return
        subject = {kind: name, "issuer": ISSUER}
        status, receipt = self._gateway.admin("POST", "/v1/revocations", json=subject)
        is_done = self._receipt(status, receipt)
        for one in self._sharing(kind, name):
            if is_done:
                one.facts[kind] = receipt["id"]
            else:
                (one.open_facts if is_done is None else one.owed_facts).add(kind)

    def _undo(self) -> None:
        revoked = [visitor for visitor in self._visitors if visitor.facts]
        if not revoked:
            return
        visitor = self._random.choice(revoked)
        kind, number = self._random.choice(sorted(visitor.facts.items()))
        is_done = self._receipt(*self._gateway.admin("DELETE", f"/v1/revocations/{number}"))
        for one in self._sharing(kind, visitor.subjects[kind]):
            del one.facts[kind]
            if not is_done:
                one.open_facts.add(kind)

    # What fails.

    def _disturb(self, act: Callable[[], None]) -> None:
        """A fault at a random moment of an act, or just before it."""
        place = self._random.randrange(2)
        name, fault = self._random.choices(
            [
                ("kill a worker", lambda: self._gateway.kill_worker(place)),
                ("stop a worker", lambda: self._gateway.stop_worker(place)),
                ("wake the workers", self._gateway.wake),
                ("kill the store", self._gateway.kill_store),
                ("kill everything", lambda: self._gateway.restart(signal.SIGKILL)),
                ("restart", lambda: self._gateway.restart(signal.SIGTERM)),
            ],
            [6, 3, 1, 4, 1, 1],
        )[0]
        delay_s = self._random.choice([0.0, self._random.uniform(0.0, 0.004), self._random.uniform(0.0, 0.05)])
        self._note(f"{name} {delay_s * 1e3:.1f} ms into {act.__name__}")
        self._graves.counts[name] += 1
        self._is_disturbed = True
        errors: list[BaseException] = []

        def later() -> None:
            time.sleep(delay_s)
            try:
                fault()
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=later)
        thread.start()
        try:
            act()
        finally:
            thread.join(PATIENCE_S)
        if errors:
            raise errors[0]

    def _settle(self) -> None:
        """Everything works again; then each promise is looked at on every worker."""
        self._note("settle")
        gateway = self._gateway
        gateway.wake()
        eventually(gateway.gateway.is_ready)
        for visitor in self._visitors:
            self._settled(visitor.expected, lambda visitor=visitor: gateway.show(visitor.token).told, visitor)  # type: ignore[misc]
        for guest in self._guests:
            guest.is_resting = False
            self._settled(guest.expected, lambda guest=guest: self._shown(guest), guest)  # type: ignore[misc]
            if guest.expected in (Fate.ENDED, Fate.OWED):
                self._settled(guest.expected, lambda guest=guest: self._shown(guest, without=("access",)), guest)  # type: ignore[misc]
        for grave in self._random.sample(self._graves.guests, min(2, len(self._graves.guests))):
            self._settled(Fate.ENDED, lambda grave=grave: self._shown(grave, without=("access",)), grave)  # type: ignore[misc]
        for old in self._random.sample(self._graves.visitors, min(2, len(self._graves.visitors))):
            self._settled(Fate.ENDED, lambda old=old: gateway.show(old.token).told, old)  # type: ignore[misc]
        self._is_disturbed = False

    def _settled(self, fate: Fate, ask: Callable[[], str], whose: object) -> None:
        """What is said once everything works: let in, or refused, and by every connection the same."""
        deadline = time.monotonic() + PATIENCE_S
        told: list[str] = []
        while len(told) < 4:
            answer = ask()
            is_late = time.monotonic() > deadline
            if not is_late and answer.partition(" ")[0] in AWAY:
                told.clear()
                self._judge(fate, answer, whose)
            elif not is_late and fate in (Fate.OWED, Fate.OPEN) and told and answer[:3] != told[0][:3]:
                told[:] = [answer]
            elif not is_late and fate is Fate.OWED and answer.startswith(PASSED):
                told.clear()
            else:
                self._judge(fate, answer, whose, is_settled=True)
                told.append(answer)

    def _bury(self) -> None:
        self._graves.guests += [guest for guest in self._guests if guest.fate is Fate.ENDED]
        self._graves.visitors += [visitor for visitor in self._visitors if visitor.expected is Fate.ENDED]
        self._graves.counts["walks"] += 1
        self._graves.counts["faults that met nobody"] += self._gateway.missed
        self._gateway.missed = 0
        self._graves.counts["sessions"] += len(self._guests)

    # How answers are judged.

    def _any_guest(self) -> Guest | None:
        usable = [guest for guest in self._guests if guest.is_usable]
        return self._random.choice(usable) if usable else None

    def _of(self, person: Person) -> list[Guest]:
        return [guest for guest in self._guests if guest.person is person]

    def _sharing(self, kind: str, name: str) -> list[Visitor]:
        return [visitor for visitor in self._visitors if visitor.subjects.get(kind) == name]

    def _generation(self, guest: Guest) -> int:
        return int(guest.browser.claims("refresh")["gen"])

    def _check_one(self) -> None:
        """Somebody, alive or not, shows what he has."""
        if ended := [guest for guest in self._guests if guest.expected is Fate.ENDED]:
            guest = self._random.choice(ended)
            for without in ((), ("access",)):
                self._judge(Fate.ENDED, self._shown(guest, without=without), guest)
        self._visit()

    def _shown(self, guest: Guest, **options: Any) -> str:
        reply = guest.browser.get("/who", is_kept=False, **options)
        if guest.expected is Fate.ALIVE:
            self._keep(guest, reply)
        return reply.told

    def _ask(self, guest: Guest, **options: Any) -> None:
        reply = guest.browser.get("/who", is_kept=False, **options)
        self._judge_reply(guest, reply)
        self._keep(guest, reply)

    def _keep(self, guest: Guest, reply: Reply) -> None:
        guest.browser.keep(reply)
        if guest.expected is Fate.ALIVE and "refresh" not in guest.browser.cookies:
            self._fail("the cookies of a session that nobody ended were taken away")

    def _judge_reply(self, guest: Guest, reply: Reply) -> None:
        if reply.answer.body == b"gave up":
            guest.is_resting = True
        self._judge(guest.expected, reply.told, guest)

    def _judge(self, fate: Fate, told: str, whose: object, *, is_settled: bool = False) -> None:
        self._graves.counts["answers"] += 1
        if fate is Fate.ALIVE and told.partition(" ")[0] in AWAY and not self._is_disturbed:
            self._graves.counts["unavailable without a fault"] += 1
        if wrong := broken_promise(fate, told, is_settled=is_settled):
            self._fail(f"{wrong}: {told!r}, {fate}, {whose!r:.600}")

    def _ended(self, guests: list[Guest], reply: Reply) -> None:
        """After a logout of some kind: 204 ends them, 503 promises it, no answer says nothing; a refusal is a lie."""
        if reply.status in (401, 403):
            self._fail(f"somebody who is signed in was told {reply.told}")
        fate = {204: Fate.ENDED}.get(reply.status, Fate.OPEN)
        for guest in guests:
            if guest.fate is not Fate.ENDED:
                guest.fate = fate

    def _receipt(self, status: int, receipt: dict[str, Any]) -> bool | None:
        """Whether it is enforced; False: it will be; None: nobody knows."""
        if status in (0, 503):
            return None
        if status not in (200, 201, 202) or not is_honest(receipt):
            self._fail(f"a receipt that cannot be: {status} {receipt}")
        if receipt["complete"] is not (status != 202):
            self._fail(f"status {status} of {receipt}")
        self._graves.counts["receipts"] += 1
        self._graves.counts["fenced"] += receipt["fenced"]
        return status != 202

    def _note(self, step: str) -> None:
        self._steps.append(step.strip("_").replace("_", " "))

    def _fail(self, what: str) -> None:
        steps = "\n  ".join(self._steps)
        raise Broken(f"{what}\nseed {self._seed}, the steps so far:\n  {steps}")
