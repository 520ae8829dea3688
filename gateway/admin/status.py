"""`GET /v1/status`: everything an operator asks first, in one document. Reads; changes nothing; tells no secret."""

from collections.abc import Sequence
from typing import Any

from gateway import __version__
from gateway.admin.health import Overview, WorkerStatus
from gateway.telemetry.reading import UpstreamReading


def status_document(overview: Overview, store: dict[str, Any], config_path: str) -> dict[str, Any]:
    """The document. `store` holds what the log itself told: epoch, head position, members."""
    workers = overview.workers()
    return {
        "version": __version__,
        "config": config_path,
        "ready": overview.is_ready and not overview.is_stopping,
        "workers": [_worker(worker) for worker in workers],
        "store": {"url": overview.store.url, "up": overview.store.is_up, "problem": overview.store.problem or None, **store},
        "issuers": _issuers(workers),
        "upstreams": [_upstream(name, one) for name, one in overview.upstreams().items()],
    }


def _worker(worker: WorkerStatus) -> dict[str, Any]:
    reading = worker.reading
    has_proof = reading.lag_s != float("inf")
    return {
        "index": worker.index,
        "pid": worker.pid,
        "state": worker.state,
        "ready": worker.is_ready,
        "incarnation": worker.incarnation,
        "restarts": worker.restarts,
        "replica": reading.state,
        "position": reading.position,
        "lag_ms": round(reading.lag_s * 1000, 1) if has_proof else None,
        "entries": reading.entries,
        "clock_offset_ms": round(reading.clock_offset_s * 1000, 1),
        "connections": {"client": reading.client_connections, "upstream": reading.upstream_connections},
    }


def _upstream(name: str, one: UpstreamReading) -> dict[str, Any]:
    servers = [{"address": address, **counts} for address, counts in one.servers.items()]
    return {"name": name, "up": one.is_up, "addresses": one.addresses, "servers": servers}


def _issuers(workers: Sequence[WorkerStatus]) -> list[dict[str, Any]]:
    """Per issuer, how many keys each worker holds (in the workers' order) and when the oldest set was fetched."""
    if not workers:
        return []
    return [
        {
            "issuer": place.issuer,
            "keys": [worker.reading.keys[at].keys for worker in workers],
            "fetched_at": min(worker.reading.keys[at].fetched_at for worker in workers) or None,
        }
        for at, place in enumerate(workers[0].reading.keys)
    ]
