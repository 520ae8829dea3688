"""The command line, as a user runs it: exit codes, output, and a peer on a real socket that speaks for the admin API."""

import asyncio
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.store.embedded import EmbeddedServer

TOKEN = "0123456789abcdef0123456789abcdef"
ROOT = Path(__file__).resolve().parents[1]
RECEIPT = {"id": "r1", "enforced_by": 2, "fenced": 0, "workers": 2, "complete": True, "durable": True, "took_ms": 12}


@dataclass
class Peer:
    """Answers every request with the same bytes, and keeps what it was asked."""

    address: str
    asked: list[str] = field(default_factory=list)


@contextmanager
def answering(status: str, body: str, listener: socket.socket | None = None) -> Iterator[Peer]:
    listener = listener or socket.create_server(("127.0.0.1", 0))
    name = listener.getsockname()
    peer = Peer(f"unix:{name}" if isinstance(name, str) else f"127.0.0.1:{name[1]}")

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            request = b""
            while b"\r\n\r\n" not in request:
                request += connection.recv(65536)
            head, _, rest = request.partition(b"\r\n\r\n")
            length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
            while len(rest) < length:
                rest += connection.recv(65536)
            peer.asked.append((head + b"\r\n\r\n" + rest).decode())
            connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield peer
    finally:
        thread.join(5)
        listener.close()


def write(folder: Path, admin: str = "127.0.0.1:9090", more: str = "") -> str:
    path = folder / "gateway.yaml"
    path.write_text(f"""\
admin: {{listen: '{admin}', token: {TOKEN}}}
issuers: [{{issuer: https://idp.example, audience: shop, jwks: https://idp.example/jwks, user_prefix: ""}}]
upstreams: {{app: {{url: http://127.0.0.1:8000}}}}
routes: [{{name: app, path: /, on_outage: stale, upstream: app}}]
{more}""")
    return str(path)


def gateway(*arguments: str, **environ: str):
    return CliRunner().invoke(
        main, list(arguments), env={"GATEWAY_CONFIG": None, "NO_COLOR": None, **environ}, catch_exceptions=False
    )


def run_gateway(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "gateway", *arguments], capture_output=True, text=True, cwd=ROOT)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# --- help and usage


def test_help_names_every_command_and_hides_the_worker():
    listed = gateway("--help").output
    for command in (
        *("run", "demo", "check", "explain", "schema", "revoke", "sessions", "users", "keys", "audit", "purge"),
        *("status", "healthcheck", "store"),
    ):
        assert f"\n  {command} " in listed
    assert "\n  worker " not in listed


@pytest.mark.parametrize("group", [(), ("users",), ("store",), ("keys",), ("sessions",)])
def test_what_a_command_does_is_told_in_whole_sentences(group: tuple[str, ...]):
    listed = gateway(*group, "--help").output.partition("Commands:")[2]
    assert listed or group == ("sessions",)
    assert "..." not in listed


def test_help_imports_nothing_heavy():
    heavy = "('pydantic', 'yaml', 'aiohttp', 'redis', 'asyncio', 'http.client', 'prometheus_client', 'jwt')"
    leave = f"except SystemExit: print([m for m in {heavy} if m in sys.modules])"
    code = f"import sys; from gateway.cli import main\ntry: main(['--help'])\n{leave}"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "[]"


def test_a_command_loads_no_other():
    loaded = "print(sorted(m for m in sys.modules if m.startswith('gateway.commands.')))"
    code = f"import sys; from gateway.cli import main\ntry: main(['keys', '--help'])\nexcept SystemExit: {loaded}"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "['gateway.commands.common', 'gateway.commands.keys']"


def test_a_wrong_option_is_usage():
    assert gateway("check", "--nonsense").exit_code == 2
    assert gateway("nonsense").exit_code == 2


def test_every_command_is_documented():
    page = (ROOT / "docs" / "reference" / "commands.md").read_text()
    for name, command in main.commands.items():
        if not command.hidden:
            assert f"`gateway {name}" in page
            for option in command.params:
                for spelling in option.opts:
                    assert not spelling.startswith("--") or spelling in page, f"{name} {spelling}"


# --- check and schema


