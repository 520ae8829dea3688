"""Is this the client that the session was given to? What a request shows is compared with what the login showed [S2].

    record of the session      request                          compare                 act
    ─────────────────────      ─────────────────────────────    ─────────────────       ──────────────────────────────────
    Firefox|Linux|desktop      Firefox|Linux|desktop, 140       ()                      nothing: a browser was updated
    203.0.113.0/24             198.51.100.7                     (NETWORK,)              alert: a phone changed its network
    Chrome|Windows|desktop     Chrome|Android|phone, a page     (DEVICE,)               end the session: another browser
                               … an image                       (DEVICE,)               refuse: nobody sees a sign-in page
                               curl                             (DEVICE,)               refuse: not a browser
    Safari|macOS|desktop       Safari|iOS|tablet                (DOUBTFUL_DEVICE,)      refuse: an iPad left its desktop mode

Two steps, both pure: `compare` says what differs, `act` what the operator wants to happen, within what a difference can prove.
A sign that is not known is no difference: a record without a country, a request without client hints. The one exception is
the User-Agent: every browser sends one, so a request without it comes from another client.

Owns the rules and no data. It ends nothing and counts nothing: its caller does.
"""

from collections.abc import Container
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from gateway.config.schema import Action, Fingerprint
from gateway.enforce.device import Device
from gateway.enforce.network import is_same_network
from gateway.enforce.signs import Signs
from gateway.reasons import Reason


class Signal(StrEnum):
    """What was compared, as configuration, metrics and audit call it."""

    DEVICE = "device"
    NETWORK = "network"
    COUNTRY = "country"


class Mismatch(NamedTuple):
    """A difference, and the most that may follow from it, whatever is configured."""

    signal: Signal
    most: Action


DEVICE: Final = Mismatch(Signal.DEVICE, "end_session")
#: The same browser in another mode (desktop pages on a phone, a folded screen), or hints that contradict its own User-Agent.
DOUBTFUL_DEVICE: Final = Mismatch(Signal.DEVICE, "deny")
NETWORK: Final = Mismatch(Signal.NETWORK, "end_session")
#: IPv4 at login and IPv6 now, or the reverse: a client that has both changes between them by itself (RFC 8305).
DOUBTFUL_NETWORK: Final = Mismatch(Signal.NETWORK, "alert")
COUNTRY: Final = Mismatch(Signal.COUNTRY, "end_session")

# Systems as which one device presents itself: "desktop site" makes an Android say Linux and an iPad say macOS.
_WORN_AS: Final = {"Android": "Linux", "iOS": "macOS"}
# They fetch for the system's browser, with its cookies: videos in Safari, downloads on Android.
_COMPANIONS: Final = frozenset({"AppleCoreMedia", "AndroidDownloadManager", "stagefright"})


class Remembered(Protocol):
    """What a login, or a first use, left in its record. An empty text: not known."""

    @property
    def device(self) -> str: ...
    @property
    def hints(self) -> str: ...
    @property
    def network(self) -> str: ...
    @property
    def country(self) -> str: ...


def compare(known: Remembered, signs: Signs) -> tuple[Mismatch, ...]:
    """What differs from the login, in the order in which reasons are told. Empty: the same client, as far as one can see."""
    found = []
    device = _compare_device(known, signs)
    if device is not None:
        found.append(device)
    if known.network != signs.network and known.network and signs.network and not is_same_network(known.network, signs.network):
        found.append(NETWORK if (":" in known.network) is (":" in signs.network) else DOUBTFUL_NETWORK)
    if known.country != signs.country and known.country and signs.country:
        found.append(COUNTRY)
    return tuple(found)


def _compare_device(known: Remembered, signs: Signs) -> Mismatch | None:
    if known.device:
        device = signs.device
        if device is None:
            return DEVICE
        if known.device != device.text:
            return _explain(known.device, device)
    if known.hints and signs.hints is not None and known.hints != signs.hints.text:
        pairs = zip(known.hints.split("|"), signs.hints.text.split("|"), strict=False)
        if any(one and other and one != other for one, other in pairs):
            return DOUBTFUL_DEVICE
    return None


