"""Build the gateway's image with what is there, and try it out: `make image`.

    docker, podman     build; run read-only, without capabilities
    buildah            build without an engine (chroot isolation, as root); run its root filesystem, mounted read-only, under
                       namespaces of its own. For machines that may not run containers.

    --base IMAGE       another base than the Dockerfile's
    --base debian      no registry: a Debian 13 made by debootstrap (as root), with its Python 3.13
    --engine NAME      one of the three; by default the first that works

Whichever it is, the same is asked of what runs: that it gets ready by its own health check, serves, runs as 65532 in every
process, cannot write to its root, leaves no zombies, and ends with 0 on SIGTERM. Needs nothing but Python. It removes what it
made, except the image and the Debian.
"""

# ruff: noqa: S603, S607 - the commands are typed here, and found where the operator has them
import argparse
import http.client
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

HERE: Final = Path(__file__).resolve().parent
IMAGE: Final = "localhost/token-gateway:0.1.0"
DEBIAN: Final = "localhost/debian-python:13"
USER: Final = 65532
WITHIN_S: Final = 60.0
CONFIGURATION: Final = """\
listen: 0.0.0.0:{port}
workers: 2
admin: {{listen: "127.0.0.1:{admin}", token: "{token}"}}
store: {{url: embedded, directory: /var/lib/gateway/store}}
accounts: {{database: "sqlite+aiosqlite:////var/lib/gateway/accounts.db"}}
upstreams: {{app: {{url: "http://127.0.0.1:8000"}}}}
routes: [{{name: app, path: /, upstream: app}}]
"""
ENVIRONMENT: Final = (
    *("env", "--ignore-environment", "--chdir=/var/lib/gateway"),
    *("PATH=/opt/gateway/bin:/usr/bin:/bin", "GATEWAY_CONFIG=/etc/gateway/gateway.yaml"),
)
PROCESSES: Final = """
import pathlib
for status in sorted(pathlib.Path("/proc").glob("[0-9]*/status"), key=lambda path: int(path.parts[2])):
    line = dict(row.split(":", 1) for row in status.read_text().splitlines())
    print(line["Pid"].strip(), line["Uid"].split()[0], line["State"].split()[0], line["Name"].strip())
"""
T = TypeVar("T")
WRITE: Final = "import pathlib; pathlib.Path('/opt/gateway/planted').write_text('x')"


def main() -> None:
    arguments = argparse.ArgumentParser(description="Build the gateway's image and try it out.")
    arguments.add_argument("--engine", choices=("docker", "podman", "buildah"))
    arguments.add_argument("--base", default="", help="an image, or debian")
    arguments.add_argument("--build-arg", action="append", default=[], help="NAME=VALUE for the Dockerfile")
    given = arguments.parse_args()
    engine = given.engine or next((name for name in ("docker", "podman", "buildah") if works(name)), "")
    if not engine:
        sys.exit("neither docker nor podman nor buildah (Debian: buildah) works here")
    build(engine, given.base, given.build_arg)
    with tempfile.TemporaryDirectory(prefix="gateway-image-") as folder:
        os.chmod(folder, 0o755)  # noqa: S103 - the gateway's user reads its configuration in it
        running = Unshared(Path(folder)) if engine == "buildah" else Container(engine, Path(folder))
        try:
            judge(running)
        finally:
            running.remove()
    print(f"{IMAGE} is good: ready, serves, {USER} everywhere, read-only, no zombies, ended with 0 on SIGTERM")


def works(engine: str) -> bool:
    ask = [engine, "version"] if engine == "buildah" else [engine, "info"]
    return shutil.which(engine) is not None and subprocess.run(ask, capture_output=True, check=False).returncode == 0


def build(engine: str, base: str, arguments: Sequence[str]) -> None:
    command = [engine, "build", "--tag", IMAGE, "--file", str(HERE / "Dockerfile")]
    if engine != "docker":
        command += ["--format=docker", "--isolation=chroot"]  # OCI's own format has no HEALTHCHECK
        certificate = os.environ.get("PIP_CERT")
        if certificate:
            command += [f"--volume={certificate}:{certificate}:ro", f"--build-arg=PIP_CERT={certificate}"]
    if base == "debian":
        make_debian(engine)
        base = DEBIAN
    if base:
        command += [f"--build-arg=PYTHON={base}"]
    run([*command, *(f"--build-arg={argument}" for argument in arguments), str(HERE.parent)])


def make_debian(engine: str) -> None:
    """A base with Debian's own Python, made once."""
    if subprocess.run([engine, "images", "--quiet", DEBIAN], capture_output=True, check=False).stdout.strip():
        return
    if shutil.which("debootstrap") is None:
        sys.exit("debootstrap (Debian: debootstrap) is not installed")
    with tempfile.TemporaryDirectory(prefix="gateway-debian-") as folder:
        root = Path(folder, "root")
        run(["debootstrap", "--variant=minbase", "--include=python3,python3-venv,ca-certificates", "trixie", str(root)])
        packed = Path(folder, "root.tar")
        run(["tar", "--create", "--file", str(packed), "--directory", str(root), "."])
        if engine == "buildah":
            made = told(["buildah", "from", "scratch"])
            run(["buildah", "add", "--quiet", made, str(packed), "/"])
            run(["buildah", "commit", "--quiet", "--rm", made, DEBIAN])
        else:
            run([engine, "import", str(packed), DEBIAN])


