"""How the admin port reads a request: paths, names in them, moments, pages; as tables."""

import pytest

from gateway.admin.answers import Problem
from gateway.admin.call import Fields, read_limit, read_moment, read_name
from gateway.admin.office import spellings
from gateway.admin.paths import Paths

PATHS = Paths(["/v1/keys/{kid}", "/v1/keys/rotate", "/v1/users/{user}", "/v1/users/{user}/block", "/"])
NOON = 1_735_732_800.0  # 2025-01-01T12:00:00Z


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/v1/users/alice", ("/v1/users/{user}", ("alice",))),
        ("/v1/users/a%2Fb/block", ("/v1/users/{user}/block", ("a%2Fb",))),
        ("/v1/keys/rotate", ("/v1/keys/rotate", ())),
        ("/v1/keys/k1", ("/v1/keys/{kid}", ("k1",))),
        ("/", ("/", ())),
        ("/v1/users/", None),
        ("/v1/users//block", None),
        ("/v1/users/alice/", None),
        ("//v1/users/alice", None),
        ("/v1/users/alice/block/x", None),
        ("/v1/%75sers/alice", None),
        ("/V1/users/alice", None),
        ("", None),
    ],
)
def test_A01_paths_are_few_and_exact(path: str, found: tuple[str, tuple[str, ...]] | None):
    assert PATHS.find(path) == found


@pytest.mark.parametrize(
    ("segment", "name"),
    [
        ("alice@example.com", "alice@example.com"),
        ("alice%40example.com", "alice@example.com"),
        ("shop|alice", "shop|alice"),
        ("shop%7Calice", "shop|alice"),
        ("a%2Fb", "a/b"),
        ("a+b", "a+b"),
        ("a%20b", "a b"),
        ("b%C3%BCro", "büro"),
        ("...", "..."),
        ("%2541", "%41"),
    ],
)
def test_a_name_in_a_path_is_percent_decoded_once(segment: str, name: str):
    assert read_name(segment) == name


@pytest.mark.parametrize(
    ("segment", "status"),
    [
        ("%", 400),
        ("%4", 400),
        ("%zz", 400),
        ("%u0041", 400),
        ("%FF", 400),
        ("%C3", 400),
        ("%C0%AF", 400),
        ("%ED%A0%80", 400),
        ("a\\b", 400),
        ("a b", 400),
        ("é", 400),
        ("\udcff", 400),
        (".", 404),
        ("..", 404),
        ("%2e%2E", 404),
        ("a%00", 404),
        ("a%0d%0aX-User:%20root", 404),
        ("%E2%80%AE", 404),
        ("x" * 513, 404),
    ],
)
def test_A02_what_is_no_name_is_refused(segment: str, status: int):
    with pytest.raises(Problem) as caught:
        read_name(segment)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1h", NOON - 3600),
        ("1h30m", NOON - 5400),
        ("0", 0.0),
        ("1735732800", NOON),
        ("1735732800.25", NOON + 0.25),
        ("2025-01-01T12:00:00Z", NOON),
        ("2025-01-01T13:00:00+01:00", NOON),
        ("2025-01-01T12:00:00", NOON),
        ("2025-01-01", NOON - 43200),
        ("1960-01-01", 0.0),
    ],
)
def test_a_moment_is_a_duration_ago_a_date_or_seconds(text: str, moment: float):
    assert read_moment({"since": text}, "since", NOON) == moment


@pytest.mark.parametrize("text", ["yesterday", "1", "-1h", "1h ago", "2025-13-01", "1e9", "٣", "", "nan", "9" * 13])
def test_what_is_no_moment_is_refused_by_name(text: str):
    if text == "1":
        assert read_moment({"since": text}, "since", NOON) == 1.0
        return
    with pytest.raises(Problem) as caught:
        read_moment({"since": text}, "since", NOON)
    assert caught.value.status == 422
    assert set(caught.value.document["errors"]) == {"since"}


@pytest.mark.parametrize("text", ["0", "-1", "1001", "1.0", "x", "", "٣", " 5", "9" * 10])
def test_a_limit_has_a_limit(text: str):
    with pytest.raises(Problem):
        read_limit({"limit": text}, 100, 1000)
    assert (read_limit({}, 100, 1000), read_limit({"limit": "1000"}, 100, 1000)) == (100, 1000)


def test_everything_wrong_with_a_body_is_told_at_once():
    fields = Fields({"a": 1, "b": "", "c": ["x", ""], "d": "yes", "z" * 100: 1}, ("a", "b", "c", "d", "e"))
    assert (fields.text("a"), fields.text("b"), fields.texts("c"), fields.flag("d"), fields.text("e")) == ("", "", [], False, "")
    with pytest.raises(Problem) as caught:
        fields.finish()
    assert caught.value.status == 422
    assert caught.value.document["errors"] == {
        "a": "must be a string",
        "b": "must not be empty",
        "c": "must not be empty",
        "d": "must be true or false",
        "e": "is required",
        "z" * 64: "is not known here",
    }


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("alice@example.com", ["alice@example.com"]),
        ("Alice@Example.com", ["alice@example.com", "Alice@Example.com"]),
        ("shop|alice", ["shop|alice"]),
        ("Alice", ["Alice"]),
    ],
)
def test_a_user_is_meant_in_every_spelling_under_which_he_may_come(typed: str, names: list[str]):
    assert spellings(typed) == names