def test_check_says_ok_with_a_summary(tmp_path):
    done = gateway("check", "-c", write(tmp_path))
    assert done.exit_code == 0
    assert done.stdout == f"ok: {tmp_path}/gateway.yaml: 1 route, 1 upstream, 1 issuer\n"
    assert done.stderr == ""


def test_check_tells_warnings_apart(tmp_path):
    done = gateway("check", "-c", write(tmp_path, admin="0.0.0.0:9090", more="csrf: {enabled: false}\n"))
    assert done.exit_code == 0
    assert done.stdout.endswith("1 issuer, 2 warnings\n")
    assert done.stderr.startswith(f"warning: {tmp_path}/gateway.yaml:1:17: admin.listen: can be reached from other machines")


def test_check_tells_all_problems_and_exits_2(tmp_path):
    done = gateway("check", "-c", write(tmp_path, more="worker: 1\nlog: {level: loud}\n"))
    assert done.exit_code == 2
    assert done.stdout == ""
    assert [line.split(": ")[1] for line in done.stderr.splitlines()] == ["worker", "log.level"]
    assert done.stderr.startswith(f"{tmp_path}/gateway.yaml:5:1: worker: unknown key; did you mean 'workers'?\n")


def test_check_tells_what_it_would_warn_of_beside_a_mistake(tmp_path):
    path = write(tmp_path, admin="0.0.0.0:9090", more="worker: 1\n")
    first, second = gateway("check", "-c", path).stderr.splitlines()
    assert first.startswith(f"warning: {tmp_path}/gateway.yaml:1:17: admin.listen: can be reached from other machines")
    assert second.startswith(f"{tmp_path}/gateway.yaml:5:1: worker: unknown key")
    assert [first] == [f"warning: {line}" for line in json.loads(gateway("check", "--json", "-c", path).stdout)["warnings"]]


def test_check_looks_at_the_operators_pages(tmp_path):
    pages = tmp_path / "pages"
    pages.mkdir()
    path = write(tmp_path, more="pages: {templates: pages}\n")
    assert gateway("check", "-c", path).stderr == ""
    (pages / "login.html").write_text("{{ nobody_knows }}")
    done = gateway("check", "-c", path)
    assert (done.exit_code, "1 warning" in done.stdout) == (0, True)
    assert "pages.templates: " in done.stderr
    assert "login.html:1" in done.stderr


def test_check_speaks_json(tmp_path):
    good = json.loads(gateway("check", "--json", "-c", write(tmp_path)).stdout)
    assert good == {"ok": True, "problems": [], "warnings": [], "routes": 1, "upstreams": 1, "issuers": 1}
    done = gateway("check", "--json", "-c", write(tmp_path, more="worker: 1\n"))
    assert done.exit_code == 2
    assert json.loads(done.stdout)["problems"] == [f"{tmp_path}/gateway.yaml:5:1: worker: unknown key; did you mean 'workers'?"]


def test_the_configuration_is_found_by_the_environment_and_by_default(tmp_path, monkeypatch):
    assert gateway("check", GATEWAY_CONFIG=write(tmp_path)).exit_code == 0
    monkeypatch.chdir(tmp_path)
    done = gateway("check")
    assert done.exit_code == 2
    assert done.stderr.startswith("config/gateway.yaml: does not exist; name another with -c FILE or $GATEWAY_CONFIG")


def test_schema_prints_what_is_committed():
    assert gateway("schema").stdout == (ROOT / "config" / "gateway.schema.json").read_text()


def test_nothing_is_coloured_when_it_is_not_a_terminal(tmp_path):
    path = write(tmp_path, more="worker: 1\n")
    shown = run_gateway("check", "-c", path)
    assert shown.returncode == 2
    assert "\x1b" not in shown.stderr + shown.stdout


def test_no_color_is_respected_on_a_terminal(tmp_path):
    path = write(tmp_path, more="worker: 1\n")
    coloured = CliRunner().invoke(main, ["check", "-c", path], color=True, env={"NO_COLOR": None})
    assert "\x1b[31m" in coloured.stderr
    plain = CliRunner().invoke(main, ["check", "-c", path], color=True, env={"NO_COLOR": "1"})
    assert "\x1b" not in plain.stderr


