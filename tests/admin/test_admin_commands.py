"""The operator's commands, typed at a running gateway: what they print, what they exit with; no password is an argument."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from live.running_gateway import Child, complete, environment, eventually
from patience import PATIENCE_S
from people import APPLICATION, OTHER_PASSWORD, PASSWORD, People

RECEIPT = re.compile(r"  id        [0-9a-f]{32}\n  enforced  by 2 of 2 workers\n  durable   yes\n  took      [0-9.]+ ms\n")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    application = Child(APPLICATION)
    gateway = People(tmp_path_factory.mktemp("commands"), application)
    try:
        yield gateway.start()
    finally:
        gateway.stop()
        application.stop()
    output = gateway.path("access").read_bytes() + gateway.path("messages").read_bytes()
    assert not gateway.leaks()
    assert not any(secret.encode() in output for secret in (PASSWORD, OTHER_PASSWORD, "argon2id"))


def test_an_account_is_made_with_a_password_from_standard_input(gateway: People):
    done = gateway.typed("users add", "Ann@Example.com", "--group", "staff", "--group", "boss", typing=f"{PASSWORD}\n")
    assert (done.returncode, done.stdout) == (0, "made ann@example.com\n  groups    boss, staff\n")
    assert gateway.told_everywhere("/staff/who", gateway.sign_in("ann@example.com")) == {"200"}
    again = gateway.typed("users add", "ann@example.com", typing=f"{PASSWORD}\n")
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == "gateway: the admin API answered 409: There is an account of this name already; ann@example.com\n"


def test_a_made_password_is_printed_and_is_one(gateway: People):
    done = gateway.typed("users add", "made@example.com", "--generate")
    password = re.search(r"  password  (\S{24})\n", done.stdout)
    assert password is not None, done
    assert gateway.try_to_sign_in("made@example.com", password[1]).status_code == 200
    other = gateway.printed("users passwd", "made@example.com", "--generate")["password"]
    assert gateway.try_to_sign_in("made@example.com", password[1]).status_code == 401
    assert gateway.try_to_sign_in("made@example.com", other).status_code == 200


@pytest.mark.parametrize(
    ("typing", "code", "told"),
    [
        ("", 2, "no password on standard input"),
        ("\n", 2, "no password on standard input"),
        ("short\n", 1, "422: The password cannot be used; The password needs at least 8 characters."),
        ("password\n", 1, "on a list of common passwords"),
        ("bad@example.com\n", 1, "The password is your e-mail address"),
    ],
)
def test_a_password_that_is_none_is_refused(gateway: People, typing: str, code: int, told: str):
    done = gateway.typed("users add", "bad@example.com", typing=typing)
    assert done.returncode == code
    assert told in done.stderr
    assert gateway.call("GET", "/v1/users/bad@example.com").status_code == 404


def test_no_option_takes_a_password(gateway: People):
    for command in ("users add", "users passwd"):
        for option in ("--password", "-p", "--pass"):
            assert gateway.typed(command, "x@example.com", option, PASSWORD).returncode == 2


def on_a_terminal(gateway: People, *command: str, typed: list[tuple[str, str]]) -> tuple[int, str]:
    """The command on a terminal of its own; each question is answered with a line. Exit code, and all that could be seen."""
    pid, terminal = pty.fork()
    if not pid:
        arguments = [sys.executable, "-m", "gateway", *command, "-c", str(gateway.configuration)]
        os.execve(sys.executable, arguments, environment())
    seen = ""
    for question, line in typed:
        while question not in seen.rpartition("\n")[2]:
            seen += os.read(terminal, 4096).decode()
        seen += "\n"
        os.write(terminal, line.encode() + b"\n")
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # the terminal is gone with the command
            break
        if not piece:
            break
        seen += piece.decode()
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen


def test_on_a_terminal_a_password_is_asked_for_twice_and_never_shown(gateway: People):
    questions = [("Password of tty@example.com:", PASSWORD), ("Again:", PASSWORD)]
    code, seen = on_a_terminal(gateway, "users", "add", "tty@example.com", typed=questions)
    assert (code, PASSWORD in seen) == (0, False)
    assert "made tty@example.com" in seen
    assert gateway.try_to_sign_in("tty@example.com").status_code == 200


def test_on_a_terminal_an_erasure_is_asked_about(gateway: People):
    gateway.add("asked@example.com")
    code, seen = on_a_terminal(gateway, "users", "erase", "asked@example.com", typed=[("[y/N]:", "n")])
    assert code == 1
    assert "Aborted" in seen
    code, seen = on_a_terminal(gateway, "users", "erase", "asked@example.com", typed=[("[y/N]:", "y")])
    assert code == 0
    assert "erased asked@example.com" in seen
    assert gateway.call("GET", "/v1/users/asked@example.com").status_code == 404


def test_users_are_listed_as_a_table(gateway: People):
    gateway.add("listed@example.com", "staff")
    gateway.call("POST", "/v1/users/listed@example.com/block")
    lines = gateway.typed("users list").stdout.splitlines()
    assert lines[0].split() == ["user", "groups", "blocked", "made", "version"]
    row = next(line for line in lines if line.startswith("listed@example.com "))
    assert re.fullmatch(r"listed@example\.com +staff +yes +20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ +1", row)
    document = gateway.printed("users list")
    assert "listed@example.com" in [account["user"] for account in document["users"]]


def test_a_block_and_its_lift(gateway: People):
    token = gateway.token(sub="dave")
    done = gateway.typed("users block", "shop|dave", "--reason", "left")
    assert done.returncode == 0
    assert re.fullmatch(r"blocked shop\|dave\n" + RECEIPT.pattern, done.stdout)
    assert gateway.told_everywhere("/who", token) == {"403 blocked-user"}
    assert gateway.typed("users unblock", "shop|dave").stdout.startswith("unblocked shop|dave\n")
    assert gateway.told_everywhere("/who", token) == {"200"}
    done = gateway.typed("users unblock", "shop|dave")
    assert (done.returncode, done.stderr) == (1, "gateway: the admin API answered 404: This user is not blocked; shop|dave\n")


def test_groups_are_set_shown_and_taken_away(gateway: People):
    name = gateway.add("groups@example.com")
    token = gateway.sign_in(name)
    done = gateway.typed("users groups", name, "staff", "--group", "boss")
    assert done.stdout.startswith(f"set the groups of {name}\n  groups    boss, staff\n  in        1 session\n")
    assert gateway.typed("users groups", name).stdout == "boss, staff\n"
    assert gateway.told_everywhere("/staff/who", token) == {"200"}
    complete(gateway.printed("users groups", name, "--none"))
    assert gateway.told_everywhere("/staff/who", token) == {"403 forbidden"}
    assert gateway.typed("users groups", name).stdout == "-\n"
    assert gateway.typed("users groups", name, "a", "--none").returncode == 2


def test_sessions_are_listed_and_ended(gateway: People):
    name = gateway.add("sessions@example.com")
    assert gateway.typed("sessions", name).stdout == f"{name}: no sessions\n"
    tokens = [gateway.sign_in(name) for _ in range(3)]
    lines = gateway.typed("sessions", name).stdout.splitlines()
    assert lines[0] == f"{name}: 3 sessions"
    assert lines[2].split() == ["session", "device", "network", "signed", "in", "last", "seen", "ends"]
    first = lines[3].split()[0]
    assert gateway.typed("sessions", name, "--end", first).stdout.startswith(f"ended session {first}\n  id ")
    assert gateway.told_everywhere("/who", tokens[0]) == {"401 revoked-session"}
    done = gateway.typed("sessions", name, "--end", first)
    assert (done.returncode, done.stderr.partition(";")[0]) == (1, f"gateway: {name} has no session of this id")
    receipt = gateway.printed("sessions", name, "--end-all")
    complete(receipt)
    assert receipt["sessions"] == 2
    assert gateway.printed("sessions", name)["sessions"] == []
    assert gateway.typed("sessions", name, "--end", "x", "--end-all").returncode == 2
    missing = gateway.typed("sessions", "nobody@example.com")
    assert (missing.returncode, missing.stderr) == (
        1,
        "gateway: the admin API answered 404: There is no account of this name\n",
    )


def test_another_users_session_is_not_ended_by_mistake(gateway: People):
    mine, other = gateway.add("mine@example.com"), gateway.add("other@example.com")
    gateway.sign_in(mine)
    token = gateway.sign_in(other)
    done = gateway.typed("sessions", mine, "--end", gateway.sessions_of(other)[0])
    assert done.returncode == 1
    assert gateway.told_everywhere("/who", token) == {"200"}


def test_a_password_is_set(gateway: People):
    name = gateway.add("passwd@example.com")
    token = gateway.sign_in(name)
    done = gateway.typed("users passwd", name, typing=f"{OTHER_PASSWORD}\r\n")
    assert done.stdout.startswith(f"set the password of {name}\n  ended     1 session\n")
    assert gateway.told_everywhere("/who", token) == {"401 old-version"}
    assert gateway.try_to_sign_in(name, OTHER_PASSWORD).status_code == 200


def test_an_erasure_prints_its_receipt(gateway: People):
    name = gateway.add("erased@example.com")
    gateway.sign_in(name)
    eventually(lambda: gateway.events(user=name, action="login"))
    done = gateway.typed("users erase", name)
    assert done.returncode == 0
    assert done.stdout.startswith(
        f"erased {name}\n  account   yes\n  sessions  1\n  devices   from where the account logged in\n"
        "  name      in the audit trail\n  enforced  by 2 of 2 workers\n"
    )
    assert re.search(r"\nkept\n  20\S+Z  audit events, under a pseudonym that leads to no name\n", done.stdout)
    assert name not in gateway.typed("audit", "--since", "1h").stdout
    again = gateway.printed("users erase", name)
    assert (again["erased"]["account"], again["receipt"]) == (False, None)


def test_keys_are_listed_rotated_and_retired(gateway: People):
    before = gateway.printed("keys list")["keys"][-1]["kid"]
    done = gateway.typed("keys rotate")
    signing = re.match(r"rotated the signing keys\n  signing   (\S{12})\n", done.stdout)
    assert signing is not None, done
    rows = [line.split() for line in gateway.typed("keys list").stdout.splitlines()]
    assert rows[0] == ["kid", "algorithm", "state", "since", "made"]
    assert {row[0]: row[2] for row in rows[1:]} == {before: "retiring", signing[1]: "signing"}
    assert gateway.typed("keys retire", before).stdout.startswith(f"retired key {before}\n")
    assert gateway.typed("keys retire", "nonsense").returncode == 1
    name = gateway.add("keys@example.com")
    token = gateway.sign_in(name)
    done = gateway.typed("keys rotate", "--compromised")
    assert re.match(
        r"retired every other key, and ended all sessions\n  signing   \S{12}\n  ended     \d+ sessions?\n", done.stdout
    )
    assert gateway.told_everywhere("/who", token) == {"401 retired-key"}


def test_the_purge_and_the_status(gateway: People):
    done = gateway.typed("purge")
    assert re.fullmatch(r"purged \d+ sessions, \d+ audit events, \d+ names in the audit trail\n", done.stdout)
    assert set(gateway.printed("purge")) == {"sessions", "audit_events", "audit_names"}
    lines = gateway.typed("status").stdout.splitlines()
    assert any(re.fullmatch(r"keys: .*\S{12} signing", line) for line in lines)
    assert any(re.fullmatch(r"sessions: \d+", line) for line in lines)
    assert "accounts: sqlite, up, registration closed" in lines


def test_the_trail_is_shown_oldest_first_and_filtered(gateway: People):
    for number in range(3):
        gateway.typed("users block", "shop|trail", "--reason", f"no. {number}")
    lines = gateway.typed("audit", "--user", "shop|trail").stdout.splitlines()
    assert [re.search(r'text="(.*)"', line)[1] for line in lines] == ["no. 0", "no. 1", "no. 2"]
    assert all("  blocked " in line and 'by="admin token 1"' in line for line in lines)
    last = [json.loads(line) for line in gateway.typed("audit", "--json", "--limit", "1").stdout.splitlines()]
    assert [event["text"] for event in last] == ["no. 2"]
    assert len(gateway.typed("audit", "--since", "1h", "--action", "blocked", "--user", "shop|trail").stdout.splitlines()) == 3
    assert gateway.typed("audit", "--since", "1ms", "--user", "shop|trail").stdout == ""
    ocsf = json.loads(gateway.typed("audit", "--ocsf", "--user", "shop|trail", "--limit", "1").stdout)
    assert (ocsf["class_uid"], ocsf["user"]["name"]) == (3001, "shop|trail")
    wrong = gateway.typed("audit", "--action", "nonsense")
    assert (wrong.returncode, "422" in wrong.stderr) == (1, True)
    assert gateway.typed("audit", "--json", "--ocsf").returncode == 2


def test_all_of_a_long_trail_is_shown(gateway: People):
    for _ in range(5):
        gateway.call("POST", "/v1/users/shop%7Clong/block")
    assert len(gateway.typed("audit", "--since", "1h", "--user", "shop|long").stdout.splitlines()) == 5
    assert len(gateway.typed("audit", "--limit", "2", "--user", "shop|long").stdout.splitlines()) == 2


def test_following_goes_on_until_it_is_interrupted(gateway: People):
    gateway.call("POST", "/v1/users/shop%7Cfollowed/block", json={"reason": "before"})
    command = [sys.executable, "-m", "gateway", "audit", "-c", str(gateway.configuration), "--user", "shop|followed", "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()) as following:
        assert following.stdout is not None
        assert "text=before" in following.stdout.readline()
        gateway.call("POST", "/v1/users/shop%7Csomebody/block")
        gateway.call("POST", "/v1/users/shop%7Cfollowed/block", json={"reason": "after"})
        assert "text=after" in following.stdout.readline()
        following.send_signal(signal.SIGINT)
        try:
            output, errors = following.communicate(timeout=PATIENCE_S)
        finally:
            following.kill()
    assert (following.returncode, output, errors) == (0, "", "")


def test_commands_tell_a_gateway_that_does_not_run(gateway: People, tmp_path: Path):
    text = gateway.configuration.read_text()
    admin = re.search(r"listen: (127\.0\.0\.1:\d{4,5})\n  token", text)
    assert admin is not None, text
    (tmp_path / "gateway.yaml").write_text(text.replace(admin[1], "127.0.0.1:1"))
    for command in (["users", "list"], ["sessions", "a@b"], ["keys", "list"], ["audit"], ["purge"]):
        arguments = [sys.executable, "-m", "gateway", *command, "-c", str(tmp_path / "gateway.yaml")]
        done = subprocess.run(arguments, capture_output=True, text=True, env=environment(), check=False)
        assert (done.returncode, done.stdout) == (1, ""), command
        assert "is the gateway running, and with this configuration?" in done.stderr
