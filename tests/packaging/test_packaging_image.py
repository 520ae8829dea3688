"""What the image is made of, without making it: pinned, by hash, complete. `make image` makes it and tries it out."""

import re
import tomllib
from fnmatch import fnmatch

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from packed import COMPOSE, DOCKER, DOCKERFILE, KUBERNETES, ROOT

import gateway

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINNED = re.compile(r"^([a-z0-9-]+)(?:\[[a-z,]+\])?==(\S+) \\$", re.M)


def pins(name: str) -> dict[str, str]:
    return dict(PINNED.findall((DOCKER / name).read_text()))


def wanted() -> list[Requirement]:
    """What the image promises: the plain distribution and the extras that need nothing of the system."""
    extras = PROJECT["project"]["optional-dependencies"]
    texts = [*PROJECT["project"]["dependencies"], *(text for name in ("embedded", "postgres", "geoip") for text in extras[name])]
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize("requirement", wanted(), ids=str)
def test_what_the_project_asks_for_is_pinned_to_a_version_it_accepts(requirement: Requirement):
    assert Version(pins("requirements.txt")[requirement.name.lower()]) in requirement.specifier


def test_what_builds_the_wheel_is_pinned_too():
    for text in PROJECT["build-system"]["requires"]:
        assert Version(pins("requirements-build.txt")[Requirement(text).name]) in Requirement(text).specifier


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-build.txt"])
def test_nothing_gets_in_without_a_hash(name: str):
    entries = re.split(r"^(?=[a-z0-9])", (DOCKER / name).read_text(), flags=re.M)[1:]
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert len(entries) == len(pins(name)) > 0


def test_the_base_is_one_version_in_both_stages():
    base = re.search(r"^ARG PYTHON=(\S+)$", DOCKERFILE, re.M)
    assert base
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+\.\d+-slim-[a-z]+(@sha256:[0-9a-f]{64})?", base[1])
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.M) == ["${PYTHON}", "${PYTHON}"]


def test_it_runs_as_nobody_in_particular_and_says_how_it_is():
    assert re.search(r"^USER 65532:65532$", DOCKERFILE, re.M)
    assert re.search(r'^HEALTHCHECK .*CMD \["gateway", "healthcheck"\]$', DOCKERFILE, re.M)
    assert re.search(r"^STOPSIGNAL SIGTERM$", DOCKERFILE, re.M)
    assert '\nENTRYPOINT ["gateway"]\nCMD ["run"]\n' in DOCKERFILE


def test_every_place_names_the_version_of_the_package():
    version = gateway.__version__
    assert f'org.opencontainers.image.version="{version}"' in DOCKERFILE
    assert f"/token-gateway:{version}" in (DOCKER / "image.py").read_text()
    assert {service["image"] for service in COMPOSE["services"].values() if "build" in service} == {f"token-gateway:{version}"}
    images = {image for path in KUBERNETES.rglob("*.yaml") for image in re.findall(r"image: (\S+)", path.read_text())}
    assert images == {f"registry.example/token-gateway:{version}"}


def test_what_the_image_is_made_of_gets_into_its_context_and_nothing_else():
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = [word for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.M) for word in line.split()[:-1]]
    assert let_in == set(copied)
    assert all((ROOT / name).exists() for name in copied)
    assert any(fnmatch("gateway/__pycache__/cli.pyc", line) for line in lines[1:] if not line.startswith("!"))
