"""Files that change: what is waited for, what counts."""

import os
from pathlib import Path

from supervising import configuration

from gateway.file_changes import WatchedFiles, files_of


def test_a_change_counts_when_it_holds_still(tmp_path: Path):
    file = tmp_path / "gateway.yaml"
    file.write_text("one")
    watched = WatchedFiles([file])
    assert not watched.has_changed()
    file.write_text("tw")  # half of it
    assert not watched.has_changed()
    file.write_text("two")
    assert [watched.has_changed() for _ in range(3)] == [False, True, False]


def test_what_holds_the_same_has_not_changed(tmp_path: Path):
    file = tmp_path / "gateway.yaml"
    file.write_text("one")
    watched = WatchedFiles([file])
    os.utime(file, (1, 1))
    assert [watched.has_changed() for _ in range(3)] == [False, False, False]
    file.write_text("two")
    assert not watched.has_changed()
    file.write_text("one")
    assert [watched.has_changed() for _ in range(3)] == [False, False, False]


def test_a_link_that_is_turned_a_file_that_goes_and_one_that_comes_are_changes(tmp_path: Path):
    """Kubernetes swaps a link to a folder."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tls.pem").write_text(name)
    (tmp_path / "data").symlink_to("old")
    watched = WatchedFiles([tmp_path / "data" / "tls.pem", tmp_path / "secret"])
    (tmp_path / "link").symlink_to("new")
    (tmp_path / "link").replace(tmp_path / "data")
    assert [watched.has_changed() for _ in range(2)] == [False, True]
    (tmp_path / "secret").write_text("s")
    assert [watched.has_changed() for _ in range(2)] == [False, True]
    (tmp_path / "secret").unlink()
    assert [watched.has_changed() for _ in range(2)] == [False, True]


def test_every_file_that_is_read_once_is_looked_at(tmp_path: Path):
    names = ("token", "secret", "ca.pem", "chain.pem", "key.pem")
    for name in names:
        (tmp_path / name).write_text("a-secret-of-the-tests-with-32-bytes-or-more")
    loaded = configuration(tmp_path, "embedded")
    text = loaded.text.replace("issuers:", "tls: {certificate: chain.pem, key: key.pem}\nissuers:")
    text = text.replace('admin: {listen: "127.0.0.1:0", token: [', 'admin: {listen: "127.0.0.1:0", token: ["${file:secret}", ')
    text = text.replace(', "second-admin-token-of-the-tests-02"', "")
    text = text.replace('url: "http://127.0.0.1:9"', 'url: "https://127.0.0.1:9", tls: {ca: ca.pem}')
    from gateway.config.load import load

    loaded = load(loaded.path, {}, text=text)
    found = files_of(loaded.config, loaded.path, loaded.files)
    assert {file.name for file in found} == {"gateway.yaml", "secret", "ca.pem", "chain.pem", "key.pem"}
