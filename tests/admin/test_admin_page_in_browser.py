"""The admin port's page in Chromium, in front of a whole gateway with two workers: what an operator sees, and what it changes."""

import itertools
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import pytest_asyncio
from browsing import in_chromium
from live.running_gateway import ADMIN_TOKEN, Child
from patience import PATIENCE_S
from people import APPLICATION, ROUTES, People
from playwright.async_api import Browser, BrowserContext, Locator, Page, expect
from ports import free_port
from store_process import StoreProcess

from gateway.clock import Clock
from gateway.revocation.log import RevocationLog
from gateway.store.client import connect

pytestmark = in_chromium
WAIT_MS = PATIENCE_S * 1000
HOSTILE = '<img src=x onerror="alert(1)">'
DEAD = free_port()  # nobody listens there
UNANSWERED = "Failed to load resource"  # how the browser notes a status that a test asked for


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def store() -> AsyncIterator[StoreProcess]:
    process = StoreProcess().start()
    client = connect(process.url)
    await RevocationLog(client, Clock(), 2.0).declare()
    await client.aclose()
    yield process
    process.close()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, store: StoreProcess) -> Iterator[People]:
    application = Child(APPLICATION)
    gateway = People(tmp_path_factory.mktemp("gateway"), application, store={"url": store.url, "directory": "store"})
    url = f"http://127.0.0.1:{application.says['http']}"
    often = {"health": {"path": "/who", "every": "100ms"}, "ejection": {"failures": 1}}
    gateway._settings["upstreams"]["pair"] = {"url": [url, f"http://127.0.0.1:{DEAD}"]} | often
    gateway._settings["routes"] = [{"name": "pair", "path": "/pair/", "upstream": "pair"}, *ROUTES]
    gateway.start()
    yield gateway
    gateway.stop()
    application.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser, gateway: People) -> AsyncIterator[BrowserContext]:
    """A person's browser. A script's error, a refusal by the policy, or a request to anywhere else fails the test."""
    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(WAIT_MS)
    complaints: list[str] = []
    foreign: list[str] = []
    context.on("console", lambda message: complaints.append(message.text))
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    ours = (gateway.admin, "data:", "http://evil.example/")
    context.on("request", lambda request: None if request.url.startswith(ours) else foreign.append(request.url))
    yield context
    await context.close()
    assert [text for text in complaints if not text.startswith(UNANSWERED)] == []
    assert foreign == []


@pytest_asyncio.fixture(loop_scope="session")
async def tab(context: BrowserContext, gateway: People) -> Page:
    """The page, opened with the token."""
    tab = await context.new_page()
    await tab.goto(f"{gateway.admin}/")
    await enter(tab)
    return tab


async def enter(tab: Page, token: str = ADMIN_TOKEN) -> None:
    await tab.get_by_label("Admin token").fill(token)
    await tab.get_by_role("button", name="Open").click()
    if token == ADMIN_TOKEN:
        await expect(tab.get_by_role("heading", name="State")).to_be_visible()


async def look_up(tab: Page, user: str) -> Locator:
    """The part of the page that tells of this user."""
    await tab.get_by_role("textbox", name="User").fill(user)
    await tab.get_by_role("button", name="Look up", exact=True).click()
    found = tab.locator("#user-found")
    await expect(found.get_by_role("heading", level=3)).to_contain_text(user)
    return found


async def confirm(tab: Page, button: str, *, reason: str = "") -> dict[str, str]:
    """Say yes in the dialog that has opened; the receipt, as it is shown."""
    dialog = tab.get_by_role("dialog")
    await expect(dialog).to_be_visible()
    if reason:
        await dialog.get_by_label("Reason, for the records").fill(reason)
    await dialog.get_by_role("button", name=button, exact=True).click()
    await expect(dialog.locator(".receipt")).to_contain_text("Enforced by 2 of 2 workers, after ")
    rows = await dialog.locator(".raw > div").evaluate_all(
        "rows => rows.map((row) => [...row.children].map((c) => c.textContent))"
    )
    await dialog.get_by_role("button", name="Close").click()
    await expect(dialog).to_be_hidden()
    return dict(rows)


