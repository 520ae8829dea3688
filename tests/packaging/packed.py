"""Where the files are that operators copy, and how a test reads them."""

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
KUBERNETES = DOCKER / "kubernetes"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
CONFIGURATION = (DOCKER / "gateway.yaml").read_text()
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
PAGE = ROOT / "docs" / "how-to" / "deploy.md"


def adapted(text: str, **places: str) -> str:
    """The text with names of containers and folders replaced. Each must be in it: a file that changes is noticed here."""
    for before, after in places.items():
        assert before in text, f"{before} is not in it any more"
        text = text.replace(before, after)
    return text


def made_secrets(folder: Path) -> Path:
    """What docker/secrets.sh makes, in a folder of the test's own."""
    script = folder / "secrets.sh"
    script.write_bytes((DOCKER / "secrets.sh").read_bytes())
    subprocess.run(["sh", str(script)], check=True, capture_output=True)
    return folder / "secrets"


def block(kind: str, name: str) -> str:
    """A named block of the page on deployment."""
    found = re.search(rf"^```{kind} {re.escape(name)}\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    assert found, f"the page has no {name}"
    return found[1]
