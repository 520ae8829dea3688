"""The browser of the tests: one per test process, launched by the fixture `chromium`; a test opens contexts of its own in it.

The headless shell where it is installed: it draws no window around a page, so a context and its page cost 0.16 s of processor
time there and 0.66 s in the whole browser.
"""

import shutil

import pytest

EXECUTABLE = shutil.which("chromium-headless-shell") or shutil.which("chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]

NEEDED = "chromium (Debian: chromium-headless-shell) is not installed"
in_chromium = [pytest.mark.skipif(EXECUTABLE is None, reason=NEEDED), pytest.mark.asyncio(loop_scope="session")]
"""The marks of a module whose tests are about a page."""
