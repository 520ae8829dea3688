"""Where the demo prints: plain lines, with colours only on a terminal that wants them (no-color.org).

Owns nothing but the stream and the answer to "may I colour?".
"""

import os
from dataclasses import dataclass
from typing import Final, Self, TextIO

_STYLES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "cyan": "36"}


@dataclass(frozen=True, slots=True)
class Paper:
    """A stream to print on."""

    stream: TextIO
    is_coloured: bool
    has_symbols: bool

    @classmethod
    def on(cls, stream: TextIO) -> Self:
        """Paper that suits the stream: `✓` only where it can be written."""
        is_coloured = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return cls(stream, is_coloured, "utf" in (stream.encoding or "").lower())

    def line(self, text: str = "") -> None:
        shown = text if self.has_symbols else text.encode("ascii", "replace").decode()
        print(shown, file=self.stream, flush=True)

    def heading(self, text: str) -> None:
        self.line(f"\n{self.styled(text, 'bold')}")

    def facts(self, *pairs: tuple[str, str]) -> None:
        """Names and values in two columns."""
        width = max(len(name) for name, _ in pairs)
        for name, value in pairs:
            self.line(f"  {self.styled(name.ljust(width), 'dim')}  {value}")

    def judged(self, is_good: bool, text: str) -> None:
        """A line that was checked."""
        good, bad = ("✓", "✗") if self.has_symbols else ("ok", "WRONG")
        self.line(f"  {self.styled(good, 'green') if is_good else self.styled(bad, 'red')} {text}")

    def failure(self, text: str) -> None:
        self.line(self.styled(text, "red"))

    def styled(self, text: str, style: str) -> str:
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.is_coloured else text
