"""`gateway demo --once`: both acts without a person, every answer judged.

A wrong answer does not end the story, because the lines after it tell why; it ends the command with 1.
"""

import time

from gateway.demo import revocations
from gateway.demo.acts import Act, Found, Scene, perform, seconds_to_wait
from gateway.demo.cast import Cast
from gateway.demo.configuration import WORKERS
from gateway.demo.evidence import Log
from gateway.demo.paper import Paper
from gateway.demo.stage import DemoFailed, Stage
from gateway.demo.tally import Tally
from gateway.demo.theft import SCENES


def play(stage: Stage, paper: Paper) -> bool:
    """The whole story. True when every answer was the right one."""
    tally = Tally(paper)
    started_at = time.monotonic()
    paper.heading("gateway demo: a legacy application that believes X-User, and the gateway in front of it")
    paper.facts(
        ("application", f"http://{stage.legacy}"),
        ("gateway", f"http://{stage.listen}   {WORKERS} workers, ready after {stage.ready_after_s:.1f} s, store included"),
        ("admin", f"http://{stage.admin}"),
    )
    tally.act("I   a stolen session")
    _play_theft(stage, tally)
    tally.act("II  revoking the tokens of another issuer")
    revocations.play(stage, tally)
    verdict = f"{tally.judged} answers, {tally.wrong or 'none'} wrong, {time.monotonic() - started_at:.1f} s"
    paper.heading(paper.styled(verdict, "red" if tally.wrong else "green"))
    if tally.wrong:
        paper.line(f"\nthe last words of the gateway's log:\n{stage.log_tail()}")
    return not tally.wrong


def _play_theft(stage: Stage, tally: Tally) -> None:
    cast, log = Cast(stage), Log(stage.log)
    for number, scene in enumerate(SCENES, start=1):
        tally.scene(f"{number}  {scene.title}")
        try:
            _play_scene(scene, cast, log, tally)
        except (OSError, DemoFailed) as error:
            tally.judge(False, scene.title, str(error))


def _play_scene(scene: Scene, cast: Cast, log: Log, tally: Tally) -> None:
    """Raises OSError, DemoFailed: then the rest of the scene makes no sense."""
    scene.prepare(cast)
    for act in scene.acts:
        if act.until is not None:
            time.sleep(seconds_to_wait(act, cast))
            tally.pause(act.label)
        for found in perform(act, cast, log):
            _tell(act, found, tally)


def _tell(act: Act, found: Found, tally: Tally) -> None:
    match found.kind:
        case "answer":
            tally.judge(found.is_good, act.label, found.answered)
        case "command":
            tally.judge_command(found.is_good, act.label, found.answered)
        case "log":
            tally.judge_further(found.is_good, found.answered.partition(" route=")[0])
        case _:
            tally.judge_further(found.is_good, f"{found.asked}  {found.answered}")
