"""A real browser on pages that lie on the disk, as somebody opens them: Debian's Chromium, driven by Playwright.

`page` is a new tab of the size of a desktop, `phone` one of a telephone. A test fails where a page writes an error to
the console, or asks for anything that is not on the disk.
"""

import os
import shutil
from collections.abc import Iterator

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """One browser for all tests; without one they are skipped, which says what is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright: make setup installs it")
    found = os.environ.get("BROWSER_PATH") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no browser: install Chromium (Debian: apt-get install chromium), or set BROWSER_PATH")
    with playwright.sync_playwright() as driver:
        # Root has no sandbox; the pages are this project's own.
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        yield browser
        browser.close()


@pytest.fixture
def page(browser) -> Iterator:
    yield from _tab(browser, DESKTOP)


@pytest.fixture
def phone(browser) -> Iterator:
    yield from _tab(browser, PHONE)


def _tab(browser, size: dict) -> Iterator:
    context = browser.new_context(viewport=size, accept_downloads=True, timezone_id="Europe/Madrid", locale="en-GB")
    context.set_default_timeout(5000)
    tab = context.new_page()
    faults = []
    tab.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("dialog", lambda dialog: (faults.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    tab.on("request", lambda request: None if _is_here(request.url) else faults.append(f"asked for {request.url}"))
    yield tab
    context.close()
    assert faults == []


def _is_here(url: str) -> bool:
    return url.startswith(("file:", "blob:", "data:"))
