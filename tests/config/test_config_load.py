"""From a file and an environment to a configuration, or to everything that is wrong."""

import os
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path

import pytest
from configuring import MINIMAL, TOKEN, loaded, problems, write
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.address import Address
from gateway.config.load import load
from gateway.errors import ConfigurationError

SECRET = "S3cretS3cretS3cretS3cretS3cret"


def with_admin(text: str) -> str:
    return f"admin: {{token: '{TOKEN}'}}\n{text}"


def test_a_small_file_is_enough(tmp_path):
    config = loaded(tmp_path, MINIMAL).config
    assert config.listen == (Address("127.0.0.1", 8080),)
    assert config.admin.tokens == (TOKEN,)
    assert config.store.max_staleness == 2.0
    assert config.limits.head == 32768
    assert config.timeouts.drain == 30.0
    assert config.routes[0].on_outage == "deny"
    assert config.issuers[0].types == ("at+jwt", "JWT", None)


def test_a_configuration_cannot_be_changed(tmp_path):
    config = loaded(tmp_path, MINIMAL).config
    with pytest.raises(ValueError, match="frozen"):
        config.workers = 3


def test_all_mistakes_are_told_at_once_with_their_places(tmp_path):
    text = """\
listen: 8080
worker: 3
admin:
  token: ${NOT_SET}
store:
  max_stalenes: 2s
cookies: {secure: no}
upstreams:
  app: {url: http://127.0.0.1:8000}
  app: {url: http://127.0.0.1:8001}
  other: {url: ftp://x}
issuers:
  - {issuer: a, audience: x, jwks: k.json}
  - {issuer: b, audience: x, jwks: k.json, algorithms: [RS265]}
routes:
  - {name: all, path: /, upstream: ap, on_outage: denny}
  - {name: x, path: /x/, upstream: app, methods: [get]}
  - {name: x, path: /y/, upstream: app, token_use: once, on_outage: stale, issuers: [bb]}
  - {name: z, path: /y/z, upstream: app}
max_staleness: 3s
timeouts: {head: 30}
"""
    told = [problem.split("; ")[0] for problem in problems(tmp_path, text)]
    assert told == [
        "1:9: listen: needs a host before the port",
        "2:1: worker: unknown key",
        "4:10: admin.token: the environment variable NOT_SET is not set",
        "6:3: store.max_stalenes: unknown key",
        "7:19: cookies.secure: must be true or false",
        "10:3: upstreams.app: duplicate key",
        "11:16: upstreams.other.url: must be a URL that begins with http:// or https://",
        "13:5: issuers.0.user_prefix: must be written, because there is more than one source of users",
        "14:5: issuers.1.user_prefix: must be written, because there is more than one source of users",
        "14:57: issuers.1.algorithms.0: must be one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, "
        "HS256, HS384, HS512",
        "16:36: routes.0.upstream: there is no upstream 'ap'",
        "16:51: routes.0.on_outage: must be one of deny, stale, allow",
        "17:51: routes.1.methods.0: methods are case-sensitive (RFC 9110 §9.1)",
        "18:12: routes.2.name: 'x' is the name of routes.1 too",
        "18:69: routes.2.on_outage: must be deny where token_use is once: without the store nobody knows what was used",
        "18:86: routes.2.issuers.0: there is no issuer 'bb'",
        "19:21: routes.3.path: 'z' can never match: 'x' above takes all its requests",
        "20:1: max_staleness: unknown key",
        "21:18: timeouts.head: must be a duration with its unit, such as 500ms, 30s, 5m, 1h or 7d",
    ]


@pytest.mark.parametrize(
    ("text", "guess"),
    [
        ("lissten: 127.0.0.1:1", "did you mean 'listen'?"),
        ("store: {max_stalenes: 2s}", "did you mean 'max_staleness'?"),
        ("max_staleness: 2s", "it belongs under 'store'"),
        ("tokens: {secret_file: x}", "did you mean 'secrets_file'?"),
        ("log: {level: warn}", "did you mean 'warning'?"),
        ("identity: {preset: x-users}", "did you mean 'x-user'?"),
        ("routes: [{name: a, path: /, upstrem: app, upstream: app}]", "did you mean 'upstream'?"),
        ("upstreams: {shop: {url: 'http://x'}}\nroutes: [{name: a, path: /, upstream: shup}]", "did you mean 'shop'?"),
        ("upstreams: {shop: {url: 'http://x'}}\nroutes: [{name: a, path: /, upstream: zzz}]", "upstreams are: shop"),
    ],
)
def test_a_mistake_comes_with_a_guess(tmp_path, text, guess):
    assert any(problem.endswith(f"; {guess}") for problem in problems(tmp_path, with_admin(text)))


