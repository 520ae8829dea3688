"""What the page shows, as JSON: the story and where it stands, two browsers with their jars, the log, the counters.

Everything is text for the page to show as text. Tokens are shortened; whole ones never leave this process but in a Cookie field.
Log lines come once: the page says which it has.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

from gateway.demo.acts import Act, Found
from gateway.demo.browser import Browser, Exchange
from gateway.demo.cast import AT_HOME, AT_WORK, ON_A_TRAIN
from gateway.demo.commands import preparation
from gateway.demo.configuration import PEOPLE, WORKERS
from gateway.demo.evidence import Line
from gateway.demo.jar import Cookie
from gateway.demo.stage import Stage
from gateway.demo.theatre import Progress, Theatre
from gateway.demo.theft import SCENES

MOST_EXCHANGES: Final = 6
WHO: Final = {AT_HOME: "alice", AT_WORK: "bob", ON_A_TRAIN: "thief"}


def story(stage: Stage) -> dict[str, Any]:
    """What does not change: sent once."""
    return {
        "scenes": [
            {"title": scene.title, "tells": scene.tells, "look": scene.look, "acts": [_act(act) for act in scene.acts]}
            for scene in SCENES
        ],
        "addresses": {
            "gateway": f"http://{stage.listen}",
            "application": f"http://{stage.legacy}",
            "admin": f"http://{stage.admin}",
        },
        "workers": WORKERS,
        "people": list(PEOPLE),
        "preparation": preparation(stage),
        "access_ttl_s": stage.times.access_ttl_s,
        "grace_s": stage.times.grace_s,
    }


def state(theatre: Theatre, line: int) -> dict[str, Any]:
    """What changes. `line`: the newest line of the log that the page has."""
    with theatre.changed:
        cast, site = theatre.cast, theatre.cast.site
        return {
            "version": theatre.version,
            "now": time.time(),
            "scene": theatre.scene,
            "next": theatre.next_act,
            "is_playing": theatre.is_playing,
            "is_over": theatre.is_over,
            "trouble": theatre.trouble,
            "progress": [[_progress(progress) for progress in scene] for scene in theatre.progress],
            "browsers": {
                "alice": _browser(cast.alice, site, theatre.stage),
                "thief": _browser(cast.thief, site, theatre.stage),
            },
            "password": cast.passwords[PEOPLE[0]],
            "has_loot": bool(cast.loot),
            "log": [_line(each) for each in theatre.log.since(line)],
            "counters": [
                {"name": name, "value": value, "grown": value - theatre.at_scene_start[name]}
                for name, value in sorted(theatre.counters.items())
            ],
        }


def _act(act: Act) -> dict[str, Any]:
    return {"who": act.who, "label": act.label, "tells": act.tells, "is_wait": act.until is not None}


def _progress(progress: Progress) -> dict[str, Any]:
    return {"state": progress.state, "until": progress.until, "found": [_found(found) for found in progress.found]}


def _found(found: Found) -> dict[str, Any]:
    return {"is_good": found.is_good, "kind": found.kind, "asked": found.asked, "answered": found.answered}


def _line(line: Line) -> dict[str, Any]:
    who = WHO.get(line.fields.get("client", ""), "")
    return {"number": line.number, "kind": line.kind, "who": who, "fields": line.fields}


def _browser(browser: Browser, site: str, stage: Stage) -> Mapping[str, Any]:
    return {
        "kind": browser.kind.name,
        "address": browser.address,
        "site": f"http://{site}",
        "is_at_stricter_house": site != stage.listen,
        "cookies": [_cookie(cookie) for cookie in list(browser.jar(site).cookies.values())],
        "exchanges": [_exchange(exchange) for exchange in list(browser.history)[-MOST_EXCHANGES:]],
    }


def _cookie(cookie: Cookie) -> dict[str, Any]:
    return {"name": cookie.name, "short": cookie.short, "is_hidden": cookie.is_hidden, "claims": cookie.claims}


def _exchange(exchange: Exchange) -> dict[str, Any]:
    return {
        "at": exchange.at,
        "method": exchange.method,
        "path": exchange.path,
        "sent": exchange.sent,
        "status": exchange.status,
        "reason": exchange.reason,
        "location": exchange.location,
        "text": exchange.text,
        "cookies": exchange.cookies,
    }
