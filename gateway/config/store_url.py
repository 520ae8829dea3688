"""The URL of an external store, taken apart: one server, a service that sentinels watch, or a cluster.

    redis://[user:password@]host[:port][/db]   rediss://…   unix://[user:password@]/path
    redis+sentinel://[user:password@]host[:port],host[:port]…/service[/db]       the hosts are the sentinels
    redis+cluster://[user:password@]host[:port],host[:port]…                     the hosts are some of its nodes

User and password are the servers'. Sentinels that ask for their own take `?sentinel_user=…&sentinel_password=…`. `rediss+…` is
TLS to all of them. Further options behind `?` are the client library's (`ssl_ca_certs`…), for every server alike.

Owns the spelling. Connecting is `store/client.py`'s; messages never repeat a value, which may hold a password.
"""

from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import parse_qsl, urlencode

Kind = Literal["server", "sentinel", "cluster"]

SPELLINGS: Final = "redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://"
_KINDS: Final[dict[str, Kind]] = {"": "server", "sentinel": "sentinel", "cluster": "cluster"}
_PORTS: Final[dict[Kind, int]] = {"server": 6379, "sentinel": 26379, "cluster": 6379}
_MOST_HOSTS: Final = 64


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """`plain` is the URL of one server, as the client library reads it: the only one, or the first named, with database, user
    and options as every server of the store takes them. `sentinel_user` and `sentinel_password` are empty when there are none.
    """

    kind: Kind
    plain: str
    hosts: tuple[tuple[str, int], ...] = ()
    service: str = ""
    sentinel_user: str = ""
    sentinel_password: str = ""


def parse_store_url(url: str) -> StoreUrl:
    """Raises ValueError, with what would be right."""
    scheme, slashes, rest = url.partition("://")
    base, _, suffix = scheme.partition("+")
    if not slashes or suffix not in _KINDS or base not in ("redis", "rediss", "unix") or (suffix and base == "unix"):
        raise ValueError(f"must be embedded, or a URL that begins with {SPELLINGS}")
    kind = _KINDS[suffix]
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    if base == "unix":
        if not path:
            raise ValueError("unix:// needs the path of a socket, as in unix:///run/valkey.sock")
        return StoreUrl(kind, url)
    credentials, at, names = authority.rpartition("@")
    hosts = tuple(_host(name, _PORTS[kind]) for name in names.split(","))
    if kind == "server":
        if len(hosts) > 1:
            raise ValueError("names several servers; write redis+sentinel:// or redis+cluster://")
        return StoreUrl(kind, url, hosts)
    if len(hosts) > _MOST_HOSTS:
        raise ValueError(f"may name at most {_MOST_HOSTS} hosts")
    service, _, database = path.partition("/") if kind == "sentinel" else ("", "", path)
    if kind == "sentinel" and not service:
        raise ValueError("needs the service that the sentinels watch, as in redis+sentinel://host:26379/mymaster")
    if database and (kind == "cluster" or not database.isdecimal()):
        raise ValueError(
            "a cluster has one database only" if kind == "cluster" else "the database behind the service is a number"
        )
    options = dict(parse_qsl(query))
    user, password = options.pop("sentinel_user", ""), options.pop("sentinel_password", "")
    first = f"[{hosts[0][0]}]" if ":" in hosts[0][0] else hosts[0][0]
    plain = f"{base}://{credentials}{at}{first}:{hosts[0][1]}/{database or 0}" + (f"?{urlencode(options)}" if options else "")
    return StoreUrl(kind, plain, hosts, service, user, password)


def without_password(url: str) -> str:
    """The URL as it may be shown: user and password are left out, and so is a query that could hold them."""
    scheme, slashes, rest = url.partition("://")
    authority, slash, path = rest.partition("?")[0].partition("/")
    return f"{scheme}{slashes}{authority.rpartition('@')[2]}{slash}{path}"


def _host(name: str, default_port: int) -> tuple[str, int]:
    host, colon, port = name.rpartition(":")
    if not colon or name.endswith("]"):
        host, port = name, str(default_port)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError("needs a host, or host:port with a port from 1 to 65535")
    return host, int(port)