async def revoke(tab: Page, kind: str, name: str, *, issuer: str = "", reason: str = "") -> dict[str, str]:
    await tab.get_by_label("What", exact=True).select_option(kind)
    await tab.get_by_label("Of which issuer").select_option(issuer)
    await tab.get_by_label("Its name").fill(name)
    await tab.get_by_role("button", name="Revoke …").click()
    return await confirm(tab, "Revoke", reason=reason)


def events(tab: Page, text: str) -> Locator:
    return tab.locator("#trail tr").filter(has_text=text)


@contextmanager
def away(store: StoreProcess) -> Iterator[None]:
    store.freeze()
    try:
        yield
    finally:
        store.thaw()


# In and out.


async def test_a_wrong_token_shows_nothing_and_the_right_one_everything(context: BrowserContext, gateway: People) -> None:
    tab = await context.new_page()
    await tab.goto(f"{gateway.admin}/")
    await expect(tab.get_by_label("Admin token")).to_be_focused()
    for wrong in ("wrong", ADMIN_TOKEN[:-1], "schlüssel 🔑 of somebody else"):
        await enter(tab, wrong)
        await expect(tab.get_by_role("alert")).to_have_text("This is no admin token of this gateway.")
        await expect(tab.get_by_role("heading", name="State")).to_be_hidden()
    await enter(tab)
    status = gateway.status()
    workers = tab.get_by_role("region", name="Workers").locator("tbody tr")
    await expect(workers).to_have_count(2)
    for place, pid in enumerate(gateway.workers()):
        await expect(workers.nth(place)).to_contain_text(re.compile(rf"^{place}{pid}● live\d+ ms"))
    tiles = tab.locator("#tiles")
    for told in ("● Ready", "● 2 of 2 live", "● Up", f"Position {status['store']['head']}", "registration closed"):
        await expect(tiles).to_contain_text(told)
    (key,) = status["keys"]
    await expect(tab.get_by_role("row", name=f"{key['kid']} ES256 signing")).to_be_visible()
    await expect(tab.get_by_role("row", name="https://idp.example 1")).to_be_visible()
    await expect(tab.get_by_role("row", name="app up")).to_be_visible()


async def test_the_token_is_nowhere_and_gone_after_a_reload(tab: Page, gateway: People) -> None:
    kept = await tab.evaluate(
        "async () => [JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.cookie, location.href, "
        "document.documentElement.outerHTML, ...[...document.querySelectorAll('input')].map((i) => i.value), "
        "JSON.stringify(await indexedDB.databases()), JSON.stringify(await caches.keys())]"
    )
    assert not any(ADMIN_TOKEN in text for text in kept)
    assert await tab.context.cookies() == []
    await tab.reload()
    await expect(tab.get_by_label("Admin token")).to_be_visible()
    await expect(tab.get_by_role("heading", name="State")).to_be_hidden()
    await enter(tab)
    await tab.get_by_role("button", name="Forget the token").click()
    await expect(tab.get_by_label("Admin token")).to_be_focused()
    await expect(tab.get_by_label("Admin token")).to_have_value("")
    left = await tab.content()
    assert not any(str(pid) in left for pid in gateway.workers())


async def test_no_page_of_another_site_can_use_it_but_a_link_leads_to_it(context: BrowserContext, gateway: People) -> None:
    page = f'<title>evil</title><a href="{gateway.admin}/">a link</a><iframe src="{gateway.admin}/"></iframe>'
    await context.route("http://evil.example/", lambda route: route.fulfill(body=page, content_type="text/html"))
    tab = await context.new_page()
    await tab.goto("http://evil.example/")
    assert [frame.url for frame in tab.frames[1:]] != [] and "Admin token" not in [
        await frame.title() for frame in tab.frames[1:]
    ]
    assert not any([await frame.locator("#door").count() for frame in tab.frames[1:]])
    await tab.get_by_role("link", name="a link").click()
    await expect(tab.get_by_label("Admin token")).to_be_visible()


