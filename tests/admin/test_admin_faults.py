"""An act that cannot be done to its end: 503, what is known to have happened, and a repetition that does the rest."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from store_process import StoreProcess
from supervising import Running, configuration, eventually, running

from gateway.clock import Clock
from gateway.config.load import load
from gateway.revocation.log import RevocationLog
from gateway.sessions.model import Login
from gateway.sessions.rotation import Rules
from gateway.sessions.store import SessionStore
from gateway.store.client import connect

PASSWORD = {"password": "seven green horses"}

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def declare(url: str) -> None:
    client = connect(url)
    await RevocationLog(client, Clock(), 2.0).declare()
    await client.aclose()


@dataclass
class Faulty:
    """A gateway whose store may be frozen, and its accounts' database."""

    gateway: Running
    store: StoreProcess
    folder: Path

    async def add(self, email: str) -> str:
        """A new account; its path."""
        assert (await self.gateway.call("POST", "/v1/users", json=PASSWORD | {"email": email}))[0] == 201
        return f"/v1/users/{email}"

    async def thaw(self) -> None:
        self.store.thaw()
        await eventually(lambda: self.gateway.supervisor.is_ready)

    def ask(self, question: str, *values: str) -> tuple[object, ...]:
        with sqlite3.connect(self.folder / "var" / "accounts.db") as database:
            return tuple(database.execute(question, values).fetchone() or ())

    def version(self, email: str) -> object:
        return self.ask("SELECT version FROM accounts WHERE email = ?", email)[0]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Faulty]:
    store, folder = StoreProcess().start(), tmp_path_factory.mktemp("faulty")
    await declare(store.url)
    async with running(configuration(folder, store.url)) as gateway:
        yield Faulty(gateway, store, folder)
        store.thaw()
    store.close()


@pytest_asyncio.fixture(loop_scope="module")
async def faulty(shared: Faulty) -> AsyncIterator[Faulty]:
    yield shared
    await shared.thaw()


