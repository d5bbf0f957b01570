"""Headless Chromium for tests of pages, driven by Playwright; where one of them is missing, tests are skipped."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or ""
# Nothing but what the page itself does: no sandbox (a container's root has none), no look-ups of Google's hosts.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def open_browser() -> Iterator[Browser]:
    """Start Chromium for as long as the generator lives; skip where it or Playwright is not installed."""
    if not importlib.util.find_spec("playwright"):
        pytest.skip('driving a browser needs the Python package playwright: pip install "bitkiln[test]"')
    if not CHROMIUM:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    # Imported here, because the tests of the base install run without it.
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """An open page, and what it asked for or complained of."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def text(self, selector: str) -> list[str]:
        return [text.strip() for text in self.page.locator(selector).all_text_contents()]


@contextmanager
def visit(browser: Browser, file: Path, width: int = 1280, scheme: str = "light") -> Iterator[Visit]:
    """Open the file, and at the end demand that it asked for nothing and complained of nothing."""
    is_dark = scheme == "dark"
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if is_dark else "light", has_touch=width < 500
    )
    found = Visit(context.new_page())
    found.page.on("console", lambda message: found.complaints.append(message.text))
    found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
    found.page.on("request", lambda request: found.requests.append(request.url))
    found.page.goto(file.as_uri())
    yield found
    assert found.complaints == []
    assert found.requests == [file.as_uri()]
    context.close()
