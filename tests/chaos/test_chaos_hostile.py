"""A good client beside an attack: it is answered, its latency stays in proportion, and the workers' memory comes to rest.

Two workers, a process for the good client, one for each attacker, on one machine: the attackers take processor time from
everybody, so what is demanded of the latency is wide. The figures are printed (`make chaos ARGS='-k hostile -s'`); ratios are
within one run.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attacks.process_figures import descriptors, processor_s, resident_mib
from attacks.wire_gateway import Wire, wire
from identity.browser import ACCOUNTS
from live.running_gateway import eventually

LOAD = Path(__file__).with_name("hostile_load.py")
SECONDS = 4
MOST_MIB = 48  # that a worker may grow by under any attack: buffers of twenty connections, log lines not yet written
MOST_IDLE_KIB = 8
MOST_MS = 1000  # of all answers but one in a hundred
BUSY_MS = 100
ATTACKS = (
    "heads",
    "fields",
    "segments",
    "chunks",
    "pipelined",
    "forged",
    "unknown_keys",
    "nonsense",
    "churn",
    "slow_readers",
    "logins",
)


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    timeouts = {"body": "3s", "write": "3s"}  # so that the next attack does not wait for the rest of this one
    with wire(tmp_path_factory.mktemp("hostile"), timeouts=timeouts, **ACCOUNTS) as running:
        running.background.backend.requests = Forgetful()
        run(running, "good", 1)  # its tokens are known, its connections to the application are open
        yield running


class Forgetful(list):
    """The application counts what reached it, and keeps none of it."""

    def append(self, received: object) -> None:
        pass


def start(running: Wire, what: str, seconds: float, token: str = "") -> "subprocess.Popen[str]":
    command = [sys.executable, str(LOAD), what, str(running.gateway.port), str(seconds), token or running.gateway.token()]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(process: "subprocess.Popen[str]") -> dict[str, Any]:
    said, _ = process.communicate(timeout=120)
    return json.loads(said.splitlines()[-1])


def run(running: Wire, what: str, seconds: float, token: str = "") -> dict[str, Any]:
    return finish(start(running, what, seconds, token))


def alone_in(running: Wire, token: str) -> dict[str, Any]:
    """The good client without an attack. What cannot serve it alone proves nothing beside one."""
    found = run(running, "good", 2, token)
    if found["refused"] or found["p99"] > BUSY_MS:
        pytest.skip(f"this machine is too busy with something else: {found}")
    return found


def clients(running: Wire) -> float:
    return running.gateway.metrics()['gateway_connections{side="client"}']


@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_load_leaves_a_good_client_what_it_came_for(attacked: Wire, attack: str) -> None:
    gateway = attacked.gateway
    workers = gateway.workers()
    token = gateway.token()
    alone = alone_in(attacked, token)
    memory, spent = [resident_mib(pid) for pid in workers], [processor_s(pid) for pid in workers]
    attacker = start(attacked, attack, SECONDS + 1)
    beside = run(attacked, "good", SECONDS, token)
    grown = [resident_mib(pid) - before for pid, before in zip(workers, memory, strict=True)]
    sent = finish(attacker)["sent"]
    busy = sum(processor_s(pid) - before for pid, before in zip(workers, spent, strict=True)) / (SECONDS + 1)
    ratio = beside["p50"] / alone["p50"], beside["p99"] / alone["p99"]
    print(
        f"\n{attack}: alone {alone}, beside {beside}: p50 × {ratio[0]:.1f}, p99 × {ratio[1]:.1f}; "
        f"workers +{max(grown):.1f} MiB, {busy:.1f} processors; attacker sent {sent}"
    )
    assert sent
    assert beside["refused"] == {} and beside["answers"] > 20
    assert beside["p99"] < MOST_MS
    assert max(grown) < MOST_MIB
    eventually(lambda: clients(attacked) == 0, 60)
    assert gateway.workers() == workers, "nobody died"
    assert not [line for line in gateway.messages() if "exception" in line or "Traceback" in line["message"]]


def test_hostile_eight_thousand_idle_connections_cost_little_and_hold_nobody_up(attacked: Wire) -> None:
    gateway = attacked.gateway
    workers = gateway.workers()
    for pid in workers:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (20_000, 20_000))
    token = gateway.token()
    alone = alone_in(attacked, token)
    before = sum(resident_mib(pid) for pid in workers)
    holder = start(attacked, "idle", 10, token)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    eventually(lambda: clients(attacked) >= 8000)
    run(attacked, "good", 3, token)  # by then what only makes the next request faster was given back
    each_kib = (sum(resident_mib(pid) for pid in workers) - before) * 1024 / 8000
    beside = run(attacked, "good", 2, token)
    assert finish(holder)["held"] == 8000
    print(f"\nidle: alone {alone}, beside {beside}, {each_kib:.1f} KiB each, {[descriptors(pid) for pid in workers]}")
    assert beside["refused"] == {}
    assert each_kib < MOST_IDLE_KIB
    assert beside["p99"] < MOST_MS
    eventually(lambda: clients(attacked) == 0)
