"""`gateway check --live`: what an operator is told about a store before users are."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from issuing import rsa_signer, write_key_set
from live.running_gateway import ADMIN_TOKEN, environment
from store_process import StoreProcess
from store_sets import Watched, watched

from gateway.clock import LARGEST_STORE_OFFSET_S, Clock
from gateway.store.client import connect
from gateway.store.inspection import inspect

HIDDEN = "CONFIG is closed here, so nothing can be said about appendfsync; see that it is always"


async def told(url: str, clock: Clock | None = None) -> list[tuple[bool, str]]:
    store = connect(url)
    try:
        return [(finding.is_problem, finding.text) for finding in await inspect(store, clock or Clock())]
    finally:
        await store.aclose()


def set_to(**settings: str | int) -> Callable[[StoreProcess], None]:
    def change(process: StoreProcess) -> None:
        for name, value in settings.items():
            process.command("CONFIG", "SET", name.replace("_", "-"), value)

    return change


def demote(process: StoreProcess) -> None:
    process.command("REPLICAOF", "127.0.0.1", 1)


@pytest.mark.parametrize(
    ("change", "is_problem", "words"),
    [
        (set_to(appendonly="no"), False, "appendonly is no"),
        (set_to(appendfsync="everysec"), False, "appendfsync is everysec and it has no replica"),
        (set_to(maxmemory_policy="allkeys-lru"), False, "maxmemory-policy is allkeys-lru, which forgets revocations once"),
        (set_to(maxmemory_policy="allkeys-lru", maxmemory="1gb"), True, "maxmemory-policy is allkeys-lru"),
        (demote, True, "it is a replica, which takes no writes"),
        (StoreProcess.kill, True, "does not answer: ConnectionError"),
    ],
    ids=["nothing on disk", "not flushed", "would evict", "evicts", "a replica", "away"],
)
async def test_R12_what_could_be_lost_is_told_and_of_a_good_store_nothing(
    store_process: StoreProcess, change: Callable[[StoreProcess], None], is_problem: bool, words: str
) -> None:
    assert await told(store_process.url) == []
    change(store_process)
    (found,) = await told(store_process.url)
    assert found[0] is is_problem
    assert found[1].startswith(words)


async def test_T6_clocks_that_are_apart_are_a_problem(store_url: str) -> None:
    class Ahead(Clock):
        def wall(self) -> float:
            return super().wall() + LARGEST_STORE_OFFSET_S + 1

    ((is_problem, text),) = await told(store_url, Ahead())
    assert is_problem
    assert text.startswith("its clock and this machine's are 2.0 s apart")


async def test_a_store_without_CONFIG_is_judged_by_what_it_says() -> None:
    process = StoreProcess("--rename-command", "CONFIG", "").start()
    try:
        assert await told(process.url) == [(False, HIDDEN)]
    finally:
        process.close()


@pytest.fixture(scope="module")
def service() -> Iterator[Watched]:
    with watched(sentinels=1, replicas=1, options=("appendonly yes",)) as service:
        yield service


async def test_L3_a_failover_that_begins_before_a_cut_off_master_stops_writing_is_told(service: Watched) -> None:
    found = await told(service.url)
    assert [is_problem for is_problem, _ in found] == [True, True, False, False]
    beginnings = [
        "another server may take over but min-replicas-to-write is 0",
        "min-replicas-max-lag is 10 s and a failover begins after 1 s",
        "1 sentinels are named",
        "a master has one replica",
    ]
    assert all(text.startswith(beginning) for (_, text), beginning in zip(found, beginnings, strict=True))


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "gateway", *arguments, "-c", str(folder / "gateway.yaml")]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, env=environment())


def configure(folder: Path, url: str, jwks: str = "keys.json") -> None:
    write_key_set(folder / "keys.json", rsa_signer())
    (folder / "gateway.yaml").write_text(
        f"admin: {{listen: 127.0.0.1:9090, token: {ADMIN_TOKEN}}}\nstore: {{url: {url!r}}}\n"
        f"issuers: [{{issuer: https://idp.example, audience: shop, jwks: {jwks!r}, algorithms: [RS256]}}]\n"
        "upstreams: {app: {url: http://127.0.0.1:8000}}\nroutes: [{name: app, path: /, upstream: app}]\n"
    )


def test_check_live_says_what_is_wrong_and_is_content_when_it_was_put_right(tmp_path: Path, store_process: StoreProcess) -> None:
    configure(tmp_path, store_process.url)
    store_process.command("CONFIG", "SET", "appendfsync", "everysec")
    done = run(tmp_path, "check", "--live")
    assert (done.returncode, done.stdout) == (1, "")
    warning, problem = done.stderr.splitlines()
    file = tmp_path / "gateway.yaml"
    assert warning.startswith(f"warning: {file}: store.url: appendfsync is everysec and it has no replica")
    assert problem == f"{file}: store.url: it was never declared, or it lost everything; `gateway store init` declares it"
    store_process.command("CONFIG", "SET", "appendfsync", "always")
    assert run(tmp_path, "store", "init").returncode == 0
    done = run(tmp_path, "check", "--live", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"ok": True, "problems": [], "warnings": [], "routes": 1, "upstreams": 1, "issuers": 1}


def test_check_live_tells_a_key_set_that_cannot_be_had(tmp_path: Path) -> None:
    configure(tmp_path, "embedded", "http://127.0.0.1:1/keys")
    done = run(tmp_path, "check", "--live", "--json")
    assert done.returncode == 1
    (problem,) = json.loads(done.stdout)["problems"]
    assert problem.startswith(f"{tmp_path}/gateway.yaml: issuers.0.jwks: ")
