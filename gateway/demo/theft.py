"""The story of a stolen session, as data: what happens, why, what to look at, and what the gateway must answer and count.

    1  Alice signs in                  no token, login, X-User
    2  a thief copies her cookies      nothing happens: that is the trouble with bearer tokens
    3  he uses them on his phone       device-changed, the session ends for both
    4  a stricter house                network-changed, where an operator wants that
    5  a cleverer thief                the same browser: he is in, until both refresh: refresh-reused
    6  Alice changes her password      old-version, at once
    7  the operator's view             who tried, and what to type

Every line of it is played by `--once` and by the page alike.
"""

import time
from collections import Counter
from typing import Final

from gateway.demo.acts import Act, Found, Scene
from gateway.demo.browser import CHROME, FIREFOX, Exchange
from gateway.demo.cast import ALICE, BOB, Cast, Caught
from gateway.demo.commands import judge_line

HELLO_ALICE: Final = f"Hello {ALICE}"
REVOKE: Final = f"gateway revoke --user {ALICE} --reason 'her laptop was stolen'"
TAIL_S: Final = 10  # what the gateway calls a tail; from then on it is a replay
_MOMENT_S: Final = 0.2

_ENDED_BY_FINGERPRINT: Final = 'gateway_revocations_total{kind="session",source="fingerprint"}'
_ENDED_BY_REUSE: Final = 'gateway_revocations_total{kind="session",source="reuse"}'
_USED_SESSION: Final = 'gateway_revoked_use_total{kind="session"}'  # of any age: a person may be slow, or not
_USED_VERSION: Final = 'gateway_revoked_use_total{kind="version"}'
_USED_SESSION_REPLAY: Final = 'gateway_revoked_use_total{age="replay",kind="session"}'
# NB: without the name: who shows nothing but a refresh token is named by the subject in it.
_REVOKED: Final = "Token revoked rejected sub="


# What people do, where it takes more than one line.


def _copy(cast: Cast) -> Found:
    copied = cast.copies().cookies
    is_exact = copied == cast.alice.jar(cast.site).cookies and len(copied) == 3
    return Found(is_exact, "answer", "", ", ".join(copied) + ": byte for byte")


def _copy_and_dress_up(cast: Cast) -> Exchange:
    """He copies fresh cookies: with expired ones he would be the first to refresh, and Alice the one who is caught."""
    cast.opens(cast.alice)
    cast.copies(FIREFOX)
    return cast.opens(cast.thief)


def _try_again(cast: Cast) -> Exchange:
    cast.uses(cast.loot[-1])
    return cast.opens(cast.thief)


def _refresh_again(cast: Cast) -> Exchange:
    cast.uses(cast.loot[-1])
    return cast.refreshes(cast.thief)


def _open_on_his_phone(cast: Cast) -> Exchange:
    answer = cast.opens(cast.thief)
    cast.caught = Caught(cast.loot[-1], time.time())
    cast.is_signed_in = answer.status == 200
    return answer


def _try_what_was_caught(cast: Cast) -> Exchange:
    assert cast.caught is not None
    cast.uses(cast.caught.loot)
    return cast.opens(cast.thief)


def _go_to_the_stricter_house(cast: Cast) -> Found:
    started_at = time.monotonic()
    cast.site = cast.stage.strict_house()
    return Found(True, "answer", "", f"ready at http://{cast.site} after {time.monotonic() - started_at:.1f} s")


def _try_everything(cast: Cast) -> Found:
    """Everything he ever took, at the first house."""
    answers = []
    for loot in cast.loot:
        cast.uses(loot)
        answers.append(cast.opens(cast.thief))
    told = ", ".join(f"{times} × {told}" for told, times in Counter(answer.told for answer in answers).items())
    return Found(bool(answers) and all(answer.status == 401 for answer in answers), "answer", "", told)


