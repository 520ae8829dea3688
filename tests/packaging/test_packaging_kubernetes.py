"""The manifests without a cluster: valid by Kubernetes' own schemas, and true to each other, to the image and to the alerts."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from kubernetes_schemas import validate
from live.running_gateway import environment
from packed import COMPOSE, KUBERNETES, PAGE, ROOT, adapted, made_secrets

from docker.kubernetes import rules
from gateway.config.load import load

FILES = sorted(path for path in KUBERNETES.rglob("*.yaml") if path.parent.name != "prometheus-operator")
MOUNTED = "/run/secrets/gateway"


def objects(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


EVERY = [found for path in sorted(KUBERNETES.rglob("*.yaml")) for found in objects(path)]


def one(kind: str, name: str = "gateway") -> dict[str, Any]:
    (found,) = [found for found in EVERY if (found["kind"], found["metadata"]["name"]) == (kind, name)]
    return found


DEPLOYMENT = one("Deployment")["spec"]
POD = DEPLOYMENT["template"]["spec"]
LABELS = DEPLOYMENT["template"]["metadata"]["labels"]
CONTAINER = POD["containers"][0]
JOB = one("Job", "gateway-store-init")["spec"]["template"]["spec"]
PORTS = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
CONFIGURATION = yaml.safe_load(one("ConfigMap")["data"]["gateway.yaml"])


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def selects(selector: dict[str, str], labels: dict[str, str] = LABELS) -> bool:
    return selector.items() <= labels.items()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_kubernetes_would_take_it_and_knows_every_key(path: Path):
    for found in objects(path):
        validate(found)


def test_a_key_that_does_not_exist_would_be_noticed():
    wrong = one("Deployment") | {"spec": DEPLOYMENT | {"replica": 2}}
    with pytest.raises(jsonschema.ValidationError):
        validate(wrong)


def test_every_selector_finds_the_gateways_pods():
    assert selects(DEPLOYMENT["selector"]["matchLabels"])
    assert all(selects(spread["labelSelector"]["matchLabels"]) for spread in POD["topologySpreadConstraints"])
    assert all(selects(one("Service", name)["spec"]["selector"]) for name in ("gateway", "gateway-admin"))
    assert selects(one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"])
    assert selects(one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"])


def test_no_service_sends_requests_to_the_job_that_declares_the_store():
    job = one("Job", "gateway-store-init")["metadata"]["labels"]
    assert not any(selects(found["spec"]["selector"], job) for found in EVERY if found["kind"] == "Service")


def test_ports_are_those_of_the_configuration():
    assert {"http": port_of(CONFIGURATION["listen"]), "admin": port_of(CONFIGURATION["admin"]["listen"])} == PORTS
    targets = {port["targetPort"] for found in EVERY if found["kind"] == "Service" for port in found["spec"]["ports"]}
    allowed = {port["port"] for rule in one("NetworkPolicy")["spec"]["ingress"] for port in rule["ports"]}
    assert targets == allowed == set(PORTS)


def test_what_the_gateway_reaches_is_what_it_may_reach():
    allowed = {port["port"] for rule in one("NetworkPolicy")["spec"]["egress"] for port in rule["ports"]}
    wanted = {port_of(CONFIGURATION["upstreams"]["shop"]["url"]), port_of(CONFIGURATION["store"]["url"].removesuffix("/0"))}
    assert allowed == wanted | {53, 443}  # names, and the identity provider's keys


def test_nobody_but_the_gateway_reaches_the_application():
    (rule,) = one("NetworkPolicy", "shop-behind-gateway")["spec"]["ingress"]
    assert [source["podSelector"]["matchLabels"] for source in rule["from"]] == [LABELS]
    assert rule["ports"] == [{"protocol": "TCP", "port": port_of(CONFIGURATION["upstreams"]["shop"]["url"])}]


def test_probes_ask_the_admin_port_whether_it_lives_and_is_ready():
    asked = {name: CONTAINER[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {name: get["path"] for name, get in asked.items()} == {
        "startup": "/livez",
        "liveness": "/livez",
        "readiness": "/readyz",
    }
    assert {get["port"] for get in asked.values()} == {"admin"}


@pytest.mark.parametrize("pod", [POD, JOB], ids=["deployment", "store-init"])
def test_what_is_mounted_is_there(pod: dict[str, Any]):
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert set(volumes) == set(mounts)
    assert volumes["configuration"]["configMap"]["name"] == one("ConfigMap")["metadata"]["name"]
    assert volumes["secrets"]["secret"]["secretName"] == one("Secret")["metadata"]["name"]
    assert (mounts["configuration"], mounts["secrets"]) == ("/etc/gateway", MOUNTED)


@pytest.mark.parametrize("pod", [POD, JOB], ids=["deployment", "store-init"])
def test_a_pod_may_do_nothing_special(pod: dict[str, Any]):
    assert pod["automountServiceAccountToken"] is pod["enableServiceLinks"] is False
    assert pod["securityContext"].items() >= {"runAsNonRoot": True, "runAsUser": 65532}.items()
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_secret_that_the_page_makes_has_what_the_configuration_reads():
    named = set(one("Secret")["stringData"])
    assert {f"{MOUNTED}/{name}" for name in named} == set(_paths(one("ConfigMap")["data"]["gateway.yaml"]))
    assert all(f"--from-file=docker/secrets/{name}" in PAGE.read_text() for name in named)
    assert named <= set(COMPOSE["secrets"])  # docker/secrets.sh makes them


def test_the_configuration_is_a_good_one(tmp_path: Path):
    config = checked(tmp_path)
    assert POD["terminationGracePeriodSeconds"] > config.timeouts.drain + 5 + 5  # the pause before SIGTERM, the farewell


def checked(folder: Path) -> Any:
    """The ConfigMap's configuration after `gateway check`, with the secrets where they are here."""
    path = folder / "gateway.yaml"
    places = {MOUNTED: str(made_secrets(folder)), "/var/lib/gateway": str(folder)}
    path.write_text(adapted(one("ConfigMap")["data"]["gateway.yaml"], **places))
    command = [sys.executable, "-m", "gateway", "check", "--json", "-c", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    told = json.loads(done.stdout)
    assert (done.returncode, told["problems"]) == (0, [])
    return load(str(path), environment()).config


def test_the_rules_for_prometheus_operator_are_those_of_the_alerts():
    assert rules.TARGET.read_text() == rules.written(), "make rules"


def test_prometheus_operator_finds_the_admin_service_and_its_metrics():
    monitor = one("ServiceMonitor")
    assert monitor["apiVersion"] == one("PrometheusRule")["apiVersion"] == "monitoring.coreos.com/v1"
    admin = one("Service", "gateway-admin")
    assert selects(monitor["spec"]["selector"]["matchLabels"], admin["metadata"]["labels"])
    assert not selects(monitor["spec"]["selector"]["matchLabels"], one("Service")["metadata"]["labels"])
    (endpoint,) = monitor["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["path"]) == (admin["spec"]["ports"][0]["name"], "/metrics")
    assert admin["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "gateway"  # job="gateway"
    assert set(endpoint) <= {"port", "path", "interval", "scrapeTimeout"}


def test_what_is_applied_once_is_not_among_what_is_applied_again():
    assert "kubectl apply -f docker/kubernetes/\n" in PAGE.read_text()
    again = {found["kind"] for path in KUBERNETES.glob("*.yaml") for found in objects(path)}
    assert again == {"ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service"}
    assert (ROOT / "docker/kubernetes/once/store-init.yaml").exists()


def _paths(text: str) -> list[str]:
    """The files of secrets that a configuration names outside its comments."""
    words = " ".join(line.partition("# ")[0] for line in text.splitlines()).replace("}", " ").replace(":", " ").split()
    return [word for word in words if word.startswith(MOUNTED)]
