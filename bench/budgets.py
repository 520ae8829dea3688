"""What was promised, and whether one run kept it.

Every budget is a ratio or a bound on a figure of the same run. A verdict says the figure and the promise, and "not
reached: 1.5 instead of 1.8" where it was not kept; nothing is rounded towards the promise. A figure taken while
other programs used the machine is told, but not judged: it could flatter as easily as it could blame.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

DISTURBED_PERCENT: Final = 8.0
"""Of one core, used by others: beyond it a figure is not judged. A quiet machine shows 0 to 3."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One promise, the figure it was held against, and the outcome. `at_least`: more is better; else less is.

    `others_percent`: of one core, used by others while the figure was taken.
    """

    what: str
    figure: float
    promise: float
    at_least: bool
    unit: str = ""
    others_percent: float = 0.0

    @property
    def is_judged(self) -> bool:
        return self.others_percent <= DISTURBED_PERCENT

    @property
    def is_reached(self) -> bool:
        return self.figure >= self.promise if self.at_least else self.figure <= self.promise

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        figure, promise = self._shown(self.figure), self._shown(self.promise)
        if not self.is_judged:
            return f"{self.what}: not judged: {figure} ({sign} {promise}), others used {self.others_percent:.0f} % of a core"
        if self.is_reached:
            return f"{self.what}: reached: {figure} ({sign} {promise})"
        return f"{self.what}: not reached: {figure} instead of {promise}"

    def _shown(self, value: float) -> str:
        """Two decimals below 100. Rounded down when more is better, up when less is: never towards the promise."""
        scale = 100 if abs(value) < 100 else 1
        rounded = (math.floor if self.at_least else math.ceil)(round(value * scale, 6)) / scale
        return f"{rounded:g}{self.unit and ' ' + self.unit}"


def at_least(what: str, figure: float, promise: float, unit: str = "") -> Verdict:
    return Verdict(what, figure, promise, True, unit)


def at_most(what: str, figure: float, promise: float, unit: str = "") -> Verdict:
    return Verdict(what, figure, promise, False, unit)


def taken_beside(others_percent: float, verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """The same verdicts on figures taken while others used so much of a core."""
    return tuple(replace(verdict, others_percent=others_percent) for verdict in verdicts)
