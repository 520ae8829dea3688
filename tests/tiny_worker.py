"""The smallest worker that keeps the supervisor's contract. With `stubborn` among its arguments it ignores SIGTERM."""

import asyncio
import contextlib
import os
import signal
import sys

import uvloop

from gateway.boot import ENVIRONMENT_NAME, Boot
from gateway.clock import Clock
from gateway.config.load import load
from gateway.lifeline import end_with_parent
from gateway.revocation.follower import Follower
from gateway.revocation.view import View
from gateway.telemetry.metrics import ALLOW, Layout, WorkerMetrics
from gateway.telemetry.slots import Cells


async def main() -> None:
    boot = Boot.from_json(os.environ[ENVIRONMENT_NAME])
    end_with_parent(boot.supervisor_pid)()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: None if "stubborn" in sys.argv else stop.set())
    config = load(boot.config_path).config
    layout = Layout.of(config)
    metrics = WorkerMetrics(layout, Cells.attach(boot.cells_fd, layout.block, boot.workers + 1).block(boot.index))
    metrics.route("app").finish(b"GET", 200, ALLOW, None, 0.001, 0.0005)
    metrics.client_connections(+1)
    clock = Clock()
    view = View(config.store.max_entries)
    staleness = config.store.max_staleness
    follower = Follower(boot.store_url, view, clock, incarnation=boot.incarnation, max_staleness=staleness)
    following = asyncio.create_task(follower.run())
    metrics.listening(True)
    while not stop.is_set():
        metrics.heartbeat(clock.boot())
        metrics.replica(view.state.value, view.proven_at, len(view), follower.statistics.position, clock.store_offset_s)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.05)
    await follower.leave()
    await following


uvloop.run(main())
