"""Who may speak to the admin port: the three questions as tables."""

import pytest

from gateway.admin.guard import allowed_names, is_host_allowed, is_same_origin, which_token
from gateway.config.address import Address

TOKENS = ("a" * 32, "b" * 32)


@pytest.mark.parametrize(
    ("hosts", "is_allowed"),
    [
        (["localhost"], True),
        (["LOCALHOST:9090"], True),
        (["localhost.:9090"], True),
        (["127.0.0.1:9090"], True),
        (["127.8.9.1"], True),
        (["[::1]:9090"], True),
        (["10.0.0.5:9090"], True),
        (["ops.internal:19090"], True),
        (["10.0.0.6"], False),
        (["evil.example"], False),
        (["localhost.evil.example"], False),
        (["evil.example#localhost"], False),
        (["evil.example@localhost"], False),
        (["localhost@evil.example"], False),
        (["localhost/evil.example"], False),
        (["localhost:9090:9090"], False),
        (["localhost:"], False),
        (["2130706433"], False),
        (["127.1"], False),
        (["0.0.0.0"], False),
        (["[::]"], False),
        (["::1"], False),
        (["local\u017fhost"], False),
        ([" localhost"], False),
        ([""], False),
        ([], False),
        (["localhost", "localhost"], False),
    ],
)
def test_B3_only_our_own_names_are_served(hosts: list[str], is_allowed: bool):
    names = allowed_names(Address(host="10.0.0.5", port=9090), ["ops.internal"])
    assert is_host_allowed(hosts, names) is is_allowed


@pytest.mark.parametrize("listen", [Address(host="0.0.0.0", port=9090), Address(host="::", port=9090), Address(path="/run/a")])
def test_B3_a_wildcard_or_a_path_is_not_a_name(listen: Address):
    assert allowed_names(listen, []) == frozenset()


@pytest.mark.parametrize(
    ("origins", "sites", "is_same"),
    [
        ([], [], True),
        (["http://localhost:9090"], [], True),
        (["https://localhost:9090"], ["same-origin"], True),
        ([], ["none"], True),
        ([], ["same-site"], False),
        ([], ["cross-site"], False),
        (["http://localhost:9090"], ["cross-site"], False),
        (["http://localhost:9091"], [], False),
        (["http://localhost"], [], False),
        (["http://evil.example"], [], False),
        (["null"], [], False),
        ([""], [], False),
        (["http://localhost:9090.evil.example"], [], False),
        (["http://localhost:9090", "http://evil.example"], [], False),
    ],
)
def test_B3_no_other_page_is_served(origins: list[str], sites: list[str], is_same: bool):
    assert is_same_origin(origins, sites, "localhost:9090") is is_same


@pytest.mark.parametrize(
    ("authorizations", "place"),
    [
        ([f"Bearer {TOKENS[0]}"], 1),
        ([f"bearer {TOKENS[1]}"], 2),
        ([f"Bearer  {TOKENS[0]} "], 1),
        ([f"Bearer {TOKENS[0][:-1]}"], None),
        ([f"Bearer {TOKENS[0]}x"], None),
        ([f"Bearer {TOKENS[0]} {TOKENS[0]}"], None),
        (["Bearer "], None),
        (["Bearer"], None),
        ([TOKENS[0]], None),
        ([f"Basic {TOKENS[0]}"], None),
        (["Bearer \udcff\u00e9"], None),
        ([f"Bearer {TOKENS[0]}", f"Bearer {TOKENS[0]}"], None),
        ([], None),
    ],
)
def test_B3_a_token_is_recognised_and_named(authorizations: list[str], place: int | None):
    assert which_token(authorizations, TOKENS) == place
