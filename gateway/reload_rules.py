"""From the files on the disk to a configuration that may take the place of the present one, or to all that speaks against it.

Reads files and judges, so it is called in a thread; changes nothing. Owns the list of keys that cannot change while the gateway
runs: what other processes know it by, and what the workers of two configurations that serve side by side must agree on.
docs/how-to/reload-and-upgrade.md has the table of all keys.
"""

import os
import ssl
from typing import Any, Final

from gateway.boot import hand_over_all, path_of
from gateway.config.load import Loaded, load, place_of
from gateway.config.problems import Location
from gateway.errors import ConfigurationError

FIXED: Final[tuple[Location, ...]] = (
    ("admin", "listen"),  # scrapers, probes and commands know the gateway by it
    ("store", "url"),
    ("store", "directory"),  # its server, the lock on it, and what workers keep on the disk
    ("store", "max_staleness"),  # a receipt counts a silent worker as stopped by it, and so must every worker [W2]
)


def read_again(present: Loaded) -> tuple[Loaded, tuple[bytes, ...]]:
    """The configuration as it is on the disk now, with certificate and key. Raises ConfigurationError."""
    loaded = load(present.path)
    problems = [
        f"{place_of(loaded, location)}: cannot change while the gateway runs; put it back, or restart the gateway"
        for location in FIXED
        if _value(loaded, location) != _value(present, location)
    ]
    if problems:
        raise ConfigurationError(problems)
    return loaded, read_pem(loaded)


def read_pem(loaded: Loaded) -> tuple[bytes, ...]:
    """Certificate and key, which are known to belong together; nothing when TLS is not spoken. Raises ConfigurationError.

    The bytes that were judged are the bytes that every worker loads, whatever the files hold by then.
    """
    tls = loaded.config.tls
    if tls is None:
        return ()
    place = place_of(loaded, ("tls", "certificate"))
    try:
        pem = tls.certificate.read_bytes(), tls.key.read_bytes()
    except OSError as error:
        raise ConfigurationError([f"{place}: {error.filename} cannot be read ({error.strerror})"]) from None
    descriptors = hand_over_all(pem)
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate, key = map(path_of, descriptors)
        context.load_cert_chain(certificate, key, password=b"")  # a key with a passphrase is refused, not asked for
    except (ssl.SSLError, ValueError) as error:
        what = getattr(error, "reason", None) or type(error).__name__
        raise ConfigurationError([f"{place}: certificate and key cannot be used together ({what})"]) from None
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return pem


def _value(loaded: Loaded, location: Location) -> Any:
    value: Any = loaded.config
    for part in location:
        value = getattr(value, str(part))
    return value
