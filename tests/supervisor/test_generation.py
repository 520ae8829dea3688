"""What a generation of workers inherits, when there are too few descriptors for it."""

import os
import resource
from pathlib import Path

import pytest
from supervising import configuration

from gateway.generation import Generation
from gateway.listeners import Listeners


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_one_that_cannot_be_made_for_want_of_a_descriptor_leaves_none_behind(tmp_path: Path):
    loaded = configuration(tmp_path, "embedded")
    before = open_descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    for further in range(5):  # cells, configuration, certificate, key; one more is for the map of the cells
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + further, hard))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                Generation(loaded, 1, Listeners(()), (b"certificate", b"key"))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert open_descriptors() == before
    Generation(loaded, 1, Listeners(()), (b"certificate", b"key")).close()
    assert open_descriptors() == before
