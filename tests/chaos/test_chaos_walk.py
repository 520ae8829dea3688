"""Two hundred random walks of tests/model, each with faults of its own: `make chaos ARGS='-k walk'`.

A failing walk is told with its seed; `WALK_SEED=N` begins there and `WALKS=1` takes that one alone. Forty walks share a gateway.
"""

import os
import time
from pathlib import Path

import pytest
from model.rough_gateway import rough_gateway
from model.walk import Broken, Graves, Walk

WALKS = int(os.environ.get("WALKS", "200"))
FIRST = int(os.environ.get("WALK_SEED", "1000"))
SHARE = 40
LONGEST_S = 3000.0


def test_walk_nothing_acknowledged_is_lost_in_random_kills(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    graves, broken, taken = Graves(), [], 0
    deadline = time.monotonic() + LONGEST_S
    for first in range(FIRST, FIRST + WALKS, SHARE):
        seeds = range(first, min(first + SHARE, FIRST + WALKS))
        with rough_gateway(tmp_path / str(first), keys=len(seeds)) as gateway:
            graves.guests.clear()
            graves.visitors.clear()
            for seed in seeds:
                assert time.monotonic() < deadline, f"{taken} walks took {LONGEST_S:.0f} s"
                began = time.monotonic()
                try:
                    Walk(gateway, seed, graves).run()
                except Broken as error:
                    broken.append(seed)
                    with capsys.disabled():
                        print(f"\n{error}", flush=True)
                taken += 1
                with capsys.disabled():
                    print(f"walk {seed}: {time.monotonic() - began:.1f} s", flush=True)
    with capsys.disabled():
        print(f"\n{len(broken)} of {taken} walks broke a promise; seeds {FIRST} to {FIRST + taken - 1}; {dict(graves.counts)}")
    assert broken == []
