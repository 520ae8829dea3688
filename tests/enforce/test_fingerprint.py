"""Is this the client that the session was given to: what differs, and what may follow from it [S2, S3]."""

from typing import Any, get_args

import clients
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.schema import Action, Fingerprint
from gateway.enforce.country import Countries
from gateway.enforce.device import Devices
from gateway.enforce.fingerprint import (
    COUNTRY,
    DEVICE,
    DOUBTFUL_DEVICE,
    DOUBTFUL_NETWORK,
    NETWORK,
    Mismatch,
    Reaction,
    Signal,
    act,
    compare,
    is_another_browser,
    is_same_device,
)
from gateway.enforce.network import Networks
from gateway.enforce.signs import Browser, SignReader, Signs
from gateway.reasons import REFUSALS, Reason
from gateway.sessions.model import FirstUse

HOME = "203.0.113.7"
READER = SignReader(Devices(), Networks())
ALL = (DEVICE, DOUBTFUL_DEVICE, NETWORK, DOUBTFUL_NETWORK, COUNTRY)
STRENGTH = list(get_args(Action))


def signs_of(browser: Browser, address: str = HOME, country: str = "") -> Signs:
    return READER.read(browser, address)._replace(country=country)


def record_of(signs: Signs) -> FirstUse:
    """What a login with these signs leaves."""
    return FirstUse("name", 0.0, 0.0, **signs.to_remember())


def differences(login: Browser, now: Browser, login_from: str = HOME, now_from: str = HOME) -> tuple[Mismatch, ...]:
    return compare(record_of(signs_of(login, login_from)), signs_of(now, now_from))


EVERYBODY = {name: value for name, value in vars(clients).items() if name.isupper() and isinstance(value, tuple)}


# The same client


@pytest.mark.parametrize("name", EVERYBODY)
def test_S2_every_client_agrees_with_itself(name: str) -> None:
    assert differences(EVERYBODY[name], EVERYBODY[name]) == ()


@pytest.mark.parametrize(
    ("login", "now"),
    [
        (clients.CHROME_WINDOWS, clients.CHROME_WINDOWS_UPDATED),
        (clients.FIREFOX_LINUX, clients.FIREFOX_LINUX_UPDATED),
        (clients.SAFARI_IPHONE, clients.SAFARI_IPHONE_UPDATED),
    ],
)
def test_S2_an_updated_browser_is_the_same_device(login: Browser, now: Browser) -> None:
    assert differences(login, now) == ()


@pytest.mark.parametrize(
    ("login", "now"),
    [
        (clients.SAFARI_IPHONE, clients.VIDEO_IPHONE),
        (clients.SAFARI_IPAD, clients.VIDEO_IPAD),
        (clients.SAFARI_MAC, clients.VIDEO_IPAD),  # an iPad that asks for desktop pages
        (clients.CHROME_ANDROID, clients.DOWNLOAD_ANDROID),
    ],
)
def test_S2_what_fetches_for_the_systems_browser_is_the_same_device(login: Browser, now: Browser) -> None:
    assert differences(login, now) == ()


def test_S2_a_companion_of_another_system_is_another_device() -> None:
    assert differences(clients.CHROME_WINDOWS, clients.VIDEO_IPHONE) == (DEVICE,)
    assert differences(clients.SAFARI_IPHONE, clients.DOWNLOAD_ANDROID) == (DEVICE,)


@pytest.mark.parametrize("address", ["203.0.113.200", "::ffff:203.0.113.7", "203.0.113.7:5050"])
def test_S2_a_neighbouring_or_mapped_address_is_the_same_network(address: str) -> None:
    assert differences(clients.FIREFOX_LINUX, clients.FIREFOX_LINUX, now_from=address) == ()


def test_S2_a_privacy_address_is_the_same_network() -> None:
    of_yesterday, of_today = "2001:db8:12:3400:8d1:7c44:92ab:1", "2001:db8:12:3400:f00d:1:2:77"
    assert differences(clients.SAFARI_MAC, clients.SAFARI_MAC, of_yesterday, of_today) == ()


def test_S2_a_phone_that_changes_cells_changes_its_network_and_nothing_else() -> None:
    assert differences(clients.SAFARI_IPHONE, clients.SAFARI_IPHONE, "10.20.30.40", "198.51.100.9") == (NETWORK,)


# Another one


