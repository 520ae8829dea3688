"""`gateway demo`: the whole product on one machine, with nothing installed and nothing left behind.

    issuer   signs tokens, as somebody's identity provider would          (this process)
    legacy   an application that reads X-User and believes it             (child process)
    stage    a folder, a configuration, `gateway run` with two workers    (child process, the real command)
    page     what to type into a second terminal                          gateway demo
    story    types it itself and judges every answer                      gateway demo --once

It uses the gateway as anybody does: over its ports and by its commands. Nothing below this package knows of it.
"""

import signal
import sys
from types import FrameType

from gateway.demo import page, story
from gateway.demo.paper import Paper
from gateway.demo.stage import DemoFailed, Stage


def run(once: bool) -> int:
    """Play, until Ctrl-C or (`once`) until the story is over; the exit code."""
    paper = Paper.on(sys.stdout)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with Stage.set_up(well_known_ports=not once) as stage:
            if once:
                return 0 if story.play(stage, paper) else 1
            page.show(stage, paper)
            stage.wait()
            raise DemoFailed("the gateway has ended by itself", stage.log_tail())
    except DemoFailed as error:
        paper.failure(str(error))
        return 1
    except KeyboardInterrupt:
        paper.line("\nEverything the demo started has ended.")
        return 1 if once else 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    """SIGTERM ends the demo as Ctrl-C does, so that its processes and its folder go with it."""
    raise KeyboardInterrupt
