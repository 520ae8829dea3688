"""The secrets that seal keys: configured, or made once and kept."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE_S

from gateway.errors import ConfigurationError
from gateway.keys.secrets import FILE_NAME, token_secrets
from gateway.tokens import base64url

ONE, TWO = bytes(range(32)), bytes(range(1, 33))
PROGRAM = """
import sys
from pathlib import Path
from gateway.keys.secrets import token_secrets
sys.stdin.readline()
print(token_secrets((), Path(sys.argv[1])))
"""
TEXTS = tuple(base64url.encode(secret).decode() for secret in (ONE, TWO))


def test_configured_secrets_are_taken_in_their_order_and_nothing_is_written(tmp_path: Path) -> None:
    assert token_secrets(TEXTS, tmp_path / "var") == (ONE, TWO)
    assert list(tmp_path.iterdir()) == []


def test_without_any_one_is_made_and_kept_for_the_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "var"
    (secret,) = token_secrets((), folder)
    assert len(secret) == 32
    assert token_secrets((), folder) == (secret,)
    assert stat.S_IMODE((folder / FILE_NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == [FILE_NAME]
    assert token_secrets((), tmp_path / "other") != (secret,)


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path / "var")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(6)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    answers = {process.communicate(timeout=PATIENCE_S)[0] for process in processes}
    assert len(answers) == 1
    assert answers != {""}


def test_whoever_comes_second_reads_what_the_first_one_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = token_secrets((), tmp_path)
    seen = iter([False])
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: next(seen) if path.name == FILE_NAME else exists(path))
    assert token_secrets((), tmp_path) == (first,), "the file appeared between the look and the making"
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_a_second_line_is_an_older_secret(tmp_path: Path) -> None:
    file = tmp_path / FILE_NAME
    file.touch(0o600)
    file.write_text("\n".join(TEXTS) + "\n")
    assert token_secrets((), tmp_path) == (ONE, TWO)


@pytest.mark.parametrize("text", ["", "\n", "short", TEXTS[0] + "=", TEXTS[0][:-1], TEXTS[0] + "\n" + "ä" * 43])
def test_a_file_that_holds_no_secret_is_told_and_never_replaced(tmp_path: Path, text: str) -> None:
    file = tmp_path / FILE_NAME
    file.touch(0o600)
    file.write_text(text, "utf-8")
    with pytest.raises(ConfigurationError, match="token-secret"):
        token_secrets((), tmp_path)
    assert file.read_text("utf-8") == text


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    token_secrets((), tmp_path)
    for mode in (0o640, 0o604, 0o660):
        (tmp_path / FILE_NAME).chmod(mode)
        with pytest.raises(ConfigurationError, match="chmod 600"):
            token_secrets((), tmp_path)


def test_a_folder_that_cannot_be_used_is_the_operator_s_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"store\.directory"):
        token_secrets((), tmp_path / "file" / "var")
    with pytest.raises(ConfigurationError, match=r"tokens\.secrets"):
        token_secrets(("nonsense",), tmp_path)
