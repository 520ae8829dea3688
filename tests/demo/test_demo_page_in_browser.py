"""The demo's page in a real browser: every step clicked, and what it claims compared with what the gateway counted and wrote."""

import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
import yaml
from browsing import in_chromium
from patience import PATIENCE_S
from playwright.async_api import Browser, Page, expect
from prometheus_client.parser import text_string_to_metric_families
from running_demo import address_of, end, folder_of, read_page, start_in_a_hurry, url_of

from gateway.demo.browser import CHROME, FIREFOX
from gateway.demo.evidence import value_of
from gateway.demo.talk import ask
from gateway.demo.theft import SCENES

pytestmark = in_chromium
WAIT_MS = PATIENCE_S * 1000
FAMILIES = ("revoked_use", "refreshes", "fingerprint_mismatches", "logins", "revocations")


@dataclass
class Demo:
    """A running demo: where its page is, its gateway, its admin port, its folder."""

    url: str
    gateway: str
    admin: str
    folder: Path
    printed: str

    @property
    def admin_token(self) -> str:
        token: str = yaml.safe_load((self.folder / "gateway.yaml").read_text())["admin"]["token"]
        return token

    def counted(self) -> Counter[str]:
        """What its gateways have counted, read by Prometheus' own parser."""
        admins = [yaml.safe_load(path.read_text())["admin"]["listen"] for path in self.folder.glob("*.yaml")]
        found: Counter[str] = Counter()
        for admin in admins:
            for family in text_string_to_metric_families(ask(admin, "/metrics").text):
                for sample in family.samples:
                    if family.name.removeprefix("gateway_") in FAMILIES and sample.name.endswith("_total"):
                        labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
                        found[f"{sample.name}{{{labels}}}"] += int(sample.value)
        return +found

    def access_lines(self) -> list[dict[str, object]]:
        lines = (json.loads(line) for line in (self.folder / "gateway.log").read_text().splitlines() if line.startswith("{"))
        return [line for line in lines if "route" in line]


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    process = start_in_a_hurry()
    page = read_page(process)
    yield Demo(url_of(page), address_of(page, "gateway"), address_of(page, "admin"), folder_of(page), "\n".join(page))
    end(process)
    assert process.returncode == 0


@pytest_asyncio.fixture(loop_scope="session")
async def tab(browser: Browser, demo: Demo) -> AsyncIterator[Page]:
    """The page from its beginning. Whatever the browser complains about, a policy or a script, fails the test."""
    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    complaints: list[str] = []
    foreign: list[str] = []
    context.on("console", lambda message: complaints.append(message.text))
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    context.on("request", lambda request: None if request.url.startswith((demo.url, "data:")) else foreign.append(request.url))
    tab = await context.new_page()
    tab.set_default_timeout(WAIT_MS)
    await start(tab, demo)
    yield tab
    assert complaints == []
    assert foreign == []


async def start(tab: Page, demo: Demo) -> None:
    await tab.goto(demo.url)
    await tab.get_by_role("button", name="Start over").click()
    await expect(tab.get_by_role("heading", name="1. Alice signs in")).to_be_visible()
    await expect(tab.locator("#acts .done")).to_have_count(0)


async def play_act(tab: Page) -> None:
    """The next act, until it is judged."""
    done = await tab.locator("#acts .done").count()
    await tab.locator("#next").click()
    await expect(tab.locator("#acts .done")).to_have_count(done + 1, timeout=WAIT_MS)


async def play_scene(tab: Page, place: int) -> None:
    for _ in SCENES[place].acts:
        await play_act(tab)
    wrong = await tab.locator("#acts .wrong").all_inner_texts()
    assert wrong == [], await tab.locator("#acts").inner_text()


async def go_to(tab: Page, place: int) -> None:
    await tab.locator("#scenes button").nth(place).click()
    await expect(tab.locator("#title")).to_have_text(f"{place + 1}. {SCENES[place].title}")


def answer_of(tab: Page, who: str) -> str:
    return f"#{who} .bar .answer"


