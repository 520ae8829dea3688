"""What one key means for another: what is refused, what is warned about, by name."""

from importlib.util import find_spec

import pytest
from configuring import MINIMAL, TOKEN, loaded, problems, warnings

from gateway.config import check_identity
from gateway.config.check import covers
from gateway.wire.fields import Role, classify

START = f"""\
admin: {{token: {TOKEN}}}
issuers: [{{issuer: https://idp.example, audience: shop, jwks: https://idp.example/jwks, user_prefix: ""}}]
upstreams: {{app: {{url: http://127.0.0.1:8000}}}}
"""


def routes(*lines: str) -> str:
    return START + "routes:\n" + "".join(f"  - {{{line}, upstream: app}}\n" for line in lines)


def issuers(*lines: str) -> str:
    prefixed = [line if "user_prefix" in line or len(lines) > 1 else f"{line}, user_prefix: ''" for line in lines]
    listed = "".join(f"  - {{audience: shop, {line}}}\n" for line in prefixed)
    rest = "upstreams: {a: {url: http://x}}\nroutes: [{name: a, path: /, upstream: a}]\n"
    return f"admin: {{token: {TOKEN}}}\nissuers:\n{listed}{rest}"


def test_a_sound_configuration_has_neither_problems_nor_warnings(tmp_path):
    assert loaded(tmp_path, MINIMAL).warnings == ()


# --- routes


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("path: /", "path: /admin/"),
        ("path: /a/", "path: /a/"),
        ("path: /a/", "path: /a"),
        ("path: /a/", "path: /a/b"),
        ("path: /a", "path: /a"),
        ("path: /", "path: /a, methods: [GET]"),
        ("path: /a, methods: [GET, POST]", "path: /a, methods: [POST]"),
    ],
)
def test_a_route_that_can_never_match_is_refused(tmp_path, earlier, later):
    told = problems(tmp_path, routes(f"name: one, {earlier}", f"name: two, {later}"))
    assert len(told) == 1
    assert "routes.1.path: 'two' can never match: 'one' above takes all its requests" in told[0]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("path: /a", "path: /a/"),
        ("path: /a/", "path: /ab"),
        ("path: /a/b", "path: /a/"),
        ("path: /a, methods: [GET]", "path: /a"),
        ("path: /a, methods: [GET]", "path: /a, methods: [GET, POST]"),
        ("path: /A/", "path: /a/"),
    ],
)
def test_a_route_that_can_match_is_accepted(tmp_path, earlier, later):
    assert warnings(tmp_path, routes(f"name: one, {earlier}", f"name: two, {later}")) == []


def test_several_routes_together_can_shadow_one(tmp_path):
    told = problems(
        tmp_path,
        routes(
            "name: r, path: /a, methods: [GET]", "name: w, path: /a/, methods: [POST]", "name: x, path: /a, methods: [GET, POST]"
        ),
    )
    assert "'x' can never match: 'r', 'w' above" in told[0]


def test_a_route_with_a_mistake_shadows_nobody(tmp_path):
    told = problems(tmp_path, routes("name: one, path: /, methods: [get]", "name: two, path: /a"))
    assert len(told) == 1
    assert "routes.0.methods.0" in told[0]


def test_what_covers_what():
    assert covers("/a/", "/a")
    assert covers("/a/", "/a/b/")
    assert not covers("/a", "/a/")
    assert not covers("/a/", "/ab")


@pytest.mark.parametrize("path", ["/auth/", "/auth", "/auth/login", "/.well-known/jwks.json"])
def test_the_gateways_own_paths_cannot_be_routed(tmp_path, path):
    assert "belongs to the gateway itself" in problems(tmp_path, routes(f"name: a, path: {path}"))[0]


