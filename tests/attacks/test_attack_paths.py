"""Paths (U): what is matched is what is forwarded, and no backend that reads a path in a usual way reads another one."""

import itertools
import re
from urllib.parse import unquote_to_bytes

import pytest
from attack_families import get
from backends import RecordingBackend
from data_plane import ROUTES, DataPlane, provider

from gateway.config.schema import RouteConfig
from gateway.errors import BadRequest
from gateway.routes.compile import compile_routes
from gateway.wire.path import split_target

pytestmark = pytest.mark.asyncio(loop_scope="module")


def ask(target: bytes, *, groups: list[str] | None = None, method: bytes = b"GET") -> bytes:
    bearer = provider().token(sub="alice", groups=groups or [])
    return get(b"Authorization: Bearer " + bearer.encode(), target=target, method=method)


# What is sent, and what the application sees.
FORWARDED = {
    "U01": {
        b"/a/..b": b"/a/..b",
        b"/a/b..": b"/a/b..",
        b"/...": b"/...",
        b"/.well-known/x": b"/.well-known/x",
        b"/a/.b": b"/a/.b",
    },
    "U02": {b"/%61dmins": b"/admins", b"/%7Euser/%2D%5f": b"/~user/-_", b"/a%20b%3f": b"/a%20b%3F", b"/x%c3%a9": b"/x%C3%A9"},
    "U03": {
        b"/x;a=1": b"/x;a=1",
        b"/x;a=1/y;b": b"/x;a=1/y;b",
        b"/x;": b"/x;",
        b"/x;a=../y": b"/x;a=../y",
        b"/x%3ba": b"/x%3Ba",
        b"/x..%3ba": b"/x..%3Ba",
    },
    "U04": {b"//x": b"/x", b"///": b"/", b"/x//y": b"/x/y", b"/x///y//": b"/x/y/", b"/x/": b"/x/"},
    "U05": {b"/%252e%252e/x": b"/%252e%252e/x", b"/%25%32%65": b"/%252e", b"/%ef%bc%8e%ef%bc%8e/x": b"/%EF%BC%8E%EF%BC%8E/x"},
    "U07": {b"/x%23/y": b"/x%23/y"},
    "U08": {
        b"/x?y=/public": b"/x?y=/public",
        b"/x?../admin": b"/x?../admin",
        b"/x?a=%zz&b=%00%2f": b"/x?a=%zz&b=%00%2f",
        b"/x??": b"/x??",
        b"/?": b"/?",
    },
    "U09": {b"/X": b"/X", b"/%C4%B1": b"/%C4%B1", b"/ADMIN/x": b"/ADMIN/x", b"/%EF%BC%A1dmin/": b"/%EF%BC%A1dmin/"},
    "U12": {b"/adminx": b"/adminx", b"/admin.": b"/admin.", b"/admin%20": b"/admin%20", b"/publics": b"/publics"},
    "U14": {
        b"//evil.example/x": b"/evil.example/x",
        b"/http://evil.example/": b"/http:/evil.example/",
        b"/@evil.example": b"/@evil.example",
    },
}


@pytest.mark.parametrize("case", FORWARDED)
async def test_what_is_forwarded_is_the_canonical_path(case: str, gateway: DataPlane, backend: RecordingBackend) -> None:
    backend.requests.clear()
    replies = [await gateway.ask(ask(target)) for target in FORWARDED[case]]
    assert [reply.status for reply in replies] == [200] * len(replies), list(zip(FORWARDED[case], replies, strict=True))
    assert [request.target for request in backend.requests] == list(FORWARDED[case].values())
    assert {request.values("host")[0] for request in backend.requests} == {b"shop.example"}


ADMIN_IN_ANOTHER_SPELLING = [
    b"/admin", b"/admin/", b"//admin", b"/admin//x", b"/%61dmin", b"/%61%64%6d%69%6e/", b"/admi%6e", b"/admin?x=/public",
    b"/admin/?", b"//admin//",
    b"/admin%3bx", b"/admin%3b/x", b"/admin/;x", b"/admin;x", b"/admin;x/", b"/admin;/", b"/admin/x;y", b"/admin/%3bx",
]  # fmt: skip


async def test_U04_U08_U12_every_spelling_of_a_guarded_path_is_guarded(gateway: DataPlane, backend: RecordingBackend) -> None:
    backend.requests.clear()
    replies = {target: (await gateway.ask(ask(target))).status for target in ADMIN_IN_ANOTHER_SPELLING}
    assert set(replies.values()) <= {400, 403}, replies
    assert backend.requests == []
    assert (await gateway.ask(ask(b"/admin/x", groups=["staff"]))).status == 200


# U17: variations of a guarded path as bypass tools make them, generated here: each of these in front of, within and behind it.
DECORATIONS = [
    b".", b"..", b"...", b";", b"..;", b";/", b".;/", b"%2e", b"%2e%2e", b"%2f", b"%5c", b"\\", b"%00", b"%09", b"%20",
    b"%0a", b"%0d%0a", b"#", b"%23", b"?", b"??",
    b"//", b"/./", b"/../", b"/..;/", b"/;/", b"/.//./", b"~", b"*", b"@", b"!", b"&", b"=", b"%", b"%ff", b"%c0%ae",
    b"%252e", b"%252f", b"%ef%bc%8f", b".json", b".css",
    b".html", b";.css", b"%3b", b"%3f", b"|", b"^", b"`", b"'", b'"', b"<", b">", b"{", b"}", b"[", b"]", b"(", b")", b"+",
    b",", b":", b"$", b"-", b"_", b"0", b"a", b"\xa0", b"\x85",
]  # fmt: skip


