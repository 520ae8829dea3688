"""What may be a password [L04], and the thread that hashes it [L01, L05]."""

import asyncio
import logging
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logging_in import ALICE, CHEAP, GOOD

from gateway.login.password_rules import MOST_BYTES, MOST_CHARACTERS, prepare, refuse_new
from gateway.login.passwords import Cost, LoginBusy, Passwords
from gateway.login.refused import Refused


@pytest.mark.parametrize(
    ("typed", "refused"),
    [
        ("x" * 1_000_000, Refused.PASSWORD_TOO_LONG),
        ("a" + "\u0301" * 100_000, Refused.PASSWORD_TOO_LONG),
        ("e\u0301" * 257, Refused.PASSWORD_TOO_LONG),
        ("\ufdfa" * 20, Refused.PASSWORD_TOO_LONG),  # each becomes eighteen
        ("x" * 257, Refused.PASSWORD_TOO_LONG),
        ("long enough\0", Refused.PASSWORD_CONTROL_CHARACTERS),
        ("long\x1b[1menough", Refused.PASSWORD_CONTROL_CHARACTERS),
        ("long enough\ud800", Refused.PASSWORD_CONTROL_CHARACTERS),
        ("long enough\x9f", Refused.PASSWORD_CONTROL_CHARACTERS),
    ],
)
def test_L04_what_no_account_can_have_is_told_before_it_costs_anything(typed: str, refused: Refused) -> None:
    assert prepare(typed) is refused


@given(st.text(max_size=2000))
def test_L04_a_prepared_password_is_bounded_encodable_and_stays_what_it_is(typed: str) -> None:
    password = prepare(typed)
    if isinstance(password, str):
        assert len(password) <= MOST_CHARACTERS
        assert len(typed.encode()) <= MOST_BYTES
        assert prepare(password) in (password, Refused.PASSWORD_TOO_LONG)
        password.encode()


@pytest.mark.parametrize(
    ("password", "refused"),
    [
        ("1234567", Refused.PASSWORD_TOO_SHORT),
        ("", Refused.PASSWORD_TOO_SHORT),
        ("password1", Refused.PASSWORD_COMMON),
        ("PassWord1", Refused.PASSWORD_COMMON),
        ("baseball", Refused.PASSWORD_COMMON),
        ("zzzzzzzzzz", Refused.PASSWORD_RUN),
        ("hijklmnop", Refused.PASSWORD_RUN),
        ("98765432", Refused.PASSWORD_RUN),
        ("alice@shop.example", Refused.PASSWORD_LIKE_ADDRESS),
        ("Alice2024", Refused.PASSWORD_LIKE_ADDRESS),
        ("alicealice", Refused.PASSWORD_LIKE_ADDRESS),
        ("shop.example!", Refused.PASSWORD_LIKE_ADDRESS),
        ("gateway.corp", Refused.PASSWORD_LIKE_SERVICE),
        ("Gateway.corp1", Refused.PASSWORD_LIKE_SERVICE),
        (GOOD, None),
        ("alice likes rain", None),
        ("aaaaaaab", None),
        ("пароль которого нет", None),
        ("  eight ", None),
        ("x" * 255 + "y", None),
    ],
)
def test_a_new_password_is_judged_by_length_and_by_what_is_tried_first(password: str, refused: Refused | None) -> None:
    assert refuse_new(password, ALICE, ("gateway.corp",)) is refused


async def test_L04_one_password_in_two_normal_forms_and_not_one_more(passwords: Passwords) -> None:
    hashed = await passwords.choose("e\u0301 " + "x" * 80 + "1", ALICE)
    assert isinstance(hashed, str)
    assert (await passwords.verify("\u00e9 " + "x" * 80 + "1", hashed)).is_right
    assert not (await passwords.verify("\u00e9 " + "x" * 80 + "2", hashed)).is_right
    assert not (await passwords.verify("\u00e9 " + "x" * 80 + "1 ", hashed)).is_right
    assert not (await passwords.verify("\u00e9 " + "x" * 80 + "1\0", hashed)).is_right


async def test_L04_passwords_that_share_72_bytes_are_two(passwords: Passwords) -> None:
    hashed = await passwords.choose("ab" * 36 + "1", ALICE)
    assert isinstance(hashed, str)
    assert not (await passwords.verify("ab" * 36 + "2", hashed)).is_right


async def test_a_refused_password_is_not_hashed(passwords: Passwords) -> None:
    assert await passwords.choose("password1", ALICE) is Refused.PASSWORD_COMMON
    assert await passwords.choose("x" * 1000, ALICE) is Refused.PASSWORD_TOO_LONG
    assert passwords.statistics().hashed == 0


