"""Scripts that run inside the store: what must be read, decided and written at once.

A script is sent by its digest; a store that does not know it (restarted, failed over, `SCRIPT FLUSH`) answers
`NOSCRIPT`, has then done nothing, and gets the text, which it remembers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from typing import Any

from redis.exceptions import NoScriptError

from gateway.store.client import Argument, Store, store_errors


@dataclass(frozen=True, slots=True)
class Script:
    """The text of a script and the digest by which the store knows it."""

    text: str
    digest: str


def load_script(*files: Path) -> Script:
    """One script from several files, in their order: what is shared comes first."""
    text = "\n".join(file.read_text("utf-8") for file in files)
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


async def run_script(store: Store, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
    """Run it; the answer is the store's, unread. Raises `StoreUnavailable`."""
    with store_errors():
        try:
            return await store.execute_command("EVALSHA", script.digest, len(keys), *keys, *arguments)  # type: ignore[no-untyped-call]
        except NoScriptError:
            return await store.execute_command("EVAL", script.text, len(keys), *keys, *arguments)  # type: ignore[no-untyped-call]
