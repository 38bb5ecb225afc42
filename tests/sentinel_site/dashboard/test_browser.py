"""The pages in a browser: one test of the whole way in the suite, the others in `make verify`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from anomalies.models import Anomaly, Status
from tests.sentinel_site.dashboard.conftest import minutes, served
from tests.sentinel_site.standalone_process import standalone
from tests.support import catalogue
from tests.support.browser import PHONE, browser, page_of

HOSTILE = "<script>document.title = 'owned'</script><img src=x onerror=alert(1)>"
PASSWORD = "a-password-of-the-tests"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Playwright keeps a loop in this thread, in which Django would refuse to ask the database."""
    with pytest.MonkeyPatch.context() as patch, browser() as started:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        yield started


@pytest.fixture
def site(chromium: Browser, live_server: Any) -> str:
    return str(live_server.url)


def enter(page: Page, site: str, person: User, path: str = "/") -> None:
    client = Client()
    client.force_login(person)
    session = client.cookies[settings.SESSION_COOKIE_NAME].value
    page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": site}])
    page.goto(site + path)


def hostile_incident() -> Anomaly:
    service = served(HOSTILE, (HOSTILE,))
    minutes(HOSTILE, model=HOSTILE)
    at = timezone.now() - timedelta(minutes=4)
    return catalogue.anomaly(service, at, model=HOSTILE, state="active", sample_trace_ids=[HOSTILE])


def test_an_operator_sees_what_is_wrong_and_acknowledges_it_by_keyboard(chromium: Browser, site: str) -> None:
    anomaly = hostile_incident()
    with page_of(chromium) as page:
        enter(page, site, catalogue.person("olga", "operator"))
        expect(page.locator("#headline")).to_have_text("1 critical incident is going on")
        expect(page.locator(".chart")).to_have_count(5)
        expect(page.locator(".pairs .pair-model")).to_have_text(HOSTILE)
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        expect(page.locator("#sentence")).to_contain_text("Latency rose to 15.2 s, expected 532 ms to 1.94 s")
        expect(page.locator("#next-steps li").first).to_be_visible()
        expect(page.locator(".traces code")).to_have_text(HOSTILE)
        expect(page.locator(".chart canvas")).to_be_visible()
        page.go_back()
        expect(page.locator(".chart canvas").first).to_be_visible()  # the page listens to keys by now
        page.keyboard.press("j")
        expect(page.locator("#open .row.is-chosen")).to_have_count(1)
        page.keyboard.press("a")
        expect(page.locator("#open .row")).to_have_count(0, timeout=30_000)
        assert "owned" not in page.title()
    anomaly.refresh_from_db()
    assert (anomaly.status, anomaly.acknowledged_by_name) == (Status.ACKNOWLEDGED, "olga")


@pytest.mark.verify
def test_colours_follow_the_system_until_somebody_chooses(chromium: Browser, site: str) -> None:
    hostile_incident()
    with page_of(chromium, color_scheme="dark") as page:
        enter(page, site, catalogue.person("vera", "viewer"))
        background = "getComputedStyle(document.body).backgroundColor"
        dark = page.evaluate(background)
        page.keyboard.press("t")
        assert page.evaluate(background) != dark
        page.reload()
        assert page.evaluate(background) != dark


@pytest.mark.verify
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_it_stands_on(chromium: Browser, site: str, scheme: str) -> None:
    with page_of(chromium, color_scheme=scheme) as page:
        enter(page, site, catalogue.person("vera", "viewer"))
        named = "getComputedStyle(document.documentElement).getPropertyValue('--%s').trim()"
        pairs = [("text", "bg"), ("muted", "bg"), ("muted", "surface"), ("muted", "sunken"), ("accent", "surface")]
        pairs += [("accent", "accent-soft"), ("on-accent", "accent")]
        pairs += [(tone, f"{tone}-soft") for tone in ("critical", "warning", "info", "ok")]
        pairs += [(tone, "surface") for tone in ("critical", "warning", "info", "ok")]
        poor = {pair: contrast(*(page.evaluate(named % name) for name in pair)) for pair in pairs}
        assert {pair: ratio for pair, ratio in poor.items() if ratio < 4.5} == {}


