"""The parts a story is made of: scenes of acts, what each act promises, and how a promise is judged.

    Act      somebody does something           answer    status and reason, or a word of what was said
                                               counts    counters of the gateway that grow by it
                                               logs      words that are in one line that it writes
                                               grows     a claim in Alice's jar that is one more than before
             or time passes (`until`)

One table of scenes (`theft.py`) serves the page, where a person clicks through it, and `--once`, which judges it alone: both
call `perform`, so what the page claims is what was checked.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.demo import evidence
from gateway.demo.browser import Exchange
from gateway.demo.cast import ALICE, Cast
from gateway.demo.evidence import Log

LONGEST_WAIT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Found:
    """One judged answer. `kind`: answer, counter, log, claim or command; `asked` is empty where the act's label says it."""

    is_good: bool
    kind: str
    asked: str
    answered: str


@dataclass(frozen=True, slots=True)
class Act:
    """`label` says what happens, `tells` what it means. What `play` answers with is judged here, unless it judged itself."""

    who: str  # alice, thief, bob, operator, or time
    label: str
    play: Callable[[Cast], Exchange | Found | None]
    answer: tuple[int, str] = (0, "")
    tells: str = ""
    counts: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()
    grows: str = ""
    until: Callable[[Cast], float] | None = None  # wall clock


@dataclass(frozen=True, slots=True)
class Scene:
    """`prepare` brings the cast to where the scene begins; it does nothing when they are there."""

    title: str
    tells: str
    look: str
    acts: tuple[Act, ...]
    prepare: Callable[[Cast], None]


def seconds_to_wait(act: Act, cast: Cast) -> float:
    """How long to wait before it is performed."""
    return 0.0 if act.until is None else max(0.0, min(act.until(cast) - time.time(), LONGEST_WAIT_S))


def perform(act: Act, cast: Cast, log: Log) -> list[Found]:
    """Do it, and judge what came of it. Raises OSError, DemoFailed."""
    log.read()
    line, counted, claim = log.count, evidence.counters(*cast.stage.admins), _claim(act.grows, cast)
    version = _claim("ver", cast)
    done = act.play(cast)
    found = []
    if isinstance(done, Found):
        found.append(done)
    elif done is not None:
        found.append(_judge_answer(done, act, cast))
    if act.grows:
        after = _claim(act.grows, cast)
        found.append(Found(after == claim + 1, "claim", f"{act.grows} in her cookies", f"{claim} → {after}"))
    found += [_judge_count(sample, evidence.value_of(sample, counted), cast) for sample in act.counts]
    if act.logs:
        words = [word.format(alice=ALICE, version=version, previous=version - 1) for word in act.logs]
        found.append(_judge_log(words, line, log))
    return found


def _judge_answer(done: Exchange, act: Act, cast: Cast) -> Found:
    status, word = act.answer
    is_said = done.reason == word if done.reason or status >= 400 else word in done.text + done.location
    return Found(done.status == status and is_said, "answer", "", done.told)


def _judge_count(sample: str, before: int, cast: Cast) -> Found:
    now = before

    def has_grown() -> bool:
        nonlocal now
        now = evidence.value_of(sample, evidence.counters(*cast.stage.admins))
        return now > before

    return Found(evidence.wait_until(has_grown), "counter", sample, f"{before} → {now}")


def _judge_log(words: Sequence[str], after: int, log: Log) -> Found:
    said = ""

    def is_written() -> bool:
        nonlocal said
        log.read()
        messages = (line.fields.get("message", "") for line in log.since(after) if line.kind == "security")
        said = next((message for message in messages if all(word in message for word in words)), "")
        return bool(said)

    return Found(evidence.wait_until(is_written), "log", "", said or f"no line says “{' … '.join(words)}”")


def _claim(name: str, cast: Cast) -> int:
    value = cast.alice.jar(cast.site).claim(name) if name else None
    return value if isinstance(value, int) else 0