def test_run_tells_the_warnings_and_exits_1_when_it_cannot_start(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"listen: 127.0.0.1:{taken.getsockname()[1]}\ncsrf: {{enabled: false}}\n"
        done = run_gateway("run", "-c", write(tmp_path, f"127.0.0.1:{closed_port()}", listen))
    assert done.returncode == 1
    assert done.stderr.startswith(f"warning: {tmp_path}/gateway.yaml:6:17: csrf.enabled: is off")
    assert "Traceback" not in done.stderr


# --- revoke, status, healthcheck


@pytest.mark.parametrize(
    ("arguments", "body"),
    [
        (["--token-id", "j1"], {"token_id": "j1"}),
        (["--session", "s1", "--issuer", "i"], {"session": "s1", "issuer": "i"}),
        (["--user", "alice", "--reason", "lost phone"], {"user": "alice", "reason": "lost phone"}),
        (["--key", "k1"], {"key": "k1"}),
    ],
)
def test_revoke_asks_with_the_token_and_prints_the_receipt(tmp_path, arguments, body):
    with answering("201 Created", json.dumps(RECEIPT)) as peer:
        done = gateway("revoke", "-c", write(tmp_path, peer.address), *arguments)
    assert done.exit_code == 0
    head, _, sent = peer.asked[0].partition("\r\n\r\n")
    assert head.startswith("POST /v1/revocations HTTP/1.1\r\n")
    assert f"Authorization: Bearer {TOKEN}" in head
    assert json.loads(sent) == body
    assert "  id        r1\n  enforced  by 2 of 2 workers\n  durable   yes\n  took      12 ms\n" in done.stdout


@pytest.mark.parametrize("mistake", ["worker: 1\n", "log: {level: loud}\n", "routes: []\n"])
@pytest.mark.parametrize("command", [["revoke", "--user", "alice"], ["healthcheck"], ["sessions", "alice"]])
def test_a_mistake_elsewhere_in_the_file_keeps_nobody_from_the_gateway_that_runs(tmp_path, mistake, command):
    """It goes on with what it read before, and may have to be told something at once."""
    with answering("200 OK", json.dumps(RECEIPT)) as peer:
        path = write(tmp_path, peer.address)
        Path(path).write_text(
            Path(path).read_text().replace("routes:", "others:" if "routes" in mistake else "routes:") + mistake
        )
        done = gateway(*command, "-c", path)
    assert done.exit_code == 0
    assert "has mistakes, which `gateway check` tells" in done.stderr
    assert f"Authorization: Bearer {TOKEN}" in peer.asked[0]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("routes: [", ":1:"),
        ("admin: {token: short}\n", "admin.token"),
        ("admin: {token: '${NOWHERE}'}\n", "admin.token"),
        ("routes: []\n", "admin"),
    ],
)
def test_a_file_that_does_not_say_the_way_says_what_to_do(tmp_path, written, told):
    path = tmp_path / "gateway.yaml"
    path.write_text(written)
    done = gateway("healthcheck", "-c", str(path))
    assert done.exit_code == 2
    assert told in done.stderr
    assert done.stderr.endswith("goes on with what it read before: name a copy of that with -c\n")


def test_revoke_prints_exactly_the_receipt_as_json(tmp_path):
    body = json.dumps(RECEIPT, separators=(",", ":"))
    with answering("201 Created", body) as peer:
        done = gateway("revoke", "--json", "--user", "alice", "-c", write(tmp_path, peer.address))
    assert done.stdout == body + "\n"


def test_W3_an_incomplete_receipt_exits_1_and_is_printed(tmp_path):
    body = json.dumps(RECEIPT | {"enforced_by": 1, "complete": False})
    with answering("202 Accepted", body) as peer:
        done = gateway("revoke", "--json", "--user", "alice", "-c", write(tmp_path, peer.address))
    assert done.exit_code == 1
    assert done.stdout == body + "\n"
    assert "not every worker has confirmed" in done.stderr


def test_W3_routes_that_fencing_does_not_cover_are_named(tmp_path):
    with answering("201 Created", json.dumps(RECEIPT | {"enforced_by": 1, "fenced": 1, "not_fenced_routes": ["app"]})) as peer:
        done = gateway("revoke", "--user", "alice", "-c", write(tmp_path, peer.address))
    assert done.exit_code == 0
    assert "by 1 of 2 workers; 1 more stopped by themselves" in done.stdout
    assert "app go on in a stopped worker (on_outage)" in done.stdout


