"""TLS to the store: one context for all connections, made when the client is made.

redis-py makes one for each connection when it connects, which takes 50 ms each (all authorities of the system are read), and no
turn of the loop has as much: with thirty logins at once a worker would stand still for seconds. And it goes on trusting the
system's authorities beside those of `ssl_ca_certs`; here whoever names authorities trusts these alone, as with every other server
of the configuration.

Options are the client library's, from behind the `?` of the URL. A file that is not there is told when the client is made: at the
start, and not as a store that is away.
"""

import ssl
from typing import Any

from redis.asyncio.connection import RedisSSLContext, SSLConnection
from redis.exceptions import RedisError


class TLSConnection(SSLConnection):
    """One whose context is shared: `tls`."""

    def __init__(self, *, tls: RedisSSLContext, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context = tls


def with_shared_context(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a pool of TLS connections, with their context. Raises ValueError."""
    try:
        named = {name: value for name, value in options.items() if name.startswith("ssl_")}
        tls = SSLConnection(**named).ssl_context
        tls.context = _context(tls)
    except (OSError, RedisError, TypeError) as error:  # of the SSL library, too; the text of a TypeError names the option
        told = getattr(error, "strerror", None) or str(error).rpartition("() ")[2]
        raise ValueError(f"its TLS options cannot be used: {told}") from error
    return options | {"connection_class": TLSConnection, "tls": tls}


def _context(tls: RedisSSLContext) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca_certs, capath=tls.ca_path, cadata=tls.ca_data)
    context.check_hostname = tls.check_hostname
    context.verify_mode = tls.cert_reqs
    for flag in tls.include_verify_flags or ():
        context.verify_flags |= flag
    for flag in tls.exclude_verify_flags or ():
        context.verify_flags &= ~flag
    if tls.certfile is not None:
        context.load_cert_chain(tls.certfile, tls.keyfile, tls.password)
    elif tls.keyfile is not None:
        raise ValueError("its TLS options cannot be used: ssl_keyfile needs an ssl_certfile")
    if tls.min_version is not None:
        context.minimum_version = tls.min_version
    if tls.ciphers is not None:
        context.set_ciphers(tls.ciphers)
    return context