@pytest.mark.parametrize(
    ("login", "now"),
    [
        (clients.CHROME_WINDOWS, clients.EDGE_WINDOWS),
        (clients.CHROME_WINDOWS, clients.CHROME_MAC),
        (clients.CHROME_WINDOWS, clients.CHROME_ANDROID),
        (clients.CHROME_WINDOWS, clients.FIREFOX_WINDOWS),
        (clients.FIREFOX_LINUX, clients.FIREFOX_WINDOWS),
        (clients.SAFARI_MAC, clients.CHROME_MAC),
        (clients.SAFARI_IPHONE, clients.CHROME_ANDROID),
        (clients.CHROME_ANDROID, clients.SAMSUNG_ANDROID),
        (clients.SAFARI_IPHONE, clients.INSTAGRAM_IPHONE),
        (clients.CHROME_ANDROID, clients.WEBVIEW_ANDROID),
        (clients.CHROME_WINDOWS, clients.CURL),
        (clients.CHROME_WINDOWS, clients.GOOGLEBOT),
        (clients.REQUESTS, clients.CURL),
        (clients.CURL, clients.CHROME_WINDOWS),
    ],
)
def test_S2_another_browser_or_system_is_another_device(login: Browser, now: Browser) -> None:
    assert differences(login, now) == (DEVICE,)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (clients.SAFARI_IPAD, clients.SAFARI_MAC),
        (clients.SAFARI_IPHONE, clients.SAFARI_MAC),
        (clients.CHROME_ANDROID, clients.CHROME_LINUX),
        (clients.SAMSUNG_ANDROID, clients.SAMSUNG_DESKTOP_SITE),
        (clients.FIREFOX_ANDROID, clients.FIREFOX_LINUX),
        (clients.CHROME_ANDROID, clients.CHROME_ANDROID_TABLET),  # a phone that folds
    ],
)
def test_S2_the_same_browser_in_its_desktop_mode_is_doubtful(one: Browser, other: Browser) -> None:
    assert differences(one, other) == differences(other, one) == (DOUBTFUL_DEVICE,)


def test_S2_hints_that_contradict_the_user_agent_are_doubtful() -> None:
    disguised = (clients.CHROME_WINDOWS[0], *clients.CHROME_LINUX[1:])
    assert differences(clients.CHROME_WINDOWS, disguised) == (DOUBTFUL_DEVICE,)
    assert differences(clients.CHROME_LINUX, clients.BRAVE_LINUX) == (DOUBTFUL_DEVICE,)


def test_S2_a_request_without_hints_or_a_login_without_them_differs_in_nothing() -> None:
    without = (clients.CHROME_WINDOWS[0], None, None, None)
    assert differences(clients.CHROME_WINDOWS, without) == ()
    assert differences(without, clients.CHROME_WINDOWS) == ()


@pytest.mark.parametrize("left_out", [1, 2, 3])
def test_S2_a_hint_that_is_not_sent_differs_in_nothing(left_out: int) -> None:
    fields = list(clients.CHROME_WINDOWS)
    fields[left_out] = None
    partly: Browser = (fields[0], fields[1], fields[2], fields[3])
    assert differences(clients.CHROME_WINDOWS, partly) == differences(partly, clients.CHROME_WINDOWS) == ()


def test_S2_a_request_without_user_agent_is_another_client_but_a_login_without_one_is_anybody() -> None:
    assert differences(clients.FIREFOX_LINUX, clients.SILENT) == (DEVICE,)
    assert differences(clients.SILENT, clients.FIREFOX_LINUX) == ()
    assert differences(clients.SILENT, clients.SILENT) == ()


def test_S2_ipv4_at_login_and_ipv6_now_is_doubtful() -> None:
    assert differences(clients.SAFARI_MAC, clients.SAFARI_MAC, HOME, "2001:db8::1") == (DOUBTFUL_NETWORK,)
    assert differences(clients.SAFARI_MAC, clients.SAFARI_MAC, "2001:db8::1", HOME) == (DOUBTFUL_NETWORK,)


def test_S2_an_address_that_is_none_differs_in_nothing() -> None:
    assert differences(clients.CURL, clients.CURL, "", HOME) == differences(clients.CURL, clients.CURL, HOME, "") == ()


def test_S2_an_unknown_country_differs_in_nothing() -> None:
    record = record_of(signs_of(clients.CURL, country="DE"))
    assert compare(record, signs_of(clients.CURL, country="DE")) == ()
    assert compare(record, signs_of(clients.CURL, country="")) == ()
    assert compare(record_of(signs_of(clients.CURL)), signs_of(clients.CURL, country="FR")) == ()
    assert compare(record, signs_of(clients.CURL, country="FR")) == (COUNTRY,)


