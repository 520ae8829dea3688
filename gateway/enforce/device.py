"""What kind of client this is, coarsely: `Firefox|Linux|desktop`. From the User-Agent, and apart from it from client hints [S2].

    Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0     ->  Firefox|Linux|desktop
    ... Chrome/130.0.0.0 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/486.0.0.66;]   ->  Facebook|Android|phone
    curl/8.5.0                                                                 ->  curl|Other|other

No versions: a browser updates itself while its user sleeps, and must still be the same device in the morning. The family is
ua-parser's, put through a list of our own: browsers that are one product under several names are one (Chrome, Chrome Mobile,
Chrome on iOS), and only those on the list are *recognised*. System and form are read from a few words that browsers have
frozen. Brave and Vivaldi call themselves Chrome, and an iPad asking for desktop pages calls itself a Mac: so they are here.

`Devices` owns the patterns and a bounded memory of results. Neither judges anything: `fingerprint.py` compares.

NB: the patterns are data of the package `ua-parser-builtins`. A new release may name a browser differently, which makes its
sessions another device: gateways on one store need the same release, and `tests/enforce/user_agents.txt` shows what changed.
"""

import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ua_parser_rs import UAParser, UserAgentExtractor

LONGEST_BYTES: Final = 512  # of a field; browsers send 80 to 300, in-app ones up to 450
_MEMORY: Final = 4096
_PARTS: Final = 4  # see `Devices.load`

OTHER: Final = "Other"

# ua-parser's name of a browser that people use, and ours. What is missing here (webviews, apps, bots, tools) is not recognised.
_BROWSERS: Final = {
    "Amazon Silk": "Silk",
    "Avast Secure Browser": "Avast Secure Browser",
    "Brave": "Brave",
    "Chrome": "Chrome",
    "Chrome Mobile": "Chrome",
    "Chrome Mobile iOS": "Chrome",
    "Chromium": "Chrome",
    "Coc Coc": "Coc Coc",
    "DuckDuckGo Mobile": "DuckDuckGo",
    "Ecosia Android": "Ecosia",
    "Ecosia iOS": "Ecosia",
    "Edge": "Edge",
    "Edge Mobile": "Edge",
    "Epiphany": "Epiphany",
    "Firefox": "Firefox",
    "Firefox Alpha": "Firefox",
    "Firefox Beta": "Firefox",
    "Firefox Mobile": "Firefox",
    "Firefox iOS": "Firefox",
    "Huawei Browser": "Huawei Browser",
    "IE": "Internet Explorer",
    "Konqueror": "Konqueror",
    "MiuiBrowser": "Mi Browser",
    "Mobile Safari": "Safari",
    "Opera": "Opera",
    "Opera GX": "Opera",
    "Opera Mini": "Opera Mini",
    "Opera Mobile": "Opera",
    "Opera Touch": "Opera",
    "Pale Moon": "Pale Moon",
    "QQ Browser": "QQ Browser",
    "QQ Browser Mobile": "QQ Browser",
    "Safari": "Safari",
    "Samsung Internet": "Samsung Internet",
    "SeaMonkey": "SeaMonkey",
    "UC Browser": "UC Browser",
    "Vivaldi": "Vivaldi",
    "VivoBrowser": "Vivo Browser",
    "Waterfox": "Waterfox",
    "Whale": "Whale",
    "Yandex Browser": "Yandex Browser",
}
RECOGNISED: Final = frozenset(_BROWSERS.values())
_OTHER_NAMES: Final = {"Mobile Safari UI/WKWebView": "WKWebView", "Chrome Mobile WebView": "Android WebView"}

