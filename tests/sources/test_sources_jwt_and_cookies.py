"""The article on JWTs and cookies, demand by demand.

    cookies HttpOnly, Secure, SameSite              what scripts, plain HTTP and other sites get of them
    the CSRF value in the token and in the page     and what another origin can do without it
    a refresh on 401 that nobody notices            for a page that holds its token; with cookies there is not even a 401
    an authentication server of its own             the application sees no password and no token
    the token where the backend expects it          out of the cookie, into Authorization or X-Access-Token

What has to be shown over TLS is shown over TLS.
"""

import json

import pytest
from live.running_gateway import eventually
from playwright.async_api import expect
from shops import Shop, Visit
from visitor import PASSWORD, claims_of, is_said

pytestmark = pytest.mark.asyncio(loop_scope="session")


# Cookies.


async def test_jwt_and_cookies_they_are_http_only_secure_and_same_site(visit: Visit, strict_shop: Shop) -> None:
    visitor = await visit(at=strict_shop)
    names = {cookie["name"] for cookie in await visitor.context.cookies(strict_shop.url)} - {"basket"}
    assert names == {"__Host-access", "__Host-refresh", "__Host-csrf"}
    for name, cookie in (await visitor.jar()).items():
        assert cookie["secure"] and cookie["sameSite"] == "Lax" and cookie["path"] == "/"
        assert cookie["httpOnly"] is (name != "csrf")


async def test_jwt_and_cookies_a_script_sees_the_csrf_value_and_neither_token(visit: Visit, strict_shop: Shop) -> None:
    visitor = await visit(at=strict_shop)
    for path in ("/orders", "/auth/devices"):
        await visitor.open(path)
        seen = await visitor.tab.evaluate("document.cookie")
        cookies = await visitor.cookies()
        assert f"__Host-csrf={cookies['csrf']}" in seen
        assert cookies["access"] not in seen and cookies["refresh"] not in seen


async def test_jwt_and_cookies_a_script_cannot_plant_them(visit: Visit, strict_shop: Shop) -> None:
    """Nor can it delete them: a browser lets no script touch what is HttpOnly."""
    visitor = await visit(at=strict_shop)
    before = await visitor.cookies()
    await visitor.tab.evaluate('document.cookie = "__Host-access=planted; Secure; Path=/"')
    assert await visitor.cookies() == before


async def test_jwt_and_cookies_a_link_from_another_site_arrives_signed_in(visit: Visit, shop: Shop) -> None:
    visitor = await visit()
    await visitor.tab.goto(shop.elsewhere)
    await visitor.tab.evaluate("to => { location.href = to }", f"{shop.url}/orders/from-a-link")
    await expect(visitor.tab.get_by_role("heading")).to_have_text(f"Orders of {visitor.email}")


# CSRF.


async def test_jwt_and_cookies_the_csrf_value_is_in_the_token_and_survives_a_rotation(visit: Visit) -> None:
    visitor = await visit()
    value = (await visitor.cookies())["csrf"]
    assert (await visitor.claims())["csrf"] == value
    await visitor.forget("access")
    await visitor.fetch("/who")
    assert (await visitor.claims())["csrf"] == (await visitor.cookies())["csrf"] == value
    assert (await visitor.claims())["gen"] == 2


async def test_jwt_and_cookies_the_page_submits_the_csrf_value_a_second_time(visit: Visit, shop: Shop) -> None:
    visitor = await visit()
    shop.login(visitor.email)
    await visitor.open("/auth/devices")
    async with visitor.tab.expect_request(lambda request: request.method == "DELETE") as asked:
        await visitor.tab.get_by_role("listitem").get_by_role("button", name="Sign out").click()
    request = await asked.value
    assert await request.header_value("x-csrf-token") == (await visitor.cookies())["csrf"]
    await is_said(visitor.tab, "The device is signed out.")