class Container:
    """One container of an engine. `port` is where it is reached on loopback."""

    def __init__(self, engine: str, folder: Path) -> None:
        self._engine = engine
        write_configuration(folder, 8080, 9090)
        hardened = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs=/tmp"]
        state = "--mount=type=volume,target=/var/lib/gateway"
        settings = ["--volume", f"{folder}/gateway.yaml:/etc/gateway/gateway.yaml:ro", "--publish=127.0.0.1::8080"]
        self._id = told([engine, "run", "--detach", *hardened, state, *settings, IMAGE])
        self.port = int(told([engine, "port", self._id, "8080/tcp"]).splitlines()[0].rpartition(":")[2])

    def inside(self, *command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([self._engine, "exec", self._id, *command], capture_output=True, text=True, check=False)

    def stop(self) -> int:
        run([self._engine, "stop", "-t", "45", self._id])
        return int(told([self._engine, "inspect", "--format={{.State.ExitCode}}", self._id]))

    def remove(self) -> None:
        subprocess.run([self._engine, "rm", "--force", "--volumes", self._id], capture_output=True, check=False)


class Unshared:
    """The image's root filesystem, read-only, with the gateway as process 1 of a namespace; the network is the machine's."""

    def __init__(self, folder: Path) -> None:
        self.port, admin = free_ports(2)
        write_configuration(folder, self.port, admin)
        self._made = told(["buildah", "from", "--pull-never", IMAGE])
        root = told(["buildah", "mount", self._made])
        Path(root, "etc/gateway").mkdir(exist_ok=True)
        shutil.copy(folder / "gateway.yaml", Path(root, "etc/gateway/gateway.yaml"))
        mounts = [
            f"mount --bind {root} {root}",
            f"mount -o remount,bind,ro {root}",
            f"mount -t proc proc {root}/proc",
            f"mount --rbind /dev {root}/dev",
            f"mount -t tmpfs -o mode=1777 tmpfs {root}/tmp",  # noqa: S108 - the container's own
            f"mount -t tmpfs -o mode=0700,uid={USER},gid={USER} tmpfs {root}/var/lib/gateway",
            f"exec setpriv --no-new-privs chroot --userspec={USER}:{USER} {root} {' '.join(ENVIRONMENT)} gateway run",
        ]
        self._outside = subprocess.Popen(["unshare", "--mount", "--pid", "--fork", "sh", "-ec", "\n".join(mounts)])
        self._pid = until(self._child, "the namespace was not made")

    def inside(self, *command: str) -> "subprocess.CompletedProcess[str]":
        enter = ["nsenter", f"--target={self._pid}", "--mount", "--pid", "--root", f"--setuid={USER}", f"--setgid={USER}"]
        return subprocess.run([*enter, *ENVIRONMENT, *command], capture_output=True, text=True, check=False)

    def stop(self) -> int:
        os.kill(self._pid, signal.SIGTERM)
        return self._outside.wait(WITHIN_S)

    def remove(self) -> None:
        if self._outside.poll() is None:
            os.kill(self._pid, signal.SIGKILL)
            self._outside.wait()
        run(["buildah", "rm", self._made])

    def _child(self) -> int:
        """The process that `unshare` forked: 1 in its namespace, and the gateway as soon as everything is mounted."""
        assert self._outside.poll() is None, "the root filesystem cannot be mounted; is this root?"
        children = Path(f"/proc/{self._outside.pid}/task/{self._outside.pid}/children").read_text().split()
        return int(children[0]) if children else 0


def judge(running: "Container | Unshared") -> None:
    """Everything that is promised of the image."""
    until(lambda: running.inside("gateway", "healthcheck").returncode == 0, "it did not get ready")
    for path, expected in {"/auth/login": "200", "/": "401 no-token", "/auth/me": "401 no-token"}.items():
        assert (told_status := status(running.port, path)) == expected, f"{path}: {told_status}"
    before = processes(running)
    assert before[0][::3] == ["1", "gateway"], "the gateway is not process 1"
    assert {row[1] for row in before} == {str(USER)}, "somebody is not 65532"
    worker = next(row[0] for row in before[1:] if row[3] == "python")
    running.inside("python", "-c", f"import os, signal; os.kill({worker}, signal.SIGKILL)")
    until(lambda: running.inside("gateway", "status").stdout.count(" live ") == 2, "the killed worker was not replaced")
    after = processes(running)
    assert worker not in {row[0] for row in after} and "Z" not in {row[2] for row in after}, f"a zombie: {after}"
    assert "Read-only file system" in running.inside("python", "-c", WRITE).stderr, "the root filesystem can be written to"
    assert (code := running.stop()) == 0, f"it ended with {code}"


def processes(running: "Container | Unshared") -> list[list[str]]:
    """Id, user, state and name of each, process 1 first; the one that asks is among them."""
    return [row.split(" ", 3) for row in running.inside("python", "-c", PROCESSES).stdout.splitlines()]


def status(port: int, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return f"{answer.status} {answer.getheader('X-Gateway-Reason') or ''}".strip()
    finally:
        connection.close()


def write_configuration(folder: Path, port: int, admin: int) -> None:
    path = folder / "gateway.yaml"
    path.write_text(CONFIGURATION.format(port=port, admin=admin, token=secrets.token_hex(32)))
    path.chmod(0o644)  # for this once: the folder is gone in a minute


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(listener.getsockname()[1]) for listener in held]
    for listener in held:
        listener.close()
    return ports


def until(ask: Callable[[], T], otherwise: str) -> T:
    """The first true answer."""
    deadline = time.monotonic() + WITHIN_S
    while not (answer := ask()):
        if time.monotonic() > deadline:
            sys.exit(otherwise)
        time.sleep(0.1)
    return answer


def run(command: Sequence[str]) -> None:
    print("+", *command, flush=True)
    subprocess.run(command, check=True)


def told(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


if __name__ == "__main__":
    main()
