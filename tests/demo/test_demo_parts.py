"""The parts of the demo, one by one: a browser's jar, what a page reads like, the log as it grows, how an answer is judged."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import jwt
import pytest

from gateway.demo.acts import Act, perform, seconds_to_wait
from gateway.demo.browser import CHROME, FIREFOX, Browser
from gateway.demo.cast import AT_HOME, Cast
from gateway.demo.configuration import IN_A_HURRY
from gateway.demo.evidence import Log, counters, value_of
from gateway.demo.issuer import Issuer
from gateway.demo.jar import Jar
from gateway.demo.reading import Reading
from gateway.demo.stage import Stage

TOKEN = jwt.encode({"jti": "t-1", "sid": "s-1", "ver": 1, "gen": 3, "exp": 2_000_000_000, "other": "x"}, "k" * 32, "HS256")


@dataclass
class Site:
    """A server that answers by path with (status, fields, body), and writes down what it was asked."""

    answers: dict[str, tuple[int, list[tuple[str, str]], str]] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str], str]] = field(default_factory=list)
    address: str = ""


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            site.asked.append((self.command, self.path, dict(self.headers.items()), body))
            status, fields, text = site.answers.get(self.path, (404, [], "nothing"))
            self.send_response(status)
            for name, value in fields:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site.address = f"127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield site
        server.shutdown()


@pytest.fixture
def cast(site: Site, tmp_path: Path) -> Cast:
    """The cast before a site that is no gateway, so that its answers can be wrong."""
    people = {"alice@example.org": "a", "bob@example.org": "b"}
    stage = Stage(tmp_path, site.address, site.address, site.address, "", "", IN_A_HURRY, Issuer(), {}, people, [])
    stage.admins.append(site.address)
    stage.log.write_text("")
    return Cast(stage)


# Jars.


def test_a_jar_keeps_what_it_is_told_and_forgets_what_has_ended():
    jar = Jar()
    assert jar.take([f"access={TOKEN}; Path=/; Max-Age=60; HttpOnly", "csrf=abc; Path=/; Max-Age=60"]) == ("access", "csrf")
    assert jar.header() == f"access={TOKEN}; csrf=abc"
    assert jar.cookies["access"].is_hidden and not jar.cookies["csrf"].is_hidden
    assert jar.take(["access=; Path=/; Max-Age=0"]) == ("-access",)
    assert jar.header() == "csrf=abc"


def test_what_is_read_in_a_cookie_is_what_the_token_says_and_no_more():
    jar = Jar()
    jar.take([f"access={TOKEN}; Max-Age=60", "csrf=abc; Max-Age=60"])
    assert jar.cookies["access"].claims == {"jti": "t-1", "sid": "s-1", "ver": 1, "gen": 3, "exp": 2_000_000_000}
    assert jar.cookies["csrf"].claims == {} and jar.claim("gen", "csrf") is None and jar.claim("gen", "no such") is None


def test_a_cookie_that_is_shown_cannot_be_used():
    jar = Jar()
    jar.take([f"access={TOKEN}; Max-Age=60"])
    shown = jar.cookies["access"].short
    assert "…" in shown and len(shown) < 20 and TOKEN.rpartition(".")[2] not in shown


def test_a_copy_of_a_jar_is_the_same_and_lives_on_its_own():
    jar = Jar()
    jar.take([f"access={TOKEN}; Max-Age=60"])
    copy = jar.copy()
    jar.take(["access=; Max-Age=0"])
    assert copy.header() == f"access={TOKEN}" and jar.header() == ""


# Browsers.


def test_a_browser_opens_a_page_as_a_person_does_and_goes_where_it_leads(site: Site):
    site.answers = {
        "/": (303, [("Location", f"http://{site.address}/login?return_to=%2F"), ("Set-Cookie", "csrf=c; Max-Age=9")], ""),
        "/login?return_to=%2F": (200, [("Content-Type", "text/html")], "<h1>Sign in</h1>"),
    }
    browser = Browser("alice", FIREFOX, AT_HOME)
    first, second = browser.navigate(site.address, "/")
    assert (first.status, first.told, second.text) == (303, "303 /login?return_to=%2F", "Sign in")
    (_, _, typed, _), (_, _, followed, _) = site.asked
    assert typed["Sec-Fetch-Mode"] == "navigate" and typed["Sec-Fetch-Site"] == "none" and "text/html" in typed["Accept"]
    assert typed["X-Forwarded-For"] == AT_HOME and "Firefox/" in typed["User-Agent"] and "Sec-CH-UA" not in typed
    assert followed["Sec-Fetch-Site"] == "same-origin" and followed["Cookie"] == "csrf=c"


def test_a_form_comes_from_its_own_site_and_the_page_behind_it_may_lead_on(site: Site):
    onward = '<head><meta http-equiv="refresh" content="0;url=/"></head><h1>Welcome</h1>'
    site.answers = {"/login": (200, [("Content-Type", "text/html; charset=utf-8")], onward), "/": (200, [], "Hello alice")}
    exchanges = Browser("alice", FIREFOX, AT_HOME).submit(site.address, "/login", {"email": "a@b", "password": "a+b c"})
    assert [exchange.text for exchange in exchanges] == ["Welcome", "Hello alice"]
    method, _, fields, body = site.asked[0]
    assert (method, fields["Origin"], body) == ("POST", f"http://{site.address}", "email=a%40b&password=a%2Bb+c")


def test_a_browser_does_not_follow_to_another_site(site: Site):
    site.answers = {"/": (302, [("Location", "http://elsewhere.example/")], "")}
    assert len(Browser("alice", FIREFOX, AT_HOME).navigate(site.address, "/")) == 1


def test_a_script_echoes_the_csrf_cookie_and_says_that_it_is_a_script(site: Site):
    browser = Browser("thief", CHROME, AT_HOME)
    browser.jar(site.address).take(["csrf=c-1; Max-Age=9"])
    browser.fetch(site.address, "POST", "/auth/refresh")
    _, _, fields, _ = site.asked[0]
    assert (fields["X-CSRF-Token"], fields["Sec-Fetch-Mode"], fields["Content-Length"]) == ("c-1", "cors", "0")
    assert fields["Sec-Ch-Ua-Platform" if "Sec-Ch-Ua-Platform" in fields else "Sec-CH-UA-Platform"] == '"Android"'


def test_what_is_shown_of_a_request_holds_no_cookie(site: Site):
    browser = Browser("alice", FIREFOX, AT_HOME)
    browser.jar(site.address).take([f"access={TOKEN}; Max-Age=60"])
    (exchange,) = browser.navigate(site.address, "/")
    assert site.asked[0][2]["Cookie"] == f"access={TOKEN}"
    assert dict(exchange.sent)["Cookie"].startswith("access=eyJ") and TOKEN not in json.dumps(exchange.sent)


# Pages.


def test_a_page_reads_as_a_person_sees_it():
    page = """<!doctype html><head><title>T</title><style>p {}</style></head><body><div class="brand"><svg><path/></svg><span>site
    </span></div><h1>Your   devices</h1><form><label>E-mail</label><input name="email"><input type="hidden" value="x">
    <button>Sign in</button></form><script>alert(1)</script><p>5 &lt; 6</p></body>"""
    assert Reading.of(page).text == "Your devices\nE-mail\n[ ]\n[ Sign in ]\n5 < 6"


@pytest.mark.parametrize("content", ["0;url=/cart?a=1", "0; URL=/cart?a=1"])
def test_a_page_that_leads_on_at_once_says_where(content: str):
    assert Reading.of(f'<meta http-equiv="refresh" content="{content}">').onward == "/cart?a=1"
    assert Reading.of('<meta http-equiv="refresh" content="30;url=/later">').onward == ""


def test_a_broken_page_is_read_as_far_as_it_goes():
    assert Reading.of("<p>a</div></svg></script>b<svg><p>unseen").text == "a\nb"


# The log.


def test_a_line_is_read_when_it_is_whole(tmp_path: Path):
    path = tmp_path / "log"
    path.write_text('{"route":"app","path":"/","client":"203.0.113.10","reason":null}\nwarning: half')
    log = Log(path)
    assert log.read()
    assert [(line.number, line.kind) for line in log.lines] == [(1, "access")]
    assert "reason" not in log.lines[0].fields
    assert not log.read()
    with path.open("a") as file:
        file.write(' a line\n{"logger":"gateway.security","message":"Token revoked rejected"}\n[1]\n')
    assert log.read()
    assert [(line.number, line.kind) for line in log.since(1)] == [(2, "text"), (3, "security"), (4, "text")]
    assert log.lines[1].fields == {"message": "warning: half a line"}


def test_a_new_reader_of_a_log_sees_only_what_comes(tmp_path: Path):
    path = tmp_path / "log"
    path.write_text("old\n")
    log = Log(path, is_new=True)
    assert not log.read()
    with path.open("a") as file:
        file.write("new\n")
    assert log.read() and [line.fields["message"] for line in log.lines] == ["new"]


# Judging.


def act(**promised: object) -> Act:
    return Act("alice", "Alice opens the page", lambda cast: cast.opens(cast.alice), **promised)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "reason", "text", "promised", "is_good"),
    [
        (200, "", "Hello alice", (200, "Hello alice"), True),
        (200, "", "Hello root", (200, "Hello alice"), False),
        (401, "device-changed", "no", (401, "device-changed"), True),
        (401, "revoked-session", "no", (401, "device-changed"), False),
        (401, "", "device-changed", (401, "device-changed"), False),  # the reason is a field, not a word on a page
        (200, "device-changed", "Hello alice", (200, "Hello alice"), False),  # let through with a reason: never
    ],
)
def test_an_answer_is_right_when_status_and_word_are(
    site: Site, cast: Cast, status: int, reason: str, text: str, promised: tuple[int, str], is_good: bool
):
    site.answers = {"/": (status, [("X-Gateway-Reason", reason)] if reason else [], text)}
    (found,) = perform(act(answer=promised), cast, Log(cast.stage.log))
    assert found.is_good is is_good


def test_a_counter_that_did_not_grow_and_a_line_that_was_not_written_are_wrong(
    site: Site, cast: Cast, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gateway.demo.evidence.WITHIN_S", 0.1)
    sample = 'gateway_refreshes_total{outcome="reused"}'
    site.answers = {"/": (200, [], "Hello"), "/metrics": (200, [], f"{sample} 3.0\n")}
    promised = act(answer=(200, "Hello"), counts=(sample,), logs=("Token revoked rejected",), grows="gen")
    answer, claim, count, line = perform(promised, cast, Log(cast.stage.log))
    assert (answer.is_good, claim.is_good, count.is_good, line.is_good) == (True, False, False, False)
    assert count.answered == "3 → 3" and "no line says" in line.answered


def test_counters_of_several_gateways_are_one_sum_and_one_that_is_away_counts_nothing(site: Site):
    text = 'gateway_logins_total{outcome="success"} 2.0\ngateway_logins_total{outcome="failed"} 0.0\nother_total{a="b"} 5.0\n'
    site.answers = {"/metrics": (200, [], text)}
    assert counters(site.address, site.address, "127.0.0.1:1") == {'gateway_logins_total{outcome="success"}': 4}


@pytest.mark.parametrize(
    ("sample", "value"),
    [('a_total{age="tail",kind="x"}', 1), ('a_total{kind="x"}', 3), ('a_total{kind="y"}', 0), ('b_total{kind="x"}', 8), ("c", 0)],
)
def test_a_sample_stands_for_all_that_have_its_labels(sample: str, value: int):
    counted = {'a_total{age="tail",kind="x"}': 1, 'a_total{age="replay",kind="x"}': 2, 'b_total{kind="x"}': 8}
    assert value_of(sample, counted) == value


def test_a_wait_has_an_end(cast: Cast):
    assert seconds_to_wait(act(), cast) == 0.0
    assert seconds_to_wait(act(until=lambda cast: 0.0), cast) == 0.0
    assert seconds_to_wait(act(until=lambda cast: time.time() + 1e6), cast) <= 60.0
