"""The judged lines of `--once`: one mark each, in two columns, and how many were wrong.

Owns the counts. What is right is the acts' business.
"""

from typing import Final

from gateway.demo.paper import Paper

_COLUMN: Final = 58
_LONGEST: Final = 100
_LONGEST_PRINTED: Final = 124
_MOST_LINES: Final = 8


class Tally:
    """Per process."""

    def __init__(self, paper: Paper) -> None:
        self._paper = paper
        self.judged = 0
        self.wrong = 0

    def act(self, title: str) -> None:
        """A part of the story begins."""
        self._paper.heading(self._paper.styled(title, "cyan"))

    def scene(self, title: str) -> None:
        """A scene begins."""
        self._paper.heading(title)

    def judge(self, is_good: bool, asked: str, answered: str) -> None:
        """A line that was checked: what was asked, what came."""
        self._count(is_good, f"{asked.ljust(_COLUMN)} {self._paper.styled('→', 'dim')} {answered}")

    def judge_further(self, is_good: bool, said: str) -> None:
        """What else was checked of the line above. Too long a text is cut when it was right."""
        cut = f"{said[:_LONGEST]}…" if is_good and len(said) > _LONGEST else said
        self._count(is_good, f"  {self._paper.styled(cut, 'dim')}")

    def judge_command(self, is_good: bool, line: str, output: str) -> None:
        """A command, and the end of what it printed."""
        self._count(is_good, f"$ {line}")
        printed = output.splitlines()
        if len(printed) > _MOST_LINES:
            printed = [f"… {len(printed) - _MOST_LINES} lines", *printed[-_MOST_LINES:]]
        for text in printed:
            cut = f"{text[:_LONGEST_PRINTED]}…" if len(text) > _LONGEST_PRINTED else text
            self._paper.line(f"      {self._paper.styled(cut, 'dim')}")

    def pause(self, why: str) -> None:
        """Time passes."""
        self._paper.line(self._paper.styled(f"  … {why}", "dim"))

    def _count(self, is_good: bool, text: str) -> None:
        self.judged += 1
        self.wrong += not is_good
        self._paper.judged(is_good, text)
