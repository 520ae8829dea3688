"""What kind of client a request comes from: real User-Agents and client hints, and what an attacker may write into them."""

import asyncio
import random
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.enforce.device import LONGEST_BYTES, Device, Devices

BLINK = "AppleWebKit/537.36 (KHTML, like Gecko)"
AGENTS = Path(__file__).with_name("user_agents.txt")


def listed() -> list[tuple[bool, str, str]]:
    """Is it recognised, its class, the User-Agent: of every line of the file."""
    found, is_recognised = [], True
    for line in AGENTS.read_text().splitlines():
        if line.startswith("## "):
            is_recognised = line == "## recognised"
        elif line and not line.startswith("#"):
            expected, agent = line.split("\t")
            found.append((is_recognised, expected, agent))
    return found


@pytest.fixture(scope="module")
def devices() -> Devices:
    devices = Devices()
    devices.load()
    return devices


@pytest.mark.parametrize(("is_recognised", "expected", "agent"), listed(), ids=lambda value: str(value)[:70])
def test_S2_a_real_client_has_its_class(devices: Devices, is_recognised: bool, expected: str, agent: str) -> None:
    device = devices.of_agent(agent.encode())
    assert device is not None
    assert (device.text, device.is_recognised) == (expected, is_recognised)


def test_the_file_of_real_clients_holds_both_kinds() -> None:
    kinds = [is_recognised for is_recognised, _, _ in listed()]
    assert kinds.count(True) >= 60
    assert kinds.count(False) >= 50


@pytest.mark.parametrize(
    "agent",
    [
        f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {BLINK} Chrome/{{}}.0.0.0 Safari/537.36",
        f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {BLINK} Chrome/{{0}}.0.0.0 Safari/537.36 Edg/{{0}}.0.0.0",
        f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {BLINK} Chrome/128.0.0.0 Safari/537.36 OPR/{{}}.0.0.0",
        f"Mozilla/5.0 (Linux; Android 10; K) {BLINK} SamsungBrowser/{{}}.0 Chrome/125.0.0.0 Mobile Safari/537.36",
        "Mozilla/5.0 (X11; Linux x86_64; rv:{0}.0) Gecko/20100101 Firefox/{0}.0",
        "Mozilla/5.0 (Android {0}; Mobile; rv:{0}.0) Gecko/{0}.0 Firefox/{0}.0",
        "Mozilla/5.0 (iPhone; CPU iPhone OS {0}_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        "Version/{0}.1 Mobile/15E148 Safari/604.1",
        "okhttp/{}.12.0",
        "Shop/{}.2.1 (com.example.shop; build:4711; iOS 17.6.1) Alamofire/5.9.1",
    ],
)
def test_S2_a_new_version_is_the_same_device(devices: Devices, agent: str) -> None:
    assert len({devices.of_agent(agent.format(version).encode()) for version in (9, 17, 65, 99, 100, 132, 250)}) == 1


def test_S2_a_phone_of_another_model_or_android_is_the_same_kind(devices: Devices) -> None:
    pattern = "Mozilla/5.0 (Linux; {}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/112.0.0.0 Mobile Safari/537.36"
    kinds = {devices.of_agent(pattern.format(model).encode()) for model in ("Android 13; Pixel 7 Pro", "Android 10; K")}
    assert kinds == {Device("Chrome", "Android", "phone")}


def test_an_absent_user_agent_has_no_class(devices: Devices) -> None:
    assert devices.of_agent(None) is None
    assert devices.of_agent(b"") is None


@pytest.mark.parametrize(
    ("agent", "shown"),
    [
        (b"Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0", "Firefox on Linux"),
        (b"AppleCoreMedia/1.0.0.21G93 (iPad; U; CPU OS 17_6_1 like Mac OS X; en_us)", "AppleCoreMedia on iPad"),
        (b"curl/8.5.0", "curl"),
        (b"Mozilla/5.0", "Unknown client"),
    ],
)
def test_people_are_told_what_they_know(devices: Devices, agent: bytes, shown: str) -> None:
    device = devices.of_agent(agent)
    assert device is not None
    assert device.display == shown