def _look_for_cookies(cast: Cast) -> Found:
    """By their last part: the signature, without which none of them is any good."""
    jars = [*cast.loot, cast.alice.jar(cast.site), cast.bob.jar(cast.site)]
    ends = {cookie.value.rpartition(".")[2] for jar in jars for cookie in jar.cookies.values()}
    log = cast.stage.log.read_text(errors="replace")
    seen = sum(end in log for end in ends)
    return Found(bool(ends) and not seen, "answer", "", f"{len(ends)} looked for, {seen or 'none'} found")


def _type(line: str, brings: str, tells: str) -> Act:
    return Act("operator", line, lambda cast: judge_line(cast.stage, line, brings), tells=tells)


def _revoke(cast: Cast) -> Found:
    cast.is_signed_in, cast.caught = False, None
    return judge_line(cast.stage, REVOKE, "by 2 of 2 workers")


# Where scenes begin.


def _anywhere(cast: Cast) -> None:
    cast.site = cast.stage.listen


def _signed_in(cast: Cast) -> None:
    _anywhere(cast)
    if not cast.is_signed_in:
        cast.signs_in(cast.alice)


def _robbed(cast: Cast) -> None:
    _signed_in(cast)
    if cast.thief.jar(cast.site) != cast.alice.jar(cast.site) or cast.thief.kind is not CHROME:
        cast.copies()


def _caught(cast: Cast) -> None:
    _anywhere(cast)
    if cast.is_robbed or cast.caught is None:
        _robbed(cast)
        _open_on_his_phone(cast)


def _after_a_theft(cast: Cast) -> None:
    """Alice is in, and nothing that the thief has ever copied is any good."""
    _anywhere(cast)
    if cast.is_robbed or not cast.loot:
        _robbed(cast)
        _open_on_his_phone(cast)
    _signed_in(cast)


# When time has passed.


def _nothing(cast: Cast) -> None:
    return None


def _when_access_has_run_out(cast: Cast) -> float:
    return float(cast.alice.jar(cast.site).claim("exp") or time.time()) + _MOMENT_S


def _when_the_grace_is_over(cast: Cast) -> float:
    return float(cast.alice.history[-1].at) + cast.stage.times.grace_s + _MOMENT_S


def _when_it_is_no_tail(cast: Cast) -> float:
    return cast.caught.at + TAIL_S + 1 if cast.caught is not None else 0.0