async def test_no_script_can_put_markup_into_the_page(browser: Browser, gateway: People) -> None:
    tab = await browser.new_page()
    await tab.goto(f"{gateway.admin}/")
    said = await tab.evaluate(
        "() => { try { document.body.innerHTML = '<p>x'; return 'done'; } catch (error) { return error.name; } }"
    )
    assert said == "TypeError"
    await tab.close()


# What happens is seen.


async def test_a_refusal_arrives_while_the_page_is_open(tab: Page, gateway: People) -> None:
    await expect(tab.locator("#trail tr").first).to_be_visible()
    token = gateway.token(sub="mallory", sid="stolen-1")
    gateway.revoke(session="stolen-1")
    assert gateway.told("/who", token) == "401 revoked-session"
    row = events(tab, "shop|mallory").filter(has_text="denied").first
    await expect(row).to_contain_text("revoked-session")
    await expect(row).to_contain_text("session stolen-1")
    await expect(row).to_contain_text("127.0.0.0/24")
    reason = tab.locator("#reasons tr").filter(has_text="revoked-session")
    await expect(reason.locator("td").last).to_have_text(re.compile(r"^[1-9]"))
    told = await tab.get_by_role("img", name=re.compile("In the last hour")).get_attribute("aria-label")
    assert told is not None and re.search(r"[1-9]\d* refused or failed", told)
    assert await tab.locator("#chart rect.revoked").count() == 1
    # From the event to what can be done about it.
    await row.get_by_role("button", name="stolen-1").first.click()
    await expect(tab.get_by_label("Its name")).to_have_value("stolen-1")
    await expect(tab.get_by_label("Its name")).to_be_focused()


async def test_the_list_can_be_held_while_somebody_reads_and_shows_what_is_wanted(tab: Page, gateway: People) -> None:
    await expect(tab.locator("#trail tr").first).to_be_visible()
    await tab.get_by_role("button", name="Pause").click()
    gateway.call("POST", "/v1/users/held@example.com/block")
    await expect(tab.get_by_role("button", name=re.compile(r"Go on \(\d+ new one"))).to_have_attribute("aria-pressed", "true")
    await expect(events(tab, "held@example.com")).to_have_count(0)
    await tab.get_by_role("button", name=re.compile("Go on")).click()
    await expect(events(tab, "held@example.com")).to_have_count(1)
    await tab.get_by_label("Show").select_option("alarm")
    await expect(events(tab, "held@example.com")).to_be_hidden()
    await tab.get_by_label("Show").select_option("operator")
    await expect(events(tab, "held@example.com")).to_be_visible()
    assert gateway.call("DELETE", "/v1/users/held@example.com/block").status_code == 200
    await expect(events(tab, "held@example.com").first).to_contain_text("unblocked")


async def test_older_events_come_on_demand_each_once(tab: Page, gateway: People) -> None:
    for _ in range(60):
        gateway.call("POST", "/v1/purge")
    await tab.reload()
    await enter(tab)
    rows = tab.locator("#trail tr")
    await expect(rows).to_have_count(50)
    await tab.get_by_role("button", name="Older").click()
    await expect(rows).not_to_have_count(50)
    ids = await rows.evaluate_all("rows => rows.map((row) => row.dataset.id)")
    assert len(set(ids)) == len(ids) == len(gateway.events(limit="100")) or len(ids) == 100


# What is done is done.