async def test_L01_unknown_account_wrong_and_impossible_password_cost_one_hash_each(passwords: Passwords) -> None:
    hashed = await passwords.choose(GOOD, ALICE)
    assert isinstance(hashed, str)
    for number, (typed, kept) in enumerate(((GOOD, None), ("wrong one", hashed), ("x" * 10**6, hashed), ("\0", None)), 1):
        assert not (await passwords.verify(typed, kept)).is_right
        assert passwords.statistics().verified == number


async def test_L01_the_hash_that_fits_nothing_costs_what_a_real_one_does(passwords: Passwords) -> None:
    from argon2 import extract_parameters

    hashed = await passwords.choose(GOOD, ALICE)
    assert isinstance(hashed, str)
    assert extract_parameters(passwords._fits_nothing) == extract_parameters(hashed)
    assert hashed.startswith("$argon2id$")


async def test_the_default_cost_is_what_owasp_asks_for() -> None:
    from argon2 import extract_parameters

    passwords = Passwords()
    hashed = await passwords.choose(GOOD, ALICE)
    assert isinstance(hashed, str)
    parameters = extract_parameters(hashed)
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (19 * 1024, 2, 1)
    assert (await passwords.verify(GOOD, hashed)).is_right
    passwords.close()


async def test_a_change_of_cost_rehashes_at_the_next_right_login_only(passwords: Passwords) -> None:
    hashed = await passwords.choose(GOOD, ALICE)
    assert isinstance(hashed, str)
    assert (await passwords.verify(GOOD, hashed)).rehash is None
    dearer = Passwords(Cost(memory_kib=16, passes=1))
    assert (await dearer.verify("wrong one", hashed)).rehash is None
    rehash = (await dearer.verify(GOOD, hashed)).rehash
    assert rehash is not None
    assert await dearer.verify(GOOD, rehash) == await passwords.verify(GOOD, hashed)
    dearer.close()


@pytest.mark.parametrize("kept", ["", "x", "$argon2id$v=19$m=8,t=1,p=1$c2FsdA$", "$2b$12$abcdefghijklmnopqrstuv", "\0"])
async def test_a_kept_hash_that_cannot_be_read_lets_nobody_in(
    passwords: Passwords, kept: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        assert not (await passwords.verify(GOOD, kept)).is_right
    assert ("cannot be read" in caplog.text) == (kept != "")
    assert passwords.statistics().verified == 1
    assert GOOD not in caplog.text


async def test_L05_of_500_at_once_those_beyond_the_queue_are_turned_away_at_once_and_one_hashes_at_a_time() -> None:
    passwords = Passwords(CHEAP, most_waiting=20, kept_for_known=5)
    running = set()

    async def one() -> None:
        await passwords.verify(GOOD, None)
        running.update(thread.name for thread in threading.enumerate() if thread.name.startswith("passwords"))

    answers = await asyncio.gather(*(one() for _ in range(500)), return_exceptions=True)
    assert sum(isinstance(answer, LoginBusy) for answer in answers) == 485
    assert passwords.statistics().turned_away == 485
    assert passwords.statistics().verified == 15
    assert passwords.statistics().waiting == 0
    assert len(running) == 1
    passwords.close()


async def test_B2_L05_a_queue_full_of_strangers_has_room_for_a_known_device() -> None:
    passwords = Passwords(CHEAP, most_waiting=20, kept_for_known=5)
    strangers = [asyncio.create_task(passwords.verify(GOOD, None)) for _ in range(100)]
    known = [asyncio.create_task(passwords.verify(GOOD, None, is_known_device=True)) for _ in range(10)]
    await asyncio.gather(*strangers, *known, return_exceptions=True)
    assert sum(task.exception() is None for task in strangers) == 15
    assert sum(task.exception() is None for task in known) == 5
    passwords.close()


async def test_whoever_leaves_gives_his_place_in_the_queue_free(passwords: Passwords) -> None:
    waiting = [asyncio.create_task(passwords.verify(GOOD, None)) for _ in range(40)]
    await asyncio.sleep(0)
    assert passwords.statistics().waiting == 40
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert passwords.statistics().waiting == 0
    assert not (await passwords.verify(GOOD, None)).is_right


def test_nothing_is_loaded_or_started_before_the_first_login() -> None:
    program = """
import sys, threading
from gateway.clock import Clock
from gateway.login import authenticate, register
from gateway.login.accounts import Accounts
from gateway.login.passwords import Passwords
held = Passwords(), Accounts("sqlite+aiosqlite:////nowhere/accounts.db", Clock())
heavy = {"sqlalchemy", "aiosqlite", "asyncpg", "argon2", "zxcvbn", "idna", "sqlite3", "greenlet"}
print(sorted(heavy & set(sys.modules)), threading.active_count())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] 1"


def test_the_list_of_common_passwords_leaves_no_dictionaries_behind() -> None:
    program = """
import sys
from gateway.login.password_rules import load_common_passwords
print(len(load_common_passwords()) > 10_000, "zxcvbn" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True False"
