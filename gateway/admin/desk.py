"""What the endpoints share: the office they act through, and what they tell of it; and how a receipt is answered."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from gateway.admin.acts import Acts
from gateway.admin.answers import json_answer
from gateway.admin.history import History
from gateway.admin.office import Office
from gateway.config.schema import Config
from gateway.revocation.receipt import Receipt

MOST_FOLLOWERS: Final = 32


@dataclass(frozen=True, slots=True)
class Desk:
    """Per process. `followers` bounds those who wait for the next event of the trail: each holds a connection to the store."""

    config: Config
    office: Office
    acts: Acts
    history: History
    followers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_FOLLOWERS))


def receipt_answer(receipt: Receipt, done: int = 200, **further: Any) -> web.Response:
    """The receipt, with further members of one endpoint. 202: it was not complete at the deadline [W3]."""
    return json_answer(receipt.as_json() | further, done if receipt.complete else 202)
