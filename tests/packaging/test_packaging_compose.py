"""The compose file and what it mounts: pinned, closed, complete. Whether its parts work together: `test_packaging_stack.py`."""

import hashlib
import os
import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from live.running_gateway import environment
from packed import COMPOSE, CONFIGURATION, DOCKER, ROOT, adapted, made_secrets

from gateway.config.load import load

SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
HARDENED = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}


def networks(service: str) -> set[str]:
    return set(SERVICES[service]["networks"])


def mounted(service: dict[str, Any]) -> list[tuple[str, str]]:
    """Source and target of each volume."""
    return [(text.split(":")[0], text.split(":")[1]) for text in service.get("volumes", ())]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_write_to_nothing_and_do_nothing_special(name: str):
    assert HARDENED.items() <= SERVICES[name].items()
    assert "privileged" not in SERVICES[name]


def test_every_image_is_pinned_to_one_version():
    images = {service["image"] for service in SERVICES.values()}
    assert [image for image in images if not re.search(r":v?\d+\.\d+\.\d+$", image)] == []


def test_only_the_public_port_and_grafana_are_published_and_on_loopback():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"gateway": ["127.0.0.1:8080:8080"], "grafana": ["127.0.0.1:3000:3000"]}
    assert "network_mode" not in str(COMPOSE)


def test_nobody_shares_a_network_with_whom_he_has_no_business():
    assert networks("application") == {"inside"}
    assert networks("store") == networks("store-init") == {"storage"}
    assert networks("prometheus") == networks("alertmanager") == {"watch"}
    assert networks("gateway") & networks("grafana") == {"watch"}
    ways_out = {name for name, network in COMPOSE["networks"].items() if not network.get("internal")}
    assert ways_out == {"edge", "screen"}
    assert {name for name in SERVICES if networks(name) & ways_out} == {"gateway", "grafana"}


def test_the_admin_port_is_on_the_network_of_prometheus_alone():
    assert SERVICES["gateway"]["networks"]["watch"] == {"aliases": ["admin.gateway"]}
    assert yaml.safe_load(CONFIGURATION)["admin"]["listen"] == "admin.gateway:9090"
    scraped = yaml.safe_load((DOCKER / "prometheus.yml").read_text())["scrape_configs"]
    assert [job["static_configs"] for job in scraped] == [[{"targets": ["admin.gateway:9090"]}]]


def test_the_gateway_waits_for_a_store_that_was_declared():
    assert SERVICES["gateway"]["depends_on"]["store-init"] == {"condition": "service_completed_successfully"}
    assert SERVICES["store-init"]["depends_on"]["store"] == {"condition": "service_healthy"}


def test_it_may_drain_before_it_is_killed(secrets: Path):
    config = load(str(configuration(secrets)), environment()).config
    assert float(SERVICES["gateway"]["stop_grace_period"].removesuffix("s")) > config.timeouts.drain + 5


def test_every_file_that_is_mounted_is_there_and_every_volume_and_secret_declared(secrets: Path):
    for service in SERVICES.values():
        for source, _ in mounted(service):
            assert (DOCKER / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], source
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])
    files = {Path(secret["file"]) for secret in COMPOSE["secrets"].values()}
    assert {file.name for file in files} == {path.name for path in secrets.iterdir()}
    assert {str(file.parent) for file in files} == {"secrets"}


def test_grafana_finds_the_boards_where_its_provisioning_looks_for_them():
    provider = yaml.safe_load((ROOT / "grafana/provisioning/dashboards/gateway.yaml").read_text())["providers"][0]
    assert ("../grafana/dashboards", provider["options"]["path"]) in mounted(SERVICES["grafana"])
    source = yaml.safe_load((ROOT / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"][0]
    assert source["url"] == "http://prometheus:9090"


def test_the_configuration_is_a_good_one(secrets: Path):
    loaded = load(str(configuration(secrets)), environment())
    assert [warning for warning in loaded.warnings if "admin.listen" not in warning] == []
    assert loaded.config.admin.tokens == ((secrets / "admin_token").read_text(),)


def test_secrets_are_made_once_and_nobody_else_gets_to_them(secrets: Path):
    before = {path.name: path.read_bytes() for path in secrets.iterdir()}
    done = subprocess.run(["sh", str(secrets.parent / "secrets.sh")], capture_output=True, text=True, check=True)
    assert (done.stdout, {path.name: path.read_bytes() for path in secrets.iterdir()}) == ("", before)
    assert stat.S_IMODE(os.stat(secrets).st_mode) == 0o700
    assert {stat.S_IMODE(os.stat(path).st_mode) for path in secrets.iterdir()} == {0o444}
    assert len({before[name] for name in ("admin_token", "token_secret", "store_password", "grafana_password")}) == 4
    assert hashlib.sha256(before["store_password"]).hexdigest() in before["store_users"].decode()
    assert before["store_password"] not in before["store_users"]


def test_secrets_are_never_committed_or_put_into_an_image():
    assert "/docker/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    assert "!docker/secrets" not in (ROOT / ".dockerignore").read_text()


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_secrets(tmp_path_factory.mktemp("docker"))


def configuration(secrets: Path) -> Path:
    """The gateway's, with the secrets where they are here."""
    path = secrets.parent / "gateway.yaml"
    path.write_text(adapted(CONFIGURATION, **{"/run/secrets": str(secrets), "/var/lib/gateway": str(secrets.parent)}))
    return path