async def test_a_store_that_leaves_after_the_database_was_changed_is_said_and_the_repetition_does_it(faulty: Faulty):
    revoked, changed = await faulty.add("revoked@example.com"), await faulty.add("changed@example.com")
    acts = (
        ("POST", "/v1/revocations", {"user": revoked.rpartition("/")[2]}),
        ("PUT", f"{changed}/password", {"password": "eight red umbrellas"}),
    )
    faulty.store.freeze()
    answers = await asyncio.gather(*(faulty.gateway.call(method, path, json=body) for method, path, body in acts))
    for status, headers, problem in answers:
        assert (status, headers["Retry-After"], problem["reason"]) == (503, "2", "store-unavailable")
        assert problem["detail"].startswith("Done so far: the ")
        assert "version" in problem["detail"]
        assert "raised to 2" in problem["detail"]
        assert "may or may not have been recorded. Repeat it; repeating is safe." in problem["detail"]
    assert (faulty.version("revoked@example.com"), faulty.version("changed@example.com")) == (2, 2)
    await faulty.thaw()
    for method, path, body in acts:
        status, _, receipt = await faulty.gateway.call(method, path, json=body)
        assert (status // 100, receipt["complete"]) == (2, True)
    assert (faulty.version("revoked@example.com"), faulty.version("changed@example.com")) == (3, 3)


async def test_without_the_store_the_database_still_does_its_part_and_the_answer_says_which(faulty: Faulty):
    path = await faulty.add("groups@example.com")
    faulty.store.freeze()
    status, _, problem = await faulty.gateway.call("PUT", f"{path}/groups", json={"groups": ["staff"]})
    assert status == 503
    assert "Done so far: the account has the new groups" in problem["detail"]
    status, _, account = await faulty.gateway.call("POST", "/v1/users", json=PASSWORD | {"email": "new@example.com"})
    assert (status, account["user"], account["blocked"]) == (201, "new@example.com", None)
    await faulty.thaw()
    assert (await faulty.gateway.call("GET", path))[2]["groups"] == ["staff"]


async def test_what_only_reads_says_that_it_cannot(faulty: Faulty):
    path = await faulty.add("read@example.com")
    faulty.store.freeze()
    for target in ("/v1/keys", "/v1/audit", f"{path}/sessions"):
        status, _, problem = await faulty.gateway.call("GET", target)
        assert (status, problem["reason"]) == (503, "store-unavailable"), target
        assert "Repeat" not in problem["detail"]
    assert (await faulty.gateway.call("GET", "/v1/status"))[2]["store"]["head"] is None


async def test_an_erasure_that_fails_is_finished_by_its_repetition(faulty: Faulty):
    """The account goes late: until then the way from its name to its sessions is there."""
    path = await faulty.add("erased@example.com")
    client = connect(faulty.store.url)
    sessions = SessionStore(client, Rules.of(faulty.gateway.supervisor._present.loaded.config))
    sub = str(faulty.ask("SELECT sub FROM accounts WHERE email = ?", "erased@example.com")[0])
    await sessions.create(Login(sub, "erased@example.com", 1))
    faulty.ask("CREATE TRIGGER held BEFORE DELETE ON accounts BEGIN SELECT RAISE(FAIL, 'held'); END")
    status, _, problem = await faulty.gateway.call("DELETE", path)
    assert (status, problem["title"]) == (503, "The accounts' database did not answer")
    for step in ("every token of the account is refused", "its sessions are erased", "devices and first uses are forgotten"):
        assert step in problem["detail"]
    assert await sessions.sids(sub) == ()
    await sessions.create(Login(sub, "erased@example.com", 1))
    faulty.ask("DROP TRIGGER held")
    status, _, told = await faulty.gateway.call("DELETE", path)
    assert (status, told["erased"]["account"], told["erased"]["sessions"]) == (200, True, 1)
    assert await sessions.sids(sub) == ()
    assert (await faulty.gateway.call("GET", path))[0] == 404
    await client.aclose()


async def test_an_undeclared_store_takes_no_act(tmp_path: Path):
    store = StoreProcess().start()
    async with running(configuration(tmp_path, store.url), until="admin_address") as gateway:
        for method, path in (("POST", "/v1/users/x/block"), ("POST", "/v1/keys/rotate"), ("DELETE", "/v1/users/x/block")):
            status, _, problem = await gateway.call(method, path)
            assert status == 503, path
            assert "Nothing was recorded" in problem["detail"], path
    store.close()


async def test_an_act_that_was_not_done_to_its_end_is_in_the_trail(faulty: Faulty):
    path = await faulty.add("half@example.com")
    faulty.store.freeze()
    assert (await faulty.gateway.call("PUT", f"{path}/groups", json={"groups": ["staff"]}))[0] == 503
    await faulty.thaw()
    status, _, page = await faulty.gateway.call("GET", "/v1/audit", params={"action": "admin", "limit": "1"})
    assert status == 200
    event = page["events"][0]
    assert (event["outcome"], event["source"], event["user"]) == ("failure", "admin token 1", None)
    assert event["text"].startswith("PUT: the account has the new groups")
    assert "half@example.com" not in event["text"]


async def test_many_at_once_agree(faulty: Faulty):
    """A02: one account per name, one key that signs."""
    body = PASSWORD | {"email": "once@example.com"}
    made = await asyncio.gather(*(faulty.gateway.call("POST", "/v1/users", json=body) for _ in range(8)))
    assert sorted(status for status, _, _ in made) == [201, *[409] * 7]
    rotated = await asyncio.gather(*(faulty.gateway.call("POST", "/v1/keys/rotate") for _ in range(5)))
    assert {status for status, _, _ in rotated} == {200}
    keys = (await faulty.gateway.call("GET", "/v1/keys"))[2]["keys"]
    assert sum(key["state"] == "signing" for key in keys) == 1
    path = "/v1/users/once@example.com"
    blocked = await asyncio.gather(*(faulty.gateway.call("POST", f"{path}/block") for _ in range(5)))
    assert {status for status, _, _ in blocked} == {201}
    lifted = await asyncio.gather(*(faulty.gateway.call("DELETE", f"{path}/block") for _ in range(5)))
    assert sorted(status for status, _, _ in lifted) == [200, *[404] * 4]
    erased = await asyncio.gather(*(faulty.gateway.call("DELETE", path) for _ in range(3)))
    assert {status for status, _, _ in erased} == {200}


async def test_T1_where_the_accounts_are_off_there_are_none_and_users_of_others_are_still_kept_out(tmp_path: Path):
    """An issuer without a written prefix: its users might be taken for accounts."""
    store = StoreProcess().start()
    await declare(store.url)
    path = configuration(tmp_path, store.url).path
    path.write_text(path.read_text().replace(', user_prefix: ""', ""))
    user = "/v1/users/alice@example.com"
    async with running(load(path, {})) as gateway:
        assert (await gateway.call("GET", "/v1/status"))[2]["accounts"]["state"] == "off"
        for method, target, body, expected in (
            ("GET", "/v1/users", None, 409),
            ("POST", "/v1/users", PASSWORD | {"email": "alice@example.com"}, 409),
            ("GET", user, None, 404),
            ("GET", f"{user}/sessions", None, 404),
            ("PUT", f"{user}/groups", {"groups": []}, 404),
            ("POST", f"{user}/block", None, 201),
            ("POST", "/v1/revocations", {"user": "alice@example.com"}, 201),
            ("DELETE", user, None, 200),
        ):
            assert (await gateway.call(method, target, json=body))[0] == expected, target
        assert not (tmp_path / "var").exists()
    store.close()


async def test_without_the_accounts_what_needs_them_revokes_nothing_and_the_rest_works(tmp_path: Path):
    """Their database is something else than a database."""
    store = StoreProcess().start()
    await declare(store.url)
    (tmp_path / "var" / "accounts.db").mkdir(parents=True)
    path = "/v1/users/alice@example.com"
    async with running(configuration(tmp_path, store.url)) as gateway:
        await eventually(lambda: (operating := gateway.supervisor._control_plane) and operating.office.ring.signing is not None)
        before = (await gateway.call("GET", "/v1/status"))[2]["store"]["head"]
        for method, target, body in (
            ("POST", "/v1/revocations", {"user": "alice@example.com"}),
            ("POST", "/v1/users", PASSWORD | {"email": "alice@example.com"}),
            ("PUT", f"{path}/groups", {"groups": []}),
            ("PUT", f"{path}/password", PASSWORD),
            ("DELETE", f"{path}/sessions", None),
            ("DELETE", path, None),
        ):
            status, _, problem = await gateway.call(method, target, json=body)
            assert (status, problem["title"]) == (503, "The accounts' database did not answer"), target
            assert "nothing was revoked" in problem["detail"]
        told = (await gateway.call("GET", "/v1/status"))[2]
        assert told["store"]["head"] == before
        assert told["accounts"] == {"state": "down", "database": "sqlite", "registration": "closed"}
        for method, target, body, expected in (
            ("POST", f"{path}/block", None, 201),
            ("POST", "/v1/revocations", {"user": "alice"}, 201),
            ("POST", "/v1/revocations", {"user": "alice@example.com", "issuer": "https://idp.example/realms/shop"}, 201),
            ("POST", "/v1/keys/rotate", None, 200),
            ("POST", "/v1/purge", None, 200),
        ):
            assert (await gateway.call(method, target, json=body))[0] == expected, target
    store.close()
