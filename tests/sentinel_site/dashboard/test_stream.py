"""Open pages hear that something changed."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from django.utils import timezone

from anomalies import lifecycle
from anomalies.models import Anomaly
from sentinel_site.dashboard import stream, views
from sentinel_site.dashboard.entrance import sight_of
from sentinel_site.dashboard.momentary import Momentary
from tests.sentinel_site.dashboard.conftest import minutes, served, signed_in
from tests.support import catalogue


def test_a_fingerprint_changes_with_everything_that_a_page_shows(viewer):
    sight = sight_of(viewer)
    anomaly = catalogue.anomaly(served(), timezone.now() - timedelta(minutes=3))
    seen = [stream.read_fingerprint(sight)]
    lifecycle.acknowledge(Anomaly.objects.filter(pk=anomaly.pk), viewer)
    seen.append(stream.read_fingerprint(sight))
    minutes()
    seen.append(stream.read_fingerprint(sight))
    catalogue.anomaly(served(), timezone.now())
    seen.append(stream.read_fingerprint(sight))
    assert len(set(seen)) == len(seen)
    assert stream.read_fingerprint(sight) == seen[-1]


def test_incidents_of_other_projects_change_nothing(viewer):
    before = stream.read_fingerprint(sight_of(viewer))
    catalogue.anomaly(served("secret", of="other"), timezone.now())
    assert stream.read_fingerprint(sight_of(viewer)) == before


@pytest.fixture
def fingerprints(monkeypatch) -> list[str]:
    """What each look finds; the last one stays."""
    found: list[str] = []
    monkeypatch.setattr(stream, "fingerprint", lambda _: found.pop(0) if len(found) > 1 else found[0])
    monkeypatch.setattr(stream, "close_old_connections", lambda: None)
    return found


def test_a_watcher_is_told_of_each_change_once_and_that_the_line_still_stands(fingerprints):
    fingerprints += ["a", "a", "b", "b", "b"]
    waits: list[float] = []
    frames = stream.Frames(stream.Watcher(None, known="a"), wait=waits.append)
    sent = [next(frames) for _ in range(3)]
    assert sent[0].startswith(b":")
    assert sent[1] == stream.event("b")
    assert sent[2].startswith(b":")
    assert waits == [stream.EVERY] * 3


def test_a_page_that_missed_something_while_it_was_away_hears_of_it_at_once(fingerprints):
    fingerprints += ["b"]
    assert next(stream.Frames(stream.Watcher(None, known="a"))) == stream.event("b")


def test_a_watcher_must_come_again_after_some_minutes_and_leaves_its_seat(fingerprints):
    fingerprints += ["a"]
    seats = stream.Seats(1)
    assert seats.take()
    assert not seats.take()
    frames = stream.Frames(stream.Watcher(None, known="a"), wait=lambda _: None, done=seats.leave)
    assert len(list(frames)) == stream.LONGEST // stream.HEARTBEAT
    assert seats.take()


def test_a_page_that_was_closed_leaves_its_seat_even_if_it_never_read(fingerprints):
    fingerprints += ["a"]
    seats = stream.Seats(1)
    for gone in (False, True):
        assert seats.take()
        frames = stream.Frames(stream.Watcher(None), is_gone=lambda gone=gone: gone, done=seats.leave)
        assert list(frames if gone else []) == []
        frames.close()


def test_a_web_server_without_seats_sends_watchers_away_to_poll(viewer):
    answer = signed_in(viewer).get("/live/")
    assert answer.status_code == 503
    assert answer["Content-Type"] == "application/problem+json"


def test_a_seat_serves_events(viewer, monkeypatch):
    monkeypatch.setattr(stream, "close_old_connections", lambda: None)
    monkeypatch.setattr(views, "seats", stream.Seats(1))
    answer = signed_in(viewer).get("/live/")
    assert answer["Content-Type"] == "text/event-stream"
    first = next(iter(answer.streaming_content))
    assert b"event: changed" in first
    assert signed_in(viewer).get("/live/").status_code == 503
    answer.close()
    assert views.seats.take()


@pytest.mark.parametrize(("origin", "admitted"), [("http://localhost:8080", True), ("https://evil.example", False)])
def test_pages_of_this_site_alone_may_listen_from_another_origin(viewer, monkeypatch, settings, origin, admitted):
    assert settings.SENTINEL.api.public_url.startswith("http://localhost:8080")
    monkeypatch.setattr(stream, "close_old_connections", lambda: None)
    monkeypatch.setattr(views, "seats", stream.Seats(1))
    answer = signed_in(viewer).get("/live/", headers={"Origin": origin})
    assert (answer.get("Access-Control-Allow-Origin") == origin) is admitted
    answer.close()


def test_the_asynchronous_server_needs_no_seats(fingerprints, monkeypatch):
    fingerprints += ["a"]
    monkeypatch.setattr(stream, "LONGEST", 1)

    async def read() -> list[bytes]:
        return [sent async for sent in stream.async_frames(stream.Watcher(None))]

    monkeypatch.setattr(stream, "EVERY", 0.0)
    assert asyncio.run(read()) == [stream.event("a")]


def test_who_asks_while_an_answer_is_fresh_gets_that_one():
    now = [0.0]
    made: list[int] = []
    kept: Momentary[int] = Momentary(1.0, clock=lambda: now[0])

    def make() -> int:
        made.append(1)
        return len(made)

    assert [kept.get("a", make), kept.get("a", make), kept.get("b", make)] == [1, 1, 2]
    now[0] = 1.0
    assert kept.get("a", make) == 3


def test_what_fails_is_not_kept():
    kept: Momentary[int] = Momentary(1.0)
    with pytest.raises(ZeroDivisionError):
        kept.get("a", lambda: 1 // 0)
    assert kept.get("a", lambda: 7) == 7
