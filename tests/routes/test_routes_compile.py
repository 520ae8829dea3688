"""The configured routes as the decision sees them: every key arrives."""

from typing import Any

import pytest

from gateway.config.schema import RouteConfig
from gateway.routes.compile import compile_route, compile_routes
from gateway.routes.route import Access, OnOutage, Route


def configured(**changes: Any) -> RouteConfig:
    return RouteConfig.model_validate({"name": "app", "path": "/", "upstream": "backend"} | changes)


def test_a_route_that_says_nothing_is_required_denies_and_keeps_the_token() -> None:
    assert compile_route(configured()) == Route(
        name="app",
        path=b"/",
        upstream="backend",
        access=Access.REQUIRED,
        methods=None,
        groups=frozenset(),
        issuers=None,
        on_outage=OnOutage.DENY,
        is_once=False,
        forward_authorization=False,
        forward_token=None,
    )


@pytest.mark.parametrize(
    ("key", "value", "attribute", "compiled"),
    [
        ("path", "/a/", "path", b"/a/"),
        ("access", "public", "access", Access.PUBLIC),
        ("access", "optional", "access", Access.OPTIONAL),
        ("methods", ["GET", "POST"], "methods", frozenset((b"GET", b"POST"))),
        ("groups", ["staff", "boss"], "groups", frozenset(("staff", "boss"))),
        ("issuers", ["https://a", "https://b"], "issuers", frozenset(("https://a", "https://b"))),
        ("on_outage", "stale", "on_outage", OnOutage.STALE),
        ("on_outage", "allow", "on_outage", OnOutage.ALLOW),
        ("token_use", "once", "is_once", True),
        ("forward_authorization", True, "forward_authorization", True),
        ("forward_token", "authorization", "forward_token", "authorization"),
        ("forward_token", "x-access-token", "forward_token", "x-access-token"),
    ],
)
def test_each_key_of_a_route_arrives(key: str, value: object, attribute: str, compiled: object) -> None:
    assert getattr(compile_route(configured(**{key: value})), attribute) == compiled


def test_routes_keep_the_order_of_the_configuration() -> None:
    one, other = configured(name="one", path="/a/"), configured(name="other", path="/a/b")
    for configs in ([one, other], [other, one]):
        match = compile_routes(configs).match(b"GET", b"/a/b")
        assert match is not None
        assert match.name == configs[0].name
