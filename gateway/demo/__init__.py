"""`gateway demo`: the whole product on one machine, with nothing installed and nothing left behind.

    issuer         signs tokens, as somebody's identity provider would                  (this process)
    legacy         an application that reads X-User and believes it                     (child process)
    stage          a folder, a configuration, `gateway run` with two workers            (child process, the real command)
    cast           Alice, Bob and a thief: browsers without a window                    (this process, over sockets)
    theft          act one as data: a stolen session, in seven scenes
    revocations    act two: another issuer's tokens, revoked in each of the four ways
    once           plays both and judges every answer                                   gateway demo --once
    theatre, page  plays act one for a person, click by click, in a real browser        gateway demo
    terminal       what to type for act two in a second terminal                        gateway demo

It uses the gateway as anybody does: over its ports and by its commands. Nothing below this package knows of it.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from gateway.demo import once as alone
from gateway.demo import terminal
from gateway.demo.configuration import IN_A_HURRY, TO_WATCH, Times
from gateway.demo.paper import Paper
from gateway.demo.server import PageServer
from gateway.demo.stage import DemoFailed, Stage
from gateway.demo.theatre import Theatre


def run(once: bool, times: Times | None = None) -> int:
    """Play, until Ctrl-C or (`once`) until the story is over; the exit code. `times`: other lifetimes than it would choose."""
    paper = Paper.on(sys.stdout)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with Stage.set_up(times or (IN_A_HURRY if once else TO_WATCH), well_known_ports=not once) as stage:
            if once:
                return 0 if alone.play(stage, paper) else 1
            with showing(stage) as url:
                terminal.show(stage, paper, url)
                stage.wait()
            raise DemoFailed("the gateway has ended by itself", stage.log_tail())
    except (DemoFailed, OSError) as error:
        paper.failure(str(error))
        return 1
    except KeyboardInterrupt:
        paper.line("\nEverything the demo started has ended.")
        return 1 if once else 0


@contextmanager
def showing(stage: Stage) -> Iterator[str]:
    """The page, open for as long as it lasts; its address."""
    theatre = Theatre(stage)
    server = PageServer(theatre, stage.page)
    theatre.open()
    try:
        yield server.url
    finally:
        theatre.close()
        server.close()


def _interrupt(number: int, frame: FrameType | None) -> None:
    """SIGTERM ends the demo as Ctrl-C does, so that its processes and its folder go with it."""
    raise KeyboardInterrupt
