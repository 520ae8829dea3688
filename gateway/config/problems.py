"""A mistake, where it is, and what to do about it.

Owns the printed form `file:line:column: path: what; hint` and the guesses ("did you mean"). A `Problem` names a key; the
line is found when it is printed, by looking the key up in the parsed file. Nothing here repeats a configured value, and
what came out of a secret, the environment or a file is blotted out should a message hold it after all.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

Location = tuple[str | int, ...]

_SHORTEST_TO_BLOT: Final = 8  # characters: shorter values are words that messages need ("app")


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake at the key `location`.

    `at_key` points at the key itself rather than at its value; `source` is set when the mistake is not in the file at all.
    """

    location: Location
    what: str
    hint: str = ""
    at_key: bool = False
    source: str = ""

    @property
    def path(self) -> str:
        return ".".join(str(part) for part in self.location)

    def __str__(self) -> str:
        return ": ".join(part for part in (self.path, self.what) if part) + (f"; {self.hint}" if self.hint else "")


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """`did you mean 'x'?`, or nothing when no known word is close."""
    spelled = {word.lower(): word for word in known}
    close = difflib.get_close_matches(str(given).lower(), spelled, n=1, cutoff=0.6)
    return f"did you mean '{spelled[close[0]]}'?" if close else ""


def blot_out(text: str, secrets: Iterable[str]) -> str:
    """The text without any of the secrets, longest first."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_TO_BLOT:
            text = text.replace(secret, "***")
    return text