async def test_every_step_does_what_it_promises_and_the_gateway_has_counted_what_the_page_claims(tab: Page, demo: Demo) -> None:
    before = demo.counted()
    claimed: Counter[str] = Counter()
    for place, scene in enumerate(SCENES):
        await expect(tab.locator("#title")).to_have_text(f"{place + 1}. {scene.title}")
        await play_scene(tab, place)
        shown = await tab.locator("#acts .evidence li").evaluate_all("rows => rows.map((row) => row.textContent)")
        for sample, first, last in re.findall(r"^(gateway_\S+)  (\d+) → (\d+)$", "\n".join(shown), re.M):
            assert int(last) > int(first)
            claimed[sample] = max(claimed[sample], int(last))
        promised = [sample for act in scene.acts for sample in act.counts]
        assert all(any(sample in row for row in shown) for sample in promised)
        if place + 1 < len(SCENES):
            await tab.locator("#next").click()  # to the next scene, which is read before it is played
    await expect(tab.locator("#scenes .good")).to_have_count(len(SCENES))
    await expect(tab.locator("#next")).to_have_text("The story is over")

    counted = demo.counted()
    assert claimed and all(value_of(sample, counted) >= value > value_of(sample, before) for sample, value in claimed.items())
    await tab.get_by_text("Before this scene").click()
    rows = await tab.locator(".counters tbody tr").evaluate_all(
        "rows => rows.map((row) => [...row.cells].map((c) => c.textContent))"
    )
    assert {name: int(value.split()[0]) for name, value in rows} == dict(counted)

    # The reasons of the story, as often as the log has them.
    lines = demo.access_lines()
    reasons = Counter(line["reason"] for line in lines if line["reason"])
    assert reasons.keys() >= {"no-token", "device-changed", "network-changed", "refresh-reused", "revoked-session", "old-version"}
    refused = await tab.locator("#log .refused").count()
    assert refused == reasons.total()
    last = await tab.locator("#log .access").last.inner_text()
    assert last.split()[1:] == ["Bob", "GET", "/", "200"]


async def test_the_claims_that_are_shown_are_the_tokens_own_and_the_session_is_the_gateways(tab: Page, demo: Demo) -> None:
    await play_scene(tab, 0)
    access = tab.locator("#alice .cookies summary").filter(has_text="access")
    await access.focus()
    await tab.keyboard.press("Enter")
    claims = tab.locator("#alice .cookies [data-name=access] dl")
    names, values = await claims.locator("dt").all_inner_texts(), await claims.locator("dd").all_inner_texts()
    shown = dict(zip(names, values, strict=True))
    assert list(shown) == ["jti", "sid", "ver", "gen", "iat", "exp"]
    admin = [("Authorization", f"Bearer {demo.admin_token}")]
    sessions = ask(demo.admin, "/v1/users/alice@example.org/sessions", admin).data()["sessions"]
    assert shown["sid"] in [session["id"] for session in sessions]
    assert shown["jti"].startswith(shown["sid"] + ".") and shown["gen"] == "1"
    assert "HttpOnly" in await tab.locator("#alice .cookies [data-name=access] .hint").inner_text()
    # It stays open while the page goes on.
    await tab.locator('#alice [data-deed="open"]').click()
    await expect(tab.locator("#alice .requests details")).to_have_count(5)
    await expect(claims).to_be_visible()


async def test_a_stolen_jar_is_the_same_and_a_token_is_seen_to_run_out(tab: Page) -> None:
    await play_scene(tab, 0)
    await tab.get_by_role("button", name="Steal the cookies").click()
    await expect(tab.locator("#thief .cookies [data-name]")).to_have_count(3)
    values = [await tab.locator(f"#{who} .cookies .value").all_inner_texts() for who in ("alice", "thief")]
    assert values[0] == values[1] and all("…" in value for value in values[0][:2])
    life = tab.locator("#thief .cookies [data-name=access] .life")
    await expect(life).to_have_text(re.compile(r"^gen 1 · ver \d+ · [1-5] s$"))
    await expect(life).to_have_text(re.compile(r"^gen 1 · ver \d+ · run out$"))


