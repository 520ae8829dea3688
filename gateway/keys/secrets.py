"""The secrets that seal our signing keys in the store: the configured ones, else one that is made once and kept in a file.

    store.directory/            0700
      token-secret              0600: a secret per line, newest first, base64url as in `tokens.secrets`

The file appears whole or not at all: it is written beside its place, flushed, and linked there. A link fails where something
is, so of two processes that start at once one makes the secret and both read it.

Gateways on several hosts that share a store must share the secrets too, and then they are configured. Read once, at the start.
"""

import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from gateway.errors import ConfigurationError
from gateway.private_files import create_private, flush_folder, write_all
from gateway.tokens import base64url
from gateway.tokens.seal import SECRET_BYTES

FILE_NAME: Final = "token-secret"
_MOST_BYTES: Final = 4096


def token_secrets(configured: Sequence[str], directory: Path) -> tuple[bytes, ...]:
    """The secrets, newest first, each of 32 bytes. Raises `ConfigurationError`."""
    if configured:
        return tuple(_decode(text, "tokens.secrets") for text in configured)
    path = directory / FILE_NAME
    try:
        if not path.exists():
            _make(path)
        return _read(path)
    except OSError as error:
        raise ConfigurationError([f"store.directory: {path}: {error.strerror}"]) from error


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    beside = path.with_name(f".{FILE_NAME}.{secrets.token_hex(8)}")
    descriptor = create_private(beside)
    try:
        write_all(descriptor, base64url.encode(secrets.token_bytes(SECRET_BYTES)) + b"\n")
        os.fsync(descriptor)
        with suppress(FileExistsError):  # another process was first; its secret is the one
            os.link(beside, path)
    finally:
        os.close(descriptor)
        beside.unlink()
    flush_folder(path.parent)


def _read(path: Path) -> tuple[bytes, ...]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode & 0o777
        raw = os.read(descriptor, _MOST_BYTES)
    finally:
        os.close(descriptor)
    if mode & 0o077:
        raise ConfigurationError(
            [
                f"store.directory: {path} can be read by others (mode {mode:04o}): chmod 600 it, and after a leak replace it and"
                " run gateway keys rotate --compromised"
            ]
        )
    lines = raw.decode("ascii", "replace").split()
    if not lines:
        raise ConfigurationError([f"store.directory: {path} is empty: restore it; the signing keys cannot be read without it"])
    return tuple(_decode(line, f"store.directory: {path}") for line in lines)


def _decode(text: str, where: str) -> bytes:
    try:
        raw = base64url.decode(text.encode())
    except base64url.NotBase64URL:
        raw = b""
    if len(raw) != SECRET_BYTES:
        raise ConfigurationError([f"{where}: a secret is {SECRET_BYTES} bytes, written as base64url without padding"])
    return raw
