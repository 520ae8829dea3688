"""`GET /`, as HTTP: the same for everybody, nothing of this gateway in it, and a policy that allows what is in it and no more."""

from base64 import b64encode
from collections.abc import AsyncIterator
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import pytest
import pytest_asyncio
from store_process import StoreProcess
from supervising import ISSUER, TOKENS, Running, configuration, running

from gateway import __version__
from gateway.admin.page.document import FOLDER
from gateway.clock import Clock
from gateway.revocation.log import RevocationLog
from gateway.store.client import connect

pytestmark = pytest.mark.asyncio(loop_scope="module")

LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    store = StoreProcess().start()
    client = connect(store.url)
    await RevocationLog(client, Clock(), 2.0).declare()
    await client.aclose()
    async with running(configuration(tmp_path_factory.mktemp("gateway"), store.url)) as gateway:
        yield gateway
    store.close()


class Reader(HTMLParser):
    """Every tag with its attributes, and the text of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.blocks: dict[str, list[str]] = {"script": [], "style": []}
        self._within = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._within = tag

    def handle_data(self, data: str) -> None:
        if self._within in self.blocks:
            self.blocks[self._within].append(data)

    def handle_endtag(self, tag: str) -> None:
        self._within = ""


async def page_of(gateway: Running) -> tuple[str, Any]:
    status, headers, page = await gateway.call("GET", "/", None)
    assert status == 200
    return page, headers


def policy_of(headers: Any) -> dict[str, list[str]]:
    directives = (part.split() for part in headers["Content-Security-Policy"].split(";"))
    return {name: sources for name, *sources in directives}


async def test_B3_it_is_the_same_for_everybody_and_holds_nothing_of_this_gateway(gateway: Running):
    page, headers = await page_of(gateway)
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert (await gateway.call("GET", "/", "no such token"))[2] == page
    assert (await gateway.call("GET", "/?user=alice", None))[2] == page
    status = (await gateway.call("GET", "/v1/status"))[2]
    kids = [key["kid"] for key in status["keys"]]
    for told in (*TOKENS, ISSUER, __version__, status["config"], status["store"]["url"], *kids, *map(str, gateway.pids())):
        assert told not in page


async def test_B3_with_a_token_a_program_gets_the_list_of_endpoints(gateway: Running):
    _, headers, page = await gateway.call("GET", "/")
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "<li>POST /v1/revocations\n" in page and "<script" not in page


async def test_the_policy_allows_the_blocks_of_the_page_and_nothing_else(gateway: Running):
    page, headers = await page_of(gateway)
    blocks = Reader(page).blocks
    assert len(blocks["style"]) == 1 and len(blocks["script"]) >= 5
    hashes = {
        kind: [f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in texts]
        for kind, texts in blocks.items()
    }
    assert policy_of(headers) == {
        "default-src": ["'none'"],
        "script-src": hashes["script"],
        "style-src": hashes["style"],
        "connect-src": ["'self'"],
        "img-src": ["data:"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'none'"],
        "require-trusted-types-for": ["'script'"],
        "trusted-types": ["'none'"],
    }


async def test_nothing_is_fetched_and_nothing_inline_needs_an_exception(gateway: Running):
    page, _ = await page_of(gateway)
    for tag, attributes in Reader(page).tags:
        assert "style" not in attributes and not any(name.startswith("on") for name in attributes), (tag, attributes)
        assert tag not in ("iframe", "object", "embed", "base", "img"), tag
        for name in ("src", "href", "action", "formaction"):
            address = attributes.get(name) or "#"
            assert address.startswith("#") or (tag == "link" and address.startswith("data:")), (tag, address)
    assert {path.name for path in FOLDER.iterdir() if path.suffix == ".js"} == {f"{name}.js" for name in SCRIPTS}


SCRIPTS = ("words", "api", "state", "picture", "acts", "users", "events", "start")


async def test_every_file_is_in_the_page_once_and_whole(gateway: Running):
    page, _ = await page_of(gateway)
    blocks = Reader(page).blocks
    assert blocks["script"] == [(FOLDER / f"{name}.js").read_text() for name in SCRIPTS]
    assert blocks["style"] == [(FOLDER / "page.css").read_text()]
    assert all('"use strict"' in block for block in blocks["script"])


async def test_nobody_keeps_it_frames_it_or_guesses_its_type(gateway: Running):
    _, headers = await page_of(gateway)
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "Server" not in headers and "Set-Cookie" not in headers


async def test_nothing_that_is_typed_can_get_into_an_address(gateway: Running):
    """A form that is sent without its script would put a named field into the query: into histories and logs."""
    page, _ = await page_of(gateway)
    fields = [attributes for tag, attributes in Reader(page).tags if tag in ("input", "select", "button", "textarea")]
    assert fields and not any("name" in attributes for attributes in fields)
    assert [attributes["autocomplete"] for attributes in fields if attributes.get("type") == "password"] == ["current-password"]


async def test_head_is_answered_as_get_is_without_a_body(gateway: Running):
    page, headers = await page_of(gateway)
    status, of_head, body = await gateway.call("HEAD", "/", None)
    assert (status, body) == (200, "")
    assert {name: value for name, value in of_head.items() if name != "Date"} == {
        name: value for name, value in headers.items() if name != "Date"
    }
    assert int(of_head["Content-Length"]) == len(page.encode())


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_another_method_is_405(gateway: Running, method: str):
    status, headers, _ = await gateway.call(method, "/", None)
    assert (status, headers["Allow"]) == (405, "GET")


@pytest.mark.parametrize("path", ["/page.js", "/start.js", "/page.css", "/page.html", "/page/page.html", "/index.html"])
async def test_B3_nothing_beside_it_is_open(gateway: Running, path: str):
    assert (await gateway.call("GET", path, None))[0] == 401
    assert (await gateway.call("GET", path))[0] == 404


async def test_a_link_on_any_page_leads_to_it(gateway: Running):
    for site in ("cross-site", "same-site", "none"):
        assert (await gateway.call("GET", "/", None, headers={**LINK, "Sec-Fetch-Site": site}))[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "changed"),
    [
        ("GET", "/", {"Sec-Fetch-Dest": "iframe"}),
        ("GET", "/", {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}),
        ("GET", "/", {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}),
        ("POST", "/", {}),
        ("GET", "/v1/status", {}),
        ("GET", "/openapi.json", {}),
        ("GET", "/", {"Host": "evil.example"}),
    ],
)
async def test_A01_no_other_site_gets_further(gateway: Running, method: str, path: str, changed: dict[str, str]):
    status, headers, problem = await gateway.call(method, path, headers={**LINK, **changed})
    assert status == 403 and headers["Content-Type"] == "application/problem+json", problem


async def test_the_decisions_of_the_last_hour_are_told_to_whoever_has_the_token(gateway: Running):
    assert (await gateway.call("GET", "/v1/decisions", None))[0] == 401
    layout, cells = gateway.supervisor._present.layout, gateway.supervisor._present.cells
    cells.block(0)[layout.routes["app"].decisions] += 3  # as a worker does: the tiny ones of these tests decide nothing
    status, _, told = await gateway.call("GET", "/v1/decisions")
    assert status == 200
    assert next(one for one in told["series"] if one["decision"] == "allow")["counts"][-1] >= 3
    assert told["since"] <= told["times"][0] and all(len(one["counts"]) == len(told["times"]) for one in told["series"])


@pytest.mark.parametrize("user", ["alice@example.com", "shop%7Cbob", "%3Cimg%20src%3Dx%3E"])
async def test_whether_a_user_is_kept_out_is_told_of_any_issuer(gateway: Running, user: str):
    path = f"/v1/users/{user}/block"
    said = []
    for method in (None, "POST", "DELETE"):
        if method:
            assert (await gateway.call(method, path))[0] in (200, 201)
        status, _, told = await gateway.call("GET", path)
        assert status == 200
        said.append(told["blocked"])
    assert said == [False, True, False]
