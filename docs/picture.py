"""Draws docs/images/demo.svg: what `gateway demo --once` really prints on a terminal.

    python -m docs.picture

Runs the command on a pseudo-terminal, reads the colours it sets, and places every run of characters on a grid, so that the
columns stand whatever font the reader has. It knows the few escapes that the demo uses, and no others.
"""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

TARGET: Final = Path(__file__).resolve().parent / "images" / "demo.svg"
TITLE: Final = "make demo ARGS=--once"
FONT_SIZE: Final = 14
CELL_WIDTH: Final = 8.4
LINE_HEIGHT: Final = 19
MARGIN: Final = 18
TITLE_BAR: Final = 34

_HARD_SPACE: Final = "\u00a0"  # SVG folds the others
_ESCAPE: Final = re.compile(r"\x1b\[(\d+)m")
_CLASSES: Final = {"1": "bold", "2": "dim", "31": "red", "32": "green", "36": "cyan"}
_STYLE: Final = (
    "text{font-family:ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono',monospace;"
    f"font-size:{FONT_SIZE}px;fill:#d8dee9}}"
    ".bold{font-weight:bold;fill:#fff}.dim{fill:#7b8494}.red{fill:#f07178}.green{fill:#8fd18f}.cyan{fill:#88c0d0}"
)


def main() -> None:
    text = terminal_output([sys.executable, "-m", "gateway", "demo", "--once"])
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(drawing(text.strip().splitlines()), encoding="utf-8")
    print(f"wrote {TARGET}")


def terminal_output(command: list[str]) -> str:
    """All that the command writes to a terminal. Raises CalledProcessError when it fails: a failure is no picture to show."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm"}
    child = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)  # noqa: S603
    os.close(theirs)
    data = b""
    while piece := _read(ours):
        data += piece
    os.close(ours)
    if child.wait():
        raise subprocess.CalledProcessError(child.returncode, command, data)
    return data.decode().replace("\r\n", "\n")


def drawing(lines: list[str]) -> str:
    """The lines in a window."""
    columns = max(len(_ESCAPE.sub("", line)) for line in lines)
    width = columns * CELL_WIDTH + 2 * MARGIN
    height = TITLE_BAR + len(lines) * LINE_HEIGHT + 2 * MARGIN - LINE_HEIGHT / 2
    dots = "".join(
        f'<circle cx="{20 + 18 * place}" cy="17" r="5.5" fill="{colour}"/>'
        for place, colour in enumerate(("#ec6a5e", "#f4bf4f", "#61c554"))
    )
    rows = [
        row for number, line in enumerate(lines) for row in _runs(line, TITLE_BAR + MARGIN + number * LINE_HEIGHT + FONT_SIZE / 2)
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
            f'height="{height:.0f}" role="img" aria-label="{escape(TITLE)}">',
            f"<style>{_STYLE}</style>",
            f'<rect width="{width:.0f}" height="{height:.0f}" rx="8" fill="#1f2430"/>{dots}',
            f'<text x="{width / 2:.0f}" y="22" text-anchor="middle" class="dim">{escape(TITLE)}</text>',
            *rows,
            "</svg>",
            "",
        ]
    )


def _runs(line: str, y: float) -> list[str]:
    """Each run of one style as a text of its own, on its column and stretched to its width."""
    rows, style, column = [], "", 0
    for place, part in enumerate(_ESCAPE.split(line)):
        if place % 2:
            style = _CLASSES.get(part, "")
            continue
        shown = part.rstrip()
        lead = len(shown) - len(shown.lstrip())
        if shown := shown.lstrip():
            x, length = MARGIN + (column + lead) * CELL_WIDTH, len(shown) * CELL_WIDTH
            name = f' class="{style}"' if style else ""
            fit = f'textLength="{length:.1f}" lengthAdjust="spacingAndGlyphs"'
            rows.append(f'<text x="{x:.1f}" y="{y:.1f}" {fit}{name}>{escape(shown).replace(" ", _HARD_SPACE)}</text>')
        column += len(part)
    return rows


def _read(descriptor: int) -> bytes:
    """A piece; nothing when the other side has closed (Linux says EIO)."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


if __name__ == "__main__":
    main()
