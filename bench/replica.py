"""The replica of a million revoked tokens, loaded from a real store by a real follower.

    python -m bench.replica [--entries N] [--json FILE]

Prints how long the load took until live, the memory the process grew by, the longest pause of the event loop meanwhile
(a task that wakes every millisecond and measures by how much it was late), and the time of a look-up among that many:
the whole call, best of several rounds of many different keys, hits and misses. The budget stands beside each.
"""

import argparse
import asyncio
import gc
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from gateway.clock import Clock
from gateway.revocation.follower import Follower
from gateway.revocation.keys import FACTS, STATES
from gateway.revocation.log import RevocationLog
from gateway.revocation.state import State
from gateway.revocation.view import View
from gateway.store.client import Store, command, connect
from gateway.store.embedded import EmbeddedServer

BUDGETS = {"memory_mib": 64.0, "load_s": 5.0, "pause_ms": 20.0, "hit_us": 1.0, "miss_us": 1.0}
BATCH = 20_000
FILL = """
    local state = '>I8I8I8I8Bc16c16'
    local none = string.rep('\\0', 16)
    for number = ARGV[1], ARGV[2] do
      local key = struct.pack('>I8I8', number * 2654435761 % 4294967296, number)
      redis.call('HSET', KEYS[1], key, struct.pack(state, 1900000000, 1900003600, number + 1, 0, 1, none, none))
      redis.call('ZADD', KEYS[2], 1900003600, key)
    end
"""


async def fill(store: Store, entries: int) -> None:
    """Facts straight into the store: a million revocations through the front door would be a million flushes."""
    for first in range(1, entries + 1, BATCH):
        await command(store, "EVAL", FILL, 2, STATES, FACTS, first, min(first + BATCH - 1, entries))


def key_of(number: int) -> bytes:
    return (number * 2654435761 % 2**32).to_bytes(8, "big") + number.to_bytes(8, "big")


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


async def watch_pauses(longest: list[float]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        before = loop.time()
        await asyncio.sleep(0.001)
        longest[0] = max(longest[0], loop.time() - before - 0.001)


async def load(url: str, view: View) -> dict[str, float]:
    clock = Clock()
    follower = Follower(url, view, clock, incarnation="bench", max_staleness=2.0)
    longest = [0.0]
    gc.collect()
    memory = resident_mib()
    watcher = asyncio.create_task(watch_pauses(longest))
    started, cpu_started = time.perf_counter(), time.process_time()
    running = asyncio.create_task(follower.run())
    while view.state is not State.LIVE:
        await asyncio.sleep(0.002)
    took_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
    for task in (running, watcher):
        task.cancel()
    await asyncio.gather(running, watcher, return_exceptions=True)
    gc.collect()
    return {
        "entries": len(view),
        "load_s": took_s,
        "load_cpu_s": cpu_s,
        "memory_mib": resident_mib() - memory,
        "pause_ms": longest[0] * 1000,
    }


def measure_look_ups(view: View, keys: list[bytes]) -> float:
    find = view.find
    best = float("inf")
    for _ in range(9):
        started = time.perf_counter()
        for key in keys:
            find(key)
        best = min(best, time.perf_counter() - started)
    return best / len(keys) * 1e6


async def measure(entries: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as directory:
        server = EmbeddedServer(Path(directory))
        store = connect(await server.start(), timeout_s=60.0)
        await RevocationLog(store, Clock(), 2.0).declare()
        await fill(store, entries)
        view = View()
        result = await load(server.url, view)
        await store.aclose()
        await server.stop()
    random = Random(7)
    result["hit_us"] = measure_look_ups(view, [key_of(random.randint(1, entries)) for _ in range(50_000)])
    result["miss_us"] = measure_look_ups(view, [random.randbytes(16) for _ in range(50_000)])
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = asyncio.run(measure(options.entries))
    print(f"{'entries':12} {result['entries']:>12,}")
    print(f"{'load_cpu_s':12} {result['load_cpu_s']:>12.2f}   this process's share of the load")
    for name, budget in BUDGETS.items():
        print(f"{name:12} {result[name]:>12.2f}   budget {budget:g}{'' if result[name] <= budget else '   OVER'}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
