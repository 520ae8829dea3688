"""The page about the webhook: its example verifies what is sent."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from webhook.receiving import OLDER, SECRET

from gateway.webhook.signature import signed

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "webhook.md").read_text()
BODY = b'{"type":"replay"}'


def example() -> Callable[[dict[str, str], bytes], Any]:
    (code,) = re.findall(r"```python\n(.+?)```", PAGE, re.S)
    names: dict[str, Any] = {"SECRET": SECRET}
    exec(code, names)
    read: Callable[[dict[str, str], bytes], Any] = names["read"]
    return read


def test_the_example_takes_what_we_sign_and_nothing_else() -> None:
    read, now = example(), int(time.time())
    assert read(signed([SECRET], "m-1", now, BODY), BODY) == {"type": "replay"}
    assert read(signed([OLDER, SECRET], "m-1", now, BODY), BODY) == {"type": "replay"}
    assert read(signed([OLDER], "m-1", now, BODY), BODY) is None
    assert read(signed([SECRET], "m-1", now, BODY), BODY + b" ") is None
    assert read(signed([SECRET], "m-1", now - 3600, BODY), BODY) is None
    assert read(signed([SECRET], "m-1", now, BODY) | {"webhook-id": "m-2"}, BODY) is None
