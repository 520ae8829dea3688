"""Live exchanges are judged, and ended, some in each turn of the loop.

    a fact ──> suspects ──> may go on
                     └────> told its end ──> closed ──> counted, logged          each when all are through the one before

One fact may end thousands: a user with 500 connections, a key with all. Of a WebSocket that takes 10 µs until it is told, 25 to
close both sides, 20 to write it down; 2 000 in one turn held the loop, and everybody else, for 40 ms and then for 80. Now nothing
of theirs passes from the first turn on (`live.is_in_doubt`), a turn takes 2 ms and what the kernel has to do about it, and others
are served between two turns. The revocation is acknowledged when the last of them is closed [W1].

Owns no data: it is in `live.LiveExchanges`.
"""

import asyncio
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import TYPE_CHECKING, Final

from gateway.proxy.live import LiveExchange, end_if_revoked
from gateway.proxy.steps import Wait

if TYPE_CHECKING:
    from gateway.proxy.plane import Plane

TURN_S: Final = 0.002
CLOSED_IN_ONE_TURN: Final = 64  # the kernel has its 20 µs of work with each after the turn
WRITTEN_WITHIN_S: Final = 2.0
_AFTER_A_DEFECT_S: Final = 0.05


def suspect(exchanges: Iterable[LiveExchange], plane: "Plane") -> None:
    """What the view knows now may end these: from here on not a byte of them passes before they are judged."""
    live = plane.live
    live.suspects.update(dict.fromkeys(exchanges))
    if live.suspects:
        live.settled.clear()
        _take_a_turn(plane)


def close_later(close: Callable[[], None], plane: "Plane") -> None:
    """An exchange was told its end, and nothing of it passes any more: `close` is called when all others were told theirs."""
    plane.live.unclosed.append(close)
    plane.live.settled.clear()
    _take_a_turn(plane)


def write_down_later(ended: Wait[None], plane: "Plane") -> None:
    """An exchange was closed: `ended` is set when all others were."""
    plane.live.unwritten.append(ended)
    _take_a_turn(plane)


async def wait_until_judged(plane: "Plane") -> None:
    """Until every suspect is judged, and closed where it must be [W1]. A handful is done with at once."""
    live = plane.live
    if live.suspects or live.unclosed:
        _work(plane)
        await live.settled.wait()


async def wait_until_written(plane: "Plane") -> None:
    """Until all that was cut is closed, counted and logged; at the worker's end, which no defect holds up for ever."""
    deadline = plane.loop.time() + WRITTEN_WITHIN_S
    while (plane.live.unclosed or plane.live.unwritten) and plane.loop.time() < deadline:  # noqa: ASYNC110 - a few turns
        await asyncio.sleep(0)


async def end_all_revoked_by_turns(plane: "Plane") -> None:
    """Judge all that is live: for what may be found half a second later."""
    until = perf_counter() + TURN_S
    for exchange in plane.live:
        if exchange in plane.live:  # others were served meanwhile: it may have ended, and its connection serves the next
            end_if_revoked(exchange, plane)
        if perf_counter() >= until:
            await asyncio.sleep(0)
            until = perf_counter() + TURN_S


def _take_a_turn(plane: "Plane") -> None:
    if not plane.live.is_in_turn:
        plane.live.is_in_turn = True
        plane.loop.call_soon(_turn, plane)


def _turn(plane: "Plane") -> None:
    live, is_sound = plane.live, False
    try:
        is_sound = _work(plane)
    finally:
        if not is_sound:  # the one that could not be ended stays a suspect, and the fact unacknowledged
            plane.loop.call_later(_AFTER_A_DEFECT_S, _turn, plane)
        elif live.suspects or live.unclosed or live.unwritten:
            plane.loop.call_soon(_turn, plane)
        else:
            live.is_in_turn = False


def _work(plane: "Plane") -> bool:
    """For a turn's time; at least one is done with. False: a defect of ours."""
    live, until, is_sound = plane.live, perf_counter() + TURN_S, True
    while live.suspects and is_sound:
        exchange = next(iter(live.suspects))
        try:
            end_if_revoked(exchange, plane)
        except Exception as error:
            live.suspects.move_to_end(exchange)
            plane.report.broken(error)
            is_sound = False
        if perf_counter() >= until:
            break
    if live.suspects and is_sound:
        return True
    for _ in range(min(len(live.unclosed), CLOSED_IN_ONE_TURN)):
        close = live.unclosed.popleft()
        try:
            close()
        except Exception as error:  # perhaps one side is closed, and the other is not
            live.unclosed.append(close)
            plane.report.broken(error)
            is_sound = False
    if live.unclosed:
        return is_sound
    if not live.suspects:
        live.settled.set()
    while live.unwritten:
        try:
            live.unwritten.popleft().set(None)
        except Exception as error:
            plane.report.broken(error)
        if perf_counter() >= until:
            break
    return is_sound