def _explain(known: str, device: Device) -> Mismatch | None:
    """Another class than at login: whether one device may well have shown both."""
    family, _, rest = known.partition("|")
    system = rest.partition("|")[0]
    if _WORN_AS.get(system, system) != _WORN_AS.get(device.system, device.system):
        return DEVICE
    if device.family in _COMPANIONS:
        return None
    return DOUBTFUL_DEVICE if family == device.family else DEVICE


def is_same_device(mismatches: tuple[Mismatch, ...]) -> bool:
    """Whether nothing speaks against the same device: what rotation [R2] and the replay alarm [B6] ask."""
    return DEVICE not in mismatches and DOUBTFUL_DEVICE not in mismatches


def is_another_browser(mismatches: tuple[Mismatch, ...], signs: Signs) -> bool:
    """Whether it is a person's browser, and certainly not the login's: when it repeats a refresh, that is reuse [R2]."""
    return DEVICE in mismatches and signs.is_recognised


class Reaction(NamedTuple):
    """What shall happen. `signal` is the reason; `is_settled`: the same client from the same address need not be judged again.

    In `observe` mode `action` is what would have happened, and `is_enforced` is false.
    """

    action: Action
    signal: Signal
    is_enforced: bool
    is_settled: bool

    @property
    def refuses(self) -> bool:
        """The request is to be refused."""
        return self.is_enforced and _STRENGTH[self.action] >= _STRENGTH["deny"]

    @property
    def ends(self) -> bool:
        """The session is to be ended, too."""
        return self.is_enforced and self.action == "end_session"

    @property
    def reason(self) -> Reason:
        """The reason of the refusal."""
        return _REASONS[self.signal]


_ACTIONS: Final[tuple[Action, ...]] = ("ignore", "alert", "deny", "end_session")  # the weakest first
_STRENGTH: Final[dict[Action, int]] = {action: strength for strength, action in enumerate(_ACTIONS)}
_REASONS: Final = {
    Signal.DEVICE: Reason.DEVICE_CHANGED,
    Signal.NETWORK: Reason.NETWORK_CHANGED,
    Signal.COUNTRY: Reason.COUNTRY_CHANGED,
}


def act(
    mismatches: tuple[Mismatch, ...],
    rules: Fingerprint,
    *,
    is_foreign: bool,
    is_navigation: bool,
    is_refresh: bool,
    is_recognised: bool,
    subdued: Container[Signal] = (),
) -> Reaction | None:
    """The strongest of the configured actions, within what is allowed; None: nothing. `subdued` comes from `Calm`.

    A session ends only by a page or a refresh that a person's browser asks for; else it is refused at most [S2]. A token of
    another issuer meets at most `fingerprint.foreign` [S3].
    """
    may_end = (is_navigation or is_refresh) and is_recognised
    strongest = None
    strength = 0
    for mismatch in mismatches:
        most = "alert" if mismatch.signal in subdued else mismatch.most if may_end else "deny"
        limits = [configured(rules, mismatch.signal), mismatch.most, most, *([rules.foreign] if is_foreign else [])]
        allowed = min(_STRENGTH[limit] for limit in limits)
        if allowed > strength:
            strongest, strength = mismatch, allowed
    if strongest is None:
        return None
    action = _ACTIONS[strength]
    is_enforced = rules.mode == "enforce"
    is_last = action == "alert" or (action == "end_session" and not is_enforced)
    is_settled = is_last and not any(mismatch.signal in subdued for mismatch in mismatches)
    return Reaction(action, strongest.signal, is_enforced, is_settled)


def configured(rules: Fingerprint, signal: Signal) -> Action:
    """What the operator wants to happen when this signal differs."""
    if signal is Signal.DEVICE:
        return rules.device.changed
    return rules.network.changed if signal is Signal.NETWORK else rules.country.changed
