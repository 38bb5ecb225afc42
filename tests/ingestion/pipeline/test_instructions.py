"""What operators say through the API reaches consumers that run, and stays in force when they are killed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connections
from rest_framework.test import APIClient

from anomalies.detection.instructions import Instructions
from anomalies.detection.overrides import OverrideSet
from baselines.stats.series import Pair
from ingestion.instruction_watch import InstructionWatch
from tests.ingestion.pipeline.conftest import MakeWorld
from tests.ingestion.pipeline.recordings import BEGIN, Message, call, message, traffic
from tests.ingestion.pipeline.rows import DETECTED, differences, dump
from tests.ingestion.pipeline.threads import await_offsets, consumer
from tests.ingestion.pipeline.worlds import KILLED, World, await_rows, count, publish
from tests.support.catalogue import bearer, token
from tests.support.waiting import eventually

TAKEN_UP_SECONDS = 10.0


def elsewhere(step: Callable[[], Any]) -> Any:
    """Run a step in a thread of its own, which has the database of the world that the test lives in."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(step())
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert results, "the step failed"
    return results[0]


def post(address: str, body: dict[str, Any]) -> dict[str, Any]:
    def step() -> dict[str, Any]:
        secret = token("read", "write", "admin")[1]
        answer = APIClient().post(address, body, format="json", headers=bearer(secret))
        assert answer.status_code in (200, 201), answer.content
        return dict(answer.json()) if answer.content else {}

    return elsewhere(step)


def steady(first: int, events: int, **fields: Any) -> list[Message]:
    """Calls of one service, a second apart; every tenth is a little slower, so that there is a spread."""
    return [
        message(call(BEGIN + timedelta(seconds=n), latency_ms=100.0 + 5 * (n % 10), request_id=f"s-{n}", **fields))
        for n in range(first, first + events)
    ]


def outlier(second: int) -> Message:
    return message(call(BEGIN + timedelta(seconds=second), latency_ms=90_000.0, request_id=f"o-{second}"))


def anomalies(world: World) -> int:
    return count(world.database, "anomalies_anomaly")


def ticks(world: World) -> int:
    with psycopg.connect(world.database) as connection:
        query = "SELECT count(*) FROM baselines_partitiontick WHERE instructions IS NOT NULL"
        row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


@pytest.mark.timeout(120)
def test_an_override_made_through_the_api_changes_what_a_running_consumer_tells(world: World) -> None:
    publish(world.topics, steady(0, 60))
    with consumer(world):
        await_offsets(world)
        publish(world.topics, [outlier(60)])
        await_rows(world.database, "anomalies_anomaly", 1)
        known = anomalies(world)
        post("/api/v1/detection-overrides", {"service": "chat-*", "muted": True, "note": "a load test"})
        eventually(lambda: ticks(world) >= 2, deadline=TAKEN_UP_SECONDS, message="a switch in both partitions")
        publish(world.topics, [outlier(300), *steady(301, 5), outlier(500)])
        await_offsets(world)
        assert anomalies(world) == known


@pytest.mark.timeout(240)
def test_kills_after_a_switch_leave_the_rows_of_an_uninterrupted_run(make_world: MakeWorld, inhabit: Any) -> None:
    """Both consumers hear of the same override at the same offset; one is killed on its way from there."""
    sent = list(traffic(3000))
    worlds = [make_world(), make_world()]
    publish(worlds[0].topics, sent[:1500])
    for world in worlds:
        inhabit(world)
        with consumer(world):
            await_offsets(world)
            post(
                "/api/v1/detection-overrides", {"service": "chat-api", "thresholds": {"zscore": 2.0}, "direction": "up"}
            )
            eventually(lambda: ticks(world) >= 2, deadline=TAKEN_UP_SECONDS, message="the switch")  # noqa: B023
    publish(worlds[0].topics, sent[1500:])
    whole, broken = worlds
    named = broken.configured(SENTINEL__INGESTION__KAFKA__GROUP_INSTANCE_ID="only")
    with named.forked() as consume:
        for failpoint in ("score:2", "postgres:1", "redis:1"):
            assert consume("--batch-size", "100", failpoint=failpoint) == KILLED
        assert consume() == 0
    ended = whole.consume("--batch-size", "700")
    assert ended.returncode == 0, ended.stdout
    expected = dump(whole.database, DETECTED)
    assert not differences(expected, dump(broken.database, DETECTED))


@pytest.mark.timeout(120)
def test_a_retired_model_is_not_missed_and_comes_back_by_itself(world: World) -> None:
    publish(world.topics, steady(0, 60))

    def watch() -> str:
        answer = elsewhere(lambda: APIClient().get("/api/v1/services", headers=bearer(token("read")[1])).json())
        (service,) = [each for each in answer["services"] if each["name"] == "chat-api"]
        return str(service["models"][0]["watch"])

    with consumer(world):
        await_offsets(world)
        eventually(lambda: count(world.database, "baselines_servedmodel") >= 1, deadline=20, message="a model")
        post("/api/v1/services/chat-api/retire", {})
        assert watch() == "retired"
        eventually(lambda: ticks(world) >= 2, deadline=TAKEN_UP_SECONDS, message="the switch")
        publish(world.topics, [message(call(datetime.now(UTC) + timedelta(seconds=1), request_id="back"))])
        await_offsets(world)
        eventually(lambda: watch() != "retired", deadline=20, message="its coming back")


def test_a_database_that_is_down_delays_the_news_and_no_more() -> None:
    news = Instructions.of(OverrideSet(), {Pair("a", "b"): 1})
    answers = iter([Instructions(), OperationalError("down"), OperationalError("down"), news])

    def ask() -> Instructions:
        answer = next(answers, news)
        if isinstance(answer, Exception):
            raise answer
        return answer

    watch = InstructionWatch(ask, every=0.01)
    watch.start()
    try:
        assert watch.newest is not None
        eventually(lambda: watch.newest == news, deadline=5, message="the news")
    finally:
        watch.stop()
