"""What people read: a table, notes, verdicts; as text or as Markdown. And everything, as measured, as JSON."""

import dataclasses
import datetime
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.budgets import Verdict


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of one load.

    `failures`: systems that did not do what was to be measured. `values` is what the JSON file gets besides the verdicts.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    verdicts: tuple[Verdict, ...] = ()
    notes: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def lines(self) -> list[str]:
        return [*(f"failed: {failure}" for failure in self.failures), *self.notes, *(str(verdict) for verdict in self.verdicts)]


def as_text(report: Report) -> str:
    table = _aligned([report.columns, *report.rows])
    return "\n".join([report.title, "", *table, "", *(f"  {line}" for line in report.lines), ""])


def as_markdown(report: Report) -> str:
    head = [_row(report.columns), "|---" + "|---:" * (len(report.columns) - 1) + "|"]
    body = [_row(row) for row in report.rows]
    return "\n".join([f"**{report.title}**", "", *head, *body, "", *(f"- {line}" for line in report.lines), ""])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The first column to the left, figures to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]


def write_json(path: Path, reports: dict[str, Report]) -> None:
    """Everything as measured, with what the machine was."""
    loads = {
        name: {
            "title": report.title,
            "notes": report.notes,
            "failures": report.failures,
            "verdicts": [
                {**dataclasses.asdict(verdict), "is_judged": verdict.is_judged, "is_reached": verdict.is_reached}
                for verdict in report.verdicts
            ],
            **report.values,
        }
        for name, report in reports.items()
    }
    document = {"measured_at": datetime.datetime.now(datetime.UTC).isoformat(), "machine": _machine(), "loads": loads}
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def _machine() -> dict[str, Any]:
    models = {
        line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    }
    return {
        "processor": sorted(models),
        "processors": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "congestion_control": Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip(),
    }