@pytest.mark.parametrize(("took_ms", "told"), [(0.42, "0.4 ms"), (9.04, "9.0 ms"), (16.283, "16 ms"), (1250.5, "1250 ms")])
def test_a_receipt_for_people_is_rounded(tmp_path, took_ms, told):
    with answering("201 Created", json.dumps(RECEIPT | {"took_ms": took_ms})) as peer:
        done = gateway("revoke", "--token-id", "phone-1", "--issuer", "i", "-c", write(tmp_path, peer.address))
    assert done.stdout.startswith("revoked token phone-1\n")
    assert f"  took      {told}\n" in done.stdout


def test_undo_lifts_by_id(tmp_path):
    with answering("200 OK", json.dumps(RECEIPT)) as peer:
        done = gateway("revoke", "--undo", "a/b", "-c", write(tmp_path, peer.address))
    assert done.exit_code == 0
    assert peer.asked[0].startswith("DELETE /v1/revocations/a%2Fb HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--user", "a", "--key", "b"],
        ["--user", "a", "--undo", "b"],
        ["--undo", "b", "--reason", "x"],
        ["--user", ""],
        ["--issuer", "i"],
    ],
)
def test_an_unclear_revocation_is_usage(tmp_path, arguments):
    assert gateway("revoke", "-c", write(tmp_path), *arguments).exit_code == 2


def test_a_refusal_of_the_api_is_told(tmp_path):
    with answering("401 Unauthorized", '{"title": "The admin token is wrong", "status": 401}') as peer:
        done = gateway("revoke", "--user", "alice", "-c", write(tmp_path, peer.address))
    assert done.exit_code == 1
    assert done.stderr == ("gateway: the running gateway does not accept this admin token; is it the one it was started with?\n")
    assert TOKEN not in done.output


def test_each_wrong_field_is_told(tmp_path):
    body = '{"title": "The revocation is not valid", "errors": {"issuer": "is not\\u001b an issuer"}}'
    with answering("422 Unprocessable Content", body) as peer:
        done = gateway("revoke", "--user", "alice", "--issuer", "x", "-c", write(tmp_path, peer.address))
    assert done.stderr == "gateway: the admin API answered 422: The revocation is not valid; issuer is not? an issuer\n"


@pytest.mark.parametrize("command", [["revoke", "--user", "a"], ["status"], ["healthcheck"]])
def test_a_gateway_that_does_not_run_is_told(tmp_path, command):
    done = gateway(*command, "-c", write(tmp_path, f"127.0.0.1:{closed_port()}"))
    assert done.exit_code == 1
    assert "is the gateway running, and with this configuration?" in done.stderr


def test_a_peer_that_is_no_http_is_told(tmp_path):
    with answering("nonsense", "") as peer:
        done = gateway("status", "-c", write(tmp_path, peer.address))
    assert done.exit_code == 1
    assert "no HTTP at the admin listener" in done.stderr


def test_every_interface_is_reached_as_loopback(tmp_path):
    with answering("200 OK", "{}") as peer:
        done = gateway("status", "-c", write(tmp_path, peer.address.replace("127.0.0.1", "0.0.0.0")))
    assert done.exit_code == 0
    assert "Host: 127.0.0.1:" in peer.asked[0]


def test_the_admin_listener_may_be_a_unix_socket(tmp_path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "a.sock"))
    listener.listen()
    with answering("200 OK", '{"ready": true}', listener):
        done = gateway("status", "--json", "-c", write(tmp_path, "unix:a.sock"))
    assert done.stdout == '{"ready": true}\n'