@pytest.mark.parametrize(
    ("route", "what"),
    [
        ("path: /, token_use: once, on_outage: stale", "routes.0.on_outage: must be deny where token_use is once"),
        ("path: /, token_use: once, on_outage: allow", "routes.0.on_outage: must be deny where token_use is once"),
        ("path: /, access: public, token_use: once", "routes.0.token_use: a public route asks for no token"),
        ("path: /, access: public, groups: [staff]", "routes.0.groups: cannot be asked of a public route"),
        (
            "path: /, issuers: [https://idp.exampel]",
            "there is no issuer 'https://idp.exampel'; did you mean 'https://idp.example'?",
        ),
    ],
)
def test_T5_a_route_that_contradicts_itself_is_refused(tmp_path, route, what):
    told = problems(tmp_path, routes(f"name: a, {route}"))
    assert any(what in problem for problem in told)


@pytest.mark.parametrize("name", ["none", "gateway"])
def test_a_name_that_metrics_have_for_themselves_is_taken(tmp_path, name):
    assert f"routes.0.name: '{name}' is how metrics call" in problems(tmp_path, routes(f"name: {name}, path: /"))[0]


def test_the_gateways_own_issuer_can_be_asked_for(tmp_path):
    own = routes("name: a, path: /a, groups: [staff], issuers: ['http://localhost:8080']", "name: b, path: /")
    assert warnings(tmp_path, own) == []
    told = problems(tmp_path, own + "tokens: {issuer: 'https://sso.example'}\n")
    assert "there is no issuer 'http://localhost:8080'; issuers are: https://idp.example, https://sso.example" in told[0]


def test_groups_that_accounts_and_an_issuer_may_both_grant_are_warned_about(tmp_path):
    assert "groups of several issuers count alike" in warnings(tmp_path, routes("name: a, path: /, groups: [staff]"))[0]


@pytest.mark.parametrize(
    ("route", "what"),
    [
        ("path: /, on_outage: allow", "routes.0.on_outage: allow: during an outage"),
        ("path: /, cache: shared", "routes.0.cache: shared: a cache may give one user's answer to another"),
        ("path: /, access: optional, groups: [staff]", "routes.0.groups: are asked only of those who show a token"),
    ],
)
def test_a_route_that_opens_something_is_warned_about(tmp_path, route, what):
    assert any(what in warning for warning in warnings(tmp_path, routes(f"name: a, {route}")))


def test_no_routes_and_unused_upstreams_are_warned_about(tmp_path):
    assert (
        warnings(tmp_path, START)
        == [
            "3:13: upstreams.app: is used by no route",
            "1:1: routes: there are no routes: every request is answered 404",
        ][::-1]
    )


def test_routes_that_nobody_can_pass_are_warned_about(tmp_path):
    own = routes("name: a, path: /, issuers: ['http://localhost:8080']").replace(', user_prefix: ""', "")
    assert any(
        "is only this gateway, whose built-in accounts are off; nobody can pass" in told for told in warnings(tmp_path, own)
    )
    groups = routes("name: a, path: /, groups: [staff]").replace('user_prefix: ""', "claims: {groups: null}")
    assert any("none of its issuers has claims.groups; nobody can pass" in told for told in warnings(tmp_path, groups))


def test_where_people_can_sign_in_somebody_can_pass(tmp_path):
    start = START.partition("issuers:")[0] + "upstreams: {app: {url: http://127.0.0.1:8000}}\n"
    assert warnings(tmp_path, start + "routes: [{name: a, path: /, upstream: app, groups: [staff]}]\n") == []


# --- issuers and users


def test_T1_one_issuer_alone_needs_no_prefix_and_leaves_the_accounts_off(tmp_path):
    written = routes("name: a, path: /").replace(', user_prefix: ""', "")
    assert warnings(tmp_path, written) == []
    assert not loaded(tmp_path, written).config.has_accounts


@pytest.mark.parametrize(
    ("database", "what"),
    [
        ("mysql://h/d", "is of a kind that is not supported"),
        ("'sqlite://:memory:'", "needs a file"),
        ("'sqlite://'", "needs a file"),
    ],
)
def test_a_database_that_cannot_hold_accounts_is_refused(tmp_path, database, what):
    told = problems(tmp_path, MINIMAL + f"accounts: {{database: {database}}}\n")
    assert f"accounts.database: {what}" in told[0]


