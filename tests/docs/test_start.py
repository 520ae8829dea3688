"""docs/start.md as its reader follows it: every `sh` block typed into one shell, every promised output found in what it printed.

```sh               typed
```text             each line must appear in the output of the block above; `…` stands for anything
```python NAME      written to a file of that name, as is ```yaml NAME
```console          not run: it installs the gateway, which is installed here already
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from ports import free_port

PAGE = Path(__file__).resolve().parents[2] / "docs" / "start.md"
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.M | re.S)
MARK = "=== block"


def test_every_block_of_the_start_page_does_what_the_page_says(tmp_path: Path):
    text = with_free_ports(PAGE.read_text())
    script, promises = ["set -m", "exec 2>&1"], []
    for kind, name, content in BLOCK.findall(text):
        if kind == "sh":
            script += [f"echo; echo '{MARK}'", content]
            promises.append("")
        elif kind == "text":
            promises[-1] = content
        elif name:
            script += [f"cat >{name} <<'END_OF_FILE'", f"{content}END_OF_FILE"]
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(),
        check=False,
    )
    outputs = done.stdout.split(f"\n{MARK}\n")[1:]
    assert len(outputs) == len(promises) >= 10
    for output, promised in zip(outputs, promises, strict=True):
        for line in promised.splitlines():
            pattern = ".*".join(re.escape(piece) for piece in line.split("…"))
            assert re.search(pattern, output), f"{line!r} is not in:\n{output}"


def with_free_ports(text: str) -> str:
    """The page with ports that are free here and now."""
    for written in ("8000", "8080", "9090"):
        text = re.sub(rf"\b{written}\b", str(free_port()), text)
    return text


def environment() -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("GATEWAY_", "PYTEST_"))}
    return ours | {"PATH": f"{Path(sys.executable).parent}:{ours['PATH']}", "NO_COLOR": "1"}