async def test_jwt_and_cookies_where_a_browser_tells_nothing_the_value_decides(visit: Visit, shop: Shop) -> None:
    """A client with the cookies and without fetch metadata and Origin, as browsers were."""
    visitor, other = await visit(), await visit()
    values = {"none": "", "a guess": "x" * 22, "of another session": (await other.cookies())["csrf"]}
    for value in values.values():
        headers = {"X-CSRF-Token": value} if value else {}
        answer = await visitor.context.request.post("/forged/orders", data="100 to Mallory", headers=headers)
        assert (answer.status, answer.headers["x-gateway-reason"]) == (403, "csrf")
    assert not shop.old.reached("/forged/orders")
    headers = {"X-CSRF-Token": (await visitor.cookies())["csrf"]}
    assert (await visitor.context.request.post("/own/orders", data="1 book", headers=headers)).status == 200


ATTACK = """async ([url, how]) => {
  const init = { method: "POST", body: "100 to Mallory", mode: "no-cors", credentials: "include" };
  if (how === "preflight") Object.assign(init, { mode: "cors", headers: { "X-CSRF-Token": "guess" } });
  try { await fetch(url, init); } catch {}
  if (how !== "form") return;
  const form = Object.assign(document.createElement("form"), { method: "post", action: url, target: "_blank" });
  document.body.append(form);
  form.submit();
}"""


@pytest.mark.parametrize("how", ["simple", "preflight", "form"])
@pytest.mark.parametrize("where", ["another site", "another port of this host"])
async def test_jwt_and_cookies_another_origin_orders_nothing(visit: Visit, shop: Shop, where: str, how: str) -> None:
    """Ports are one site: SameSite lets the cookies go there, and only the gateway says no."""
    visitor = await visit()
    await visitor.tab.goto(shop.elsewhere if where == "another site" else shop.old.url)
    path = f"/attacked/{where.replace(' ', '-')}/{how}/orders"
    await visitor.tab.evaluate(ATTACK, [shop.url + path, how])

    def met() -> list[int]:
        return [line["code"] for line in shop.access_lines() if line["path"] == path]

    assert set(eventually(met)) <= {303, 401, 403}
    assert not shop.old.reached(path)
    await visitor.open("/orders")
    assert (await visitor.fetch("/own/orders", "POST", body="1 book")).told == "200"


async def test_jwt_and_cookies_another_origin_signs_nobody_out(visit: Visit, shop: Shop) -> None:
    visitor = await visit()
    await visitor.tab.goto(shop.old.url)
    for path in ("/auth/logout", "/auth/logout-all"):
        await visitor.tab.evaluate(ATTACK, [shop.url + path, "simple"])
    assert await visitor.everywhere() == {"200"}


async def test_jwt_and_cookies_another_origin_opens_no_websocket_and_reads_no_answer(visit: Visit, shop: Shop) -> None:
    visitor = await visit()
    await visitor.tab.goto(shop.old.url)
    script = """(url) => new Promise((resolve) => {
      const socket = new WebSocket(url.replace("http", "ws") + "/hijacked/socket");
      socket.onopen = () => resolve("open");
      socket.onclose = () => resolve("refused");
    })"""
    assert await visitor.tab.evaluate(script, shop.url) == "refused"
    assert not shop.old.reached("/hijacked/socket")
    read = """(url) => fetch(url + "/who", { credentials: "include" }).then((answer) => answer.text(), () => "blocked")"""
    assert await visitor.tab.evaluate(read, shop.url) == "blocked"


async def test_jwt_and_cookies_another_origin_frames_no_page_of_ours(visit: Visit, shop: Shop) -> None:
    visitor = await visit()
    await visitor.tab.goto(shop.old.url)
    await visitor.tab.evaluate(
        "url => document.body.append(Object.assign(document.createElement('iframe'), { src: url }))", f"{shop.url}/auth/devices"
    )
    await visitor.tab.wait_for_timeout(500)
    framed = [frame for frame in visitor.tab.frames if frame is not visitor.tab.main_frame]
    assert framed and await framed[0].get_by_text("Your devices").count() == 0


# Refresh.