@pytest.mark.parametrize(
    ("text", "missing", "what"),
    [
        ("accounts: {database: 'postgresql+asyncpg://h/d'}", "asyncpg", "install the gateway's extra postgres"),
        ("fingerprint: {country: {database: c.mmdb}}", "maxminddb", "install the gateway's extra geoip"),
    ],
)
def test_what_needs_an_extra_that_is_not_installed_is_refused(tmp_path, monkeypatch, text, missing, what):
    (tmp_path / "c.mmdb").touch()
    assert loaded(tmp_path, MINIMAL + text + "\n").warnings == ()
    monkeypatch.setattr(check_identity, "find_spec", lambda name: None if name == missing else find_spec(name))
    assert what in problems(tmp_path, MINIMAL + text + "\n")[0]


# --- what backends are told


@pytest.mark.parametrize(
    "name", ["X-Assertion", "X-Gateway-", "X-Gateway-A b", "X_Gateway_Assertion", "X-Gateway-Ä", "Authorization"]
)
def test_an_assertion_that_clients_could_send_is_refused(tmp_path, name):
    told = problems(tmp_path, MINIMAL + f"identity: {{assertion: '{name}'}}\n")
    assert "identity.assertion: must be a header name that begins with X-Gateway-" in told[0]


@pytest.mark.parametrize("name", ["X-Gateway-Assertion", "x-gateway-jwt"])
def test_an_assertion_that_never_comes_from_a_client_is_accepted(tmp_path, name):
    assert warnings(tmp_path, MINIMAL + f"identity: {{assertion: {name}}}\n") == []
    assert classify(name.encode()) is Role.IDENTITY


@pytest.mark.parametrize("name", ["X-Gateway-Client", "x-gateway-reason"])
def test_an_assertion_cannot_take_a_name_that_is_in_use(tmp_path, name):
    assert "is a header the gateway uses" in problems(tmp_path, MINIMAL + f"identity: {{assertion: {name}}}\n")[0]


def test_an_assertion_that_no_backend_could_verify_is_refused(tmp_path):
    text = MINIMAL + "identity: {assertion: X-Gateway-Assertion}\ntokens: {algorithm: HS256}\n"
    assert "cannot be verified by any backend while tokens.algorithm is HS256" in problems(tmp_path, text)[0]


def test_T1_two_sources_of_users_must_name_their_prefix(tmp_path):
    told = problems(tmp_path, issuers("issuer: a, jwks: https://a", "issuer: b, jwks: https://b, user_prefix: b"))
    assert len(told) == 1
    assert "issuers.0.user_prefix: must be written, because there is more than one source of users" in told[0]


def test_T1_built_in_accounts_are_a_source_of_users(tmp_path):
    text = MINIMAL.replace(", user_prefix: shop|", "") + "accounts: {registration: closed}\n"
    assert "issuers.0.user_prefix: must be written" in problems(tmp_path, text)[0]


def test_T1_sharing_names_on_purpose_is_accepted(tmp_path):
    assert (
        warnings(tmp_path, issuers("issuer: a, jwks: https://a, user_prefix: ''", "issuer: b, jwks: https://b, user_prefix: ''"))
        == []
    )


