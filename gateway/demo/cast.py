"""Who plays: Alice at home, Bob at work, a thief on a train; what each can do, and what the thief has copied so far.

Every method is something that a person does with a browser, and answers with the exchange by which it is judged. Owns the
browsers, Alice's password and the loot. What they get is the gateway's business.
"""

from typing import Final, NamedTuple

from gateway.demo.browser import CHROME, FIREFOX, Browser, Exchange, Kind
from gateway.demo.configuration import PEOPLE
from gateway.demo.jar import Jar
from gateway.demo.stage import Stage, new_password

ALICE, BOB = PEOPLE
#: Documentation addresses (RFC 5737): nobody's.
AT_HOME, AT_WORK, ON_A_TRAIN = "203.0.113.10", "192.0.2.44", "198.51.100.23"
MOST_LOOT: Final = 20


class Caught(NamedTuple):
    """Cookies whose session was ended because they were used elsewhere, and when, by the wall clock."""

    loot: Jar
    at: float


class Cast:
    """Per process. `site` is the gateway that they use, `host:port`; one scene goes to the stricter house."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.site = stage.listen
        self.passwords = dict(stage.passwords)
        self.alice = Browser("alice", FIREFOX, AT_HOME)
        self.bob = Browser("bob", FIREFOX, AT_WORK)
        self.thief = Browser("thief", CHROME, ON_A_TRAIN)
        self._loot: dict[str, list[Jar]] = {}
        self.is_signed_in = False
        self.caught: Caught | None = None

    @property
    def loot(self) -> list[Jar]:
        """What the thief has copied at this site, the newest last."""
        return self._loot.setdefault(self.site, [])

    @property
    def is_robbed(self) -> bool:
        """Whether the thief's newest copy is of the session that Alice is in, under the password that she has."""
        jar = self.alice.jar(self.site)
        return (
            self.is_signed_in
            and bool(self.loot)
            and all(self.loot[-1].claim(name, "refresh") == jar.claim(name, "refresh") for name in ("sid", "ver"))
        )

    def opens(self, browser: Browser) -> Exchange:
        """The front page. The answer to that very request."""
        first = browser.navigate(self.site, "/")[0]
        if browser is self.alice:
            self.is_signed_in = first.status == 200
        return first

    def signs_in(self, browser: Browser) -> Exchange:
        """The form, filled in. The answer of the page behind it."""
        person = ALICE if browser is self.alice else BOB
        form = {"email": person, "password": self.passwords[person], "return_to": "/"}
        last = browser.submit(self.site, "/auth/login", form)[-1]
        if browser is self.alice:
            self.is_signed_in = last.status == 200
        return last

    def signs_out(self) -> Exchange:
        """Alice, by the button of the device page."""
        self.is_signed_in = False
        return self.alice.submit(self.site, "/auth/logout", {})[0]

    def refreshes(self, browser: Browser) -> Exchange:
        """What a page's script does for an application that renews by itself."""
        return browser.fetch(self.site, "POST", "/auth/refresh")

    def changes_password(self) -> Exchange:
        """Alice, on the device page. The answer to the form."""
        new = new_password()
        done = self.alice.submit(self.site, "/auth/password", {"current": self.passwords[ALICE], "new": new})
        if done[0].status == 303 and done[0].location.endswith("said=password-changed"):
            self.passwords[ALICE] = new
            self.caught = None  # what was stolen before is of an older version now, whatever else it is
        return done[0]

    def copies(self, kind: Kind = CHROME) -> Jar:
        """The thief takes a copy of Alice's cookies, puts it into his browser, and calls it whatever he likes."""
        self.loot.append(self.alice.jar(self.site).copy())
        del self.loot[:-MOST_LOOT]
        self.thief.kind = kind
        return self.uses(self.loot[-1])

    def uses(self, loot: Jar) -> Jar:
        """The thief puts what he has copied into his browser, again."""
        jar = self.thief.jars[self.site] = loot.copy()
        return jar
