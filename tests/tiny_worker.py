"""The smallest worker that keeps the supervisor's contract.

With `stubborn` among its arguments it does not end in order, with `busy` not when it is retired. Where the log's level is `debug`
it ends at once with `choosy`, and never listens with `deaf`.
"""

import asyncio
import contextlib
import os
import pickle
import signal
import sys

import uvloop

from gateway.boot import ENVIRONMENT_NAME, Boot, handed_over
from gateway.clock import Clock
from gateway.lifeline import end_with_parent
from gateway.revocation.follower import Follower
from gateway.revocation.view import View
from gateway.telemetry.metrics import ALLOW, Layout, WorkerMetrics
from gateway.telemetry.slots import Cells
from gateway.worker_line import WorkerLine


async def main() -> None:
    boot = Boot.from_json(os.environ[ENVIRONMENT_NAME])
    end_with_parent(boot.supervisor_pid)()
    stop = asyncio.Event()

    def end() -> None:
        if "stubborn" not in sys.argv:
            stop.set()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
    config = pickle.loads(handed_over(boot.config_fd)).config
    if "choosy" in sys.argv and config.log.level == "debug":
        raise SystemExit(3)
    layout = Layout.of(config)
    metrics = WorkerMetrics(layout, Cells.attach(boot.cells_fd, layout.block, boot.workers + 2).block(boot.index))
    metrics.route("app").finish(b"GET", 200, ALLOW, None, 0.001, 0.0005)
    metrics.client_connections(+1)
    clock = Clock()
    view = View(config.store.max_entries)
    staleness = config.store.max_staleness
    follower = Follower(
        boot.embedded_store or config.store.url, view, clock, incarnation=boot.incarnation, max_staleness=staleness
    )
    following = asyncio.create_task(follower.run())
    line = WorkerLine(boot.control_fd)
    line.say_prepared()
    while not stop.is_set():
        while not line.orders.empty():
            said, _ = line.orders.get_nowait()
            if said == "listen" and not ("deaf" in sys.argv and config.log.level == "debug"):
                metrics.listening(True)
            elif said == "retire" and "busy" not in sys.argv:
                end()
        metrics.heartbeat(clock.boot())
        metrics.replica(view.state.value, view.proven_at, len(view), follower.statistics.position, clock.store_offset_s)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.05)
    await follower.leave()
    await following


uvloop.run(main())