def test_T1_prefixes_that_begin_alike_are_warned_about(tmp_path):
    told = warnings(
        tmp_path, issuers("issuer: a, jwks: https://a, user_prefix: s", "issuer: b, jwks: https://b, user_prefix: sh")
    )
    assert len(told) == 1
    assert (
        "issuers.1.user_prefix: begins like that of another issuer: users 'hx' of a and 'x' of this one are the same" in told[0]
    )


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        (
            ["issuer: a, jwks: https://a, user_prefix: a", "issuer: a, jwks: https://b, user_prefix: b"],
            "issuers.1.issuer: is the same as that of issuers.0",
        ),
        (["issuer: http://localhost:8080, jwks: https://a"], "issuers.0.issuer: is the same as this gateway's own"),
        (
            ["issuer: a, jwks: https://a, algorithms: [HS256]"],
            "issuers.0.jwks: HS256 needs a shared secret, which is never published",
        ),
        (["issuer: a, jwks: k.json, algorithms: [HS256, RS256]"], "issuers.0.algorithms: mixes shared secrets"),
        (
            ["issuer: a, jwks: https://a, session_lifetime: 5m"],
            "issuers.0.session_lifetime: must not be shorter than max_lifetime",
        ),
        (["issuer: a, jwks: 'https://u:p@a/k'"], "issuers.0.jwks: must not carry a user or password"),
    ],
)
def test_an_issuer_that_cannot_be_trusted_is_refused(tmp_path, lines, what):
    assert any(what in problem for problem in problems(tmp_path, issuers(*lines)))


def test_key_sets_that_are_easily_forged_or_missing_are_warned_about(tmp_path):
    assert "issuers.0.jwks: is fetched without TLS" in warnings(tmp_path, issuers("issuer: a, jwks: http://idp/k"))[0]
    assert warnings(tmp_path, issuers("issuer: a, jwks: http://127.0.0.1:99/k")) == []
    assert "issuers.0.jwks: there is no file" in warnings(tmp_path, issuers("issuer: a, jwks: k.json"))[0]


def test_groups_of_several_issuers_are_warned_about(tmp_path):
    two = issuers("issuer: a, jwks: https://a, user_prefix: a", "issuer: b, jwks: https://b, user_prefix: b")
    told = warnings(tmp_path, two.replace("path: /", "path: /, groups: [staff]"))
    assert "routes.0.groups: groups of several issuers count alike here; name the one that may grant them" in told[0]
    assert warnings(tmp_path, two.replace("path: /", "path: /, groups: [staff], issuers: [a]"))[0].endswith(
        "issuers.1: is accepted by no route"
    )


# --- the operator's side, and what opens doors


@pytest.mark.parametrize("address", ["0.0.0.0:9090", "'[::]:9090'", "10.0.0.1:9090", "gateway.example:9090"])
def test_B3_an_admin_listener_on_a_public_address_is_warned_about_by_name(tmp_path, address):
    told = warnings(tmp_path, MINIMAL.replace("{token:", f"{{listen: {address}, token:"))
    assert len(told) == 1
    assert "admin.listen: can be reached from other machines" in told[0]


def test_B3_an_admin_listener_without_a_token_is_refused(tmp_path):
    assert "admin.token: is required" in problems(tmp_path, MINIMAL.replace(f"{{token: {TOKEN}}}", "{listen: 0.0.0.0:9090}"))[0]


@pytest.mark.parametrize(
    ("public", "admin"),
    [("127.0.0.1:80", "127.0.0.1:80"), ("0.0.0.0:80", "127.0.0.1:80"), ("127.0.0.1:80", "0.0.0.0:80"), ("unix:x", "unix:x")],
)
def test_the_admin_listener_is_never_the_public_port(tmp_path, public, admin):
    told = problems(tmp_path, MINIMAL.replace("{token:", f"{{listen: '{admin}', token:") + f"listen: '{public}'\n")
    assert any("admin.listen: is the public port" in problem for problem in told)


def test_an_easily_guessed_token_is_warned_about(tmp_path):
    assert "admin.token: is long enough but easily guessed" in warnings(tmp_path, MINIMAL.replace(TOKEN, "abcd" * 8))[0]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("cookies: {secure: false}", "cookies.secure: is off"),
        ("csrf: {enabled: false}", "csrf.enabled: is off"),
        ("fingerprint: {country: {database: c.mmdb}}", "fingerprint.country.database: there is no file"),
        ("trusted_proxies: ['0.0.0.0/0']", "trusted_proxies.0: believes X-Forwarded-* of everybody"),
    ],
)
def test_a_weakened_defence_is_warned_about(tmp_path, text, what):
    assert any(what in warning for warning in warnings(tmp_path, MINIMAL + text + "\n"))


