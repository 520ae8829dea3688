"""Another gateway's webhook in a process of its own, so that it can be killed: the store's URL, the receiver's URL."""

import asyncio
import sys

from webhook.telling import Telling


async def main() -> None:
    Telling(sys.argv[1], sys.argv[2]).webhook.start()
    await asyncio.Event().wait()


asyncio.run(main())
