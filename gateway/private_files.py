"""Files in `store.directory`: for this user alone, and on the disk when a function returns.

Somebody was promised what stands in them. So a file is written beside its place, flushed, put there in one step, and the folder
is flushed too: without that the name may still be the old file's after a crash of the machine. Every function raises OSError.
"""

import errno
import os
import stat
from pathlib import Path


def open_private(file: Path, flags: int) -> int:
    """A descriptor of a regular file, and of nothing that somebody laid there to have us write elsewhere, or wait."""
    descriptor = os.open(file, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is no regular file", str(file))
    return descriptor


def create_private(file: Path) -> int:
    """A descriptor of a new file, in a folder that is made if it is missing. What was there before is gone."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    return open_private(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL)


def write_all(descriptor: int, data: bytes) -> None:
    """A full disk may take a part of it; the next attempt says why."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def put_in_place(beside: Path, file: Path) -> None:
    """A file that was flushed takes the place of another one."""
    beside.replace(file)
    flush_folder(file.parent)


def flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_private(file: Path, data: bytes) -> None:
    """The whole file anew."""
    beside = file.with_suffix(".new")
    descriptor = create_private(beside)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    put_in_place(beside, file)
