"""Act one as a person plays it: where the story stands, what was found, and who plays what next.

    next       the next act of the scene, or the first of the next scene       one at a time, in a thread of its own
    go_to      a scene, from its beginning
    do         something else with one of the browsers, between the acts
    start_over from the very beginning

A wait can be left by `go_to`, `start_over` and the end; an act cannot, and takes a moment. Whatever changes makes the version
greater and wakes those who wait for it. Owns the cast and the position; what it shows of them is `view.py`.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Condition, Lock, Thread
from typing import Final

from gateway.demo import evidence
from gateway.demo.acts import Act, Found, perform, seconds_to_wait
from gateway.demo.browser import FIREFOX
from gateway.demo.cast import Cast
from gateway.demo.evidence import Log
from gateway.demo.stage import DemoFailed, Stage
from gateway.demo.theft import SCENES

LOOK_EVERY_S: Final = 0.2
DEED_WITHIN_S: Final = 10.0

TODO, WAITING, PLAYING, GOOD, WRONG = "todo", "waiting", "playing", "good", "wrong"

#: What a person may do with a browser between the acts, by who and what.
DEEDS: Final[dict[tuple[str, str], Callable[[Cast], object]]] = {
    ("alice", "open"): lambda cast: cast.opens(cast.alice),
    ("alice", "sign-in"): lambda cast: cast.signs_in(cast.alice),
    ("alice", "refresh"): lambda cast: cast.refreshes(cast.alice),
    ("alice", "change-password"): lambda cast: cast.changes_password(),
    ("alice", "sign-out"): lambda cast: cast.signs_out(),
    ("thief", "open"): lambda cast: cast.opens(cast.thief),
    ("thief", "refresh"): lambda cast: cast.refreshes(cast.thief),
    ("thief", "steal"): lambda cast: cast.copies(),
    ("thief", "steal-all"): lambda cast: cast.copies(FIREFOX),
    ("thief", "use-again"): lambda cast: cast.uses(cast.loot[-1]) if cast.loot else None,
}


@dataclass(slots=True)
class Progress:
    """How far an act has come. `until`: wall clock, while it waits."""

    state: str = TODO
    found: list[Found] = field(default_factory=list)
    until: float = 0.0


class Busy(Exception):
    """Something is being played."""


class Theatre:
    """Per process. Every public method may be called from any thread."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.cast = Cast(stage)
        self.log = Log(stage.log)
        self.counters: Counter[str] = Counter()
        self.at_scene_start: Counter[str] = Counter()
        self.scene = 0
        self.progress: list[list[Progress]] = []
        self.trouble = ""
        self.version = 1
        self.changed = Condition()
        self._run = 0  # grows when the story jumps: a wait that belongs to an older one is over
        self._is_open = True
        self._stage_door = Lock()  # held by whoever makes the cast do something
        self._clear()

    def open(self) -> None:
        """Look at log and counters from now on."""
        Thread(target=self._watch, daemon=True).start()

    def close(self) -> None:
        with self.changed:
            self._is_open = False
            self._bump(run=True)

    @property
    def is_over(self) -> bool:
        """Whether the last scene was played."""
        return self.next_act is None

    @property
    def next_act(self) -> tuple[int, int] | None:
        """Where the story goes on: scene and act. The next scene begins anew, whenever it was played."""
        for place, progress in enumerate(self.progress[self.scene]):
            if progress.state not in (GOOD, WRONG):
                return self.scene, place
        return (self.scene + 1, 0) if self.scene + 1 < len(SCENES) else None

    @property
    def is_playing(self) -> bool:
        """Whether an act is under way, a wait included."""
        return any(progress.state in (PLAYING, WAITING) for scene in self.progress for progress in scene)

    def wait_for(self, version: int, timeout_s: float) -> None:
        """Until there is something newer than this version."""
        with self.changed:
            self.changed.wait_for(lambda: self.version != version or not self._is_open, timeout_s)

    def next(self) -> None:
        """Play the next act. Raises Busy."""
        with self.changed:
            if self.is_playing:
                raise Busy
            place = self.next_act
            if place is None:
                return
            scene, number = place
            if number == 0:
                self._begin(scene)
            self.progress[scene][number].state = WAITING
            run = self._run
            self._bump()
        Thread(target=self._play, args=(scene, number, run), daemon=True).start()

    def go_to(self, scene: int) -> None:
        """Begin this scene, anew when it was played. Raises Busy, IndexError."""
        with self.changed:
            self._refuse_while_acting()
            if not 0 <= scene < len(SCENES):
                raise IndexError(scene)
            self._begin(scene)
            self._let_go_of_waits()
            self._bump(run=True)

    def start_over(self) -> None:
        """From the beginning, with new browsers; the accounts and what is in the log stay. Raises Busy."""
        with self.changed:
            self._refuse_while_acting()
            passwords = self.cast.passwords
            self.cast = Cast(self.stage)
            self.cast.passwords = passwords
            self._clear()
            self._bump(run=True)

    def do(self, who: str, what: str) -> None:
        """Something between the acts, or after the one that is being played. Raises Busy, KeyError."""
        deed = DEEDS[who, what]
        if not self._stage_door.acquire(timeout=DEED_WITHIN_S):
            raise Busy
        try:
            self.trouble = ""
            deed(self.cast)
        except OSError as error:
            self.trouble = f"the gateway did not answer: {error}"
        finally:
            self._stage_door.release()
            with self.changed:
                self._bump()

    def _play(self, scene: int, number: int, run: int) -> None:
        act, progress = SCENES[scene].acts[number], self.progress[scene][number]
        if not self._wait(act, progress, run):
            return
        with self._stage_door:
            with self.changed:
                if run != self._run:
                    return
                progress.state, self.trouble = PLAYING, ""
                self._bump()
            try:
                if number == 0:
                    self.at_scene_start = evidence.counters(*self.stage.admins)
                    SCENES[scene].prepare(self.cast)
                progress.found = perform(act, self.cast, Log(self.stage.log, is_new=True))
                state = GOOD if all(found.is_good for found in progress.found) else WRONG
            except (OSError, DemoFailed) as error:
                state, self.trouble = WRONG, str(error)
                progress.found = [Found(False, "log", "", str(error))]
            with self.changed:
                progress.state = state
                self.counters = evidence.counters(*self.stage.admins)
                self._bump()

    def _wait(self, act: Act, progress: Progress, run: int) -> bool:
        """Let time pass; False when the story has jumped meanwhile."""
        wait_s = seconds_to_wait(act, self.cast)
        with self.changed:
            progress.until = time.time() + wait_s if wait_s else 0.0
            self._bump()
            return not self.changed.wait_for(lambda: run != self._run, wait_s)

    def _watch(self) -> None:
        counted_at = 0.0
        while self._is_open:
            with self.changed:
                if self.log.read():
                    self._bump()
            if time.monotonic() - counted_at > 2 * LOOK_EVERY_S:
                counted_at = time.monotonic()
                counters = evidence.counters(*self.stage.admins)
                with self.changed:
                    if counters != self.counters:
                        self.counters = counters
                        self._bump()
            time.sleep(LOOK_EVERY_S)

    def _begin(self, scene: int) -> None:
        self.scene = scene
        self.progress[scene] = [Progress() for _ in SCENES[scene].acts]

    def _clear(self) -> None:
        self.scene = 0
        self.trouble = ""
        self.progress = [[Progress() for _ in scene.acts] for scene in SCENES]
        self.at_scene_start = Counter()

    def _refuse_while_acting(self) -> None:
        if any(progress.state == PLAYING for scene in self.progress for progress in scene):
            raise Busy

    def _let_go_of_waits(self) -> None:
        for scene in self.progress:
            for progress in scene:
                if progress.state == WAITING:
                    progress.state, progress.until = TODO, 0.0

    def _bump(self, *, run: bool = False) -> None:
        """NB: with `changed` held."""
        self.version += 1
        self._run += run
        self.changed.notify_all()
