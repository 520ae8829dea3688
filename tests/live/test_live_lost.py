"""Supervisor, workers and store die at once, and the store's disk went back: what was answered for is still refused [L5]."""

import fcntl
import shutil
import signal
from pathlib import Path

from running_gateway import ISSUER, RunningGateway, StartGateway, eventually


def kill_everything(gateway: RunningGateway) -> None:
    """Until the store has ended too: it holds the folder's lock as long as it lives."""
    gateway.stop(signal.SIGKILL)
    with (gateway.folder / "store" / "lock").open() as lock:
        eventually(lambda: _is_free(lock.fileno()))


def _is_free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def test_L5_what_was_revoked_is_refused_after_everything_died_and_the_store_s_disk_went_back(
    start_gateway: StartGateway, tmp_path: Path
) -> None:
    gateway = start_gateway()
    data, copy = gateway.folder / "store" / "data", tmp_path / "copy"
    before, after, kept = (gateway.token(jti=name, sub=name) for name in ("before", "after", "kept"))
    gateway.revoke(token_id="before", issuer=ISSUER)
    shutil.copytree(data, copy)
    gateway.revoke(token_id="after", issuer=ISSUER)
    kill_everything(gateway)
    shutil.rmtree(data)
    shutil.copytree(copy, data)
    gateway.start()
    assert gateway.told_everywhere("/who", before) == {"401 revoked-token"}
    assert gateway.told_everywhere("/who", after) == {"401 revoked-token"}
    assert gateway.told_everywhere("/who", kept) == {"200"}, "nobody who was not revoked is signed out"
    assert gateway.metrics()["gateway_store_recoveries_total"] == 1
    assert not any(line["message"].startswith("Traceback") for line in gateway.messages())
