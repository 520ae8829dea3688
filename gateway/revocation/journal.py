"""Revocations whose append got no answer: written down, and repeated under their id until it is known what came of them [R5].

A log-out during an outage of the store must not be forgotten because this process ends first. So what could not be appended is
a line of a file, flushed before anybody is told, and the file is worked through again by whoever starts next:

    pending.0.jsonl      {"id": …, "facts": [{kind, name, issuer, reason, source, expires_at, user, value, thumbprint}, …]}

Repeating is harmless: the log appends one id once. Per process: one file, one task. Knows no sessions.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from gateway.errors import GatewayError, StoreError
from gateway.private_files import write_private
from gateway.revocation.entry import Kind, Revocation
from gateway.revocation.log import RevocationLog

RETRY_S: Final = 0.5
MOST_PENDING: Final = 10_000

_log = logging.getLogger(__name__)


class JournalFull(GatewayError):
    """So much is pending that one more could not be promised."""


class Journal:
    """What this process still has to append. `load` before `run`."""

    def __init__(self, folder: Path, number: int, log: Callable[[], RevocationLog]) -> None:
        """`log` is asked for at each append: a new configuration brings another one, with other lifetimes."""
        self._file = folder / f"pending.{number}.jsonl"
        self._log = log
        self._pending: dict[str, tuple[Revocation, ...]] = {}
        self._news = asyncio.Event()

    def __len__(self) -> int:
        return len(self._pending)

    def load(self, *, also: Sequence[int] = ()) -> list[Revocation]:
        """What was pending when the process before this one ended, and those numbered `also`, which have no process any more."""
        for number in also:
            other = self._file.with_name(f"pending.{number}.jsonl")
            self._read(other)
            if other.exists():
                self._write()
                other.unlink()
        self._read(self._file)
        self._news.set()
        return [fact for facts in self._pending.values() for fact in facts]

    def add(self, revocation: Revocation, *also: Revocation) -> None:
        """Promise to append it. On the disk when this returns. Raises JournalFull, OSError."""
        if len(self._pending) >= MOST_PENDING:
            raise JournalFull("too many revocations are waiting for the store")
        self._pending[revocation.id] = (revocation, *also)
        self._write()
        self._news.set()

    async def run(self) -> None:
        """Append what is pending, for ever; to be cancelled."""
        while True:
            await self._news.wait()
            for revocation_id, facts in list(self._pending.items()):
                try:
                    await self._log().revoke(*facts)
                except StoreError:
                    await asyncio.sleep(RETRY_S)
                    break
                except GatewayError as error:  # the log will never take it
                    _log.error("a pending revocation is given up: %s", error)
                del self._pending[revocation_id]
                self._write()
            if not self._pending:
                self._news.clear()

    def _read(self, file: Path) -> None:
        try:
            lines = file.read_text("utf-8").splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                facts = tuple(_read_fact(fact) for fact in json.loads(line)["facts"])
                self._pending[facts[0].id] = facts
            except (ValueError, TypeError, KeyError, IndexError) as error:
                _log.error("a line of %s cannot be read and is left out: %s", file.name, type(error).__name__)

    def _write(self) -> None:
        """The whole file anew, put in its place in one step: it is short, and half a line is no promise."""
        lines = (json.dumps({"facts": [asdict(fact) for fact in facts]}) + "\n" for facts in self._pending.values())
        write_private(self._file, "".join(lines).encode())


def leftovers(folder: Path, processes: int) -> list[int]:
    """The numbers of journals whose processes are no more: there were more of them once."""
    numbers = (file.name.split(".")[1] for file in folder.glob("pending.*.jsonl"))
    return sorted(int(number) for number in numbers if number.isdecimal() and int(number) >= processes)


def _read_fact(fields: dict[str, Any]) -> Revocation:
    return replace(Revocation(**fields), kind=Kind(fields["kind"]))