# fmt: off
SCENES: Final[tuple[Scene, ...]] = (
    Scene(
        "Alice signs in",
        "The application knows nothing of passwords or tokens: it greets whoever X-User names. Only the gateway can write "
        "that header, and it writes it for whoever shows a good token.",
        "Her three cookies: `access` is shown with every request and soon runs out, `refresh` renews it unseen, `csrf` is for "
        "her page. Open one: its jti and sid are on record, so it can be revoked.",
        (
            Act(
                "alice", "Alice opens the page", lambda cast: cast.opens(cast.alice), (303, "no-token"),
                "Nobody yet: she is led to the login page, and will be led back.",
            ),
            Act(
                "alice", "She fills in the form", lambda cast: cast.signs_in(cast.alice), (200, HELLO_ALICE),
                "The page behind it greets her by name. The application was not changed for that.",
                ('gateway_logins_total{outcome="success"}',),
            ),
            Act(
                "bob", "Bob signs in, too, elsewhere", lambda cast: cast.signs_in(cast.bob), (200, f"Hello {BOB}"),
                "He has nothing to do with what follows, and must not notice any of it.",
            ),
        ),
        _anywhere,
    ),
    Scene(
        "A thief copies her cookies",
        "A borrowed laptop, a browser extension, a proxy that logs too much: whoever has the cookies has the session. The "
        "signature in them is no help, because they are genuine.",
        "The same jti, sid and gen in both jars. Nothing was sent, so nobody could have noticed.",
        (
            Act(
                "thief", "He copies the cookies", _copy,
                tells="HttpOnly keeps a page's scripts from reading them. It keeps no one else.",
            ),
        ),
        _signed_in,
    ),
    Scene(
        "He uses them on his phone",
        "The session was given to Firefox on Linux. A page is asked for by Chrome on Android: that is no update and no other "
        "mode of the same browser, so the request is refused and the session ends.",
        "The reason, one word everywhere: in the answer, the log, the metrics. Then Alice: she is out, too, because nobody can "
        "tell which of the two she is. She can sign in again. He cannot.",
        (
            Act(
                "thief", "He opens the page", _open_on_his_phone, (401, "device-changed"),
                "Refused, and the session ended on every worker.",
                ('gateway_fingerprint_mismatches_total{action="end_session",signal="device"}', _ENDED_BY_FINGERPRINT),
            ),
            Act(
                "alice", "Alice opens the page", lambda cast: cast.opens(cast.alice), (401, "revoked-session"),
                "She is asked to sign in again. Her cookies are cleared.", (_USED_SESSION,), (_REVOKED, "reason=revoked-session"),
            ),
            Act(
                "alice", "She signs in again", lambda cast: cast.signs_in(cast.alice), (200, HELLO_ALICE),
                "A new session, with another sid.",
            ),
            Act(
                "thief", "He tries his copies once more", _try_again, (401, "revoked-session"),
                "They are of the old session, and stay refused.",
            ),
        ),
        _robbed,
    ),
    Scene(
        "A stricter house: the network counts, too",
        "Phones change networks all day, so a change of network is only told (`alert`) unless the operator wants more. In a "
        "house whose people sit in its own network he may write `fingerprint: {network: {changed: end_session}}`.",
        "The thief's phone now calls itself Firefox on Linux: he copied her User-Agent with the cookies. What he cannot copy is "
        "her network.",
        (
            Act("operator", "The operator starts a gateway with that one line more", _go_to_the_stricter_house),
            Act("alice", "Alice signs in there", lambda cast: cast.signs_in(cast.alice), (200, HELLO_ALICE)),
            Act(
                "thief", "He copies cookies and User-Agent, and opens the page", _copy_and_dress_up, (401, "network-changed"),
                "The same browser by all it says, and yet refused.",
                ('gateway_fingerprint_mismatches_total{action="end_session",signal="network"}', _ENDED_BY_FINGERPRINT),
            ),
            Act(
                "alice", "Alice opens the page", lambda cast: cast.opens(cast.alice), (401, "revoked-session"),
                "Out, for the same reason as before.",
            ),
        ),
        _anywhere,
    ),
    Scene(
        "A cleverer thief",
        "Back at the first gateway, where a network is only told. He copies cookies and User-Agent again, and is in: nothing "
        "in his request is wrong. But an access token lives for seconds here, and a refresh token is good for one refresh: of "
        "two who hold it, the second is found out.",
        "`gen` counts refreshes. Alice's grows, the copy's does not. For a moment (`sessions.grace`) the old one still gets the "
        "same successor, because fifty tabs refresh at once; after that it is proof of a copy.",
        (
            Act("alice", "Alice signs in", lambda cast: cast.signs_in(cast.alice), (200, HELLO_ALICE)),
            Act(
                "thief", "He copies cookies and User-Agent, and opens the page", _copy_and_dress_up, (200, HELLO_ALICE),
                "He is in. Only the network gives him away, and that is told, not refused.",
                ('gateway_fingerprint_mismatches_total{action="alert",signal="network"}',),
            ),
            Act("time", "The access tokens run out", _nothing, until=_when_access_has_run_out),
            Act(
                "alice", "Alice opens the page", lambda cast: cast.opens(cast.alice), (200, HELLO_ALICE),
                "An invisible refresh: the page she asked for came with new cookies.",
                ('gateway_refreshes_total{outcome="rotated"}',), grows="gen",
            ),
            Act("alice", "She reads on", lambda cast: cast.opens(cast.alice), (200, HELLO_ALICE)),
            Act("time", "The moment passes in which an old one is forgiven", _nothing, until=_when_the_grace_is_over),
            Act(
                "thief", "He opens the page: his copy has run out, too", lambda cast: cast.opens(cast.thief),
                (401, "refresh-reused"),
                "A refresh token that was used already. There is a copy somewhere: the whole family of tokens ends.",
                ('gateway_refreshes_total{outcome="reused"}', _ENDED_BY_REUSE),
                ("Refresh after revocation rejected sub={alice}", "reason=refresh-reused"),
            ),
            Act(
                "alice", "Alice opens the page", lambda cast: cast.opens(cast.alice), (401, "revoked-session"),
                "She signs in again, he does not.", (_USED_SESSION,),
            ),
            Act(
                "bob", "Bob opens the page", lambda cast: cast.opens(cast.bob), (200, f"Hello {BOB}"),
                "He was refreshed unseen, and noticed nothing.",
            ),
            Act("time", "Ten seconds have passed since the first theft was ended", _nothing, until=_when_it_is_no_tail),
            Act(
                "thief", "He tries the cookies of that time", _try_what_was_caught, (401, "revoked-session"),
                "Within ten seconds it may have been on its way (`tail`). Now somebody has a copy: `replay`, which an alert is "
                "made of.",
                (_USED_SESSION_REPLAY,), (_REVOKED, "reason=revoked-session age=replay"),
            ),
        ),
        _caught,
    ),
    Scene(
        "Alice changes her password",
        "She has a bad feeling. A new password makes the version of her account one more, and every token with the older "
        "version is refused from that moment: nobody waits until it has run out.",
        "`ver` in her jar and in his. Her session goes on under the new one; his copies of that very session do not.",
        (
            Act("alice", "Alice signs in", lambda cast: cast.signs_in(cast.alice), (200, HELLO_ALICE)),
            Act(
                "thief", "He copies cookies and User-Agent, and opens the page", _copy_and_dress_up, (200, HELLO_ALICE),
                "In again.",
            ),
            Act(
                "alice", "She changes her password", lambda cast: cast.changes_password(), (303, "said=password-changed"),
                "New cookies for the browser that asked.",
                ('gateway_revocations_total{kind="version",source="password"}',), grows="ver",
            ),
            Act(
                "thief", "He opens the page", lambda cast: cast.opens(cast.thief), (401, "old-version"),
                "At once, on every worker. Nobody waits until his tokens run out.",
                (_USED_VERSION,),
                (_REVOKED, "tokenVersion={previous} (expected {version})"),
            ),
            Act(
                "thief", "He tries to refresh", _refresh_again, (401, "old-version"),
                "The refresh token is of the old version, too.",
            ),
            Act("alice", "Alice opens the page", lambda cast: cast.opens(cast.alice), (200, HELLO_ALICE)),
        ),
        _anywhere,
    ),
    Scene(
        "The operator's view",
        "Use of something revoked is a signal of its own: counted, written to the log, and kept in the audit trail. And what "
        "the gateway does by itself, an operator can do by hand, with a receipt.",
        "The counters, and the commands: type them into a terminal, or let them be typed.",
        (
            Act(
                "thief", "He tries everything he ever copied", _try_everything,
                tells="All of it is refused, and all of it counted.", counts=(_USED_VERSION,),
                logs=(_REVOKED, "reason=old-version"),
            ),
            _type(f"gateway sessions {ALICE}", "Firefox on Linux", "Where she is signed in."),
            Act("operator", REVOKE, _revoke, tells="Whatever she, or anybody in her name, has been given until now."),
            Act("alice", "Alice opens the page", lambda cast: cast.opens(cast.alice), (401, "old-version")),
            Act("bob", "Bob opens the page", lambda cast: cast.opens(cast.bob), (200, f"Hello {BOB}")),
            _type(f"gateway audit --user {ALICE} --since 10m", "refresh-reused", "What happened to her."),
            Act(
                "operator", "No cookie of the story is in the log", _look_for_cookies,
                tells="Whoever may read the log cannot use what is in it.",
            ),
        ),
        _after_a_theft,
    ),
)
# fmt: on
