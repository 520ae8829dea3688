"""docker/gateway.service: judged by systemd's own tools, and what it says carried out without systemd.

The command line, environment, credentials and the page's /etc/gateway/gateway.yaml, with nothing but places changed. The test is
systemd where it must be: it holds the socket of sd_notify. nginx of the page stands in front of the same gateway.
"""

import asyncio
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml
from live.running_gateway import Child, eventually
from packed import DOCKER, PAGE, ROOT, adapted, block, made_secrets
from packed_gateway import COMMAND, EMAIL, PackedGateway
from patience import PATIENCE_S
from ports import free_port
from proxy.certificates import self_signed
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

UNIT = (DOCKER / "gateway.service").read_text()
PROGRAM = "/opt/gateway/bin/gateway"
ELSEWHERE = "127.0.0.2"
PUBLIC = "https://shop.example"
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"


def settings(name: str) -> list[str]:
    """The values of a setting, in order."""
    return re.findall(rf"^{name}=(.*)$", UNIT, re.M)


@dataclass
class Site:
    """Per process. `notified` is where systemd would listen, `url` nginx' address, for a client at ELSEWHERE."""

    gateway: PackedGateway
    notified: socket.socket
    url: str
    trust: ssl.SSLContext

    def said(self) -> str:
        """What systemd was told since this was last asked."""
        told = []
        while True:
            try:
                told.append(self.notified.recv(4096).decode())
            except BlockingIOError:
                return "\n".join(told)

    def client(self) -> httpx.Client:
        transport = httpx.HTTPTransport(verify=self.trust, local_address=ELSEWHERE)
        return httpx.Client(
            base_url=self.url, transport=transport, headers={"User-Agent": AGENT}, timeout=PATIENCE_S, trust_env=False
        )

    def live(self, cookies: dict[str, str]) -> connect:
        """A WebSocket of the same browser from a page of the site, not yet open."""
        address = f"{self.url.replace('https', 'wss')}/ws"
        options = {"origin": Origin(PUBLIC), "user_agent_header": AGENT, "local_addr": (ELSEWHERE, 0)}
        return connect(address, ssl=self.trust, additional_headers=cookies, **options)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if (nginx := shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")) is None:
        pytest.skip("nginx (Debian: nginx-light) is not installed")
    folder = tmp_path_factory.mktemp("unit")
    application = Child(ROOT / "tests/live/application.py")
    notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    notified.bind(str(folder / "notify"))
    public, secure = free_port(), free_port()
    gateway = prepared(folder, public, application.says["websocket"])
    front: subprocess.Popen[bytes] | None = None
    try:
        gateway.start()
        front = subprocess.Popen([nginx, "-c", str(nginx_configuration(folder, public, secure)), "-p", str(folder)])
        url = f"https://localhost:{secure}"
        eventually(lambda: _accepts(secure))
        yield Site(gateway, notified, url, ssl.create_default_context(cafile=str(folder / "fullchain.pem")))
    finally:
        if front is not None:
            front.terminate()
            front.wait()
        gateway.kill()
        application.stop()
        notified.close()


def prepared(folder: Path, public: int, application: int) -> PackedGateway:
    """The gateway as the unit starts it."""
    admin = free_port()
    path = folder / "gateway.yaml"
    places = {
        "127.0.0.1:8080": f"127.0.0.1:{public}",
        "127.0.0.1:9090": f"127.0.0.1:{admin}",
        "127.0.0.1:8000": f"127.0.0.1:{application}",
        "/var/lib/gateway": str(folder / "state"),
        "/etc/gateway/credentials": "/nowhere",  # the service has the copies
    }
    path.write_text(adapted(block("yaml", "/etc/gateway/gateway.yaml"), **places))
    (folder / "state").mkdir(0o700)
    (command,) = settings("ExecStart")
    words = adapted(command, **{"/etc/gateway/gateway.yaml": str(path)}).split()
    assert words.pop(0) == PROGRAM
    variables = dict(pair.split("=", 1) for pair in settings("Environment"))
    variables |= {"CREDENTIALS_DIRECTORY": str(credentials(folder)), "NOTIFY_SOCKET": str(folder / "notify")}
    return PackedGateway(path, f"127.0.0.1:{admin}", (*COMMAND, *words), variables)


def credentials(folder: Path) -> Path:
    """What LoadCredential= puts there: only what the unit names."""
    secrets, copies = made_secrets(folder), folder / "credentials"
    copies.mkdir()
    for name, _, source in (text.partition(":") for text in settings("LoadCredential")):
        (copies / name).write_bytes((secrets / Path(source).name).read_bytes())
    return copies


def nginx_configuration(folder: Path, public: int, secure: int) -> Path:
    """The block of the page, in the least that nginx needs around it."""
    certificate = self_signed()
    (folder / "fullchain.pem").write_bytes(certificate.pem)
    (folder / "privkey.pem").write_bytes(certificate.key_pem)
    places = {
        "127.0.0.1:8080": f"127.0.0.1:{public}",
        "listen 443 ssl": f"listen 127.0.0.1:{secure} ssl",
        "/etc/nginx/tls": str(folder),
    }
    page = adapted(block("nginx", "/etc/nginx/conf.d/shop.conf"), **places)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    path = folder / "nginx.conf"
    head = f"daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log {folder}/nginx.log;\nevents {{}}\n"
    path.write_text(f"{head}http {{\naccess_log off;\n{temporary}{page}}}\n")
    return path


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.fixture
def adapted_unit(tmp_path: Path) -> Path:
    """The unit with a program that is there. Skips without systemd-analyze."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze (Debian: systemd) is not installed")
    path = tmp_path / "gateway.service"
    path.write_text(adapted(UNIT, **{PROGRAM: sys.executable}))
    return path


def judged(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def test_systemd_understands_every_line(adapted_unit: Path):
    done = judged("verify", str(adapted_unit))
    assert (done.returncode, [line for line in done.stderr.splitlines() if "gateway.service" in line]) == (0, [])


def test_its_exposure_is_what_the_page_says(adapted_unit: Path):
    (told,) = re.findall(r"exposure of \*\*([0-9.]+)\*\*", PAGE.read_text())
    threshold = str(round(float(told) * 10))
    done = judged("security", "--offline=true", f"--threshold={threshold}", str(adapted_unit))
    assert done.returncode == 0, done.stdout[-300:]
    assert f"{told} OK" in done.stdout


def test_systemd_hears_that_it_is_ready(site: Site):
    assert settings("Type") == ["notify"]
    eventually(lambda: "READY=1" in site.said().splitlines())  # at its next turn, when it answers already that it is ready


def test_reload_is_a_signal_that_it_takes_up(site: Site):
    assert settings("ExecReload") == ["/bin/kill -HUP $MAINPID"]
    site.said()
    site.gateway.send(signal.SIGHUP)
    told = ""

    def is_told() -> bool:
        nonlocal told
        told += site.said()
        return "READY=1" in told.partition("RELOADING=1")[2]

    eventually(is_told)


async def test_nginx_in_front_hands_on_the_clients_address_scheme_and_websockets(site: Site):
    with site.client() as client:
        assert client.get("/account", headers={"Sec-Fetch-Mode": "navigate", "Accept": "text/html"}).status_code == 303
        cookies = site.gateway.sign_in(client)
    assert f'"client":"{ELSEWHERE}"' in (site.gateway.folder / "access.log").read_text()
    async with site.live(cookies) as live:
        assert await live.recv() == f"user {EMAIL}"
        await live.send("over both")
        assert await live.recv() == "over both"
        receipt = await asyncio.to_thread(site.gateway.revoke, "--user", EMAIL)
        assert receipt["complete"] is True
        async with asyncio.timeout(PATIENCE_S):
            await live.wait_closed()
    with pytest.raises(InvalidStatus, match="401"):
        await site.live(cookies)


def test_root_can_ask_it_as_the_page_does(site: Site):
    assert site.gateway.say("healthcheck").returncode == 0


def test_it_ends_in_order_within_the_time_that_systemd_gives(site: Site):
    config = yaml.safe_load(site.gateway.configuration.read_text())
    assert "timeouts" not in config  # drain is 30 s
    assert float(settings("TimeoutStopSec")[0].removesuffix("s")) > 30 + 10
    site.said()
    assert site.gateway.stop() == 0, site.gateway.log[-3000:]
    assert "STOPPING=1" in site.said().splitlines()


def test_what_systemd_does_not_try_again_is_the_exit_code_of_a_wrong_configuration(tmp_path: Path):
    path = tmp_path / "gateway.yaml"
    path.write_text("listen: nowhere\n")
    done = PackedGateway(path, "").say("run")
    assert [str(done.returncode)] == settings("RestartPreventExitStatus")
