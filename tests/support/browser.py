"""The system's Chromium, driven by playwright: pages as people meet them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

DESK = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}


def chromium() -> str:
    """Where it is; skips the test without it, unless everything must be there."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        missing = "Chromium is missing: apt-get install chromium, or name it in CHROMIUM"
        pytest.fail(missing) if os.environ.get("SENTINEL_REQUIRE_SERVICES") else pytest.skip(missing)
    return path


@contextmanager
def browser() -> Iterator[Browser]:
    path = chromium()
    with sync_playwright() as playwright:
        # Its sandbox refuses to run as root, which tests in containers do.
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"] if os.getuid() == 0 else [])
        yield started
        started.close()


@contextmanager
def page_of(browser: Browser, **context: Any) -> Iterator[Page]:
    """A page in a profile of its own; fails at its end if the page complained, about its security policy for one."""
    complaints: list[str] = []
    profile = browser.new_context(**{"viewport": DESK, "timezone_id": "UTC", "locale": "en-GB"} | context)
    page = profile.new_page()
    page.set_default_timeout(15_000)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if is_complaint(said) else None)
    yield page
    profile.close()
    if complaints:
        raise AssertionError(f"the page complained: {complaints}")


def is_complaint(said: ConsoleMessage) -> bool:
    """Whether it is one. That nobody serves `/live/`, and that the login page has no icon, is expected."""
    return said.type == "error" and not said.location["url"].endswith(("/live/", "/favicon.ico"))