# The first word that is found counts: an iPhone claims to be "like Mac OS X", an Android to be Linux, a Windows Phone both.
_SYSTEMS: Final = (
    ("Windows Phone", "Windows Phone", "phone"),
    ("Windows", "Windows", "desktop"),
    ("iPad", "iOS", "tablet"),
    ("iPhone", "iOS", "phone"),
    ("iPod", "iOS", "phone"),
    ("Android", "Android", ""),
    ("(X11; CrOS", "ChromeOS", "desktop"),
    ("Macintosh", "macOS", "desktop"),
    ("Mac OS X", "macOS", "desktop"),
    ("KAIOS", "KaiOS", "phone"),
    ("Tizen", "Tizen", "other"),
    ("Web0S", "webOS", "other"),
    ("PlayStation", "PlayStation", "other"),
    ("Darwin", "Darwin", "other"),  # an app on any of Apple's systems
    ("FreeBSD", "FreeBSD", "desktop"),
    ("OpenBSD", "OpenBSD", "desktop"),
    ("Linux", "Linux", "desktop"),
    ("linux", "Linux", "desktop"),
)

# Brands of client hints, the more telling first: a browser lists itself beside Chromium, in an order that changes.
_BRANDS: Final = {
    "HeadlessChrome": "HeadlessChrome",
    "Android WebView": "Android WebView",
    "Microsoft Edge WebView2": "Edge WebView",
    "Brave": "Brave",
    "DuckDuckGo": "DuckDuckGo",
    "HuaweiBrowser": "Huawei Browser",
    "Opera GX": "Opera",
    "Opera": "Opera",
    "Samsung Internet": "Samsung Internet",
    "Vivaldi": "Vivaldi",
    "Whale": "Whale",
    "YaBrowser": "Yandex Browser",
    "Microsoft Edge": "Edge",
    "Google Chrome": "Chrome",
    "Chromium": "Chromium",
}
_PLATFORMS: Final = {"Chrome OS": "ChromeOS", "Chromium OS": "ChromeOS", "Unknown": ""}
_STRING: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')  # of a structured field (RFC 9651 §3.3.3)
_FIRST_PRODUCT: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.+-]{0,39}(?=[/ ]|\Z)")
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9 ._+()-]+")
_LONGEST_NAME: Final = 40


@dataclass(frozen=True, slots=True)
class Device:
    """A kind of client. Parts are printable ASCII without `|`; an empty part (of client hints only) is not known."""

    family: str
    system: str
    form: str  # desktop, phone, tablet or other

    @property
    def text(self) -> str:
        """As a session's record holds it."""
        return f"{self.family}|{self.system}|{self.form}"

    @property
    def is_recognised(self) -> bool:
        """A browser that people use: not a webview, an app's own client, a tool or a bot."""
        return self.family in RECOGNISED

    @property
    def display(self) -> str:
        """For people: `Firefox on Linux`."""
        family = "Unknown client" if self.family == OTHER else self.family
        system = {"tablet": "iPad", "phone": "iPhone"}.get(self.form, self.system) if self.system == "iOS" else self.system
        return family if system in (OTHER, "") else f"{family} on {system}"