def test_mismatches_come_in_the_order_in_which_reasons_are_told() -> None:
    record = record_of(signs_of(clients.CHROME_WINDOWS, country="DE"))
    assert compare(record, signs_of(clients.CURL, "198.51.100.1", "FR")) == (DEVICE, NETWORK, COUNTRY)


def test_S37_a_record_that_somebody_edited_is_another_device_and_no_crash() -> None:
    for text in ("nonsense", "|", "||||", "Firefox|Linux", "Firefox|Linux|desktop|more"):
        edited = FirstUse("name", 0.0, 0.0, device=text, network="nonsense", hints=text, country="nonsense")
        found = compare(edited, signs_of(clients.CHROME_LINUX, country="DE"))
        assert found[0].signal is Signal.DEVICE
        assert found[1:] == (NETWORK, COUNTRY)


def test_a_record_that_was_written_before_the_number_of_bits_changed_still_agrees() -> None:
    record = record_of(signs_of(clients.CURL))
    assert compare(record, SignReader(READER.devices, Networks(16, 32)).read(clients.CURL, "203.0.200.1")) == ()
    assert compare(record, SignReader(READER.devices, Networks(16, 32)).read(clients.CURL, "203.1.200.1")) == (NETWORK,)


# What a login leaves


def test_signs_are_remembered_under_the_names_of_the_record() -> None:
    assert signs_of(clients.CHROME_WINDOWS, country="DE").to_remember() == {
        "network": "203.0.113.0/24",
        "device": "Chrome|Windows|desktop",
        "hints": "Chrome|Windows|desktop",
        "country": "DE",
        "agent": "Chrome on Windows",
    }


def test_what_is_not_known_is_remembered_as_empty() -> None:
    assert set(signs_of(clients.SILENT, "").to_remember().values()) == {""}


@pytest.mark.parametrize(
    ("browser", "shown"),
    [
        (clients.BRAVE_LINUX, "Brave on Linux"),
        (clients.CHROME_LINUX, "Chrome on Linux"),
        (clients.EDGE_WINDOWS, "Edge on Windows"),
        (clients.SAFARI_IPAD, "Safari on iPad"),
        (clients.INSTAGRAM_IPHONE, "Instagram on iPhone"),
        (clients.REQUESTS, "python-requests"),
    ],
)
def test_people_read_which_browser_it_was(browser: Browser, shown: str) -> None:
    assert signs_of(browser).agent == shown


def test_the_country_is_read_when_there_is_a_database(tmp_path: Any) -> None:
    pytest.importorskip("maxminddb")
    from mmdb import write

    write(tmp_path / "countries.mmdb", {"203.0.113.0/24": {"country": {"iso_code": "DE"}}})
    reader = SignReader(READER.devices, Networks(), Countries.open(tmp_path / "countries.mmdb"))
    assert reader.read(clients.CURL, HOME).country == "DE"
    assert reader.read(clients.CURL, "198.51.100.1").country == ""


# What rotation and the replay alarm ask


def test_R2_the_same_device_is_one_against_which_nothing_speaks() -> None:
    assert is_same_device(differences(clients.CHROME_WINDOWS, clients.CHROME_WINDOWS_UPDATED, now_from="198.51.100.1"))
    assert not is_same_device(differences(clients.CHROME_WINDOWS, clients.CURL))
    assert not is_same_device(differences(clients.SAFARI_MAC, clients.SAFARI_IPAD))


def test_R2_only_a_persons_browser_that_is_certainly_another_one_makes_a_repeat_a_theft() -> None:
    for now, is_theft in (
        (clients.EDGE_WINDOWS, True),
        (clients.SAFARI_IPHONE, True),
        (clients.CURL, False),
        (clients.WEBVIEW_ANDROID, False),
        (clients.SILENT, False),
        (clients.CHROME_WINDOWS, False),
        ((clients.CHROME_WINDOWS[0], *clients.CHROME_LINUX[1:]), False),
    ):
        signs = signs_of(now)
        assert is_another_browser(compare(record_of(signs_of(clients.CHROME_WINDOWS)), signs), signs) is is_theft


# What may follow


STRICTEST = Fingerprint.model_validate(
    {
        "foreign": "end_session",
        "device": {"changed": "end_session"},
        "network": {"changed": "end_session"},
        "country": {"changed": "end_session"},
    }
)