async def test_one_session_is_ended_and_the_application_refuses_it_and_no_other(tab: Page, gateway: People) -> None:
    user = gateway.add("ends-one@example.com", "staff")
    phone, laptop = gateway.sign_in(user), gateway.sign_in(user)
    first, _ = gateway.sessions_of(user)
    found = await look_up(tab, user)
    await expect(found).to_contain_text("groups staff")
    await expect(found.locator(".sessions li")).to_have_count(2)
    await found.get_by_role("button", name=f"End the session {first}").click()
    receipt = await confirm(tab, "End the session")
    assert gateway.told_everywhere("/who", phone) == {"401 revoked-session"}
    assert gateway.told_everywhere("/who", laptop) == {"200"}
    await expect(found.locator(".sessions li")).to_have_count(1)
    (event,) = gateway.events(user=user, action="session-ended")
    assert (event["target"], event["session"], event["source"]) == (receipt["id"], first, "admin token 1")
    assert (receipt["enforced_by"], receipt["workers"], receipt["complete"], receipt["durable"]) == ("2", "2", "true", "true")
    done = tab.locator("#receipts li").first
    await expect(done).to_contain_text(f"End a session of {user}")
    await expect(done).to_contain_text(f"took_ms{receipt['took_ms']}")


async def test_all_sessions_are_ended(tab: Page, gateway: People) -> None:
    user = gateway.add("ends-all@example.com")
    tokens = [gateway.sign_in(user) for _ in range(3)]
    found = await look_up(tab, user)
    await found.get_by_role("button", name="End all sessions …").click()
    assert (await confirm(tab, "End all"))["sessions"] == "3"
    assert {gateway.told("/who", token) for token in tokens} == {"401 revoked-session"}
    await expect(found.locator(".sessions li")).to_have_count(0)


@pytest.mark.parametrize("user", ["blocked@example.com", "shop|blocked"])
async def test_a_user_is_kept_out_and_let_in_again(tab: Page, gateway: People, user: str) -> None:
    token = gateway.token(sub="blocked") if user.startswith("shop|") else gateway.sign_in(gateway.add(user))
    assert gateway.told("/who", token) == "200"
    found = await look_up(tab, user)
    await found.get_by_role("button", name="Block …").click()
    await confirm(tab, "Block", reason="the laptop was stolen")
    await expect(found.get_by_text("blocked", exact=True).first).to_be_visible()
    assert gateway.told_everywhere("/who", token) == {"403 blocked-user"}
    assert gateway.events(user=user, action="blocked")[0]["text"] == "the laptop was stolen"
    await found.get_by_role("button", name="Unblock …").click()
    await confirm(tab, "Unblock")
    await expect(found.get_by_role("button", name="Block …")).to_be_visible()
    assert gateway.told_everywhere("/who", token) == {"200"}


@pytest.mark.parametrize(
    ("kind", "refused"),
    [("session", "401 revoked-session"), ("token_id", "401 revoked-token"), ("user", "401 old-version")],
)
async def test_what_is_revoked_by_name_is_refused_until_it_is_undone(tab: Page, gateway: People, kind: str, refused: str) -> None:
    names = {"session": f"sid-{kind}", "token_id": f"jti-{kind}", "user": f"shop|sub-{kind}"}
    token = gateway.token(sub=f"sub-{kind}", sid=names["session"], jti=names["token_id"])
    assert gateway.told("/who", token) == "200"
    receipt = await revoke(tab, kind, names[kind], issuer="https://idp.example", reason="found in a log")
    assert gateway.told_everywhere("/who", token) == {refused}
    (event,) = [one for one in gateway.events(action="revocation") if one["target"] == receipt["id"]]
    assert (event["reason"], event["text"], event["source"]) == (kind.removesuffix("_id"), "found in a log", "admin token 1")
    await tab.locator("#receipts li").first.get_by_role("button", name="Undo …").click()
    assert (await confirm(tab, "Undo"))["id"] == receipt["id"]
    assert gateway.told_everywhere("/who", token) == {"200"}


async def test_our_own_key_is_succeeded_before_it_is_refused(tab: Page, gateway: People) -> None:
    """Revoked by name alone it would take down every login until the next rotation."""
    token = gateway.sign_in(gateway.add("keyed@example.com"))
    (kid,) = (key["kid"] for key in gateway.status()["keys"] if key["state"] == "signing")
    await tab.reload()
    await enter(tab)
    receipt = await revoke(tab, "key", kid)
    assert receipt["signing"] not in ("", "null", kid)
    assert gateway.told_everywhere("/who", token) == {"401 retired-key"}
    assert gateway.told("/who", gateway.sign_in("keyed@example.com")) == "200"