def test_open_registration_is_warned_about(tmp_path):
    told = warnings(tmp_path, MINIMAL + "accounts: {registration: open}\n")
    assert any("accounts.registration: is open" in warning for warning in told)


def test_an_upstream_that_is_not_verified_is_warned_about(tmp_path):
    text = MINIMAL.replace("{url: http://127.0.0.1:8000}", "{url: https://h, tls: {verify: false}}")
    assert "upstreams.app.tls.verify: is off" in warnings(tmp_path, text)[0]
    text = MINIMAL.replace("{url: http://127.0.0.1:8000}", "{url: http://h, tls: {verify: false}}")
    assert "upstreams.app.tls: has no effect" in warnings(tmp_path, text)[0]


def test_an_upstream_that_may_take_all_client_connections_is_warned_about(tmp_path):
    text = MINIMAL.replace("{url: http://127.0.0.1:8000}", "{url: [http://a, http://b], max_connections: 10, max_waiting: 40}")
    told = warnings(tmp_path, text + "limits: {connections: 100}\n")
    assert "upstreams.app: may hold 100 client connections of a worker when it hangs, and limits.connections is 100" in told[0]
    assert not any("may hold" in warning for warning in warnings(tmp_path, text + "limits: {connections: 101}\n"))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("tls: {certificate: a.pem, key: b.pem}", "tls.certificate: there is no file"),
        ("pages: {templates: pages}", "pages.templates: there is no folder"),
        ("store: {max_staleness: 10s, stale_limit: 5s}", "store.stale_limit: must not be shorter"),
        ("tokens: {access_ttl: 1h, refresh_ttl: 1m}", "tokens: access_ttl, refresh_ttl and session_ttl"),
        ("listen: ['127.0.0.1:80', '127.0.0.1:80']", "listen: lists 127.0.0.1:80 twice"),
    ],
)
def test_values_that_contradict_each_other_are_refused(tmp_path, text, what):
    assert any(what in problem for problem in problems(tmp_path, MINIMAL + text + "\n"))


def test_a_key_that_everybody_can_read_is_warned_about(tmp_path):
    for name in ("a.pem", "b.pem"):
        (tmp_path / name).touch(0o644)
    told = warnings(tmp_path, MINIMAL + "tls: {certificate: a.pem, key: b.pem}\n")
    assert "tls.key: can be read by every user of this machine; chmod 600" in told[0]


def test_an_audience_that_is_a_routes_name_would_make_access_tokens_pass_for_assertions(tmp_path):
    text = routes("name: gateway-app, path: /") + "identity: {assertion: X-Gateway-Assertion}\ntokens: {audience: gateway-app}\n"
    assert any("tokens.audience: is a route's name too" in told for told in problems(tmp_path, text))
    assert warnings(tmp_path, text.replace("identity: {assertion: X-Gateway-Assertion}\n", "")) == []


@pytest.mark.parametrize(
    ("urls", "told"),
    [
        ("[http://a:1, https://b:1]", "upstreams.app.url.1: mixes https:// with addresses without TLS"),
        ("['https://a:1', 'unix:/run/app.sock']", "upstreams.app.url.1: mixes https:// with addresses without TLS"),
        ("[http://a:1, http://b:1, http://a:1]", "upstreams.app.url.2: is listed twice"),
        ("[]", "upstreams.app.url: is empty"),
    ],
)
def test_the_addresses_of_an_upstream_are_one_application_spoken_to_in_one_way(tmp_path, urls, told):
    text = START.replace("url: http://127.0.0.1:8000", f"url: {urls}") + "routes: [{name: app, path: /, upstream: app}]\n"
    assert any(told in problem for problem in problems(tmp_path, text))
