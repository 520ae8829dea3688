"""Which route a request takes: the first that matches, by one reading of its path."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.routes.match import RouteTable
from gateway.routes.route import Access, Route
from gateway.wire.path import split_target


def table(*paths: str, **methods: frozenset[bytes]) -> RouteTable:
    """Routes named after their paths, in this order; `methods` are by a path's first letter."""
    return RouteTable([Route(path, path.encode(), "app", Access.REQUIRED, methods.get(path[1:2])) for path in paths])


def found(routes: RouteTable, path: str, method: str = "GET") -> str | None:
    route = routes.match(method.encode(), path.encode())
    return None if route is None else route.name


def test_the_first_match_wins() -> None:
    assert found(table("/a/", "/a/b", "/"), "/a/b") == "/a/"
    assert found(table("/a/b", "/a/", "/"), "/a/b") == "/a/b"
    assert found(table("/", "/a/"), "/a/b") == "/"


@pytest.mark.parametrize(
    ("route", "path", "is_match"),
    [
        ("/a/", "/a/", True),
        ("/a/", "/a", True),
        ("/a/", "/a/b/c", True),
        ("/a/", "/ab", False),
        ("/a/", "/A/", False),
        ("/a/", "/", False),
        ("/a", "/a", True),
        ("/a", "/a/", False),
        ("/a", "/a/b", False),
        ("/a", "/ab", False),
        ("/", "/", True),
        ("/", "/anything/at/all", True),
    ],
)
def test_a_path_that_ends_in_a_slash_is_a_prefix_and_any_other_is_exact(route: str, path: str, is_match: bool) -> None:
    assert found(table(route), path) == (route if is_match else None)


def test_no_match_is_no_route() -> None:
    assert found(table("/a/", "/b"), "/c") is None
    assert found(RouteTable([]), "/") is None


def test_a_route_for_some_methods_leaves_the_others_to_the_next() -> None:
    routes = table("/pay", "/", p=frozenset((b"POST",)))
    assert found(routes, "/pay", "POST") == "/pay"
    assert found(routes, "/pay", "GET") == "/"
    assert found(routes, "/pay", "HEAD") == "/"


@pytest.mark.parametrize("path", ["/auth", "/auth/", "/auth/login", "/auth/x/y", "/.well-known/jwks.json"])
def test_the_gateways_own_paths_are_never_an_applications(path: str) -> None:
    assert found(table("/", path), path) is None


@pytest.mark.parametrize("path", ["/authors", "/auth2/x", "/Auth/login", "/.well-known/other", "/x/auth/login"])
def test_paths_beside_the_gateways_own_are_free(path: str) -> None:
    assert found(table("/"), path) == "/"


def test_U03_a_path_whose_two_readings_lead_to_one_route_is_matched() -> None:
    routes = table("/a/", "/")
    assert found(routes, "/a/b;x=1/c") == "/a/"
    assert found(routes, "/c;x=1") == "/"


@pytest.mark.parametrize(
    "path", ["/admin;x=1/users", "/admin;/users", "/admin;x", "/public;/../admin", "/auth;x/login", "/a;x", "/admin%3Bx/users"]
)
def test_U03_a_path_whose_two_readings_disagree_is_refused(path: str) -> None:
    with pytest.raises(BadRequest):
        table("/admin/", "/a", "/public/", "/").match(b"GET", path.encode())


pieces = st.sampled_from(["/", "/", "admin", "public", ";", ";x=1", "a", "%3b", "auth", "."])


@given(st.lists(pieces, max_size=8).map(lambda pieces: "/" + "".join(pieces)))
def test_U03_whoever_drops_parameters_serves_the_same_route(target: str) -> None:
    routes = table("/admin/", "/public/", "/a", "/")
    try:
        path, _ = split_target(target.encode())
        route = routes.match(b"GET", path)
    except BadRequest:
        assume(False)
        return
    bare = b"/".join(segment.partition(b";")[0] for segment in path.split(b"/"))
    assert routes.match(b"GET", split_target(bare)[0]) is route
