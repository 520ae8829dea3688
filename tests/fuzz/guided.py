"""The same targets guided by coverage: `python tests/fuzz/guided.py TARGET [libFuzzer options]`, with atheris installed.

pip install -e '.[fuzz]'      wheels for CPython 3.11 to 3.13 on Linux
python tests/fuzz/guided.py head -max_total_time=60
"""

import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parent.parent))

with atheris.instrument_imports(include=["gateway"]):
    from fuzz.fuzz_targets import TARGETS, seeds


def main() -> None:
    name = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="corpus-") as folder:
        for number, seed in enumerate(seeds(name)):
            (Path(folder) / str(number)).write_bytes(seed)
        atheris.Setup([sys.argv[0], folder, "-max_len=4096", *sys.argv[2:]], TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