def decorated(path: bytes) -> list[bytes]:
    name = path.strip(b"/")
    found = [b"/" + name.upper(), b"/" + name.capitalize() + b"/"]
    for mark in DECORATIONS:
        found += [
            b"/" + mark + name,
            b"/" + name + mark,
            b"/" + name + b"/" + mark,
            b"/" + mark + b"/" + name,
            b"/" + name[:2] + mark + name[2:],
        ]
        found += [
            b"/" + name + mark + b"/",
            b"/public/" + mark + b"/" + name,
            b"/public" + mark + b"/" + name,
            b"/" + name + b"/" + mark + b"/x",
        ]
    return list(dict.fromkeys(found))


def readings(target: bytes) -> set[bytes]:
    """The paths that applications may read a forwarded target as: decoded once, with and without parameters, either slash."""
    path = target.partition(b"?")[0]
    found = set()
    for text in (path, re.sub(rb";[^/]*", b"", path)):
        decoded = unquote_to_bytes(text)
        for form in (decoded, decoded.replace(b"\\", b"/"), re.sub(rb";[^/]*", b"", decoded), decoded.partition(b"\x00")[0]):
            found.add(resolved(form))
    return found


def resolved(path: bytes) -> bytes:
    parts: list[bytes] = []
    for part in path.split(b"/")[1:]:
        if part == b".." and parts:
            parts.pop()
        elif part not in (b"", b".", b".."):
            parts.append(part)
    return b"/" + b"/".join(parts) + (b"/" if path.endswith(b"/") and parts else b"")


async def test_U17_no_decoration_of_a_guarded_path_reaches_it(gateway: DataPlane, backend: RecordingBackend) -> None:
    """With a token that lacks the group: whatever is let through is not that path, however it is read."""
    backend.requests.clear()
    targets = decorated(b"/admin")
    statuses = {(await gateway.ask(ask(target))).status for target in targets}
    assert statuses <= {200, 400, 403}
    reached = [
        request.target
        for request in backend.requests
        for path in readings(request.target)
        if path.startswith(b"/admin/") or path == b"/admin"
    ]
    assert reached == []
    assert len(targets) > 400


async def test_U17_no_decoration_passes_without_a_token(gateway: DataPlane, backend: RecordingBackend) -> None:
    backend.requests.clear()
    for target in decorated(b"/secret"):
        await gateway.ask(get(target=target))
    read = {request.target: readings(request.target) for request in backend.requests}
    assert [
        target for target, paths in read.items() for path in paths if path != b"/public" and not path.startswith(b"/public/")
    ] == []


def name_of_route(path: bytes) -> str | None:
    """The route of a POST to `path`, by the rule that operators are told: a prefix ends in a slash, which may be missing."""
    for route in ROUTES:
        pattern = str(route["path"]).encode()
        if path in (pattern, pattern.removesuffix(b"/")) or (pattern.endswith(b"/") and path.startswith(pattern)):
            return str(route["name"])
    return None


async def test_U01_U02_U03_U04_all_readings_of_a_path_lead_to_the_same_route() -> None:
    """Every path of three parts out of these: refused, or on one route in every reading."""
    routes = compile_routes([RouteConfig.model_validate(route) for route in ROUTES])
    parts = [
        b"public",
        b"admin",
        b"optional",
        b"..",
        b".",
        b"",
        b";x",
        b"..;x",
        b"admin;x",
        b"%2e%2e",
        b"%2e",
        b"%2fadmin",
        b"..%2f",
        b"%5cadmin",
        b"\\admin",
        b"pay",
        b"%3bx",
        b"a%2e",
        b"x",
        b"x;y",
        b"x%3by",
    ]
    wrong, accepted = [], 0
    for count in (1, 2, 3):
        for chosen in itertools.product(parts, repeat=count):
            target = b"/" + b"/".join(chosen)
            try:
                path, _ = split_target(target)
                route = routes.match(b"POST", path)
            except BadRequest:
                continue
            accepted += 1
            for reading in readings(path):
                if route is not None and name_of_route(reading) != route.name:
                    wrong.append((target, path, reading))
    assert wrong == []
    assert accepted > 500


RESERVED = [
    b"/auth",
    b"/auth/",
    b"/auth/login",
    b"/%61uth/login",
    b"//auth/login",
    b"/auth//login",
    b"/auth/x;y",
    b"/.well-known/jwks.json",
    b"/.well-known/%6awks.json",
]
RESERVED_REFUSED = [
    b"/auth;x/login",
    b"/auth;/",
    b"/auth/../auth/login",
    b"/auth/%2e%2e/x",
    b"/auth%2flogin",
    b"/.well-known/jwks.json;x",
    b"/x/../auth/login",
    b"/auth/..;/x",
]


async def test_U18_no_application_can_answer_for_the_gateway(gateway: DataPlane, backend: RecordingBackend) -> None:
    backend.requests.clear()
    for target in RESERVED:
        reply = await gateway.ask(ask(target))
        assert reply.reason == "no-route" or reply.body == b'{"keys": []}', target
    for target in RESERVED_REFUSED:
        assert (await gateway.ask(ask(target))).reason in ("bad-request", "no-route"), target
    assert backend.requests == []


async def test_U08_rules_match_the_path_only(gateway: DataPlane, backend: RecordingBackend) -> None:
    backend.requests.clear()
    for target in (b"/x?/public/", b"/?/public/x", b"/x?a=/public/&b=/optional/", b"/admin?/../public/"):
        assert (await gateway.ask(get(target=target))).status == 401
    assert backend.requests == []


async def test_U09_methods_and_paths_are_case_sensitive(gateway: DataPlane, backend: RecordingBackend) -> None:
    assert (await gateway.ask(get(target=b"/PUBLIC/x"))).status == 401
    assert (await gateway.ask(get(target=b"/Public/x"))).status == 401
