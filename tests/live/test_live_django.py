"""A real Django project with RemoteUserMiddleware behind the gateway: it needs three lines, and is never told a lie."""

import httpx
import pytest
from running_gateway import RunningGateway


def test_the_users_name_arrives_and_the_account_is_made_once(gateway: RunningGateway):
    first = gateway.ask("/django/who", gateway.token(sub="dora", groups=["staff", "a,b"])).json()
    assert (first["user"], first["is_authenticated"]) == ("dora", True)
    assert first["groups"] == "staff,a%2Cb"
    assert first["authorization"] is None
    again = gateway.ask("/django/who", gateway.token(sub="dora")).json()
    assert again["id"] == first["id"]


def test_two_users_on_one_connection_are_two_users(gateway: RunningGateway):
    with httpx.Client(base_url=gateway.url, trust_env=False, limits=httpx.Limits(max_connections=1)) as client:
        for name in ("dora", "emil", "dora"):
            shown = {"Authorization": f"Bearer {gateway.token(sub=name)}"}
            assert client.get("/django/who", headers=shown).json()["user"] == name
        assert client.get("/django/public/who").json()["user"] == ""


def test_login_required_is_satisfied_by_a_token_alone(gateway: RunningGateway):
    assert gateway.ask("/django/private", gateway.token(sub="dora")).text == "for dora only"
    assert gateway.told("/django/private") == "401 no-token"


SPOOFED = ("X-User", "x-user", "X_USER", "x_user", "X-User_", "HTTP-X-USER", "Remote-User", "REMOTE_USER")


@pytest.mark.parametrize("name", SPOOFED)
def test_a_spoofed_name_never_arrives(gateway: RunningGateway, name: str):
    spoofed = {name: "root"}
    assert gateway.ask("/django/who", gateway.token(sub="dora"), headers=spoofed).json()["user"] == "dora"
    nobody = gateway.ask("/django/public/who", headers=spoofed).json()
    assert (nobody["user"], nobody["is_authenticated"]) == ("", False)


def test_a_name_beyond_ascii_is_told_in_percent_encoding(gateway: RunningGateway):
    assert gateway.ask("/django/who", gateway.token(sub="José")).json()["user"] == "Jos%C3%A9"


def test_a_form_with_a_file_is_passed_on(gateway: RunningGateway):
    document = b"%PDF-" + bytes(range(256)) * 4096
    answer = gateway.ask(
        "/django/form",
        gateway.token(sub="dora"),
        "POST",
        data={"title": "an invoice"},
        files={"document": ("invoice.pdf", document)},
    )
    assert answer.json() == {"title": "an invoice", "bytes": len(document), "method": "POST"}


def test_a_streamed_page_and_two_cookies_come_back_whole(gateway: RunningGateway):
    token = gateway.token(sub="dora")
    assert gateway.ask("/django/lines", token).text.splitlines() == [f"line {number}" for number in range(1000)]
    cookies = gateway.ask("/django/cookie", token).headers.get_list("set-cookie")
    assert [cookie.partition(";")[0] for cookie in cookies] == ["theme=dark", "language=en"]


def test_the_backend_is_not_told_https_by_a_client(gateway: RunningGateway):
    token = gateway.token(sub="dora")
    assert gateway.ask("/django/who", token, headers={"X-Forwarded-Proto": "https"}).json()["is_secure"] is False


def test_a_revoked_user_does_not_reach_django_any_more(gateway: RunningGateway):
    token = gateway.token(sub="django-fred")
    assert gateway.ask("/django/who", token).json()["user"] == "django-fred"
    gateway.revoke(user="django-fred")
    assert gateway.told_everywhere("/django/who", token) == {"401 old-version"}
