"""Draws docs/images/board-overview.svg: the first rows of the Overview, from what Prometheus answers to the board's own queries.

    .venv/bin/python tests/grafana/picture.py

Not Grafana, and it says so: places, titles, thresholds and words are the board's, the drawing is this file's. It knows the three
kinds of panels that these rows are made of, and no others. The night of the tests passes, with quiet minutes before and after.
"""

import math
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "live")]

from board_reading import BOARDS, filled_in  # noqa: E402
from live.running_gateway import eventually  # noqa: E402
from night import Night  # noqa: E402
from prometheus_server import PrometheusServer  # noqa: E402

TARGET = ROOT / "docs" / "images" / "board-overview.svg"
ROWS = 3
QUIET_S = 30.0
COLUMN, UNIT, GAP, TITLE = 56, 38, 8, 26
COLORS = {"green": "#5fa557", "orange": "#e8862a", "red": "#e0405a", "blue": "#4a80d6"}
STYLE = (
    "text{font-family:Inter,'DejaVu Sans',sans-serif;fill:#d5d6dd;font-size:13px}.row{font-size:15px;font-weight:600}"
    ".figure{font-size:26px;font-weight:600;fill:#fff;text-anchor:middle}.name{text-anchor:end;font-size:12px}"
    ".dim{fill:#9497a3;font-size:11px}.code{font-family:'DejaVu Sans Mono',monospace;font-size:11px;fill:#e2c7ff}"
)


class Drawing:
    """The rows of a board, and where to ask what they show."""

    def __init__(self, prometheus: PrometheusServer, since: float) -> None:
        self._prometheus = prometheus
        self._since = since

    def svg(self) -> str:
        panels = [panel for panel in BOARDS["gateway-overview"]["panels"] if panel["gridPos"]["y"] < self._end()]
        told = [piece for panel in panels for piece in self._panel(panel)]
        width, height = 24 * COLUMN + GAP, self._end() * UNIT + 30
        note = "The board's queries as a Prometheus answered them; drawn by tests/grafana/picture.py, not by Grafana."
        told.append(f'<text class="dim" x="{GAP}" y="{height - 10}">{escape(note)}</text>')
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        return "\n".join(
            [head, f"<style>{STYLE}</style>", f'<rect width="{width}" height="{height}" fill="#111217"/>', *told, "</svg>\n"]
        )

    def _end(self) -> int:
        """Where the first row begins that is not drawn."""
        return [panel["gridPos"]["y"] for panel in BOARDS["gateway-overview"]["panels"] if panel["type"] == "row"][ROWS]

    def _panel(self, panel: dict[str, Any]) -> Iterator[str]:
        place = panel["gridPos"]
        x, y, width, height = place["x"] * COLUMN + GAP, place["y"] * UNIT, place["w"] * COLUMN - GAP, place["h"] * UNIT - GAP
        if panel["type"] == "row":
            yield f'<text class="row" x="{x}" y="{y + 24}">{escape(panel["title"])}</text>'
            return
        yield f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="#181b1f" stroke="#2c3235"/>'
        yield f'<text x="{x + 8}" y="{y + 18}">{escape(panel["title"])}</text>'
        draw = {"stat": self._figure, "state-timeline": self._bands, "text": self._words}[panel["type"]]
        yield from draw(panel, x, y + TITLE, width, height - TITLE)

    def _figure(self, panel: dict[str, Any], x: int, y: int, width: int, height: int) -> Iterator[str]:
        defaults = panel["fieldConfig"]["defaults"]
        ((_, (value,)),) = self._prometheus.at_once(self._filled(panel["targets"][0]["expr"]))
        color, text = color_of(value, defaults["thresholds"]["steps"]), words(value, defaults)
        yield f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{color}"/>'
        yield f'<text class="figure" x="{x + width / 2:g}" y="{y + height / 2 + 9:g}">{escape(text)}</text>'

    def _bands(self, panel: dict[str, Any], x: int, y: int, width: int, height: int) -> Iterator[str]:
        steps = {
            named["matcher"]["options"]: named["properties"][0]["value"]["steps"] for named in panel["fieldConfig"]["overrides"]
        }
        left, band = 180, (height - 22) / len(panel["targets"])
        for place, target in enumerate(panel["targets"]):
            ((_, values),) = self._prometheus.over(self._filled(target["expr"]), self._since)
            top, one = y + place * band, (width - left - GAP) / len(values)
            yield f'<text class="name" x="{x + left - 8}" y="{top + band / 2 + 4:.1f}">{escape(target["legendFormat"])}</text>'
            colors = [color_of(value, steps.get(target["legendFormat"], ANY)) for value in values]
            for begin, end in runs(colors):
                box = f'x="{x + left + begin * one:.1f}" y="{top + 3:.1f}" width="{(end - begin) * one:.1f}"'
                yield f'<rect {box} height="{band - 6:.1f}" fill="{colors[begin]}"/>'
        for part in (0, 0.5, 1):
            at = time.strftime("%H:%M:%S", time.gmtime(self._since + part * (time.time() - self._since)))
            yield f'<text class="dim" x="{x + left + part * (width - left - 60):.0f}" y="{y + height - 6}">{at}</text>'

    def _words(self, panel: dict[str, Any], x: int, y: int, width: int, height: int) -> Iterator[str]:
        """Its table: what was seen, and the command that asks about it. The prose around it stays on the board."""
        rows = re.findall(r"^\| ([^`|]+) \| `([^`]+)` \|$", panel["options"]["content"], re.M)
        for place, (seen, ask) in enumerate(rows):
            line = y + 26 + place * 30
            yield f'<text x="{x + 12}" y="{line}">{escape(seen)}</text>'
            yield f'<text class="code" x="{x + 130}" y="{line}">{escape(ask)}</text>'

    def _filled(self, expression: str) -> str:
        return filled_in(expression, "4s", f"{math.ceil(time.time() - self._since) + 5}s")


