"""Whatever happens in whatever order: what matches is heard, once per window, silence is silence, all ends."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import override_settings
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from alerting.models import AlertGroup, AlertRule, Delivery, GroupMember, Silence
from anomalies.models import Anomaly
from tests.alerting.factories import alerting_settings
from tests.alerting.life import Heard, Life
from tests.alerting.rows import empty_tables

WINDOW = 300.0
SERVICES = ("chat", "search")
SEVERITIES = ("warning", "critical")
CHANNELS = ("hook", "pager")


class LifeOfAlerts(RuleBasedStateMachine):
    """Two services, two rules, two channels that fail now and then, silences, acknowledgements, and time."""

    def __init__(self) -> None:
        super().__init__()
        empty_tables()
        self.patch = pytest.MonkeyPatch()
        self.override = override_settings(
            SENTINEL=alerting_settings(rabbitmq={"enabled": False}, max_event_age=1e9, give_up_after=1e7)
        )
        self.override.enable()
        self.life = Life(self.patch)
        self.firing: list[Anomaly] = []
        self.opened: list[Anomaly] = []
        self.seen_to: set[str] = set()
        self.muted: set[str] = set()
        self.silences: list[tuple[str, float, float]] = []
        self.checked = 0
        self.both_rules_speak = False

    def teardown(self) -> None:
        try:
            self.comes_to_an_end()
        finally:
            self.override.disable()
            self.patch.undo()

    @initialize(
        wait=st.sampled_from([0, 30]),
        interval=st.sampled_from([30, 300]),
        repeat=st.sampled_from([200, 3600]),
        group_by=st.sampled_from([["incident"], ["service"], []]),
        goes_on=st.booleans(),
        rate=st.sampled_from([None, 2]),
    )
    def rules(
        self, wait: int, interval: int, repeat: int, group_by: list[str], goes_on: bool, rate: int | None
    ) -> None:
        hook, pager = self.life.channel("hook", rate_limit=rate), self.life.channel("pager")
        pace = {"group_wait": wait, "group_interval": interval, "repeat_interval": repeat, "group_by": group_by}
        self.life.rule(hook, name="first", order=1, continue_matching=goes_on, **pace)
        self.life.rule(hook, pager, name="second", order=2, group_wait=10)
        self.both_rules_speak = goes_on

    @rule(service=st.sampled_from(SERVICES), severity=st.sampled_from(SEVERITIES), model=st.sampled_from(["a", "b"]))
    def opens(self, service: str, severity: str, model: str) -> None:
        anomaly = self.life.opens(service, severity=severity, model=model)
        self.firing.append(anomaly)
        self.opened.append(anomaly)

    @precondition(lambda self: self.firing)
    @rule(which=st.integers(0, 50))
    def ends(self, which: int) -> None:
        self.life.ends(self.firing.pop(which % len(self.firing)))

    @precondition(lambda self: self.firing)
    @rule(which=st.integers(0, 50))
    def rises(self, which: int) -> None:
        self.life.rises(self.firing[which % len(self.firing)])

    @precondition(lambda self: self.firing)
    @rule(which=st.integers(0, 50), until=st.sampled_from([None, 60.0, 900.0]))
    def acknowledges(self, which: int, until: float | None) -> None:
        anomaly = self.firing[which % len(self.firing)]
        self.seen_to.add(str(anomaly.pk))
        self.life.acknowledge(anomaly, until)

    @precondition(lambda self: self.firing)
    @rule(which=st.integers(0, 50))
    def resolves_by_hand(self, which: int) -> None:
        anomaly = self.firing.pop(which % len(self.firing))
        self.seen_to.add(str(anomaly.pk))
        self.life.resolve(anomaly)

    @rule(service=st.sampled_from(SERVICES), seconds=st.sampled_from([20, 200, 2000]))
    def silences_a_service(self, service: str, seconds: float) -> None:
        matchers = [{"field": "service", "op": "exact", "value": service}]
        end = self.life.now + timedelta(seconds=seconds)
        Silence.objects.create(matchers=matchers, starts_at=self.life.now, ends_at=end)
        self.silences.append((service, self.life.seconds, self.life.seconds + seconds))

    @rule(channel=st.sampled_from(CHANNELS))
    def a_receiver_fails_or_recovers(self, channel: str) -> None:
        self.life.receivers.failing ^= {channel}

    @rule(seconds=st.sampled_from([0, 1, 29, 31, 299, 301, 1000]))
    def time_passes(self, seconds: float) -> None:
        self.life.passes(seconds, every=max(seconds / 3, 5))

    @invariant()
    def silenced_means_silent(self) -> None:
        for each in self.life.heard[self.checked :]:
            told = each.message.notice.anomalies
            # The end of one thing may be told with the end of others; that wakes nobody.
            loud = [anomaly for anomaly in told if len(told) == 1 or anomaly.status != "resolved"]
            for service, begin, end in self.silences:
                silenced = [anomaly.id for anomaly in loud if anomaly.service == service]
                assert not (silenced and begin <= each.at < end), (each, begin, end)

    @invariant()
    def nobody_hears_the_same_twice_within_a_window(self) -> None:
        for number, each in enumerate(self.life.heard[self.checked :], start=self.checked):
            if (
                each.type not in ("anomaly.opened", "anomaly.repeated")
                or each.message.notice.group_id == each.message.id
            ):
                continue
            for former in self.life.heard[:number]:
                if former.channel == each.channel and each.at - former.at < WINDOW and not is_end(former):
                    assert not (keys(former) & keys(each)), (former, each)
        self.checked = len(self.life.heard)

    def comes_to_an_end(self) -> None:
        """Everything ends, receivers recover, time passes: then nothing is left to be told, and nothing is untold."""
        if not AlertRule.objects.exists():
            return
        self.life.receivers.failing.clear()
        # A window lets one of those pass that count as the same.
        self.life.passes(WINDOW * (len(self.firing) + 14), every=WINDOW)
        self.what_fires_is_heard()
        self.life.ends(*self.firing)
        self.life.passes(4000, every=200)
        assert self.life.pending() == 0
        assert not AlertGroup.objects.live().exists()
        assert not GroupMember.objects.filter(is_settled=False).exists()
        self.ends_are_told_to_those_who_heard()
        heard = {anomaly for each in self.life.heard for anomaly in each.anomalies}
        unexplained = {str(anomaly.pk) for anomaly in self.opened} - heard - self.seen_to - self.held_or_heard()
        assert not unexplained, "what nobody heard of was held, or heard as the same within the window"

    def what_fires_is_heard(self) -> None:
        """Whoever is to hear of what fires and nobody sees to has heard of that very anomaly."""
        firing = Anomaly.objects.filter(pk__in=[each.pk for each in self.firing], status="open")
        expected = {str(anomaly) for anomaly in firing.values_list("pk", flat=True)}
        for channel in CHANNELS if self.both_rules_speak else CHANNELS[:1]:
            heard = {a for each in self.life.heard if each.channel == channel for a in each.anomalies}
            assert expected <= heard, (channel, expected - heard)

    def held_or_heard(self) -> set[str]:
        """Anomalies that were over while a silence held them, or while the channel had heard the same."""
        held = set(GroupMember.objects.exclude(held="").values_list("anomaly_id", flat=True))
        deduplicated = {a for ids in Delivery.objects.values_list("heard_ids", flat=True) for a in ids}
        return {str(anomaly) for anomaly in held} | deduplicated

    def ends_are_told_to_those_who_heard(self) -> None:
        for channel in CHANNELS:
            begun = {
                a for each in self.life.heard if each.channel == channel and not is_end(each) for a in each.anomalies
            }
            ended = {a for each in self.life.heard if each.channel == channel for a in told_ended(each)}
            assert begun <= ended, "who heard of a beginning heard of its end"


def is_end(heard: Heard) -> bool:
    return heard.message.notice.is_resolved


def keys(heard: Heard) -> set[tuple[str, str, str, str]]:
    """What deduplication takes for the same, of all that a message tells as firing."""
    told = heard.message.notice.anomalies
    return {(a.service, a.model, a.anomaly_type, a.severity) for a in told if a.status != "resolved"}


def told_ended(heard: Heard) -> set[str]:
    return {anomaly.id for anomaly in heard.message.notice.anomalies if anomaly.status == "resolved"}


@pytest.mark.django_db
@pytest.mark.timeout(300)
def test_whatever_happens_the_promises_hold() -> None:
    run_state_machine_as_test(
        LifeOfAlerts,
        settings=hypothesis_settings(
            max_examples=12,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=False,
            print_blob=True,
        ),
    )
