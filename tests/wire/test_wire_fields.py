"""What each header name is to a proxy, in every spelling that a backend could take for it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.wire.fields import IDENTITY_PRESETS, Role, RoleMemory, classify, classify_answer, fold

IDENTITY_NAMES = sorted(name.lower() for names in IDENTITY_PRESETS.values() for name in names)
ALSO_TRUSTED = ["x-user-id", "x-user-email", "x-user-roles", "x-email", "x-roles", "x-session", "x-access-token"]
FRAMING = ["Host", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Expect", "Authorization", "Cookie"]

# Every character that RFC 9110 allows in a name and that is no letter or digit: a backend may fold any of them.
separators = st.text("!#$%&'*+-.^_`|~", min_size=1, max_size=3)
edges = st.text("!#$%&'*+-.^_`|~", max_size=2)


@st.composite
def aliases(draw: st.DrawFn, names: list[str]) -> bytes:
    """A spelling that CGI, WSGI or PHP could fold into one of `names`."""
    words = draw(st.sampled_from(names)).split("-")
    spelled = words[0] + "".join(draw(separators) + word for word in words[1:])
    spelled = draw(edges) + spelled + draw(edges)
    cases = draw(st.lists(st.booleans(), min_size=len(spelled), max_size=len(spelled)))
    return "".join(c.upper() if up else c for c, up in zip(spelled, cases, strict=True)).encode()


def as_cgi(name: bytes) -> bytes:
    """What CGI makes of a name, with every other character taken for an underscore as PHP does."""
    return re.sub(rb"[^A-Z0-9]", b"_", name.upper())


@given(aliases(IDENTITY_NAMES + ALSO_TRUSTED))
def test_H02_H03_no_alias_of_an_identity_header_is_ever_forwarded(alias: bytes) -> None:
    assert classify(alias) is not Role.FORWARD


@given(
    aliases(["x-forwarded", "remote", "x-remote", "x-auth", "x-authenticated", "x-webauth", "x-gateway"]),
    separators,
    st.text("abcxyz09", min_size=1),
)
def test_H12_a_whole_family_of_trusted_names_is_never_forwarded(prefix: bytes, separator: str, rest: str) -> None:
    assert classify(prefix + separator.encode() + rest.encode()) is not Role.FORWARD


@given(aliases(FRAMING))
def test_F07_an_alias_of_a_field_that_frames_or_authenticates_is_refused(alias: bytes) -> None:
    if alias.lower() in {name.lower().encode() for name in FRAMING}:
        assert classify(alias) is not Role.FORWARD
    else:
        with pytest.raises(BadRequest):
            classify(alias)


@given(aliases(IDENTITY_NAMES), aliases(IDENTITY_NAMES))
def test_names_that_a_backend_cannot_tell_apart_fold_into_one(one: bytes, other: bytes) -> None:
    assert fold(one) == fold(other) or as_cgi(one).strip(b"_") != as_cgi(other).strip(b"_")


@given(st.binary(max_size=40))
def test_folding_a_folded_name_changes_nothing(name: bytes) -> None:
    assert fold(fold(name)) == fold(name)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("X-User", Role.IDENTITY),
        ("x-WEBAUTH-role", Role.IDENTITY),
        ("X-Forwarded-Prefix", Role.IDENTITY),
        ("Keep-Alive", Role.HOP),
        ("Proxy-Connection", Role.HOP),
        ("Proxy-Authorization", Role.HOP),
        ("TE", Role.HOP),
        ("Trailer", Role.HOP),
        ("HTTP2-Settings", Role.HOP),
        ("Forwarded", Role.FORWARDED),
        ("X-Real-IP", Role.FORWARDED),
        ("True-Client-IP", Role.FORWARDED),
        ("CF-Connecting-IP", Role.FORWARDED),
        ("X-Client-IP", Role.FORWARDED),
        ("X-HTTP-Method-Override", Role.OVERRIDE),
        ("X-HTTP-Method", Role.OVERRIDE),
        ("X-Method-Override", Role.OVERRIDE),
        ("X-Original-URL", Role.OVERRIDE),
        ("X-Rewrite-URL", Role.OVERRIDE),
        ("X-Envoy-Original-Path", Role.OVERRIDE),
        ("Host", Role.HOST),
        ("CONTENT-LENGTH", Role.CONTENT_LENGTH),
        ("transfer-encoding", Role.TRANSFER_ENCODING),
        ("Connection", Role.CONNECTION),
        ("Upgrade", Role.UPGRADE),
        ("Expect", Role.EXPECT),
        ("Authorization", Role.AUTHORIZATION),
        ("Cookie", Role.COOKIE),
        ("X-Forwarded-For", Role.FORWARDED_FOR),
        ("X-Forwarded-Proto", Role.FORWARDED_PROTO),
        ("X-Forwarded-Host", Role.FORWARDED_HOST),
        ("X-Request-Id", Role.REQUEST_ID),
        ("traceparent", Role.TRACEPARENT),
        ("Tracestate", Role.TRACESTATE),
        ("Via", Role.VIA),
        ("Sec-WebSocket-Key", Role.WEBSOCKET_KEY),
        ("Accept", Role.FORWARD),
        ("X-Users", Role.FORWARD),
        ("User-Agent", Role.FORWARD),
        ("Content-Type", Role.FORWARD),
        ("Sec-WebSocket-Protocol", Role.FORWARD),
    ],
)
def test_each_name_has_one_role_whatever_its_case(name: str, role: Role) -> None:
    assert {classify(spelled.encode()) for spelled in (name, name.lower(), name.upper())} == {role}


@pytest.mark.parametrize("alias", ["X_Forwarded_For", "X.Forwarded.Proto", "X-Forwarded-Host_", "X_Request_Id", "x_real_ip"])
def test_H18_an_alias_of_a_claim_about_the_way_here_is_dropped_and_not_read(alias: str) -> None:
    assert classify(alias.encode()) is Role.FORWARDED


@pytest.mark.parametrize("alias", ["X_HTTP_Method_Override", "X.Original.URL", "x__rewrite__url"])
def test_H19_H20_an_alias_of_an_override_is_dropped(alias: str) -> None:
    assert classify(alias.encode()) is Role.OVERRIDE


def test_roles_are_remembered_up_to_a_bound_and_long_names_are_not() -> None:
    memory = RoleMemory()
    for number in range(3 * memory.limit):
        assert memory[b"X-%d" % number] is Role.FORWARD
        assert len(memory) <= memory.limit
    long = b"X-" + b"y" * 1000
    assert memory[long] is Role.FORWARD
    assert long not in memory
    assert memory[b"x_user"] is Role.IDENTITY


@given(aliases(IDENTITY_NAMES))
def test_X15_identity_in_an_answer_does_not_leave_the_gateway(alias: bytes) -> None:
    assert classify_answer(alias) is not Role.FORWARD


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("Set-Cookie", Role.COOKIE),
        ("Server", Role.FORWARD),
        ("Location", Role.FORWARD),
        ("X-Gateway-Reason", Role.IDENTITY),
        ("Keep-Alive", Role.HOP),
        ("Proxy-Authenticate", Role.HOP),
        ("Trailer", Role.HOP),
        ("Connection", Role.CONNECTION),
        ("Content-Length", Role.CONTENT_LENGTH),
        ("Transfer-Encoding", Role.TRANSFER_ENCODING),
        ("Upgrade", Role.UPGRADE),
    ],
)
def test_X11_each_name_of_an_answer_has_one_role(name: str, role: Role) -> None:
    assert classify_answer(name.lower().encode()) is classify_answer(name.encode()) is role
