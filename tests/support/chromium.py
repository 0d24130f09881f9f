"""Debian's Chromium without a window, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def installed() -> str | None:
    """The path of Chromium; None if it can't be driven here."""
    try:
        import playwright  # noqa: F401
    except ImportError:
        return None
    return shutil.which("chromium")


@contextmanager
def launched(program: str) -> Iterator[Browser]:
    """The browser at the path `program`, as long as it's needed."""
    from playwright.sync_api import sync_playwright

    # Chromium has no sandbox for root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            browser.close()
