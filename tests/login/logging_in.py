"""What the tests of the login share: cheap hashes, a person, and other processes that do things at the same moment."""

import subprocess
import sys
from collections.abc import Sequence

from patience import PATIENCE_S

from gateway.login.passwords import Cost

CHEAP = Cost(memory_kib=8, passes=1)
ALICE = "alice@shop.example"
GOOD = "correct horse battery"

_START = """
import asyncio, sys
from gateway.clock import Clock
from gateway.login.accounts import AccountExists, Accounts
from gateway.login import database
database._load(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()

async def main():
    accounts = Accounts(sys.argv[1], Clock())
    try:
        print(await act(accounts))
    finally:
        await accounts.close()

async def act(accounts):
"""


def at_once(count: int, url: str, act: str) -> Sequence[str]:
    """What so many processes answer that have everything loaded and then run `act`, the body of a coroutine, at one moment."""
    program = _START + "".join(f"    {line}\n" for line in act.strip().splitlines()) + "\nasyncio.run(main())"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(count)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    answers = []
    for process in processes:
        output, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, errors
        answers.append(output.strip())
    return answers