NOT_YET = " 1 worker did neither say so nor provably stop yet. It is recorded: whoever is cut off stops by itself."
STOPPED = " 1 further one is provably stopped. A stopped worker may still serve: report, help."


@pytest.mark.parametrize(
    ("differs", "workers", "further"),
    [
        ({}, "2 of 2", ""),
        ({"enforced_by": 1, "fenced": 1, "not_fenced_routes": ["report", "help"]}, "1 of 2", STOPPED),
        ({"workers": 3, "complete": False}, "2 of 3", NOT_YET),
        ({"durable": False}, "2 of 2", " The store does not promise to remember it after a crash."),
    ],
)
async def test_W3_a_receipt_is_told_as_it_is(
    browser: Browser, gateway: People, differs: dict[str, Any], workers: str, further: str
) -> None:
    receipt = {"id": "0f", "enforced_by": 2, "fenced": 0, "workers": 2, "complete": True, "durable": True, "took_ms": 4.1}
    receipt |= differs
    tab = await browser.new_page()
    await tab.goto(f"{gateway.admin}/")
    told = "receipt => { const [told, raw] = receiptOf(receipt); return [told.textContent, told.className, raw.textContent]; }"
    text, kind, raw = await tab.evaluate(told, receipt)
    assert text == f"Enforced by {workers} workers, after 4.1 ms.{further}"
    assert ("late" in kind) == (further == NOT_YET)
    assert all(name in raw for name in receipt)
    await tab.close()


async def test_nothing_is_done_by_whoever_changes_his_mind(tab: Page, gateway: People) -> None:
    token = gateway.sign_in(gateway.add("spared@example.com"))
    found = await look_up(tab, "spared@example.com")
    for leave in ("button", "Escape"):
        await found.get_by_role("button", name="Block …").click()
        if leave == "button":
            await tab.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        else:
            await tab.keyboard.press("Escape")
        await expect(tab.get_by_role("dialog")).to_be_hidden()
        await expect(found.get_by_role("button", name="Block …")).to_be_focused()
    assert gateway.told("/who", token) == "200"
    assert gateway.events(user="spared@example.com", action="blocked") == []


# Strangers, mistakes, outages.


async def test_what_a_stranger_calls_himself_is_text_wherever_it_stands(tab: Page, gateway: People) -> None:
    token = gateway.token(sub=HOSTILE, sid=f"sid{HOSTILE}")
    assert gateway.call("POST", "/v1/revocations", json={"session": f"sid{HOSTILE}"}).status_code == 201
    assert gateway.told("/who", token) == "401 revoked-session"
    name = f"shop|{HOSTILE}"
    row = events(tab, name).first
    await row.get_by_role("button", name=name, exact=True).click()
    found = tab.locator("#user-found")
    await expect(found.get_by_role("heading", level=3)).to_have_text(name)
    await expect(found).to_contain_text("There is no account of this name.")
    await found.get_by_role("button", name="Block …").click()
    await expect(tab.get_by_role("dialog")).to_contain_text(f"Block {name}")
    await confirm(tab, "Block", reason=HOSTILE)
    assert gateway.told("/who", gateway.token(sub=HOSTILE)) == "403 blocked-user"
    await expect(events(tab, "blocked").filter(has_text=name).first).to_contain_text("by admin token 1")
    await expect(tab.locator("#receipts li").first).to_contain_text(f"Block {name}")
    assert await tab.locator("img, [onerror]").count() == 0
    gateway.call("DELETE", f"/v1/users/shop%7C{HOSTILE.replace(' ', '%20')}/block")


