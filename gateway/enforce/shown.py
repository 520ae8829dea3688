"""What a request shows of its client beside its token: read from the head once, kept with it.

One walk over the fields finds all of them (3 µs); a connection that repeats its header block has the result already. A field
that comes twice says nothing that could be believed: it is `DOUBLED`, which equals no value.
"""

from typing import Final

from gateway.wire.head import RequestHead

DOUBLED: Final = b"\0"

FIELDS: Final = {
    b"user-agent": "agent",
    b"sec-ch-ua": "brands",
    b"sec-ch-ua-mobile": "mobile",
    b"sec-ch-ua-platform": "platform",
    b"sec-fetch-site": "site",
    b"sec-fetch-mode": "mode",
    b"origin": "origin",
    b"x-csrf-token": "echo",
    b"accept": "accept",
}


class Shown:
    """What the client shows of itself. None: the field is not there. The slots `browser` is made of are compared as one."""

    __slots__ = ("accept", "agent", "brands", "browser", "echo", "mobile", "mode", "origin", "platform", "site")

    agent: bytes | None
    brands: bytes | None
    mobile: bytes | None
    platform: bytes | None
    site: bytes | None
    mode: bytes | None
    origin: bytes | None
    echo: bytes | None
    accept: bytes | None

    def __init__(self, fields: list[tuple[bytes, bytes]]) -> None:
        self.agent = self.brands = self.mobile = self.platform = None
        self.site = self.mode = self.origin = self.echo = self.accept = None
        for name, value in fields:
            slot = FIELDS.get(name) or FIELDS.get(name.lower())
            if slot is not None:
                setattr(self, slot, value.strip(b" \t") if getattr(self, slot) is None else DOUBLED)
        #: The browser, as far as it says: equal when it is the same one again.
        self.browser = (self.agent, self.brands, self.mobile, self.platform)

    @property
    def is_navigation(self) -> bool:
        """A person opens a page: by fetch metadata, or `text/html` from a client that sends none."""
        return self.mode == b"navigate" if self.mode is not None else b"text/html" in (self.accept or b"")


def shown_by(head: RequestHead) -> Shown:
    """What this request shows of its client."""
    shown: Shown | None = head.signs
    if shown is None:
        shown = head.signs = Shown(head.fields)
    return shown
