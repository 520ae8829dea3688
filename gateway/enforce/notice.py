"""The step of the decision that asks whether this is the client the session was given to: `compare` and `act` in their place.

What agreed once from the same address and browser is not compared again (`entry.agreed`), so in the steady state the step is
one comparison of tuples in `decide`. What was noticed waits in `noticed` for whoever reports the request: the decision counts
nothing.
"""

from typing import Final, NamedTuple

from gateway.config.schema import Fingerprint
from gateway.enforce.calm import Calm
from gateway.enforce.fingerprint import act, compare
from gateway.enforce.shown import Shown
from gateway.enforce.signs import SignReader, Signs
from gateway.enforce.verdict import Deny
from gateway.enforce.verified import Verified
from gateway.sessions.cache import Entry

MOST_NOTICED: Final = 1000


class Notice(NamedTuple):
    """A session was seen from another client. `action` is what happened, or in `observe` mode what would have."""

    signal: str
    action: str
    is_enforced: bool
    token: Verified
    signs: Signs
    address: str


class Fingerprints:
    """The rules, the reader of signs and the breaker of one worker."""

    __slots__ = ("_calm", "_rules", "judges_foreign", "noticed", "reader")

    def __init__(self, rules: Fingerprint, reader: SignReader, calm: Calm) -> None:
        self._rules = rules
        self._calm = calm
        #: Whether a first use of other issuers' sessions is worth a record.
        self.judges_foreign = rules.foreign != "ignore" and any(
            action != "ignore" for action in (rules.device.changed, rules.network.changed, rules.country.changed)
        )
        self.reader = reader
        self.noticed: list[Notice] = []

    def subdued(self, now: float) -> frozenset[str]:
        """The signals whose actions have fallen to `alert`, because too many sessions differ at once [S2]: worth a page."""
        return frozenset(signal.value for signal in self._calm.subdued(now))

    def signs(self, shown: Shown, address: str) -> Signs:
        """The signs of one request."""
        return self.reader.read(shown.browser, address)

    def judge(
        self, token: Verified, entry: Entry, shown: Shown, address: str, now: float, *, is_refresh: bool = False
    ) -> Deny | None:
        """None: the same client, or a difference that is only told."""
        signs = self.signs(shown, address)
        mismatches = compare(entry.record, signs)
        reaction = None
        if mismatches:
            reaction = act(
                mismatches,
                self._rules,
                is_foreign=token.own is None,
                is_navigation=shown.is_navigation,
                is_refresh=is_refresh,
                is_recognised=signs.is_recognised,
                subdued=self._calm.note(token.record_name, mismatches, now) if token.own is not None else (),
            )
        if reaction is None or reaction.is_settled:
            entry.agreed = (address, shown.browser)
        if reaction is None:
            return None
        if len(self.noticed) < MOST_NOTICED:
            self.noticed.append(Notice(reaction.signal.value, reaction.action, reaction.is_enforced, token, signs, address))
        return Deny(reaction.reason, "", token, ends_session=reaction.ends) if reaction.refuses else None
