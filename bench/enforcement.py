"""From the revocation to the receipt, and from the append to each worker's view, with followers in processes of their own.

    python -m bench.enforcement [--workers N] [--revocations N] [--every SECONDS] [--json FILE]

`receipt` is what the caller of `revoke` waits: connect, append, flush, every worker's acknowledgement. `enforced` is
measured in the workers, from the append by the store's clock to the moment their view refuses the token; the budget is
for this one.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

from gateway.clock import Clock
from gateway.revocation.entry import Entry, Kind, Revocation
from gateway.revocation.follower import Follower
from gateway.revocation.log import RevocationLog
from gateway.revocation.view import View
from gateway.store.client import connect
from gateway.store.embedded import EmbeddedServer

BUDGET_MS = 10.0


async def follow(url: str, incarnation: str) -> None:
    """A worker process: follows until its input ends, then prints how long each entry took to reach it."""
    took: list[float] = []

    def note(entry: Entry) -> None:
        took.append(max(0.0, time.time() - entry.appended_at))

    follower = Follower(url, View(), Clock(), incarnation=incarnation, max_staleness=2.0, on_entry=note)
    running = asyncio.create_task(follower.run())
    await asyncio.to_thread(sys.stdin.read)
    await follower.leave()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    print(json.dumps(took))


async def start_workers(url: str, workers: int) -> list[asyncio.subprocess.Process]:
    return [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.enforcement", "--follow", url, "--incarnation", f"worker{number}",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )
        for number in range(workers)
    ]  # fmt: skip


def percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    at = {"p50": 0.50, "p99": 0.99, "max": 1.0}
    return {name: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 2) for name, share in at.items()}


async def measure(workers: int, revocations: int, every_s: float) -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as directory:
        server = EmbeddedServer(Path(directory))
        store = connect(await server.start())
        log = RevocationLog(store, Clock(), 2.0)
        await log.declare()
        processes = await start_workers(server.url, workers)
        while sum(member.is_counted for member in (await log.members()).members) < workers:
            await asyncio.sleep(0.01)
        receipts, flushes = [], []
        for number in range(revocations):
            started = time.perf_counter()
            await store.set("flush", number)
            flushes.append(time.perf_counter() - started)
            receipt = await log.revoke(Revocation(Kind.TOKEN, f"token{number}", "bench", expires_at=time.time() + 600))
            assert receipt.enforced_by == workers, receipt
            receipts.append(receipt.took_ms / 1000)
            await asyncio.sleep(every_s)
        enforced: list[float] = []
        for process in processes:
            out, _ = await process.communicate(b"")
            enforced += json.loads(out)
        await store.aclose()
        await server.stop()
    return {
        "workers": workers,
        "revocations": revocations,
        "flush_ms": percentiles(flushes),
        "enforced_ms": percentiles(enforced),
        "receipt_ms": percentiles(receipts),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--revocations", type=int, default=500)
    parser.add_argument("--every", type=float, default=0.01)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--follow", help=argparse.SUPPRESS)
    parser.add_argument("--incarnation", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.follow:
        asyncio.run(follow(options.follow, options.incarnation))
        return 0
    result = asyncio.run(measure(options.workers, options.revocations, options.every))
    for name, value in result.items():
        print(f"{name:12} {value}{f'   budget p99 {BUDGET_MS:g}' if name == 'enforced_ms' else ''}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