async def test_a_name_is_one_part_of_a_path_whatever_it_holds(tab: Page) -> None:
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url) if "/v1/users" in request.url else None)
    for name in ("%2e", "a/b", "a?b#c", "ende%", "\u00e9\u4e2d"):
        asked.clear()
        await look_up(tab, name)
        assert len(asked) == 3 and all(re.fullmatch(r".*/v1/users/[^/?#]+(/sessions|/block)?", url) for url in asked)
    asked.clear()
    for name in (".", ".."):  # a browser takes them for steps: `DELETE /v1/users/./sessions` would erase a user called "sessions"
        await tab.get_by_role("textbox", name="User").fill(name)
        await tab.get_by_role("button", name="Look up", exact=True).click()
        await expect(tab.locator("#user-problem")).to_have_text(f"Nothing here can be called “{name}”.")
    assert asked == []


async def test_what_the_api_refuses_is_said_in_its_words(tab: Page, gateway: People) -> None:
    token = gateway.token(sub="whole")
    await tab.get_by_label("What", exact=True).select_option("token_id")
    await tab.get_by_label("Its name").fill(token)
    await tab.get_by_role("button", name="Revoke …").click()
    dialog = tab.get_by_role("dialog")
    await dialog.get_by_role("button", name="Revoke", exact=True).click()
    said = dialog.get_by_role("alert")
    await expect(said).to_contain_text("The revocation is not valid. token_id ")
    if len(token) <= 512:
        await expect(said).to_contain_text("is a whole token")
    await dialog.get_by_role("button", name="Cancel").click()
    await tab.get_by_label("Its name").fill("")


async def test_an_outage_of_the_store_is_seen_and_survived(tab: Page, gateway: People, store: StoreProcess) -> None:
    await expect(tab.locator("#trail tr").first).to_be_visible()
    with away(store):
        await expect(tab.locator("#tiles")).to_contain_text("▲ Down")
        await expect(tab.locator("#tiles")).to_contain_text("how far workers are behind is not known")
        await expect(tab.locator("#events-problem")).to_contain_text("The store did not answer.")
        await expect(tab.get_by_role("region", name="Workers")).to_contain_text("▲ stale")
        await tab.get_by_role("textbox", name="User").fill("alice@example.com")
        await tab.get_by_role("button", name="Look up", exact=True).click()
        await expect(tab.locator("#user-problem")).to_contain_text("The store did not answer.")
        await tab.get_by_label("What", exact=True).select_option("session")
        await tab.get_by_label("Its name").fill("during-the-outage")
        await tab.get_by_role("button", name="Revoke …").click()
        dialog = tab.get_by_role("dialog")
        await dialog.get_by_role("button", name="Revoke", exact=True).click()
        await expect(dialog.get_by_role("alert")).to_contain_text("The result is unknown: it may or may not have been recorded.")
        await expect(tab).to_have_title("▲ not ready · gateway")
    await expect(tab.locator("#tiles")).to_contain_text("● Up")
    await expect(tab).to_have_title("gateway")
    await confirm(tab, "Revoke")  # the dialog has waited, and asking again is safe
    assert gateway.told("/who", gateway.token(sid="during-the-outage")) == "401 revoked-session"
    await expect(events(tab, "during-the-outage").first).to_be_visible()
    await expect(tab.locator("#events-problem")).to_be_hidden()


async def test_a_gateway_that_does_not_answer_is_told_of_and_found_again(tab: Page) -> None:
    await expect(tab.locator("#trail tr").first).to_be_visible()
    await tab.context.set_offline(True)
    await expect(tab.locator("#trouble")).to_contain_text("The gateway’s admin port does not answer.")
    await expect(tab.locator("#as-of")).to_have_text(re.compile(r"^As of \d\d:\d\d:\d\d, \d+ s ago$"))
    await tab.context.set_offline(False)
    await expect(tab.locator("#trouble")).to_be_hidden()
    await expect(tab.locator("#as-of")).to_have_text(re.compile(r"^As of \d\d:\d\d:\d\d$"))


