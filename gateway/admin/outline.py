"""`gateway status` for people: the status document as a table of workers, and one line for each other part.

    worker  pid   state    replica  position  lag     entries  clients  restarts
    0       4711  running  live     12        0.4 ms  3        1        0

Takes the document as it came from a running gateway, which may be of another version: what is missing is a dash, what is
unknown stays out. Nothing is left out of `--json`.
"""

from collections.abc import Mapping
from typing import Any, Final

from gateway.admin.table import NOTHING, date, objects, table, word
from gateway.revocation.state import WHY_LOST, State

_HEADINGS: Final = ("worker", "pid", "state", "replica", "position", "lag", "entries", "clients", "restarts")


def outline(document: Mapping[str, Any]) -> list[str]:
    """The lines."""
    lines = [f"{name}: {word(document[name])}" for name in ("ready", "version", "config") if name in document]
    if isinstance(store := document.get("store"), Mapping):
        lines.append(f"store: {_store(store)}")
    if keys := objects(document, "keys"):
        lines.append("keys: " + ", ".join(f"{word(key.get('kid'))} {word(key.get('state'))}" for key in keys))
    if "sessions" in document:
        lines.append(f"sessions: {word(document['sessions'])}")
    if isinstance(accounts := document.get("accounts"), Mapping):
        lines.append(f"accounts: {_accounts(accounts)}")
    lines += [f"issuer {word(issuer.get('issuer'))}: {_issuer(issuer)}" for issuer in objects(document, "issuers")]
    lines += [f"upstream {word(one.get('name'))}: {_upstream(one)}" for one in objects(document, "upstreams")]
    if workers := objects(document, "workers"):
        lines += ["", *table(_HEADINGS, list(map(_row, workers)))]
        if any(worker.get("replica") == State.LOST for worker in workers):
            lines += ["", f"lost: {WHY_LOST}"]
    return lines


def _store(store: Mapping[str, Any]) -> str:
    said = [word(store.get("url")), _up(store)]
    if store.get("head") is not None:
        said.append(f"position {word(store['head'])}")
    if store.get("problem"):
        said.append(word(store["problem"]))
    return ", ".join(said)


def _upstream(one: Mapping[str, Any]) -> str:
    """Its addresses are worth a word when there are several, or one is not used."""
    addresses = one.get("addresses")
    counts = {word(state): count for state, count in addresses.items()} if isinstance(addresses, Mapping) else {}
    if not any(counts.values()) or (sum(counts.values()) == 1 and counts.get("up")):
        return _up(one)
    told = f"{_up(one)}, addresses: " + ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    servers = objects(one, "servers")
    out = [f"{word(server.get('address'))} {state}" for server in servers for state in ("ejected", "down") if server.get(state)]
    return f"{told} ({', '.join(out)})" if out else told


def _accounts(accounts: Mapping[str, Any]) -> str:
    said = word(accounts.get("state"))
    if said in ("off", "unused"):
        return said
    return f"{word(accounts.get('database'))}, {said}, registration {word(accounts.get('registration'))}"


def _issuer(issuer: Mapping[str, Any]) -> str:
    keys = issuer.get("keys") or []
    if not any(keys):
        return "no keys"
    counts = sorted(set(keys))
    several = f"keys by worker {', '.join(map(word, keys))}"
    said = f"{counts[0]} {'key' if counts[0] == 1 else 'keys'}" if len(counts) == 1 else several
    return f"{said}, fetched {date(issuer['fetched_at'])}" if issuer.get("fetched_at") else said


def _row(worker: Mapping[str, Any]) -> tuple[Any, ...]:
    lag = worker.get("lag_ms")
    connections = worker.get("connections")
    clients = connections.get("client") if isinstance(connections, Mapping) else None
    told = tuple(worker.get(name) for name in ("index", "pid", "state", "replica", "position"))
    return (*told, NOTHING if lag is None else f"{word(lag)} ms", worker.get("entries"), clients, worker.get("restarts"))


def _up(part: Mapping[str, Any]) -> str:
    return "up" if part.get("up") else "down"