@pytest.mark.parametrize("agent", [b"Firefox", b"Edge", b"Ecosia"])
def test_a_client_does_not_become_a_browser_by_the_name_it_gives_itself(devices: Devices, agent: bytes) -> None:
    device = devices.of_agent(agent)
    assert device is not None
    assert not device.is_recognised


@pytest.mark.parametrize("agent", [b"\0", b"\xff\xfe\x00", "Пример/1.0".encode(), b"|||", b"a|b|c/1 (d|e)", b"-", b" ", b"%00/1"])
def test_what_is_no_user_agent_is_an_unknown_client(devices: Devices, agent: bytes) -> None:
    device = devices.of_agent(agent)
    assert device is not None
    assert not device.is_recognised
    assert device.text.count("|") == 2


@given(st.binary(max_size=2000) | st.text(max_size=600).map(str.encode))
def test_no_user_agent_breaks_a_record_or_a_page(agent: bytes) -> None:
    device = SHARED.of_agent(agent)
    if device is not None:
        assert len(device.text) <= 80
        assert device.text.count("|") == 2
        assert device.text.isascii()
        assert device.text.isprintable()
        assert not set("<>&\"'") & set(device.display)


@given(st.tuples(*[st.none() | st.binary(max_size=300)] * 3))
def test_no_client_hint_breaks_a_record_or_a_page(hints: tuple[bytes | None, bytes | None, bytes | None]) -> None:
    device = SHARED.of_hints(*hints)
    if device is not None:
        assert len(device.text) <= 130
        assert device.text.count("|") == 2
        assert device.text.isascii()
        assert device.text.isprintable()


SHARED = Devices()
SHARED.load()


def test_only_the_beginning_of_a_long_user_agent_is_read_and_kept(devices: Devices) -> None:
    agent = b"Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0 "
    long = agent + b"x" * (LONGEST_BYTES - len(agent))
    before = len(devices._agents)
    assert devices.of_agent(long) == devices.of_agent(long + b"y" * 30_000) == devices.of_agent(long + b"z" * 30_000)
    assert len(devices._agents) == before + 1
    assert max(map(len, devices._agents)) <= LONGEST_BYTES


def test_B1_the_memory_of_clients_is_bounded(devices: Devices) -> None:
    for number in range(10_000):
        devices.of_agent(b"tool-%d" % number)
        devices.of_hints(b'"Brand %d";v="1"' % number, b"?0", b'"Linux"')
    assert len(devices._agents) <= 4096
    assert len(devices._hints) <= 4096


# Client hints


GREASE = ['"Not?A_Brand";v="99"', '"Not;A=Brand";v="8"', '" Not A;Brand";v="99"', '"Not/A)Brand";v="24"', '"(Not(A:Brand";v="8"']


@pytest.mark.parametrize("grease", GREASE)
@pytest.mark.parametrize(
    ("brands", "family"),
    [
        (['"Chromium";v="130"', '"Google Chrome";v="130"'], "Chrome"),
        (['"Chromium";v="130"', '"Microsoft Edge";v="130"'], "Edge"),
        (['"Chromium";v="130"', '"Microsoft Edge";v="130"', '"Microsoft Edge WebView2";v="130"'], "Edge WebView"),
        (['"Chromium";v="128"', '"Opera";v="114"'], "Opera"),
        (['"Chromium";v="128"', '"Opera GX";v="114"'], "Opera"),
        (['"Chromium";v="130"', '"Brave";v="130"'], "Brave"),
        (['"Chromium";v="125"', '"Samsung Internet";v="27.0"'], "Samsung Internet"),
        (['"Chromium";v="128"', '"YaBrowser";v="24.10"', '"Yowser";v="2.5"'], "Yandex Browser"),
        (['"Chromium";v="130"', '"Android WebView";v="130"'], "Android WebView"),
        (['"Chromium";v="130"', '"HeadlessChrome";v="130"'], "HeadlessChrome"),
        (['"Chromium";v="130"'], "Chromium"),
        (['"Chromium";v="130"', '"Somebody\'s Browser";v="1"'], "Chromium"),
        (['"Somebody\'s Browser";v="1"', '"Another";v="2"'], "Another"),
    ],
)
def test_S2_a_brand_is_read_whatever_its_place_and_the_grease_beside_it(
    devices: Devices, brands: list[str], family: str, grease: str
) -> None:
    for seed in range(5):
        shuffled = random.Random(seed).sample([*brands, grease], len(brands) + 1)
        device = devices.of_hints(", ".join(shuffled).encode(), b"?0", b'"Windows"')
        assert device == Device(family, "Windows", "desktop")


