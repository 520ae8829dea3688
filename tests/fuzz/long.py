"""`make fuzz`: every target under random damage for a while, and the time of each against the size of its input.

    python tests/fuzz/long.py [--seconds 60] [--seed N] [TARGET …]

A find is written to `tests/corpus/finds/TARGET/`, with the promise that it breaks on standard error, and ends the run with 1. A
run says its seed; the same seed damages alike. An input that takes more than `HANG_S` is a find too.
"""

import argparse
import hashlib
import random
import signal
import sys
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from fuzz.damaging import damaged, random_edits
from fuzz.fuzz_targets import FINDS, GROWING, TARGETS, Target, seeds

HANG_S: Final = 5
SMALL, LARGE = 8 * 1024, 64 * 1024
NOTICED_S: Final = 0.02
STEEPEST: Final = 3.0
"""So many times steeper than a straight line may the time grow: eight times the input, twenty-four times the processor time."""


class Hang(Exception):
    """One input took too long."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="for all targets together")
    parser.add_argument("--seed", type=int, default=time.time_ns())
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    arguments = parser.parse_args()
    signal.signal(signal.SIGALRM, _raise_hang)
    names = arguments.targets or list(TARGETS)
    print(f"seed {arguments.seed}")
    finds = [fuzz(name, arguments.seconds / len(names), arguments.seed) for name in names]
    steep = [steepness(name) for name in names]
    return 1 if any(finds) or any(steep) else 0


def fuzz(name: str, seconds: float, seed: int) -> bool:
    """Damage the seeds of one target for so long; whether something was found."""
    chosen, target, pool = random.Random(f"{seed} {name}"), TARGETS[name], seeds(name)
    deadline = time.monotonic() + seconds
    count = 0
    while time.monotonic() < deadline:
        data = damaged(chosen.choice(pool), random_edits(chosen, pool))
        count += 1
        if (problem := broken(target, data)) is not None:
            path = keep(name, data)
            print(f"{name}: {path}\n{problem}", file=sys.stderr)
            return True
    print(f"{name}: {count} inputs, nothing found")
    return False


def broken(target: Target, data: bytes) -> str | None:
    """What went wrong, as a traceback."""
    signal.alarm(HANG_S)
    try:
        target(data)
    except Exception:
        return traceback.format_exc(limit=-6)[-3000:]
    finally:
        signal.alarm(0)
    return None


def keep(name: str, data: bytes) -> Path:
    folder = FINDS / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(data).hexdigest()[:12]
    path.write_bytes(data)
    return path


def steepness(name: str) -> bool:
    """Whether the time of a target grows much faster than what it is given: what repeats, and pieces of the seeds, repeated."""
    pieces = {seed[at : at + size] for seed in seeds(name)[:6] for at in (0, len(seed) // 2) for size in (1, 3, 4096)} - {b""}
    found = False
    for beginning, piece in (*GROWING.get(name, ()), *((b"", piece) for piece in pieces)):
        small, large = (processor_s(TARGETS[name], grown(beginning, piece, size)) for size in (SMALL, LARGE))
        if large > NOTICED_S and large > STEEPEST * small * LARGE / SMALL:
            print(
                f"{name}: {(beginning + piece)[:40]!r} repeated: {SMALL} bytes {small:.4f} s, {LARGE} {large:.4f} s",
                file=sys.stderr,
            )
            found = True
    return found


def grown(beginning: bytes, piece: bytes, size: int) -> bytes:
    return beginning + piece * (size // len(piece))


def processor_s(target: Target, data: bytes) -> float:
    """The least of three, so that another process on the machine does not count."""
    times = []
    for _ in range(3):
        start = time.process_time()
        target(data)
        times.append(time.process_time() - start)
    return max(min(times), 1e-4)


def _raise_hang(number: int, frame: FrameType | None) -> None:
    raise Hang(f"more than {HANG_S} s")


if __name__ == "__main__":
    sys.exit(main())
