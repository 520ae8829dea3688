"""What a person reads on an HTML page, as text, and where the page leads by itself.

Enough for the gateway's own pages: headings and paragraphs on lines of their own, `[ Sign in ]` for a button, `[        ]` for an
input, of the head only `<meta http-equiv="refresh">`, and not the name of the house. It understands no others.
"""

import re
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Final, Self

_UNSEEN: Final = frozenset({"head", "style", "script", "svg", "template"})
_LINES: Final = frozenset({"p", "div", "h1", "h2", "h3", "li", "form", "header", "main", "section", "label", "summary", "br"})
_REFRESH: Final = re.compile(r"0\s*;\s*url=(.+)", re.I)


@dataclass(frozen=True, slots=True)
class Reading:
    """`onward`: the address that the page goes to at once, or empty."""

    text: str
    onward: str

    @classmethod
    def of(cls, html: str) -> Self:
        reader = _Reader()
        reader.feed(html)
        reader.close()
        lines = (" ".join(line.split()) for line in "".join(reader.pieces).splitlines())
        return cls("\n".join(line for line in lines if line), reader.onward)


class _Reader(HTMLParser):
    """Per page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self.onward = ""
        self._unseen = 0
        self._is_in_brand = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attributes}
        is_refresh = tag == "meta" and said.get("http-equiv", "").lower() == "refresh"
        if is_refresh and (found := _REFRESH.match(said.get("content", ""))):
            self.onward = found[1].strip()
        elif tag in _UNSEEN or (tag == "div" and said.get("class") == "brand"):
            self._unseen += 1
            self._is_in_brand = self._is_in_brand or tag == "div"
        elif tag == "input" and said.get("type") not in ("hidden", "submit"):
            self.pieces.append(" [          ]")
        elif tag == "button" and "hidden" not in said:
            self.pieces.append("\n[ ")
        elif tag in _LINES:
            self.pieces.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN or (tag == "div" and self._is_in_brand):
            self._unseen = max(0, self._unseen - 1)
            self._is_in_brand = self._is_in_brand and tag != "div"
        elif tag == "button":
            self.pieces.append(" ]\n")
        elif tag in _LINES:
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.pieces.append(data)
