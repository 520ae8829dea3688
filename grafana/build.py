"""Writes the boards, `grafana/dashboards/*.json`, which are committed so that whoever imports one needs nothing of this.

    python -m grafana.build        (make boards)

Plain dictionaries, and no library for dashboards: those that there are follow other versions of Grafana than one's own, and what
they would check is checked by `tests/grafana`, against the program and a Prometheus.
"""

import json
from pathlib import Path
from typing import Final

from grafana.boards import BOARDS

FOLDER: Final = Path(__file__).resolve().parent / "dashboards"


def files() -> dict[Path, str]:
    """Every file with its text."""
    return {FOLDER / f"{board.uid}.json": json.dumps(board.as_json(), indent=2) + "\n" for board in BOARDS}


def main() -> None:
    for path, text in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(FOLDER.parent.parent)}")


if __name__ == "__main__":
    main()
