"""The country of an address, from a MaxMind database that the operator keeps up to date (`fingerprint.country.database`).

An address that the database does not know has no country, and what is not known never counts as a change. Databases of
several makers are read: the country as MaxMind and DB-IP nest it, or as one code at the top, as IPinfo does.

`Countries` owns the open database and a bounded memory of results. The file is read into memory of our own: a mapping of
the operator's file would end the process (SIGBUS) when somebody copies a new one over it instead of renaming it into place.
Country databases measure 4 to 10 MiB.

The reader is `maxminddb`, the extra `geoip`; without it, opening fails with a text for the operator. `open` and `refresh`
read the disk: they are for a thread. `country_of` is for the event loop.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol, Self

from gateway.errors import CountriesUnavailable
from gateway.wire.forwarded import parse_address

_MEMORY: Final = 4096
_CODE: Final = re.compile(r"[A-Z]{2}\Z")  # ISO 3166-1 alpha-2

_Signature = tuple[int, int, int]


class _Reader(Protocol):
    def get(self, ip_address: Any) -> Any: ...


class _Database:
    """One state of the file, with what was looked up in it: they are replaced together, between two look-ups."""

    __slots__ = ("known", "reader", "signature")

    def __init__(self, reader: _Reader, signature: _Signature) -> None:
        self.reader = reader
        self.signature = signature
        self.known: dict[str, str | None] = {}


class Countries:
    """Countries of addresses. One per worker."""

    __slots__ = ("_database", "_path")

    def __init__(self, path: Path, database: _Database) -> None:
        self._path = path
        self._database = database

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the database. Raises CountriesUnavailable. For a thread: it reads the whole file."""
        return cls(path, _read(path))

    def refresh(self) -> bool:
        """Read the file again when it changed; whether it did. For a thread, now and then; costs 5 µs when it did not.

        Raises CountriesUnavailable when it is gone or broken, or is being written; then the old state goes on serving.
        """
        if _signature(self._path) == self._database.signature:
            return False
        self._database = _read(self._path)
        return True

    def country_of(self, address: str) -> str | None:
        """The country as `DE`, or None: an unknown or a private address, or no address. Cached 0.1 µs, else 6 µs."""
        database = self._database
        known = database.known
        if address in known:
            return known[address]
        if len(known) >= _MEMORY:
            known.clear()
        country = known[address] = _look_up(database.reader, address)
        return country


def _look_up(reader: _Reader, text: str) -> str | None:
    address = parse_address(text)
    if address is None:
        return None
    try:
        record = reader.get(address)
    except (ValueError, RuntimeError):  # an IPv6 address in a database of IPv4 only; a broken record (InvalidDatabaseError)
        return None
    return _country_in(record)


def _country_in(record: Any) -> str | None:
    if not isinstance(record, dict):
        return None
    country = record.get("country_code", record.get("country"))
    if isinstance(country, dict):
        country = country.get("iso_code")
    return country if isinstance(country, str) and _CODE.match(country) else None


def _read(path: Path) -> _Database:
    try:
        import maxminddb
    except ImportError as error:
        raise CountriesUnavailable("the country needs a library: install the gateway's extra geoip") from error
    signature = _signature(path)
    try:
        with _own_copy(path) as copy:
            reader = maxminddb.open_database(copy)
    except (OSError, ValueError, TypeError, RuntimeError) as error:  # InvalidDatabaseError is a RuntimeError
        raise CountriesUnavailable(f"{path} is not a database of countries that can be read: {error}") from error
    if _signature(path) != signature:
        raise CountriesUnavailable(f"{path} is being written")
    return _Database(reader, signature)


@contextmanager
def _own_copy(path: Path) -> Iterator[str]:
    """A path to a copy that nobody else can write; the mapping that the reader makes of it outlives the descriptor."""
    if not hasattr(os, "memfd_create"):  # not Linux: the operator's file itself
        yield str(path)
        return
    with open(os.memfd_create("countries"), "wb") as copy:
        with path.open("rb") as file:
            shutil.copyfileobj(file, copy, 1 << 20)
        copy.flush()
        yield f"/proc/self/fd/{copy.fileno()}"


def _signature(path: Path) -> _Signature:
    try:
        status = path.stat()
    except OSError as error:
        raise CountriesUnavailable(f"{path} cannot be read: {error.strerror}") from error
    return status.st_mtime_ns, status.st_size, status.st_ino