def react(
    *mismatches: Mismatch,
    rules: Fingerprint = STRICTEST,
    is_foreign: bool = False,
    is_navigation: bool = True,
    is_refresh: bool = False,
    is_recognised: bool = True,
    subdued: frozenset[Signal] = frozenset(),
) -> Reaction | None:
    return act(
        mismatches,
        rules,
        is_foreign=is_foreign,
        is_navigation=is_navigation,
        is_refresh=is_refresh,
        is_recognised=is_recognised,
        subdued=subdued,
    )


def action(*mismatches: Mismatch, **situation: Any) -> str:
    """What happens, in one word; `(would …)` when it does not."""
    reaction = react(*mismatches, **situation)
    if reaction is None:
        return "nothing"
    return reaction.action if reaction.is_enforced else f"(would {reaction.action})"


def configured(**changes: Any) -> Fingerprint:
    return Fingerprint.model_validate(changes)


def test_nothing_follows_from_no_difference() -> None:
    assert action() == "nothing"


@pytest.mark.parametrize("mismatch", [DEVICE, NETWORK, COUNTRY])
@pytest.mark.parametrize("wanted", STRENGTH)
def test_what_the_operator_wants_happens(mismatch: Mismatch, wanted: str) -> None:
    rules = configured(**{mismatch.signal.value: {"changed": wanted}})
    assert action(mismatch, rules=rules) == ("nothing" if wanted == "ignore" else wanted)


def test_the_defaults_end_the_session_of_another_device_or_country_and_only_tell_of_another_network() -> None:
    rules = Fingerprint()
    assert [action(mismatch, rules=rules) for mismatch in (DEVICE, NETWORK, COUNTRY)] == ["end_session", "alert", "end_session"]
    assert action(DEVICE, rules=rules, is_foreign=True) == "alert"


@pytest.mark.parametrize("mismatch", [DEVICE, NETWORK, COUNTRY])
def test_S2_only_a_page_or_a_refresh_of_a_recognised_browser_ends(mismatch: Mismatch) -> None:
    assert action(mismatch, is_navigation=True, is_refresh=False) == "end_session"
    assert action(mismatch, is_navigation=False, is_refresh=True) == "end_session"
    assert action(mismatch, is_navigation=False, is_refresh=False) == "deny"
    assert action(mismatch, is_recognised=False) == "deny"
    assert action(mismatch, is_navigation=False, is_refresh=True, is_recognised=False) == "deny"


def test_S2_what_has_an_innocent_explanation_ends_nothing() -> None:
    assert action(DOUBTFUL_DEVICE) == "deny"
    assert action(DOUBTFUL_NETWORK) == "alert"


def test_S2_a_storm_makes_network_and_country_alerts_and_leaves_the_device() -> None:
    both = frozenset({Signal.NETWORK, Signal.COUNTRY})
    assert action(NETWORK, subdued=both) == "alert"
    assert action(COUNTRY, subdued=both) == "alert"
    assert action(COUNTRY, subdued=frozenset({Signal.NETWORK})) == "end_session"
    assert action(DEVICE, NETWORK, COUNTRY, subdued=both) == "end_session"


@pytest.mark.parametrize("foreign", STRENGTH)
def test_S3_a_token_of_another_issuer_meets_what_the_operator_says_at_most(foreign: str) -> None:
    rules = configured(**{**STRICTEST.model_dump(), "foreign": foreign})
    assert action(DEVICE, rules=rules, is_foreign=True) == ("nothing" if foreign == "ignore" else foreign)
    assert action(DEVICE, rules=rules, is_foreign=False) == "end_session"


def test_the_strongest_action_counts_and_of_equals_the_first() -> None:
    rules = configured(device={"changed": "alert"}, network={"changed": "deny"}, country={"changed": "deny"})
    reaction = react(DEVICE, NETWORK, COUNTRY, rules=rules)
    assert reaction is not None
    assert (reaction.action, reaction.signal, reaction.reason) == ("deny", Signal.NETWORK, Reason.NETWORK_CHANGED)


def test_a_mode_that_observes_says_what_would_have_happened_and_does_nothing() -> None:
    rules = configured(**{**STRICTEST.model_dump(), "mode": "observe"})
    assert action(DEVICE, rules=rules) == "(would end_session)"
    assert action(DEVICE, rules=rules, is_navigation=False) == "(would deny)"
    reaction = react(DEVICE, rules=rules)
    assert reaction is not None
    assert not reaction.refuses
    assert not reaction.ends


