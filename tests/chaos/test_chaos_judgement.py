"""What the soak takes for growth, on made-up looks: a leak however it comes, and neither a step nor what is bounded."""

from collections.abc import Callable

import pytest
from chaos.soak import DESCRIPTORS, Sample, judge

MIB = 1 << 20
LOOKS = 120  # ten minutes


def grew(*, worker: Callable[[float], float] = lambda at: 0.0, descriptors: int = 30, keys: int = 5) -> list[str]:
    """What is said to have grown, of a run whose worker's memory follows a function of its part from 0 to 1, in MiB."""
    samples = [
        Sample(
            at * 5.0,
            {"worker 0": int(130 * MIB + worker(at / LOOKS) * MIB)},
            {"worker 0": 30 if at < LOOKS / 2 else descriptors},
            {"memory": 3 * MIB, "log entries": at, "first": 5 if at < LOOKS / 2 else keys},
            tokens=0,
        )
        for at in range(LOOKS)
    ]
    return judge(samples)[1]


@pytest.mark.parametrize(
    "leak",
    [lambda at: 4 * at, lambda at: int(16 * at) / 4, lambda at: 4 * at + 3 * (int(at * LOOKS) % 7 == 0)],
    ids=["steadily", "in steps", "among peaks"],
)
def test_a_leak_is_found_however_it_comes(leak: Callable[[float], float]) -> None:
    assert grew(worker=leak) == ["the memory of worker 0"]


@pytest.mark.parametrize(
    "memory",
    [lambda at: 6 * (at > 0.6), lambda at: 6 * (at > 0.98), lambda at: 5 * (at < 0.3), lambda at: 3 * (int(at * LOOKS) % 7 == 0)],
    ids=["one step", "a step at the end", "given back", "peaks"],
)
def test_one_step_and_peaks_are_no_leak(memory: Callable[[float], float]) -> None:
    assert grew(worker=memory) == []


def test_descriptors_and_keys_that_stay_are_found() -> None:
    assert grew() == []
    assert grew(descriptors=30 + DESCRIPTORS + 1) == ["the descriptors of worker 0"]
    assert grew(keys=500) == ["first in the store"]