async def test_what_strangers_send_is_shown_as_text(tab: Page, demo: Demo) -> None:
    desk = re.findall(r"http://(\S+)/USER/SESSION", demo.printed)[0]
    authorization = ask(desk, "/<u>gotcha/evil").text.strip().partition(": ")[2]
    admin = [("Authorization", f"Bearer {demo.admin_token}")]
    assert ask(demo.admin, "/v1/revocations", admin, method="POST", body={"session": "evil"}).status == 201
    assert ask(demo.gateway, "/", [("Authorization", authorization)]).reason == "revoked-session"
    line = tab.locator("#log .security").filter(has_text="gotcha").last
    await expect(line).to_contain_text("Token revoked rejected sub=<u>gotcha jti=evil-")
    await expect(tab.locator("#log u")).to_have_count(0)


async def test_the_log_is_followed_until_somebody_scrolls_up(tab: Page) -> None:
    log = tab.locator("#log")
    left = "log => log.scrollHeight - log.scrollTop - log.clientHeight"
    await play_scene(tab, 0)
    await go_to(tab, 2)
    await play_scene(tab, 2)
    assert await log.evaluate(left) < 2
    await log.hover()
    await tab.mouse.wheel(0, -200)
    while await log.evaluate(left) < 100:
        await tab.wait_for_timeout(20)
    seen = await log.evaluate("log => log.scrollTop")
    await go_to(tab, 0)
    await play_act(tab)
    assert await log.evaluate("log => log.scrollTop") == seen
    await log.focus()
    await tab.keyboard.press("End")
    while await log.evaluate(left) >= 2:
        await tab.wait_for_timeout(20)
    await play_act(tab)
    assert await log.evaluate(left) < 2


async def test_no_script_can_put_html_into_the_page(browser: Browser, demo: Demo) -> None:
    """Trusted Types: what the page's own script is not able to do, a mistake in it is not either."""
    tab = await (await browser.new_context()).new_page()
    await tab.goto(demo.url)
    said = await tab.evaluate(
        "() => { try { document.body.innerHTML = '<p>x'; return 'done'; } catch (error) { return error.name; } }"
    )
    assert said == "TypeError"


async def test_a_person_may_do_something_else_between_the_acts(tab: Page) -> None:
    async def does(who: str, button: str, then: str) -> None:
        await tab.locator(f"#{who}").get_by_role("button", name=button, exact=True).click()
        await expect(tab.locator(answer_of(tab, who))).to_have_text(then)

    async def signs_in() -> None:
        await tab.locator("#alice").get_by_role("button", name="Sign in").click()
        await expect(tab.locator("#alice .screen")).to_contain_text("Hello alice@example.org")

    await signs_in()
    await does("alice", "Refresh", "200")
    await expect(tab.locator("#alice .cookies [data-name=access] .life")).to_contain_text("gen 2")
    await tab.get_by_role("button", name="… and the User-Agent").click()
    await expect(tab.locator("#thief header")).to_contain_text(f"calls itself {FIREFOX.name}")
    await does("thief", "Open the page", "200")
    await tab.locator("#alice").get_by_role("button", name="Sign out").click()
    await expect(tab.locator("#alice .screen")).to_contain_text("You are signed out.")
    await does("thief", "Open the page", "401 revoked-session")
    await expect(tab.locator("#thief .cookies")).to_contain_text("None.")
    await does("thief", "Refresh", "401 no-token")
    await tab.get_by_role("button", name="Use them again").click()
    await does("thief", "Refresh", "401 revoked-session")
    await signs_in()
    await tab.get_by_role("button", name="Steal the cookies").click()
    await expect(tab.locator("#thief header")).to_contain_text(CHROME.name)
    await does("thief", "Open the page", "401 device-changed")
    request = tab.locator("#thief .requests details").first
    await request.locator("summary").click()
    await expect(request.locator("pre")).to_contain_text("Sec-Fetch-Mode: navigate")
    await expect(request.locator("pre")).to_contain_text('Sec-CH-UA-Platform: "Android"')


async def test_any_scene_can_be_the_first_and_be_played_again(tab: Page) -> None:
    await go_to(tab, 2)
    await play_scene(tab, 2)
    await go_to(tab, 5)
    await play_scene(tab, 5)
    await go_to(tab, 2)
    await expect(tab.locator("#acts .done")).to_have_count(0)
    await play_scene(tab, 2)


