"""Budgets over recorded spend: how they stand, and the anomalies and alerts that come of it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import connection, connections
from django.urls import reverse
from django.utils import timezone

from alerting import tasks
from alerting.budgets import cost_outlook, standing
from alerting.crossings import EVERYTHING, watch_budgets
from alerting.models import Alert, Budget
from anomalies.circumstances import told
from anomalies.models import Anomaly, Incident, State
from baselines import rollup
from baselines.models import TelemetryMinute, UserHour
from tests.support import catalogue

pytestmark = pytest.mark.django_db

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def a_budget(**changes: Any) -> Budget:
    """$100 a month for everything, unless said otherwise; set before the month began."""
    row = Budget(**({"name": "chat", "amount": 100.0} | changes))
    row.full_clean()
    row.save()
    return touched(row, START - 60 * DAY)


def touched(row: Budget, at: datetime, **changes: Any) -> Budget:
    """As if somebody had changed it at that time."""
    Budget.objects.filter(pk=row.pk).update(updated_at=at, **changes)
    row.refresh_from_db()
    return row


def spend(usd: float, at: datetime = START, of: str = "chat-api", model: str = "gpt-4", **values: Any) -> None:
    catalogue.service(of, models=(model,), of=values.pop("project", "default"))
    catalogue.minute(of, at, model=model, cost_usd=usd, first_offset=int(at.timestamp()), **values)


def spend_of(user: str, usd: float, at: datetime = START, of: str = "chat-api", model: str = "gpt-4") -> None:
    catalogue.service(of, models=(model,))
    place = {"service": of, "model": model, "user": user, "hour": at}
    UserHour.objects.create(**place, count=1, cost_usd=usd, total_tokens=10, unpriced_tokens=0)


def crossed() -> list[tuple[float | None, str, str]]:
    rows = Anomaly.objects.filter(detector="budget").order_by("first_offset", "value")
    return [(row.details["share"], row.severity, row.state) for row in rows]


def events() -> list[str]:
    return list(Alert.objects.order_by("created_at", "type").values_list("type", flat=True))


def test_a_share_that_is_reached_is_an_anomaly_with_its_incident_and_its_alert() -> None:
    a_budget()
    spend(79.9)
    spend(0.1, START + HOUR)
    now = START + 9 * DAY
    assert watch_budgets(now) == 1
    row = Anomaly.objects.get()
    assert (row.detector, row.type, row.service.name, row.value, row.upper) == (
        ("budget", "cost_anomaly", "chat-api", pytest.approx(80), 80.0)
    )
    assert (row.first_seen, row.last_seen, row.state) == (now, now, State.ACTIVE)
    assert row.incident.title == row.title == "Budget “chat” of all services: 80 % spent"
    alert = Alert.objects.get()
    assert (alert.anomaly_id, alert.type, alert.outcome) == (row.id, Alert.Type.OPENED, Alert.Outcome.PENDING)


def test_each_share_is_told_once_a_period_the_louder_the_more_is_spent() -> None:
    a_budget()
    for day, usd in enumerate((50, 10, 20, 0, 20, 30)):
        spend(usd, START + day * DAY)
        for _ in range(2):
            watch_budgets(START + day * DAY + HOUR)
        rollup.roll_up(START + day * DAY + 3 * HOUR)
    assert crossed() == [(0.5, "info", "active"), (0.8, "warning", "active"), (1.0, "critical", "active")]
    assert events() == [Alert.Type.OPENED] * 3
    watch_budgets(START + 31 * DAY - HOUR)
    assert len(events()) == 3
    assert watch_budgets(START + 31 * DAY) == 3
    assert {state for _, _, state in crossed()} == {"ended"}
    assert events()[3:] == [Alert.Type.RESOLVED] * 3
    assert not Alert.objects.filter(outcome=Alert.Outcome.TOO_OLD).exists(), "an end is news though it began long ago"
    spend(50, START + 31 * DAY)
    watch_budgets(START + 31 * DAY + HOUR)
    assert crossed()[-1] == (0.5, "info", "active")


def test_of_shares_that_are_reached_at_once_only_the_highest_is_told() -> None:
    a_budget()
    spend(250)
    watch_budgets(START + HOUR)
    assert crossed() == [(1.0, "critical", "active")]


def test_a_raised_budget_ends_what_it_is_below_and_tells_of_it_anew_and_a_lowered_one_tells_at_once() -> None:
    budget = a_budget()
    spend(80)
    watch_budgets(START + HOUR)
    touched(budget, START + 2 * HOUR, amount=1000)
    watch_budgets(START + 2 * HOUR)
    assert crossed() == [(0.8, "warning", "ended")]
    spend(720, START + 3 * HOUR)
    watch_budgets(START + 3 * HOUR)
    assert crossed()[1:] == [(0.8, "warning", "active")]
    touched(budget, START + 4 * HOUR, amount=500)
    watch_budgets(START + 4 * HOUR)
    assert crossed()[1:] == [(0.8, "warning", "active"), (1.0, "critical", "active")]


def test_what_seems_less_for_a_moment_ends_nothing() -> None:
    a_budget()
    spend(80)
    watch_budgets(START + HOUR)
    TelemetryMinute.objects.all().delete()
    assert watch_budgets(START + 2 * HOUR) == 0
    assert crossed() == [(0.8, "warning", "active")]


def test_a_crossing_is_no_part_of_what_befalls_its_service_weeks_later() -> None:
    a_budget()
    spend(80)
    watch_budgets(START + HOUR)
    watch_budgets(START + 20 * DAY)
    row = Incident.objects.get()
    assert row.last_seen == START + HOUR
    assert row.state == State.ACTIVE


def test_a_budget_that_is_disabled_or_deleted_ends_what_it_told() -> None:
    budget = a_budget()
    other = a_budget(name="other")
    spend(80)
    watch_budgets(START + HOUR)
    touched(budget, START + 2 * HOUR, enabled=False)
    other.delete()
    assert watch_budgets(START + 2 * HOUR) == 2
    assert [state for _, _, state in crossed()] == ["ended", "ended"]


def test_people_read_what_was_spent_when_it_runs_out_and_what_has_no_price() -> None:
    a_budget(service="chat-api", amount=500, timezone="Europe/Berlin")
    for day in range(17):
        spend(400.12 / 17, START + day * DAY, total_tokens=1000, unpriced_tokens=125)
    watch_budgets(START + 17 * DAY)
    text = told(Anomaly.objects.select_related("service").get())
    assert text.startswith(
        "Spend of chat-api reached 80 % of its monthly budget of $500 (spent: $400.12) on 18 March; "
        "at this pace it runs out on 22 March. 12.5 % of the tokens have no price and are not in it."
    )


def test_that_it_will_run_out_is_told_once_and_taken_back_when_it_will_not() -> None:
    a_budget(warns_ahead=True, shares=[1.0])
    for day in range(5):
        spend(5, START + day * DAY)
    assert watch_budgets(START + 5 * DAY) == 1
    assert crossed() == [(None, "warning", "active")]
    row = Anomaly.objects.select_related("service").get()
    assert row.title == "Budget “chat” of all services will run out"
    assert told(row).startswith("At this pace the monthly budget of $100 of all services runs out on 21 March: $25")
    watch_budgets(START + 6 * DAY)
    watch_budgets(START + 15 * DAY)
    spend(8, START + 16 * DAY)
    watch_budgets(START + 16 * DAY + HOUR)
    assert crossed() == [(None, "warning", "ended")]
    assert events() == [Alert.Type.OPENED, Alert.Type.RESOLVED]


def test_periods_are_those_of_the_time_zone() -> None:
    a_budget(period="day", timezone="Europe/Berlin")
    spend(80, START - HOUR)  # midnight in Berlin
    spend(10, START - HOUR - timedelta(minutes=1))
    stands = standing(Budget.objects.get(), START + HOUR)
    assert stands is not None
    assert (stands.spent, stands.period.start, stands.period.end) == (80, START - HOUR, START + 23 * HOUR)


def test_a_budget_counts_what_it_names() -> None:
    spend(10)
    spend(20, of="chat-eu", model="llama")
    spend(40, of="search")
    spend(80, of="elsewhere", project="other")

    def of(**which: Any) -> float:
        Budget.objects.all().delete()
        stands = standing(a_budget(**which), START + HOUR)
        return 0.0 if stands is None else stands.spent

    assert of() == 150
    assert of(service="chat-*") == 30
    assert of(service="chat-api") == 10
    assert of(model="gpt-?") == 130
    assert of(service="chat-*", model="llama") == 20
    assert of(project=catalogue.project("other")) == 80
    assert of(service="nobody") == 0


def test_each_service_or_model_has_its_own_amount_where_the_budget_says_so() -> None:
    a_budget(per="service")
    spend(60)
    spend(85, of="search", model="llama")
    watch_budgets(START + HOUR)
    rows = {row.service.name: row for row in Anomaly.objects.all()}
    assert {name: row.details["share"] for name, row in rows.items()} == {"chat-api": 0.5, "search": 0.8}
    Budget.objects.update(per="model")
    stands = standing(Budget.objects.get(), START + HOUR)
    assert stands is not None
    assert (stands.account, stands.spent) == ("llama", 85)
    state = Budget.objects.get().state
    assert [(each["account"], each["spent"]) for each in state["accounts"]] == [("search", 85), ("chat-api", 60)]


def test_users_are_judged_by_their_hours_and_it_is_said_that_it_is_at_least_that_much() -> None:
    a_budget(per="user", amount=10, shares=[1.0])
    for user, usd in (("ann", 6.0), ("ann", 5.0), ("bob", 9.0)):
        spend_of(user, usd, START + (HOUR if usd == 5 else 0 * HOUR))
    watch_budgets(START + 2 * HOUR)
    row = Anomaly.objects.select_related("service").get()
    assert row.details["account"] == "ann"
    assert told(row).startswith("Spend of user ann reached 100 % of its monthly budget of $10 (spent: $11) on 1 March")
    assert "at least this much" in told(row)
    Budget.objects.update(per="all", user="b*")
    stands = standing(Budget.objects.get(), START + 2 * HOUR)
    assert stands is not None
    assert stands.spent == 9


def test_what_several_projects_spent_together_is_not_for_one_of_them_to_see() -> None:
    a_budget()
    spend(40)
    spend(45, of="elsewhere", project="other")
    watch_budgets(START + HOUR)
    row = Anomaly.objects.select_related("service__project").get()
    assert (row.service.name, row.service.project.name) == (EVERYTHING, EVERYTHING)


def test_the_outlook_of_costs_is_of_today_and_this_month() -> None:
    for day in range(10):
        spend(24, START + day * DAY)
    spend(100, START, of="search")
    now = START + 10 * DAY + 12 * HOUR
    spend(12, now - HOUR)
    seen = cost_outlook(["chat-api"], now)
    assert (seen.today, seen.month) == (12, 252)
    assert seen.today_forecast == pytest.approx(24)
    assert seen.month_forecast == pytest.approx(31 * 24)
    assert seen.unpriced_share == pytest.approx(0.1)
    assert cost_outlook(None, now).month == 352
    assert cost_outlook([], now).month == 0


@pytest.mark.django_db(transaction=True)
def test_several_that_look_at_the_same_time_tell_once() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer")
    a_budget()
    spend(80)
    together = threading.Barrier(4, timeout=20)

    def look_on() -> None:
        try:
            for hours in (1, 2):
                together.wait()
                watch_budgets(START + hours * HOUR)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as watchers:
        for watcher in [watchers.submit(look_on) for _ in range(4)]:
            watcher.result(60)
    assert crossed() == [(0.8, "warning", "active")]
    assert events() == [Alert.Type.OPENED]


def test_the_beat_looks_every_minute() -> None:
    a_budget()
    spend(80, timezone.now().replace(second=0, microsecond=0))
    entry = settings.CELERY_BEAT_SCHEDULE["alerting.watch_budgets"]
    assert (entry["task"], entry["schedule"]) == (tasks.watch_budgets.name, 60.0)
    assert tasks.watch_budgets() == 1


def test_what_cannot_work_is_refused_by_field() -> None:
    wrong = {"amount": 0, "shares": [80], "timezone": "Mars/Base", "period": "week", "per": "team"}
    with pytest.raises(ValidationError) as refused:
        a_budget(**wrong)
    assert set(refused.value.message_dict) == set(wrong)


class TestApi:
    PATH = "/api/v1/budgets"
    BODY = {"name": "chat", "amount": 100}

    @pytest.fixture
    def send(self, client: Any) -> Any:
        return self.sender(client)

    def sender(self, client: Any, of: str | None = None) -> Any:
        headers = catalogue.bearer(catalogue.token("read", "write", of=of)[1])

        def send(method: str, path: str, body: Any = None) -> Any:
            return getattr(client, method)(path, body, content_type="application/json", headers=headers)

        return send

    def test_one_is_written_read_changed_and_deleted(self, send: Any) -> None:
        spend(60, timezone.now().replace(second=0, microsecond=0))
        made = send("post", self.PATH, self.BODY)
        assert made.status_code == 201, made.content
        row = made.json()
        assert (row["period"], row["timezone"], row["per"], row["shares"]) == ("month", "UTC", "all", [0.5, 0.8, 1.0])
        assert (row["spent"], row["share"], row["account"], row["unpriced_share"]) == (60, 0.6, "", 0.1)
        assert row["state"]["period_start"] < row["state"]["judged_at"] < row["state"]["period_end"]
        path = f"{self.PATH}/{row['id']}"
        changed = send("patch", path, {"amount": 60}).json()
        assert (changed["share"], changed["name"]) == (1.0, "chat")
        assert {share for share, _, _ in crossed()} == {0.5, 1.0}, "a change is looked at at once"
        assert send("get", path).json() == changed
        assert send("get", self.PATH).json()["budgets"] == [changed]
        assert send("delete", path).status_code == 204
        assert send("get", path).status_code == 404
        trail = LogEntry.objects.filter(content_type__model="budget").order_by("id")
        assert [entry.get_action_display() for entry in trail] == ["create", "update", "delete"]

    @pytest.mark.parametrize(
        ("changes", "field", "words"),
        [
            ({"amount": 0}, "amount", "above 0"),
            ({"amount": "NaN"}, "amount", "number"),
            ({"period": "week"}, "period", "month"),
            ({"timezone": "Mars/Base"}, "timezone", "IANA"),
            ({"per": "team"}, "per", "user"),
            ({"shares": [0.8, 0.5]}, "shares", "rise"),
            ({"service": "\u0000"}, "service", "ull"),
            ({"limit": 3}, "limit", "Allowed"),
        ],
    )
    def test_what_cannot_be_used_is_a_400_by_field(
        self, send: Any, changes: dict[str, Any], field: str, words: str
    ) -> None:
        answer = send("post", self.PATH, self.BODY | changes)
        assert answer.status_code == 400
        assert words in str(answer.json()["errors"][field])

    def test_projects_see_their_own_and_not_what_all_of_them_spend(self, client: Any) -> None:
        spend(60)
        common, other = a_budget(name="common"), a_budget(name="other", project=catalogue.project("other"))
        mine = a_budget(name="mine", project=catalogue.project())
        watch_budgets(START + HOUR)
        send = self.sender(client, of="default")
        rows = {row["name"]: row for row in send("get", self.PATH).json()["budgets"]}
        assert {name: row["spent"] for name, row in rows.items()} == {"common": None, "mine": 60}
        assert rows["common"]["state"] is None
        codes = [send("patch", f"{self.PATH}/{row.pk}", {"amount": 1}).status_code for row in (common, other, mine)]
        assert codes == [403, 404, 200]
        assert send("post", self.PATH, self.BODY).status_code == 400, "it must name its project"


def test_the_admin_makes_one_and_shows_how_it_stands(client: Any, django_capture_on_commit_callbacks: Any) -> None:
    spend(60, timezone.now().replace(second=0, microsecond=0))
    client.force_login(User.objects.create_superuser("root"))
    form = {"name": "chat", "enabled": "on", "amount": "100", "period": "month", "timezone": "Europe/Berlin"}
    form |= {"service": "*", "model": "*", "user": "*", "per": "all", "shares": "[0.5, 1]"}
    add = reverse("admin:alerting_budget_add")
    assert "must rise" in client.post(add, form | {"shares": "[1, 0.5]"}).content.decode()
    with django_capture_on_commit_callbacks(execute=True):
        assert client.post(add, form).status_code == 302
    page = client.get(reverse("admin:alerting_budget_changelist")).content.decode()
    assert "$100 a month" in page
    assert "$60 (60 %)" in page
    change = reverse("admin:alerting_budget_change", args=[Budget.objects.get().pk])
    assert "all: $60 (60 %)" in client.get(change).content.decode()
    client.force_login(catalogue.person("ann", "operator"))
    assert "$60" not in client.get(change).content.decode()
