"""The block `tracing`: where spans go, with which credential, and how many."""

import sys
from pathlib import Path

import pytest
from configuring import MINIMAL, loaded, problems, warnings

from gateway.config.schema import Tracing

HERE = "http://127.0.0.1:4318"


def tracing(**keys: object) -> str:
    return MINIMAL + "tracing:\n" + "".join(f"  {key}: {value}\n" for key, value in keys.items())


def block(folder: Path, text: str, **environ: str) -> Tracing:
    found = loaded(folder, text, **environ).config.tracing
    assert found is not None
    return found


def test_nothing_is_traced_unless_it_is_written(tmp_path: Path) -> None:
    assert loaded(tmp_path, MINIMAL).config.tracing is None


def test_an_endpoint_is_enough(tmp_path: Path) -> None:
    found = block(tmp_path, tracing(endpoint=HERE))
    assert (found.endpoint, found.headers, found.sample_ratio, found.service_name) == (f"{HERE}/v1/traces", (), 0.1, "gateway")
    assert found.continue_from == "anyone"
    assert warnings(tmp_path, tracing(endpoint=HERE)) == []


def test_a_ratio_alone_only_decides_what_applications_record(tmp_path: Path) -> None:
    assert block(tmp_path, tracing(sample_ratio=1)).endpoint is None
    assert warnings(tmp_path, tracing(sample_ratio=1)) == []


@pytest.mark.parametrize(
    ("written", "sent_to"),
    [
        (HERE, f"{HERE}/v1/traces"),
        (f"{HERE}/", f"{HERE}/v1/traces"),
        ("https://otlp.example/otlp/v1/traces", "https://otlp.example/otlp/v1/traces"),
        ("https://otlp.example:4318/otlp/", "https://otlp.example:4318/otlp/"),
    ],
)
def test_the_address_of_a_collector_means_its_usual_path(tmp_path: Path, written: str, sent_to: str) -> None:
    assert block(tmp_path, tracing(endpoint=written)).endpoint == sent_to


def test_headers_are_a_secret_and_come_from_files_too(tmp_path: Path) -> None:
    (tmp_path / "headers").write_text("Authorization: Bearer of-a-file\nX-Scope-OrgID: shop\n")
    config = loaded(tmp_path, tracing(endpoint=HERE, headers_file="headers")).config
    assert config.tracing is not None
    assert config.tracing.headers == ("Authorization: Bearer of-a-file", "X-Scope-OrgID: shop")
    assert "of-a-file" not in repr(config)
    found = block(tmp_path, tracing(endpoint=HERE, headers='["X-Key:  ${KEY}"]'), KEY="of the environment")
    assert found.headers == ("X-Key: of the environment",)


def test_a_ratio_comes_from_the_environment_too(tmp_path: Path) -> None:
    assert block(tmp_path, MINIMAL, GATEWAY_TRACING__SAMPLE_RATIO="0.25").sample_ratio == 0.25


@pytest.mark.parametrize(
    ("keys", "where", "what"),
    [
        ({"endpoint": "127.0.0.1:4318"}, "endpoint", "must be a URL that begins with http:// or https://"),
        ({"endpoint": "grpc://127.0.0.1:4317"}, "endpoint", "must be a URL that begins with"),
        ({"endpoint": "https://user:word@otlp.example"}, "endpoint", "must not carry a user or password"),
        ({"endpoint": "'https://otlp.example/?key=1'"}, "endpoint", "must end after the path"),
        ({"headers": "'X-Key: 1'"}, "headers", "list"),
        ({"headers": "[hunter2]"}, "headers.0", "must be a header as it is sent"),
        ({"headers": "['X Key: 1']"}, "headers.0", "must be a header as it is sent"),
        ({"headers": "['X-Key: é']"}, "headers.0", "must be a header as it is sent"),
        ({"headers": '["X-Key: 1\\r\\nX-Other: 2"]'}, "headers.0", "must be a header as it is sent"),
        ({"headers": "['Content-Type: text/plain']"}, "headers.0", "belongs to the message itself"),
        ({"headers": "['X-Key: 1', 'x-key: 2']"}, "headers", "has x-key twice"),
        ({"sample_ratio": 2}, "sample_ratio", "must be from 0 (none) to 1 (all)"),
        ({"sample_ratio": -0.1}, "sample_ratio", "must be from 0"),
        ({"sample_ratio": "10%"}, "sample_ratio", "must be a number from 0 to 1"),
        ({"sample_ratio": "true"}, "sample_ratio", "must be a number from 0 to 1"),
        ({"sample_ratio": "'nan'"}, "sample_ratio", "must be a number from 0 to 1"),
        ({"timeout": "0s"}, "timeout", "must be at least 100ms"),
        ({"continue_from": "everybody"}, "continue_from", "anyone"),
        ({"ca": "nowhere.pem"}, "ca", "there is no file"),
        ({"sample_rate": 1}, "sample_rate", "sample_ratio"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, keys: dict[str, object], where: str, what: str) -> None:
    (found,) = problems(tmp_path, tracing(**{"endpoint": HERE, **keys}))
    assert f"tracing.{where}: " in found
    assert what in found
    assert "hunter2" not in found


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        ({"endpoint": "http://otlp.example"}, "is sent spans without TLS"),
        ({"endpoint": HERE, "sample_ratio": 0}, "nothing is ever recorded"),
        ({"endpoint": HERE, "ca": "ca.pem"}, "has no effect"),
        ({"headers": "['X-Key: 1']"}, "no endpoint: nothing is sent"),
        ({"ca": "ca.pem"}, "no endpoint: nothing is sent"),
    ],
)
def test_what_was_hardly_meant_is_warned_about(tmp_path: Path, keys: dict[str, object], what: str) -> None:
    (tmp_path / "ca.pem").touch()
    (found,) = warnings(tmp_path, tracing(**keys))
    assert what in found


def test_a_ratio_of_nothing_makes_sense_behind_a_proxy_that_decides(tmp_path: Path) -> None:
    assert warnings(tmp_path, tracing(endpoint=HERE, sample_ratio=0) + "trusted_proxies: [10.0.0.0/8]\n") == []


def test_an_endpoint_needs_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "opentelemetry"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent)])  # an interpreter without it
    (found,) = problems(tmp_path, tracing(endpoint=HERE))
    assert "tracing.endpoint: needs libraries that are not installed; install the gateway's extra otel" in found
    assert block(tmp_path, tracing(sample_ratio=1)).endpoint is None