async def test_a_token_that_is_accepted_no_more_closes_the_page(tab: Page) -> None:
    """As after a restart with another token: the gateway is real, only the token on its way is another one."""

    async def with_another_token(route: Any) -> None:
        await route.continue_(headers={**route.request.headers, "authorization": "Bearer of-yesterday"})

    await expect(tab.locator("#trail tr").first).to_be_visible()
    await tab.route("**/v1/**", with_another_token)
    await expect(tab.get_by_role("alert").filter(has_text="does not accept this token any more")).to_be_visible()
    await expect(tab.get_by_role("heading", name="State")).to_be_hidden()
    assert await tab.locator("#trail tr, #workers tr").count() == 0


# Seen, and used without a mouse.

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
    if (element.closest(".unseen, .skip, title, option")) continue;
    const { color, fill } = getComputedStyle(element);
    const [a, b] = [light(parts(element.closest("svg") ? fill : color)), light(behind(element))].sort((x, y) => x - y);
    if ((b + 0.05) / (a + 0.05) < 4.5) poor.push([element.outerHTML, (b + 0.05) / (a + 0.05)]);
  }
  return poor;
}"""
OUT = """(width) => [...document.querySelectorAll("button, input, select, .card, .chart svg")]
  .filter((each) => each.checkVisibility() && !each.closest(".scroll, .unseen") && each.getBoundingClientRect().right > width)
  .map((each) => each.outerHTML)"""
SMALL = """() => [...document.querySelectorAll("button, input, select, a")]
  .filter((each) => each.checkVisibility() && !each.closest(".unseen") && each.getBoundingClientRect().height < 24)
  .map((each) => each.outerHTML)"""
NAMELESS = """(all) => all.filter((each) => !each.labels?.length && !each.getAttribute("aria-label") && !each.textContent.trim())
  .map((each) => each.outerHTML)"""


async def with_everything_open(tab: Page, gateway: People) -> None:
    user = gateway.add(f"seen-{len(gateway.shown)}@example.com", "staff")
    gateway.sign_in(user)
    gateway.revoke(session="seen")
    gateway.told("/who", gateway.token(sid="seen"))
    gateway.told("/who")
    found = await look_up(tab, user)
    await found.get_by_role("button", name="Block …").click()
    await confirm(tab, "Block")
    await expect(tab.locator("#chart rect.missing")).not_to_have_count(0)


async def test_every_text_can_be_read(tab: Page, gateway: People) -> None:
    dialog, block = tab.get_by_role("dialog"), tab.locator("#user-found").get_by_role("button", name="Unblock …")
    schemes: Any = itertools.product(("light", "dark"), ("no-preference", "more"))
    await with_everything_open(tab, gateway)
    for scheme, contrast in schemes:
        await tab.emulate_media(color_scheme=scheme, contrast=contrast, reduced_motion="reduce")
        assert await tab.evaluate(POOR) == [], (scheme, contrast)
        await block.click()
        assert await tab.evaluate(POOR) == [], (scheme, contrast)
        await dialog.get_by_role("button", name="Cancel").click()
    await tab.get_by_role("button", name="Forget the token").click()
    await enter(tab, "wrong")
    await expect(tab.get_by_role("alert")).to_be_visible()
    for scheme in ("light", "dark"):
        await tab.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert await tab.evaluate(POOR) == [], scheme


async def test_nothing_sticks_out_of_the_page_and_everything_can_be_hit(tab: Page, gateway: People) -> None:
    await with_everything_open(tab, gateway)
    for width in (1920, 1440, 1000, 768, 390, 320):
        await tab.set_viewport_size({"width": width, "height": 800})
        await expect(tab.locator("#chart svg")).to_have_attribute(
            "width", str(await tab.locator("#chart").evaluate("c => c.clientWidth"))
        )
        assert await tab.evaluate("document.documentElement.scrollWidth") <= width
        assert await tab.evaluate(OUT, width) == []
        assert await tab.evaluate(SMALL) == []  # WCAG 2.2, 2.5.8


async def test_it_has_landmarks_names_and_headings(tab: Page, gateway: People) -> None:
    await with_everything_open(tab, gateway)
    for role in ("banner", "main", "navigation"):
        await expect(tab.get_by_role(role)).to_have_count(1)  # type: ignore[arg-type]
    for name in ("State", "Decisions of the last hour", "Security events", "Look a user up", "Revoke", "Done from this page"):
        await expect(tab.get_by_role("region", name=name).get_by_role("heading", name=name)).to_be_visible()
    fields = tab.locator("input:visible, select:visible, button:visible")
    assert await fields.count() > 10 and await fields.evaluate_all(NAMELESS) == []
    await expect(tab.get_by_role("table", name="Security events").get_by_role("columnheader")).to_have_count(6)
    for table in await tab.locator("table").all():
        assert await table.locator("thead th[scope=col]").count() >= 2
    ids = await tab.locator("[id]").evaluate_all("all => all.map((e) => e.id)")
    assert len(set(ids)) == len(ids)


async def test_everything_can_be_done_with_the_keyboard(context: BrowserContext, gateway: People) -> None:
    user = gateway.add("keyboard@example.com")
    gateway.sign_in(user)
    tab = await context.new_page()
    await tab.goto(f"{gateway.admin}/")
    await tab.keyboard.type(ADMIN_TOKEN)
    await tab.keyboard.press("Enter")
    await expect(tab.get_by_role("main")).to_be_focused()
    await tab.get_by_role("textbox", name="User").focus()
    assert await tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    await tab.keyboard.type(user)
    await tab.keyboard.press("Enter")
    await expect(tab.locator(".sessions li")).to_have_count(1)
    await expect(tab.locator("#user-said")).to_have_text(f"{user}: 1 session")
    seen: list[str] = []
    while "End all sessions …" not in seen:
        await tab.keyboard.press("Tab")
        seen.append(await tab.evaluate("document.activeElement.textContent.trim()"))
        assert len(seen) < 10
    await tab.keyboard.press("Enter")
    dialog = tab.get_by_role("dialog")
    await expect(dialog.get_by_role("heading")).to_be_focused()
    await tab.keyboard.press("Tab")
    await tab.keyboard.press("Tab")
    await expect(dialog.get_by_role("button", name="End all")).to_be_focused()
    await tab.keyboard.press("Enter")
    await expect(dialog.locator(".receipt")).to_be_visible()
    await expect(dialog.get_by_role("heading")).to_be_focused()
    await tab.keyboard.press("Tab")
    await tab.keyboard.press("Enter")
    await expect(dialog).to_be_hidden()
    await expect(tab.locator(".sessions li")).to_have_count(0)
    await expect(tab.get_by_role("textbox", name="User")).to_be_focused()  # its button was replaced
    assert gateway.sessions_of(user) == []


async def test_nothing_moves_for_those_who_asked_for_it(tab: Page, gateway: People) -> None:
    await tab.emulate_media(reduced_motion="reduce")
    gateway.call("POST", "/v1/purge")
    row = tab.locator("#trail tr.fresh").first
    await expect(row).to_be_visible()
    assert await row.evaluate("row => getComputedStyle(row).animationName") == "none"


async def test_the_token_is_in_no_output(gateway: People) -> None:
    assert gateway.leaks() == []
    assert ADMIN_TOKEN not in json.dumps(gateway.events(limit="1000"))


async def test_an_upstream_s_addresses_are_shown_and_which_of_them_are_out(tab: Page, gateway: People) -> None:
    rows = tab.get_by_role("table", name="Upstreams").locator("tbody tr")
    app = gateway._settings["upstreams"]["app"]["url"].removeprefix("http://")
    told = ["app● up", f"{app}● up", "pair▲ partly up", f"{app}● up", f"127.0.0.1:{DEAD}▲ down"]
    await expect(rows).to_have_text(told)
    assert gateway.command("status").stdout.count(f"upstream pair: up, addresses: 1 up, 1 down (127.0.0.1:{DEAD} down)") == 1