@pytest.mark.parametrize(
    ("mobile", "platform", "system", "form"),
    [
        (b"?0", b'"Windows"', "Windows", "desktop"),
        (b"?0", b'"macOS"', "macOS", "desktop"),
        (b"?0", b'"Linux"', "Linux", "desktop"),
        (b"?0", b'"Chrome OS"', "ChromeOS", "desktop"),
        (b"?0", b'"Chromium OS"', "ChromeOS", "desktop"),
        (b"?1", b'"Android"', "Android", "phone"),
        (b"?0", b'"Android"', "Android", "tablet"),
        (b"?0", b'"Unknown"', "", "desktop"),
        (b"?0", None, "", "desktop"),
        (None, b'"Windows"', "Windows", ""),
        (b"true", b"Windows", "", ""),
    ],
)
def test_platform_and_mobile_are_read(
    devices: Devices, mobile: bytes | None, platform: bytes | None, system: str, form: str
) -> None:
    device = devices.of_hints(b'"Chromium";v="130", "Google Chrome";v="130"', mobile, platform)
    assert device == Device("Chrome", system, form)


@pytest.mark.parametrize("hints", [(None, None, None), (b"", b"", b""), (b"\0", b"\0", b"\0"), (b"nonsense", b"?2", b'"')])
def test_hints_that_say_nothing_are_none(devices: Devices, hints: tuple[bytes | None, bytes | None, bytes | None]) -> None:
    assert devices.of_hints(*hints) is None


# Loading


def test_a_client_is_classified_though_nobody_loaded() -> None:
    devices = Devices()
    assert not devices.is_loaded
    assert devices.of_agent(b"Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0") == Device(
        "Firefox", "Linux", "desktop"
    )
    assert devices.is_loaded


async def test_loading_in_a_thread_lets_the_event_loop_run_in_between() -> None:
    """As one set the patterns hold the GIL for 30 ms and more; asked is that the loop ran between the sets, not how fast."""
    devices = Devices()
    turns = 0
    loading = asyncio.create_task(asyncio.to_thread(devices.load))
    while not loading.done():
        turns += 1
        await asyncio.sleep(0)
    await loading
    assert devices.is_loaded
    assert len(devices._patterns) == 4
    assert turns > 4


async def test_two_threads_that_load_at_once_load_once() -> None:
    devices = Devices()
    await asyncio.gather(asyncio.to_thread(devices.load), asyncio.to_thread(devices.load))
    patterns = devices._patterns
    devices.load()
    assert devices._patterns is patterns


def test_the_worst_user_agents_cost_no_more_than_others() -> None:
    """The time is linear in an attacker's text. The budget is 20 µs; a busy machine may take ten times as long."""
    for agent in (
        b"x" * LONGEST_BYTES,
        b"Mozilla/5.0 (" + b"A" * 499,
        b"bot spider crawl " * 30,
        b"Mobile Version/1.0 Instagram " * 17,
    ):
        text = agent[:LONGEST_BYTES].decode()
        spent = min(_timed(text) for _ in range(50))
        assert spent < 200e-6


def _timed(agent: str) -> float:
    started = time.perf_counter()
    SHARED._classify(agent)
    return time.perf_counter() - started
