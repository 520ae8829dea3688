"""`GET /`: the page, one document that is the same for everybody and holds nothing of this gateway.

    page.html ── <link href="page.css">, <script src="….js"> ──▶ replaced by what is in these files, and allowed by its hash

Whatever it shows it asks the API for, with the token that a person gave it: there is no cookie, so nothing that a foreign page
could make a browser send along. The policy allows the blocks of this document and requests to this very port: no other script,
no style, no form, no frame around it, and (Trusted Types) no text that becomes markup.

Owns the document, which is read and put together when it is asked for the first time.
"""

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Final

from aiohttp import web

from gateway.admin.answers import SECURITY_HEADERS

FOLDER: Final = Path(__file__).parent
_STYLE: Final = re.compile(r'<link rel="stylesheet" href="([a-z]+\.css)">')
_SCRIPT: Final = re.compile(r'<script src="([a-z]+\.js)"></script>')


class Page:
    """Per process: the document and its header fields, made once."""

    def __init__(self) -> None:
        self._made: tuple[bytes, dict[str, str]] | None = None

    def answer(self) -> web.Response:
        """200, whoever asks."""
        if self._made is None:
            self._made = compose(FOLDER)
        body, headers = self._made
        return web.Response(body=body, headers=headers)


def compose(folder: Path) -> tuple[bytes, dict[str, str]]:
    """The document and its header fields."""
    html = (folder / "page.html").read_text("utf-8")
    html, styles = _inlined(html, folder, _STYLE, "style")
    html, scripts = _inlined(html, folder, _SCRIPT, "script")
    policy = (
        f"default-src 'none'; script-src {_hashes(scripts)}; style-src {_hashes(styles)}; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    return html.encode(), {
        **SECURITY_HEADERS,
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": policy,
        "Cross-Origin-Opener-Policy": "same-origin",
    }


def _inlined(html: str, folder: Path, named: "re.Pattern[str]", element: str) -> tuple[str, list[str]]:
    """The files that the document names in its place, and what they hold."""
    blocks = {name: (folder / name).read_text("utf-8") for name in named.findall(html)}
    return named.sub(lambda match: f"<{element}>{blocks[match[1]]}</{element}>", html), list(blocks.values())


def _hashes(blocks: list[str]) -> str:
    """The blocks as sources of a policy (CSP 3, 2.3.1)."""
    return " ".join(f"'sha256-{b64encode(sha256(block.encode()).digest()).decode()}'" for block in blocks)
