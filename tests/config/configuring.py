"""What the tests of the configuration write down, and how they read the answer."""

from pathlib import Path

import pytest

from gateway.config.load import Loaded, load
from gateway.errors import ConfigurationError

TOKEN = "0123456789abcdef0123456789abcdef"

MINIMAL = f"""\
admin: {{token: {TOKEN[:16]}{TOKEN[16:]}}}
issuers:
  - {{issuer: https://idp.example, audience: shop, jwks: https://idp.example/jwks, user_prefix: shop|}}
upstreams:
  app: {{url: http://127.0.0.1:8000}}
routes:
  - {{name: app, path: /, upstream: app}}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "gateway.yaml"
    path.write_text(text)
    return path


def loaded(folder: Path, text: str, **environ: str) -> Loaded:
    return load(write(folder, text), environ)


def problems(folder: Path, text: str, **environ: str) -> list[str]:
    """The problems without the folder's name: `3:5: routes.0.path: …`."""
    path = write(folder, text)
    with pytest.raises(ConfigurationError) as caught:
        load(path, environ)
    return [problem.removeprefix(f"{path}:") for problem in caught.value.problems]


def warnings(folder: Path, text: str, **environ: str) -> list[str]:
    path = write(folder, text)
    return [warning.removeprefix(f"{path}:") for warning in load(path, environ).warnings]