@pytest.mark.parametrize(
    ("wanted", "refuses", "ends"), [("alert", False, False), ("deny", True, False), ("end_session", True, True)]
)
def test_an_end_is_a_refusal_too_and_an_alert_is_none(wanted: str, refuses: bool, ends: bool) -> None:
    reaction = react(COUNTRY, rules=configured(country={"changed": wanted}))
    assert reaction is not None
    assert (reaction.refuses, reaction.ends) == (refuses, ends)


@pytest.mark.parametrize("signal", list(Signal))
def test_every_signal_has_a_reason(signal: Signal) -> None:
    assert REFUSALS[Reaction("deny", signal, True, False).reason].status == 401


def test_an_alert_is_told_once_for_a_client_and_a_refusal_each_time() -> None:
    def is_settled(*mismatches: Mismatch, **situation: Any) -> bool:
        reaction = react(*mismatches, **situation)
        assert reaction is not None
        return reaction.is_settled

    observing = configured(**{**STRICTEST.model_dump(), "mode": "observe"})
    assert is_settled(NETWORK, rules=Fingerprint())
    assert is_settled(DEVICE, rules=Fingerprint(), is_foreign=True)
    assert not is_settled(DEVICE)
    assert not is_settled(DEVICE, is_navigation=False)
    # Once the storm is over, what is only told now is refused again.
    assert not is_settled(COUNTRY, subdued=frozenset({Signal.COUNTRY}))
    assert not is_settled(DEVICE, NETWORK, rules=configured(device={"changed": "alert"}, network={"changed": "deny"}),
                          subdued=frozenset({Signal.NETWORK}))  # fmt: skip
    # A page may still end what an image was only refused for.
    assert not is_settled(DEVICE, rules=observing, is_navigation=False)
    assert is_settled(DEVICE, rules=observing)


SITUATIONS = st.fixed_dictionaries(
    {
        "is_foreign": st.booleans(),
        "is_navigation": st.booleans(),
        "is_refresh": st.booleans(),
        "is_recognised": st.booleans(),
        "subdued": st.frozensets(st.sampled_from([Signal.NETWORK, Signal.COUNTRY])),
    }
)
ACTIONS = st.sampled_from(STRENGTH)
RULES = st.builds(
    lambda mode, foreign, device, network, country: configured(
        mode=mode, foreign=foreign, device={"changed": device}, network={"changed": network}, country={"changed": country}
    ),
    st.sampled_from(["enforce", "observe"]),
    ACTIONS,
    ACTIONS,
    ACTIONS,
    ACTIONS,
)


@given(st.lists(st.sampled_from(ALL), unique_by=lambda mismatch: mismatch.signal), RULES, SITUATIONS)
def test_S2_no_configuration_goes_beyond_what_a_difference_can_prove(
    mismatches: list[Mismatch], rules: Fingerprint, situation: dict[str, Any]
) -> None:
    reaction = react(*mismatches, rules=rules, **situation)
    if reaction is None:
        return
    mismatch = next(found for found in mismatches if found.signal is reaction.signal)
    strength = STRENGTH.index(reaction.action)
    assert strength <= STRENGTH.index(mismatch.most)
    assert strength <= STRENGTH.index(getattr(rules, reaction.signal.value).changed)
    if situation["is_foreign"]:
        assert strength <= STRENGTH.index(rules.foreign)
    if reaction.signal in situation["subdued"]:
        assert reaction.action == "alert"
    if reaction.action == "end_session":
        assert situation["is_recognised"]
        assert situation["is_navigation"] or situation["is_refresh"]
    assert reaction.is_enforced is (rules.mode == "enforce")
    assert reaction.ends <= reaction.refuses <= reaction.is_enforced


@given(st.sampled_from(sorted(EVERYBODY)), st.sampled_from(sorted(EVERYBODY)))
def test_S2_two_clients_differ_in_one_direction_when_they_differ_in_the_other(one: str, other: str) -> None:
    there, back = differences(EVERYBODY[one], EVERYBODY[other]), differences(EVERYBODY[other], EVERYBODY[one])
    asymmetric = {"SILENT", "VIDEO_IPHONE", "VIDEO_IPAD", "DOWNLOAD_ANDROID"}
    assert there == back or {one, other} & asymmetric
