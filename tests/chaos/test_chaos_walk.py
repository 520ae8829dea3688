"""Two hundred random walks of tests/model, each with faults of its own: `make chaos ARGS='-k walk'`.

A failing walk is told with its seed; `WALK_SEED=N` begins there, `WALKS=1` takes that one alone. Up to 40 walks share a gateway.
"""

import os
import time
from pathlib import Path

import pytest
from model.rough_gateway import rough_gateway
from model.walk import Graves, Walk

WALKS = int(os.environ.get("WALKS", "200"))
FIRST = int(os.environ.get("WALK_SEED", "1000"))
SHARE = 40
LONGEST_S = 3000.0


def test_walk_nothing_acknowledged_is_lost_in_random_kills(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    graves, broken = Graves(), []
    deadline = time.monotonic() + LONGEST_S
    left = list(range(FIRST, FIRST + WALKS))
    while left:
        with rough_gateway(tmp_path / str(left[0]), keys=SHARE) as gateway:
            graves.guests.clear()
            graves.visitors.clear()
            for _ in range(min(SHARE, len(left))):
                assert time.monotonic() < deadline, f"{WALKS - len(left)} walks took {LONGEST_S:.0f} s"
                seed, began = left.pop(0), time.monotonic()
                try:
                    Walk(gateway, seed, graves).run()
                except AssertionError as error:  # a broken promise, or something that was waited for and did not come
                    broken.append(seed)
                    with capsys.disabled():
                        print(f"\nwalk {seed}: {error}", flush=True)
                    break  # the next one begins with another gateway
                with capsys.disabled():
                    print(f"walk {seed}: {time.monotonic() - began:.1f} s", flush=True)
    with capsys.disabled():
        print(f"\n{len(broken)} of {WALKS} walks broke a promise; seeds {FIRST} to {FIRST + WALKS - 1}; {dict(graves.counts)}")
    assert broken == []