PAGE_THAT_HOLDS_ITS_TOKEN = """async ([email, password, wait_ms]) => {
  const post = (path, document) => fetch(path, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: document && JSON.stringify(document),
  });
  let { access_token: token } = await (await post("/auth/login", { email, password, delivery: "token" })).json();
  const seen = [];
  const ask = async (path) => {
    const once = () => fetch(path, { headers: { Authorization: "Bearer " + token } });
    let answer = await once();
    seen.push(answer.status);
    if (answer.status === 401) {
      ({ access_token: token } = await (await post("/auth/refresh")).json());
      answer = await once();
      seen.push(answer.status);
    }
    return (await answer.json()).user;
  };
  const first = await ask("/who");
  await new Promise((go) => setTimeout(go, wait_ms));
  return { first, second: await ask("/who"), seen, token, cookie: document.cookie };
}"""


async def test_jwt_and_cookies_a_page_refreshes_on_401_and_the_user_notices_nothing(enter: Visit, quick_shop: Shop) -> None:
    quick_shop.register("single-page@example.com")
    visitor = await enter(at=quick_shop)
    await visitor.open("/public/single-page")
    told = await visitor.tab.evaluate(PAGE_THAT_HOLDS_ITS_TOKEN, ["single-page@example.com", PASSWORD, 3100])
    assert (told["first"], told["second"]) == ("single-page@example.com", "single-page@example.com")
    assert told["seen"] == [200, 401, 200]
    assert claims_of(told["token"])["gen"] == 2
    quick_shop.shown.append(told["token"])
    await visitor.remember()


async def test_jwt_and_cookies_with_cookies_there_is_not_even_a_401(enter: Visit, quick_shop: Shop) -> None:
    quick_shop.register("old-page@example.com")
    visitor = await enter(at=quick_shop)
    await visitor.sign_in("old-page@example.com")
    answers: list[int] = []
    visitor.context.on("response", lambda answer: answers.append(answer.status))
    await visitor.tab.wait_for_timeout(2300)
    assert (await visitor.fetch("/form/orders", "POST", body="1 book")).json() == {"ordered": "1 book"}
    await visitor.tab.reload()
    assert set(answers) == {200}
    assert (await visitor.claims())["gen"] >= 2
    await visitor.remember()


# The application.


async def test_jwt_and_cookies_the_application_sees_no_password_and_no_token(enter: Visit, shop: Shop) -> None:
    visitor = await enter()
    before = len(shop.old.arrived)
    await visitor.open("/auth/register")
    await visitor.fill_in("separate@example.com")
    await visitor.sign_in("separate@example.com")
    held = list((await visitor.cookies()).values())
    await visitor.fetch("/orders", "POST", body="1 book")
    await visitor.forget("access")
    await visitor.open("/public/page")
    await visitor.open("/orders")
    held += (await visitor.cookies()).values()
    await visitor.remember()
    arrived = shop.old.arrived[before:]
    assert len(arrived) >= 4 and not any("/auth/" in request.target for request in arrived)
    for request in arrived:
        assert not any(secret in request.everything for secret in [PASSWORD, "correct%20horse", *held])
    assert [request.values("cookie") for request in arrived][-1] == ["basket=3"], "the application keeps its own"


async def test_jwt_and_cookies_the_token_is_put_where_the_backend_expects_it(visit: Visit, shop: Shop) -> None:
    visitor = await visit()
    token = (await visitor.cookies())["access"]
    for path, name, value in (
        ("/bearer/who", "Authorization", f"Bearer {token}"),
        ("/x-access-token/who", "X-Access-Token", token),
    ):
        headers = json.loads((await visitor.fetch(path)).text)["headers"]
        assert [found for key, found in headers if key == name] == [value]
    headers = json.loads((await visitor.fetch("/who")).text)["headers"]
    assert not {key.lower() for key, _ in headers} & {"authorization", "x-access-token"}, "only where a route asks for it"


async def test_jwt_and_cookies_what_a_script_claims_to_be_never_arrives(visit: Visit, shop: Shop) -> None:
    visitor = await visit()
    headers = dict.fromkeys(("X-User", "X_User", "Remote-User", "X-Access-Token", "X-Gateway-Assertion"), "root")
    told = (await visitor.fetch("/who", headers=headers)).json()
    assert told["user"] == visitor.email
    assert "root" not in [value for _, value in told["headers"]]
