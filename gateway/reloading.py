"""When there is a new configuration, and what came of it: asked for (SIGHUP), or its files have changed and hold still.

    changed, or asked ──▶ read and judged ──▶ put in force ──▶ told: the new one serves
                               │                   │
                               └── bad ────────────┴────────▶ told: everything is as it was

One at a time, in one task, so whatever is asked for meanwhile has its turn afterwards, and is judged by what is in force then.
Asked for may also be new workers of the same configuration (`renew`): then no file is read.

Owns what is known of the files, and the outcomes. How a configuration is put in force is the supervisor's; it is handed in.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from gateway.config.load import Loaded
from gateway.errors import ConfigurationError, GatewayError
from gateway.file_changes import WatchedFiles, files_of
from gateway.reload_rules import read_again, read_pem
from gateway.telemetry.reading import Reloads

LOOK_EVERY_S: Final = 1.0

logger: Final = logging.getLogger("gateway.supervisor")

Pem = tuple[bytes, ...]


class Reloading:
    """Per supervisor. `loaded` and `pem` are what is in force."""

    __slots__ = ("_began", "_ended", "_is_asked", "_is_renewal", "_news", "_put_in_force", "_wall", "loaded", "pem", "reloads")

    def __init__(
        self,
        loaded: Loaded,
        put_in_force: Callable[[Loaded, Pem], Awaitable[None]],
        wall: Callable[[], float],
        began: Callable[[], None],
        ended: Callable[[bool], None],
    ) -> None:
        """`put_in_force` has new workers serve a configuration, or raises with nothing changed.

        `began` and `ended` are told of each reload; `ended` whether it succeeded. Reads certificate and key: raises
        ConfigurationError.
        """
        self.loaded = loaded
        self.pem = read_pem(loaded)
        self.reloads = Reloads(succeeded_at=wall())
        self._put_in_force = put_in_force
        self._wall = wall
        self._began = began
        self._ended = ended
        self._is_asked = self._is_renewal = False
        self._news = asyncio.Event()

    @property
    def is_asked(self) -> bool:
        """Whether new workers are to come, or on their way."""
        return self._is_asked or self._is_renewal

    def ask(self) -> None:
        """Read the configuration again, changed or not, and have new workers serve it."""
        self._is_asked = True
        self._news.set()

    def renew(self) -> None:
        """Have new workers serve the configuration that is in force when its turn has come."""
        self._is_renewal = True
        self._news.set()

    async def follow(self) -> None:
        """For ever; to be cancelled."""
        watched = await asyncio.to_thread(self._watch)
        await self._wait()
        if not self._is_asked and await asyncio.to_thread(self._is_outdated):
            self._is_asked = True  # changed between its being read and the first look at its files
        while True:
            if self._is_asked or await asyncio.to_thread(watched.has_changed):
                await asyncio.to_thread(watched.is_other)  # from here on what they hold is known, good or not
                self._is_asked = False
                if await self._reload():
                    was, watched = watched, await asyncio.to_thread(self._watch)
                    if await asyncio.to_thread(was.is_other):  # meanwhile, so nobody can say which of it was read
                        self.ask()
            elif self._is_renewal:
                await self._renew()
            await self._wait()

    async def _wait(self) -> None:
        """For somebody who asks, or a moment."""
        if not self.is_asked:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._news.wait()
        self._news.clear()

    def _watch(self) -> WatchedFiles:
        return WatchedFiles(files_of(self.loaded.config, self.loaded.path, self.loaded.files))

    def _is_outdated(self) -> bool:
        """Whether the files hold something else than what is in force."""
        try:
            loaded, pem = read_again(self.loaded)
        except ConfigurationError:
            return True
        return (loaded.config, pem) != (self.loaded.config, self.pem)

    async def _reload(self) -> bool:
        """Whether there is a new configuration now. A bad one changes nothing, and is told line by line."""
        self._began()
        try:
            loaded, pem = await asyncio.to_thread(read_again, self.loaded)
            await self._put_in_force(loaded, pem)
        except Exception as error:  # whatever it is, the present workers serve on
            for line in _told(error):
                logger.error("The configuration stays as it was: %s", line, exc_info=_unexpected(error))
            self.reloads = replace(self.reloads, failures=self.reloads.failures + 1, is_last_good=False)
            self._ended(False)
            return False
        self.loaded, self.pem = loaded, pem
        self._is_renewal = False
        for warning in loaded.warnings:
            logger.warning("%s", warning)
        self.reloads = Reloads(self.reloads.successes + 1, self.reloads.failures, True, self._wall())
        self._ended(True)
        return True

    async def _renew(self) -> None:
        try:
            await self._put_in_force(self.loaded, self.pem)
        except Exception as error:  # as above
            logger.error("The workers stay as they were: %s", error, exc_info=_unexpected(error))
        finally:
            self._is_renewal = False


def _told(error: Exception) -> list[str]:
    if isinstance(error, ConfigurationError):
        return error.problems
    return [str(error) or type(error).__name__]


def _unexpected(error: Exception) -> Exception | None:
    """What nobody thought of is told with its traceback. An OSError was: no descriptor, thread or memory is left."""
    return None if isinstance(error, GatewayError | OSError) else error