def test_a_missing_key_is_told_at_its_block(tmp_path):
    assert problems(tmp_path, with_admin("routes:\n  - name: a\n    path: /\n")) == ["3:5: routes.0.upstream: is required"]
    assert problems(tmp_path, "workers: 2\n") == ["1:1: admin: is required"]
    assert problems(tmp_path, "workers: 2\nadmin:\n  listen: 127.0.0.1:1\n") == ["2:1: admin.token: is required"]


@pytest.mark.parametrize("text", ["- a\n", "hello", "42"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    assert problems(tmp_path, text) == ["1:1: must be a mapping of keys"]


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(ConfigurationError, match="does not exist; name another with -c FILE"):
        load(tmp_path / "nowhere.yaml", {})
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(tmp_path, {})
    (tmp_path / "latin.yaml").write_bytes(b"a: \xff\n")
    with pytest.raises(ConfigurationError, match="not text in UTF-8"):
        load(tmp_path / "latin.yaml", {})


# --- interpolation


def test_variables_defaults_and_files_are_put_in(tmp_path):
    (tmp_path / "host").write_text("db.example\n")
    config = loaded(
        tmp_path,
        MINIMAL + 'workers: ${WORKERS}\nstore: {url: "redis://${file:host}:${PORT:-6379}", max_staleness: "${AGE:-3s}"}\n',
        WORKERS="4",
    ).config
    assert config.workers == 4
    assert config.store.url == "redis://db.example:6379"
    assert config.store.max_staleness == 3.0


def test_an_empty_variable_takes_the_default_and_without_one_is_null(tmp_path):
    text = MINIMAL + 'fingerprint: {country: {database: "${GEO:-x.mmdb}"}}\n'
    assert loaded(tmp_path, text, GEO="").config.fingerprint.country.database == tmp_path / "x.mmdb"
    text = MINIMAL + "limits:\n  body: ${BODY}\n"
    assert loaded(tmp_path, text, BODY="").config.limits.body is None
    assert loaded(tmp_path, text, BODY="1MiB").config.limits.body == 1 << 20


def test_what_is_put_in_is_not_interpreted_again(tmp_path):
    config = loaded(tmp_path, MINIMAL + 'tokens: {audience: "${A}", issuer: null}\n', A="${HOME}: [x]").config
    assert config.tokens.audience == "${HOME}: [x]"


def test_a_digit_token_from_the_environment_stays_text(tmp_path):
    text = MINIMAL.replace(TOKEN, "'${T}'")
    assert loaded(tmp_path, text, T="1" * 16 + "0234567890123456").config.admin.tokens == ("1" * 16 + "0234567890123456",)


def test_a_literal_reference_is_written_with_two_dollars(tmp_path):
    assert loaded(tmp_path, MINIMAL + "tokens: {audience: '$${A}$'}\n").config.tokens.audience == "${A}$"


@pytest.mark.parametrize(
    "text", ["${", "${A", "${A:-${B}}", "${1A}", "${}", "${A-b}", "${file:nowhere}", "${UNSET}", "${file:.}"]
)
def test_a_reference_that_leads_nowhere_is_told_once(tmp_path, text):
    told = problems(tmp_path, MINIMAL + f"tokens: {{audience: '{text}'}}\n")
    assert len(told) == 1
    assert told[0].startswith("8:20: tokens.audience: ")


def test_an_unset_admin_token_is_told_clearly(tmp_path):
    told = problems(tmp_path, MINIMAL.replace(f"{{token: {TOKEN}}}", "\n  token: ${GATEWAY_ADMIN_TOKEN}"))
    assert told == [
        "2:10: admin.token: the environment variable GATEWAY_ADMIN_TOKEN is not set; "
        "export GATEWAY_ADMIN_TOKEN=$(openssl rand -hex 32), or name a file with token_file"
    ]


# --- the environment


def test_the_environment_wins_over_the_file(tmp_path):
    config = loaded(
        tmp_path,
        MINIMAL,
        GATEWAY_STORE__URL="redis://other",
        GATEWAY_WORKERS="auto",
        GATEWAY_ROUTES__0__PATH="/app/",
        GATEWAY_ROUTES__1="{name: rest, path: /, access: public, upstream: app}",
        GATEWAY_UPSTREAMS__APP__READ_TIMEOUT="5s",
        GATEWAY_LISTEN="[::1]:8080",
        GATEWAY_TRUSTED_PROXIES="[10.0.0.0/8, 192.168.1.7]",
        GATEWAY_COOKIES__SECURE="false",
        GATEWAY_LIMITS__BODY="null",
    ).config
    assert config.store.url == "redis://other"
    assert config.worker_count == len(os.sched_getaffinity(0))
    assert [route.path for route in config.routes] == ["/app/", "/"]
    assert config.upstreams["app"].read_timeout == 5.0
    assert config.listen == (Address("::1", 8080),)
    assert config.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("192.168.1.7/32"))
    assert config.cookies.secure is False


def test_a_variable_stands_in_for_an_unset_reference(tmp_path):
    text = MINIMAL.replace(TOKEN, "'${NOT_SET}'")
    assert loaded(tmp_path, text, GATEWAY_ADMIN__TOKEN=TOKEN).config.admin.tokens == (TOKEN,)
    (tmp_path / "token").write_text(TOKEN + "\n")
    assert loaded(tmp_path, text, GATEWAY_ADMIN__TOKEN_FILE="token").config.admin.tokens == (TOKEN,)


def test_a_name_with_a_dash_is_reached_with_an_underscore(tmp_path):
    text = MINIMAL.replace("app:", "my-app:").replace("upstream: app", "upstream: my-app")
    config = loaded(tmp_path, text, GATEWAY_UPSTREAMS__MY_APP__URL="http://b:1").config
    assert config.upstreams["my-app"].url == ("http://b:1",)


def test_a_variable_that_is_meant_for_us_but_unknown_is_a_mistake(tmp_path):
    assert problems(tmp_path, MINIMAL, GATEWAY_STORE__ULR="x") == [
        "$GATEWAY_STORE__ULR: there is no key 'ulr'; did you mean 'url'?"
    ]
    assert problems(tmp_path, MINIMAL, GATEWAY_ROUTES__7__PATH="/") == [
        "$GATEWAY_ROUTES__7__PATH: '7' is no index of routes, which has 1"
    ]


def test_a_variable_that_is_not_meant_for_us_is_left_alone(tmp_path):
    assert loaded(
        tmp_path, MINIMAL, GATEWAY_PORT="tcp://10.0.0.1:80", GATEWAY_SERVICE_HOST="x", GATEWAY_ADMIN_TOKEN="y", GATEWAY_CONFIG="z"
    )


def test_a_mistake_from_the_environment_names_the_variable(tmp_path):
    assert problems(tmp_path, MINIMAL, GATEWAY_STORE__MAX_STALENESS="2") == [
        "$GATEWAY_STORE__MAX_STALENESS: store.max_staleness: must be a duration with its unit, such as 500ms, 30s, 5m, 1h or 7d"
    ]


# --- secrets and paths


def test_every_secret_also_comes_from_a_file(tmp_path):
    (tmp_path / "tokens").write_text(f"{TOKEN}\n{TOKEN[::-1]}\n")
    (tmp_path / "url").write_text("redis://:password@db\n")
    (tmp_path / "old").write_text("A" * 42 + "A")
    text = MINIMAL.replace(f"token: {TOKEN}", "token_file: tokens") + "store: {url_file: url}\ntokens: {secrets_file: [old]}\n"
    config = loaded(tmp_path, text).config
    assert config.admin.tokens == (TOKEN, TOKEN[::-1])
    assert config.store.url == "redis://:password@db"
    assert config.tokens.secrets == ("A" * 43,)


@pytest.mark.parametrize(
    ("admin", "what"),
    [
        (f"{{token: {TOKEN}, token_file: t}}", "admin.token_file: is given beside 'token'"),
        ("{token_file: nowhere}", "admin.token: the file it names does not exist"),
        ("{token_file: 7}", "admin.token: must be the path of a file"),
        ("{token_file: empty}", "admin.token: is empty"),
        ("{token: short}", "admin.token: is too short (5 bytes, at least 32); make one with"),
        ("{token: ''}", "admin.token: is empty"),
        ("{token: null}", "admin.token: is empty"),
        ("{token: []}", "admin.token: is empty"),
        ("{token: 12345678901234}", "admin.token: must be text; put it in quotes"),
        (f"{{token: '{TOKEN} x'}}", "admin.token: must be printable ASCII without spaces"),
        (f"{{token: [{TOKEN}, {TOKEN}]}}", "admin.token: lists the same secret twice"),
        (f"{{token: [{TOKEN}, a{TOKEN}, b{TOKEN}]}}", "admin.token: may list at most 2"),
    ],
)
def test_B3_a_bad_admin_token_is_refused(tmp_path, admin, what):
    (tmp_path / "empty").write_text("\n")
    told = problems(tmp_path, MINIMAL.replace(f"{{token: {TOKEN}}}", admin))
    assert len(told) == 1
    assert what in told[0]


@pytest.mark.parametrize(
    "text",
    [
        f"admin: {{token: {SECRET}}}\n",
        f"admin: {{token: [{SECRET}, x]}}\n",
        f"admin: {{tokn: {SECRET}}}\n",
        f"admin: {SECRET}\n",
        f"admin: {{listen: {SECRET}}}\n",
        f"admin: {{token: *{SECRET}}}\n",
        f"admin: {{token: !{SECRET} x}}\n",
        f"admin: {{token: &{SECRET}}}\n",
        f"admin: {{token: {{{SECRET}: 1}}}}\n",
        f"admin: {{token_file: {SECRET}}}\n",
        f"store: {{url: 'redis+cluster://:{SECRET}@h'}}\n",
        f"store: {{url: 'http://:{SECRET}@h'}}\n",
        f"tokens: {{secrets: [{SECRET}]}}\n",
        f"accounts: {{database: {SECRET}}}\n",
        f"upstreams: {{app: {{url: 'http://u:{SECRET}@h'}}}}\n",
        "upstreams: {app: {url: 'http://h'}}\nroutes: [{name: a, path: /, upstream: '${SECRET}'}]\n",
        "issuers: [{issuer: '${SECRET}', audience: x, jwks: x, algorithms: '${SECRET}'}]\nroutes: '${SECRET}'\n",
    ],
)
def test_O04_a_message_never_holds_a_secret(tmp_path, text):
    assert SECRET not in "\n".join(problems(tmp_path, text, SECRET=SECRET))


def test_a_configuration_shows_no_secret_when_it_is_printed(tmp_path):
    text = MINIMAL + "store: {url: 'redis://:password@h'}\n"
    assert TOKEN not in repr(loaded(tmp_path, text))
    assert "password" not in repr(loaded(tmp_path, text))


def test_relative_paths_start_from_the_files_folder(tmp_path, monkeypatch):
    folder = tmp_path / "etc"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    text = MINIMAL.replace("http://127.0.0.1:8000", "'unix:run/app.sock'")
    text = text.replace("https://idp.example/jwks,", "keys.json,")
    write(folder, text + "listen: unix:run/gateway.sock\naccounts: {database: 'sqlite+aiosqlite:///var/a.db'}\n")
    result = load("etc/gateway.yaml", {})
    assert result.directory == folder
    assert result.config.store.directory == folder / "var"
    assert result.config.issuers[0].jwks == str(folder / "keys.json")
    assert result.config.upstreams["app"].url == (f"unix:{folder}/run/app.sock",)
    assert result.config.upstreams["app"].addresses == (Address(path=f"{folder}/run/app.sock"),)
    assert result.config.listen == (Address(path=f"{folder}/run/gateway.sock"),)
    assert result.config.accounts.database == f"sqlite+aiosqlite:///{folder}/var/a.db"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("store: {url: 'redis+sentinel://a'}", "needs the service that the sentinels watch"),
        ("store: {url: 'redis+sentinel://a/b/c'}", "the database behind the service is a number"),
        ("store: {url: 'redis+sentinel://a,/b'}", "needs a host"),
        ("store: {url: 'redis+cluster://a/1'}", "a cluster has one database only"),
        ("store: {url: 'redis+cluster://a,b:0'}", "a port from 1 to 65535"),
        ("store: {url: 'redis://a,b'}", "names several servers"),
        ("store: {url: 'unix+sentinel://a/b'}", "must be embedded, or a URL"),
        ("store: {url: 'http://a/b'}", "must be embedded, or a URL"),
        ("store: {max_staleness: 10ms}", "must be at least 200ms"),
        ("workers: 0", "must be from 1 to 256, or auto"),
        ("public_url: https://x/y", "must end after the host or port"),
        ("trusted_proxies: [10.0.0.1/8]", "write 10.0.0.0/8"),
        ("trusted_proxies: [proxy]", "must be a network"),
        ("upstreams: {a b: {url: 'http://x'}}", "must be a name"),
        ("upstreams: {a: {url: 'http://x/path'}}", "must end after the host or port"),
        ("routes: [{name: a, path: app, upstream: a}]", "begins with '/'"),
        ("routes: [{name: a, path: '/a?b', upstream: a}]", "holds a character that no path has"),
        ("routes: [{name: a, path: '/a;b', upstream: a}]", "holds a character that no path has"),
        ("routes: [{name: a, path: '/a//b', upstream: a}]", "must be normalised"),
        ("routes: [{name: a, path: '/a/../b', upstream: a}]", "must be normalised"),
        ("routes: [{name: a, path: '/%41', upstream: a}]", "percent-encodes a letter"),
        ("routes: [{name: a, path: '/a%2Fb', upstream: a}]", "percent-encodes a letter"),
        ("routes: [{name: a, path: '/%FF', upstream: a}]", "not UTF-8"),
        ("routes: [{name: a, path: /, methods: [TRACE], upstream: a}]", "always answered 405"),
        ("routes: [{name: a, path: /, methods: [], upstream: a}]", "must not be empty"),
        ("tokens: {secrets: [short]}", "must be 32 random bytes"),
        ("limits: {head: 8KB}", "must be a size"),
        ("fingerprint: {network: {ipv4: 33}}", "must be at most 32"),
        ("issuers: [{issuer: a, audience: b, jwks: c, algorithms: [none]}]", "must be one of RS256"),
        ("tls: {certificate: a}", "tls.key: is required"),
    ],
)
def test_a_value_that_cannot_be_is_refused(tmp_path, text, what):
    assert any(what in problem for problem in problems(tmp_path, with_admin(text)))


@pytest.mark.parametrize("path", ["/", "/a", "/a/", "/a%20b/", "/caf%C3%A9", "/a:b@c/(d)/", "/.well-known/x", "/...", "/a.b"])
def test_a_path_in_its_one_spelling_is_accepted(tmp_path, path):
    from gateway.wire.path import split_target

    config = loaded(tmp_path, MINIMAL.replace("path: /,", f"path: '{path}',")).config
    assert config.routes[0].path == path
    assert split_target(path.encode()) == (path.encode(), b"")


@given(st.text(max_size=300) | st.text(alphabet="{}[]:,-\"'&*!|>#\n adminrouteskl${}0", max_size=80))
def test_no_file_raises_anything_but_problems(text):
    path = Path("/tmp") / f"gateway-test-{os.getpid()}.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        load(path, {})
    except ConfigurationError as error:
        assert error.problems
    finally:
        path.unlink()


def test_check_does_not_import_what_only_serving_needs(tmp_path):
    left = "print([m for m in ('aiohttp', 'redis', 'asyncio') if m in sys.modules])"
    code = f"import sys; from gateway.config.load import load; load(sys.argv[1], {{}}); {left}"
    path = write(tmp_path, MINIMAL)
    assert subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True).stdout.strip() == "[]"
