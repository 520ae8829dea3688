"""What was promised, and whether one run kept it.

Every budget is a ratio or a bound on a figure of the same run. A verdict says the figure and the promise, and "not
reached: 1.5 instead of 1.8" where it was not kept; nothing is rounded towards the promise.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """One promise, the figure it was held against, and the outcome. `at_least`: more is better; else less is."""

    what: str
    figure: float
    promise: float
    at_least: bool
    unit: str = ""

    @property
    def is_reached(self) -> bool:
        return self.figure >= self.promise if self.at_least else self.figure <= self.promise

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        figure, promise = self._shown(self.figure), self._shown(self.promise)
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