ANY = [{"value": None, "color": "green"}, {"value": 0.01, "color": "red"}]


def color_of(value: float, steps: list[dict[str, Any]]) -> str:
    return COLORS[next(step["color"] for step in reversed(steps) if step["value"] is None or value >= step["value"])]


def words(value: float, defaults: dict[str, Any]) -> str:
    """The figure as the board tells it: a word in its place, or with its unit."""
    for mapping in defaults["mappings"]:
        if mapping["type"] == "value" and f"{value:g}" in mapping["options"]:
            return str(mapping["options"][f"{value:g}"]["text"])
    if defaults["unit"] == "percentunit":
        return f"{value * 100:.{defaults['decimals']}f}%"
    if defaults["unit"] == "s":
        return f"{value:.1f} s" if value >= 1 else f"{value * 1000:.0f} ms"
    return f"{value:.0f}"


def runs(colors: list[str]) -> Iterator[tuple[int, int]]:
    """Where each stretch of one colour begins and ends."""
    begin = 0
    for place in range(1, len(colors) + 1):
        if place == len(colors) or colors[place] != colors[begin]:
            yield begin, place
            begin = place


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="gateway-picture-") as folder:
        TARGET.write_text(photographed(Path(folder)), encoding="utf-8")
    print(f"wrote {TARGET.relative_to(ROOT)}")


def photographed(folder: Path) -> str:
    """The night, half a minute before it and after it, and one more theft at its end."""
    night = Night(folder)
    rules = sorted((ROOT / "grafana" / "alerts").glob("*.yaml"))
    prometheus = PrometheusServer(folder, [night.gateway.admin.removeprefix("http://")], rules)
    try:
        night.begin()
        since = time.time()
        prometheus.start()
        for happening in (night.people_come, night.pass_by, night.steal):
            happening()
            quiet_until = time.monotonic() + QUIET_S
            eventually(lambda until=quiet_until: night.people_come() and time.monotonic() > until, within_s=2 * QUIET_S)
        return Drawing(prometheus, since).svg()
    finally:
        prometheus.stop()
        night.close()


if __name__ == "__main__":
    main()
