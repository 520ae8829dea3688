"""Revocations by a running gateway while its store fails over: what was acknowledged, and is it still known afterwards."""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from attacks.wire_gateway import Wire
from following import following
from httpx import HTTPError

from gateway.revocation.entry import Kind, fact_key


@dataclass
class Revoking:
    """One thread revokes a session after the other, another asks for a page: as long as the block lasts.

    `acknowledged`: the sessions with a complete receipt, by whether it said `durable`. `gaps`: the longest pauses between two
    complete receipts, and between two answers 200, in seconds.
    """

    wire: Wire
    name: str
    acknowledged: dict[str, bool] = field(default_factory=dict)
    refused: int = 0
    receipts_at: list[float] = field(default_factory=list)
    answers_at: list[float] = field(default_factory=list)
    told: set[str] = field(default_factory=set)

    def __enter__(self) -> "Revoking":
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._revoke, self._ask)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    @property
    def longest_pause_of_receipts_s(self) -> float:
        return _longest(self.receipts_at)

    @property
    def longest_pause_of_answers_s(self) -> float:
        return _longest(self.answers_at)

    def _revoke(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            sid = f"{self.name}-{number}"
            try:
                answer = self.wire.gateway.call("POST", "/v1/revocations", json={"session": sid})
            except HTTPError:
                self.refused += 1
                continue
            if answer.status_code == 201:
                self.acknowledged[sid] = answer.json()["durable"]
                self.receipts_at.append(time.monotonic())
            else:
                self.refused += 1

    def _ask(self) -> None:
        token = self.wire.gateway.token(sub="good")
        while not self._stop.wait(0.01):
            told = self.wire.show(token).told
            self.told.add(told)
            if told == "200":
                self.answers_at.append(time.monotonic())


async def forgotten(store_url: str, sids: Iterable[str]) -> list[str]:
    """Those of the sessions whose revocation the store does not know: asked by a worker that has just begun and knows nothing."""
    async with following(store_url) as newcomer:
        try:
            await newcomer.until_live()
            return [sid for sid in sids if not newcomer.view.find(fact_key(Kind.SESSION, "", sid))]
        finally:
            await newcomer.follower.leave()  # else receipts would wait for it


def _longest(times: list[float]) -> float:
    return max((after - before for before, after in pairwise(times)), default=0.0)
