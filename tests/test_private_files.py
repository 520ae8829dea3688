"""Files of `store.directory`: nobody else's, whole, and never somewhere else."""

import os
from pathlib import Path

import pytest

from gateway.private_files import create_private, open_private, write_private


def test_what_was_laid_in_its_place_is_neither_written_to_nor_waited_for(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("not ours")
    (tmp_path / "link").symlink_to(precious)
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(OSError, match=name):
            open_private(tmp_path / name, os.O_RDWR | os.O_CREAT)
    os.close(create_private(tmp_path / "link"))
    assert precious.read_text() == "not ours"
    assert (tmp_path / "link").stat().st_mode & 0o777 == 0o600


def test_a_file_is_there_whole_or_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "new" / "state.txt"
    write_private(file, b"one")
    (file.parent / "state.new").symlink_to(tmp_path / "elsewhere")
    write_private(file, b"another")
    assert file.read_bytes() == b"another"
    assert [found.name for found in file.parent.iterdir()] == ["state.txt"]
    assert not (tmp_path / "elsewhere").exists()
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