async def test_a_wait_can_be_left(tab: Page) -> None:
    await go_to(tab, 4)
    await play_act(tab)
    await play_act(tab)
    await tab.locator("#next").click()
    await expect(tab.locator("#acts .waiting [data-until]")).to_have_text(re.compile(r"^\d+ s$"))
    await expect(tab.locator("#next")).to_have_attribute("aria-disabled", "true")
    await go_to(tab, 0)
    await expect(tab.locator("#next")).to_have_attribute("aria-disabled", "false")
    await play_act(tab)


async def test_it_plays_by_itself_at_a_readers_pace_and_stops_when_told(browser: Browser, demo: Demo) -> None:
    tab = await (await browser.new_context()).new_page()
    await tab.clock.install()
    await start(tab, demo)
    alone = tab.locator("#alone")
    await alone.click()
    await expect(alone).to_have_attribute("aria-pressed", "true")
    await expect(tab.locator("#acts .done")).to_have_count(1)
    await tab.clock.run_for(2000)
    await expect(tab.locator("#acts .done")).to_have_count(1)  # still being read
    await tab.clock.run_for(2000)
    await expect(tab.locator("#acts .done")).to_have_count(2)
    await tab.get_by_role("button", name="Pause").click()
    await tab.clock.run_for(20_000)
    await expect(tab.locator("#acts .done")).to_have_count(2)


async def test_everything_can_be_done_with_the_keyboard(tab: Page) -> None:
    seen = set()
    for _ in range(40):
        await tab.keyboard.press("Tab")
        seen.add(await tab.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
    assert {"next", "alone", "over", "log", "Sign in", "Steal the cookies", "Type it yourself"} <= seen
    await tab.locator("#next").focus()
    for done in (1, 2, 3):
        await tab.keyboard.press("Enter")
        await expect(tab.locator("#acts .done")).to_have_count(done)
        await expect(tab.locator("#next")).to_be_focused()
        await expect(tab.locator("#next")).to_have_attribute("aria-disabled", "false")
    await expect(tab.locator("#said")).to_contain_text("Bob signs in, too, elsewhere: 200 Hello bob@example.org")
    assert await tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


async def test_the_lines_to_type_are_copied_as_they_are(tab: Page, demo: Demo) -> None:
    await tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await tab.get_by_text("Type it yourself").click()
    lines = await tab.locator("#lines code").all_inner_texts()
    assert lines[0].startswith(f"cd {demo.folder} && export GATEWAY_CONFIG=") and any("gateway audit" in line for line in lines)
    await tab.locator("#lines button").nth(1).click()
    assert await tab.evaluate("navigator.clipboard.readText()") == lines[1] == "gateway sessions alice@example.org"


# Seen.

# Every visible text, and what lies behind it.
POOR = """() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => ((c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, place) => sum + c * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const ground = parts(getComputedStyle(at).backgroundColor);
      if (ground.length === 3) return ground;
      if (ground[3] !== 0) throw new Error("half transparent: " + at.outerHTML);
    }
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    if (element.closest(".unseen, [aria-disabled=true]")) continue;
    const [a, b] = [light(parts(getComputedStyle(element).color)), light(behind(element))].sort();
    if ((b + 0.05) / (a + 0.05) < 4.5) poor.push([element.outerHTML, (b + 0.05) / (a + 0.05)]);
  }
  return poor;
}"""


# What sticks out of the page on its right.
OUT = """(width) => [...document.querySelectorAll("button, .card, .log, .screen, .bar")]
  .filter((each) => each.checkVisibility() && each.getBoundingClientRect().right > width).map((each) => each.outerHTML)"""
HEIGHTS = "buttons => buttons.filter((b) => b.checkVisibility()).map((b) => b.getBoundingClientRect().height)"


async def test_every_text_can_be_read_and_nothing_sticks_out_of_the_page(tab: Page) -> None:
    await go_to(tab, 2)
    await play_scene(tab, 2)
    await tab.get_by_text("Type it yourself").click()
    await tab.locator("#thief .requests summary").first.click()
    for scheme in ("light", "dark"):
        await tab.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert await tab.evaluate(POOR) == [], scheme
    for width in (1920, 1440, 1000, 390):
        await tab.set_viewport_size({"width": width, "height": 800})
        assert await tab.evaluate("document.documentElement.scrollWidth") <= width
        assert await tab.evaluate(OUT, width) == []
        assert min(await tab.locator("button").evaluate_all(HEIGHTS)) >= 24  # WCAG 2.2: 2.5.8