class Devices:
    """Classifies clients. Per process; call `load` once, from a thread, before the first client is to be classified."""

    __slots__ = ("_agents", "_hints", "_lock", "_patterns")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._patterns: tuple[UserAgentExtractor, ...] = ()
        self._agents: dict[bytes, Device] = {}
        self._hints: dict[tuple[bytes | None, bytes | None, bytes | None], Device | None] = {}

    @property
    def is_loaded(self) -> bool:
        """Whether a client can be classified at once."""
        return bool(self._patterns)

    def load(self) -> None:
        """Compile ua-parser's patterns: 60 ms of CPU and 13 MiB, once. May be called from any thread, and again.

        The compiler holds the GIL for as long as it works on one set: 30 to 50 ms for all 433 patterns. In four sets of about
        the same length of text it is 8 to 12 ms each, and other threads run in between; more sets gain little. A
        classification costs 1 µs more for it, one of hostile text 6.
        The patterns of systems (18 ms more, 2.5 MiB) and of devices (100 ms more, 14 MiB) would tell nothing that is compared.
        """
        with self._lock:
            if self._patterns:
                return
            from ua_parser_builtins.lazy import MATCHERS
            from ua_parser_rs import UserAgentExtractor

            patterns: list[UAParser] = [(matcher.regex, matcher.family, None, None, None, None) for matcher in MATCHERS[0]]
            self._patterns = tuple(UserAgentExtractor(part) for part in _parts_of_equal_length(patterns))

    def of_agent(self, agent: bytes | None) -> Device | None:
        """The class of a `User-Agent`; None when there is none. Cached 0.1 µs, else up to 20 µs. Loads when nobody did."""
        if not agent:
            return None
        agent = agent[:LONGEST_BYTES]
        device = self._agents.get(agent)
        if device is None:
            if len(self._agents) >= _MEMORY:
                self._agents.clear()
            device = self._agents[agent] = self._classify(agent.decode("latin-1"))
        return device

    def of_hints(self, brands: bytes | None, mobile: bytes | None, platform: bytes | None) -> Device | None:
        """What `Sec-CH-UA`, `-Mobile` and `-Platform` say, in the same shape; None when they say nothing.

        Chromium browsers send them by default, to secure origins. Parts that are not said are empty.
        """
        if brands is None and mobile is None and platform is None:
            return None
        if brands is not None:
            brands = brands[:LONGEST_BYTES]
        hints = (brands, mobile and mobile[:8], platform and platform[:64])
        if hints not in self._hints:
            if len(self._hints) >= _MEMORY:
                self._hints.clear()
            self._hints[hints] = _read_hints(*hints)
        return self._hints[hints]

    def _classify(self, agent: str) -> Device:
        if not self._patterns:
            self.load()
        family = self._family(agent)
        system, form = _system_of(agent)
        return Device(family, system, form)

    def _family(self, agent: str) -> str:
        name = next((found.family for part in self._patterns if (found := part.extract(agent)) is not None), OTHER)
        if name in _BROWSERS or name.startswith("Firefox ("):  # in brackets: a build under its code name
            return _BROWSERS.get(name, "Firefox")
        # What does not claim to be a browser says its own name first, and ua-parser files many of them under another's.
        product = None if agent.startswith("Mozilla/") else _FIRST_PRODUCT.match(agent)
        family = _printable(product[0]) if product is not None else _OTHER_NAMES.get(name) or _printable(name)
        return OTHER if family in RECOGNISED else family


def _parts_of_equal_length(patterns: "list[UAParser]") -> "list[list[UAParser]]":
    """The patterns in their order, in parts of about the same length of text: it is what compiling costs, roughly."""
    limit = sum(len(pattern[0]) for pattern in patterns) / _PARTS
    parts: list[list[UAParser]] = [[]]
    length = 0
    for pattern in patterns:
        if length >= limit:
            parts.append([])
            length = 0
        parts[-1].append(pattern)
        length += len(pattern[0])
    return parts


def _system_of(agent: str) -> tuple[str, str]:
    for word, system, form in _SYSTEMS:
        if word in agent:
            return system, form or ("phone" if "Mobile" in agent else "tablet")  # Android's own convention
    return OTHER, "other"


def _read_hints(brands: bytes | None, mobile: bytes | None, platform: bytes | None) -> Device | None:
    family = _brand(_STRING.findall(brands.decode("latin-1"))) if brands else ""
    quoted = _STRING.fullmatch(platform.decode("latin-1")) if platform else None
    system = _PLATFORMS.get(quoted[1], _printable(quoted[1])) if quoted else ""
    form = {b"?1": "phone", b"?0": "tablet" if system == "Android" else "desktop"}.get(mobile or b"", "")
    return Device(family, system, form) if family or system or form else None


def _brand(listed: list[str]) -> str:
    for brand, family in _BRANDS.items():
        if brand in listed:
            return family
    # One that every Chromium invents anew ("Not?A_Brand") must not be taken for a browser (GREASE).
    named = sorted(brand for brand in listed if re.sub("[^a-z]", "", brand.lower()) not in ("notabrand", ""))
    return _printable(named[0]) if named else ""


def _printable(name: str) -> str:
    """A client's own words, made safe to store, to compare and to show."""
    return _NOT_IN_A_NAME.sub("", name).strip()[:_LONGEST_NAME].strip() or OTHER