def contrast(one: str, other: str) -> float:
    """Of two colours as #rgb or #rrggbb, as WCAG 2 defines it."""
    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.verify
def test_a_phone_shows_everything_without_scrolling_sideways(chromium: Browser, site: str) -> None:
    anomaly = hostile_incident()
    with page_of(chromium, viewport=PHONE, is_mobile=True, has_touch=True) as page:
        enter(page, site, catalogue.person("olga", "operator"))
        for path in ("/", f"/incidents/{anomaly.incident_id}"):
            page.goto(site + path)
            page.wait_for_selector(".chart canvas")
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path
        page.get_by_role("button", name="Acknowledge").tap()
        expect(page.locator("#incident-status")).to_have_text("acknowledged by olga")


@pytest.mark.verify
def test_pages_work_without_scripts(chromium: Browser, site: str) -> None:
    anomaly = hostile_incident()
    with page_of(chromium, java_script_enabled=False) as page:
        enter(page, site, catalogue.person("olga", "operator"), "/?range=24h")
        page.get_by_role("button", name="Acknowledge").click()
        assert page.url == f"{site}/?range=24h"
        page.get_by_label("Search").fill("severity:critical")
        page.get_by_role("button", name="Show").click()
        assert "q=severity%3Acritical" in page.url
        assert "range=24h" in page.url
    anomaly.refresh_from_db()
    assert anomaly.status == Status.ACKNOWLEDGED


@pytest.mark.verify
def test_ten_thousand_points_draw_without_a_stutter(chromium: Browser, site: str) -> None:
    hostile_incident()
    with page_of(chromium) as page:
        enter(page, site, catalogue.person("vera", "viewer"))
        page.wait_for_selector(".chart canvas")
        milliseconds = page.evaluate(
            """async () => {
                const { show } = await import("/static/sentinel/js/charts.js");
                const x = Array.from({ length: 10_000 }, (_, index) => 1.7e9 + 60 * index);
                const values = x.map((_, index) => 900 + 400 * Math.sin(index / 90));
                const lines = ["P50", "P95", "P99"].map((label) => ({ label, values }));
                const band = { low: 500, high: 1500 };
                const chart = { id: "many", title: "Many", unit: "ms", x, lines, band, marks: [] };
                const began = performance.now();
                show(document.getElementById("charts"), [chart]);
                await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
                return performance.now() - began;
            }"""
        )
        assert milliseconds < 500


@pytest.mark.verify
@pytest.mark.timeout(600)
def test_from_the_first_start_to_the_first_anomaly_in_two_clicks(chromium: Browser, tmp_path: Path) -> None:
    """The page is opened once and never loaded again: the first incident arrives on it by itself."""
    with standalone(tmp_path, DEMO="1", SENTINEL_ADMIN_PASSWORD=PASSWORD) as running, page_of(chromium) as page:
        page.goto(running.url)
        page.get_by_label(re.compile("username", re.I)).fill("admin")
        page.locator("[name=password]").fill(PASSWORD)
        page.locator("[name=password]").press("Enter")
        page.wait_for_url(f"{running.url}/")
        row = page.locator("#open .row-title").first
        row.wait_for(timeout=120_000)
        expect(page.locator("#live")).to_have_attribute("data-state", "live")
        page.evaluate("window.isTheSame = true")
        calls = page.locator(".tile-value").first
        before = calls.inner_text()
        expect(calls).not_to_have_text(before, timeout=90_000)
        assert page.evaluate("window.isTheSame")
        title = row.inner_text()
        row.click()
        expect(page.locator("h1")).to_have_text(title)
        expect(page.locator("#sentence")).to_contain_text(re.compile(r"(rose|fell) to .+, expected .+"))
        expect(page.locator("#next-steps li").first).to_be_visible()
        expect(page.locator(".chart canvas").first).to_be_visible()
