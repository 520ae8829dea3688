"""Files that an operator, a renewal of certificates or Kubernetes may change while the gateway runs: noticed by looking.

Once a second: a look costs a `stat` per file, needs no library, and sees a symbolic link that is turned to another folder, which
watching a folder would not. A file is read only when its marks have changed and then stayed as they are from one look to the
next, so one that is being written is waited for; and only another content counts, so `touch` does nothing.

Reads files, so it is called in a thread. Owns what was seen last.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from gateway.config.schema import Config

Marks = tuple[tuple[int, int, int, int] | None, ...]
_MISSING: Final = b"missing"


class WatchedFiles:
    """Per set of files. What they hold at the beginning counts as known."""

    __slots__ = ("_files", "_is_moving", "_known", "_marks")

    def __init__(self, files: Iterable[Path]) -> None:
        self._files = sorted(set(files))
        self._marks = self._look()
        self._known = self._digest()
        self._is_moving = False

    def has_changed(self) -> bool:
        """Whether they hold something else than they did when this was answered with yes the last time, and hold it still."""
        marks = self._look()
        if marks != self._marks:
            self._marks, self._is_moving = marks, True
            return False
        return self._is_moving and self.is_other()

    def is_other(self) -> bool:
        """The same without waiting for them to hold still."""
        self._is_moving = False
        before, self._known = self._known, self._digest()
        return self._known != before

    def _look(self) -> Marks:
        return tuple(map(_marks, self._files))

    def _digest(self) -> bytes:
        digest = hashlib.sha256()
        for file in self._files:
            content = _content(file)
            digest.update(len(content).to_bytes(8, "big") + content)
        return digest.digest()


def files_of(config: Config, path: Path, further: Iterable[Path]) -> set[Path]:
    """What is read once, at the start of a worker. Key sets and the database of countries are read again where they are used."""
    authorities = [upstream.tls.ca for upstream in config.upstreams.values()]
    authorities += [block.ca for block in (config.webhook, config.tracing) if block is not None]
    tls = (config.tls.certificate, config.tls.key) if config.tls is not None else ()
    return {path, *further, *tls, *filter(None, authorities)}


def _marks(file: Path) -> tuple[int, int, int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return _MISSING