def test_status_is_a_table_for_people(tmp_path):
    worker = {"index": 0, "pid": 7, "state": "running", "incarnation": "beef", "restarts": 0, "replica": "live", "position": 12}
    body = {
        "ready": True,
        "config": "a\x1b[31mb",
        "workers": [
            worker | {"lag_ms": 0.4, "entries": 3, "clock_offset_ms": 1.5, "connections": {"client": 1, "upstream": 2}},
            {"index": 1, "pid": None, "state": "waiting", "lag_ms": None},
        ],
        "store": {"url": "embedded", "up": True, "problem": None, "epoch": "e1", "head": 12, "members": 2},
        "issuers": [
            {"issuer": "https://idp.example", "keys": [1, 1], "fetched_at": 1_800_000_000.5},
            {"issuer": "https://new.example", "keys": [0, 2], "fetched_at": None},
            {"issuer": "https://away.example", "keys": [0, 0], "fetched_at": None},
        ],
        "upstreams": [
            {"name": "app", "up": False},
            {"name": "one", "up": True, "addresses": {"up": 1, "ejected": 0, "down": 0}},
            {"name": "shop", "up": True, "addresses": {"up": 2, "ejected": 0, "down": 1}},
            {
                "name": "pair",
                "up": True,
                "addresses": {"up": 1, "ejected": 1, "down": 0},
                "servers": [
                    {"address": "10.0.0.1:80", "up": 1, "ejected": 0, "down": 0},
                    {"address": "10.0.0.2:80", "up": 0, "ejected": 1, "down": 0},
                ],
            },
        ],
    }
    with answering("200 OK", json.dumps(body)) as peer:
        done = gateway("status", "-c", write(tmp_path, peer.address))
    assert done.stdout.splitlines() == [
        "ready: true",
        'config: "a\\u001b[31mb"',
        "store: embedded, up, position 12",
        "issuer https://idp.example: 1 key, fetched 2027-01-15T08:00:00Z",
        "issuer https://new.example: keys by worker 0, 2",
        "issuer https://away.example: no keys",
        "upstream app: down",
        "upstream one: up",
        "upstream shop: up, addresses: 2 up, 1 down",
        "upstream pair: up, addresses: 1 up, 1 ejected (10.0.0.2:80 ejected)",
        "",
        "worker  pid  state    replica  position  lag     entries  clients  restarts",
        "0       7    running  live     12        0.4 ms  3        1        0",
        "1       -    waiting  -        -         -       -        -        -",
    ]


# --- explain


def test_explain_takes_an_address_and_the_method_as_it_is(tmp_path):
    wrong = gateway("explain", "GET", "/", "--from", "bla", "-c", write(tmp_path))
    assert wrong.exit_code == 2
    assert "--from takes an IP address" in wrong.stderr
    lower = json.loads(gateway("explain", "get", "/", "--json", "-c", write(tmp_path)).stdout)
    upper = json.loads(gateway("explain", "GET", "/", "--json", "-c", write(tmp_path)).stdout)
    assert (lower["verdict"], lower["status"], upper["status"]) == ("deny", 400, 401)


@pytest.mark.parametrize(("status", "code"), [("200 OK", 0), ("503 Service Unavailable", 1)])
def test_healthcheck_is_the_readiness(tmp_path, status, code):
    with answering(status, "state") as peer:
        done = gateway("healthcheck", "-c", write(tmp_path, peer.address))
    assert done.exit_code == code
    assert peer.asked[0].startswith("GET /readyz?verbose HTTP/1.1\r\n")
    assert done.stdout == ("ready\n" if code == 0 else "state\n")


def test_the_embedded_store_needs_no_declaration(tmp_path):
    done = gateway("store", "init", "-c", write(tmp_path))
    assert done.exit_code == 0
    assert done.stdout == "the embedded store declares itself\n"


async def test_L5_an_external_store_is_declared_once(tmp_path):
    server = EmbeddedServer(tmp_path / "var")
    url = await server.start()
    try:
        path = write(tmp_path, more=f"store: {{url: '{url}'}}\n")
        first = await asyncio.to_thread(run_gateway, "store", "init", "-c", path)
        again = await asyncio.to_thread(run_gateway, "store", "init", "--json", "-c", path)
    finally:
        await server.stop()
    assert (first.returncode, first.stdout) == (0, "declared\n")
    assert (again.returncode, again.stdout) == (0, '{"store": "was declared before"}\n')


def test_a_store_that_does_not_answer_is_told(tmp_path):
    done = run_gateway(
        "store", "init", "-c", write(tmp_path, more=f"store: {{url: 'redis://:hushhush@127.0.0.1:{closed_port()}'}}\n")
    )
    assert done.returncode == 1
    assert done.stderr.startswith("gateway: ")
    assert "hushhush" not in done.stderr


def test_a_worker_is_not_started_by_hand():
    assert gateway("worker", GATEWAY_BOOT=None).exit_code != 0
