"""Feedback: one vote of each, in sum in the row, shares of noise, and proposals that wait for people."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from alerting.models import AlertRule, Channel
from anomalies import feedback
from anomalies.models import Anomaly, DetectionOverride, Feedback
from sentinel_site.access.principal import TokenPrincipal
from tests.alerting.factories import a_telling
from tests.support import catalogue
from tests.support.catalogue import bearer

pytestmark = pytest.mark.django_db

SUMMARY = "/api/v1/feedback/summary"


def program(name: str) -> TokenPrincipal:
    return TokenPrincipal(name, project_ids=None)


def cast(anomaly: Anomaly, verdicts: str, at=None) -> None:
    """One vote for each letter: `n` noise, `u` useful; each of somebody else."""
    for number, letter in enumerate(verdicts):
        verdict = {"n": "noise", "u": "useful"}[letter]
        feedback.vote(anomaly.pk, program(f"bot-{number}"), verdict, "", at or timezone.now())


@pytest.fixture
def send(client):
    headers = bearer(catalogue.token("write", name="deploy-bot")[1])
    return lambda anomaly, body: client.post(
        f"/api/v1/anomalies/{anomaly}/feedback", body, content_type="application/json", headers=headers
    )


@pytest.fixture
def summary(client):
    headers = bearer(catalogue.token("read")[1])
    return lambda **query: client.get(SUMMARY, query, headers=headers).json()


def test_a_vote_answers_with_the_anomaly_and_what_people_made_of_it(send):
    anomaly = catalogue.anomaly()
    cast(anomaly, "nu")
    row = send(anomaly.pk, {"verdict": "noise", "note": "nightly batch"}).json()
    at = row["feedback"].pop("at")
    assert at.endswith("Z")
    assert row["id"] == str(anomaly.pk)
    assert row["feedback"] == {
        "verdict": "noise",
        "note": "nightly batch",
        "by": "deploy-bot",
        "useful": 1,
        "noise": 2,
    }


def test_the_last_vote_of_each_counts(send):
    anomaly = catalogue.anomaly()
    send(anomaly.pk, {"verdict": "noise"})
    row = send(anomaly.pk, {"verdict": "useful"}).json()
    assert (row["feedback"]["useful"], row["feedback"]["noise"]) == (1, 0)
    assert Feedback.objects.get().verdict == "useful"


def test_a_person_and_a_token_of_one_name_have_a_vote_each():
    anomaly = catalogue.anomaly()
    for actor in (catalogue.person("ann"), program("ann")):
        feedback.vote(anomaly.pk, actor, "noise", "", timezone.now())
    anomaly.refresh_from_db()
    assert anomaly.feedback["noise"] == 2


@pytest.mark.parametrize(
    ("body", "field"), [({}, "verdict"), ({"verdict": "meh"}, "verdict"), ({"verdict": "noise", "x": 1}, "x")]
)
def test_a_bad_vote_is_a_400_that_names_the_field(send, body, field):
    answer = send(catalogue.anomaly().pk, body)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])
    assert not Feedback.objects.exists()


def test_the_summary_counts_by_series_and_detector_the_noisiest_first(summary):
    noisy, fine = catalogue.anomaly(), catalogue.anomaly(metric="cost_usd", detector="mad")
    cast(noisy, "nnu")
    cast(fine, "uu")
    answer = summary()
    assert answer["days"] == 30
    assert [(row["metric"], row["votes"], row["noise"], row["noise_share"]) for row in answer["series"]] == [
        ("latency_ms", 3, 2, 0.6667),
        ("cost_usd", 2, 0, 0.0),
    ]
    assert [(row["detector"], row["useful"]) for row in answer["detectors"]] == [("zscore", 1), ("mad", 2)]
    assert answer["rules"] == []


def test_the_summary_counts_by_the_rules_that_had_alerts_sent(summary):
    sent, quiet = catalogue.anomaly(), catalogue.anomaly()
    cast(sent, "nu")
    cast(quiet, "n")
    rule, channel = AlertRule.objects.create(name="nights"), Channel.objects.create(name="pager", kind="webhook")
    for kind in ("anomaly.opened", "anomaly.resolved"):
        a_telling(channel, sent, type=kind, rule=rule)
    assert summary()["rules"] == [{"rule": "nights", "votes": 2, "useful": 1, "noise": 1, "noise_share": 0.5}]


def test_old_votes_and_those_of_other_projects_do_not_count(client):
    cast(catalogue.anomaly(catalogue.service("mine", of="blue")), "n", at=timezone.now() - timedelta(days=9))
    cast(catalogue.anomaly(catalogue.service("theirs", of="red")), "n")
    headers = bearer(catalogue.token("read", of="blue")[1])
    assert client.get(SUMMARY, {"days": 8}, headers=headers).json()["series"] == []
    assert [row["service"] for row in client.get(SUMMARY, headers=headers).json()["series"]] == ["mine"]


@pytest.mark.parametrize("query", ["days=0", "days=x", "hours=3"])
def test_a_bad_parameter_is_a_400(client, query):
    headers = bearer(catalogue.token("read")[1])
    assert client.get(f"{SUMMARY}?{query}", headers=headers).status_code == 400


@pytest.mark.parametrize(
    ("verdicts", "is_proposed"), [("nnnn", False), ("nnnuu", True), ("nnuuu", False), ("nnnnnn", True)]
)
def test_five_votes_with_sixty_percent_noise_make_a_proposal(summary, verdicts, is_proposed):
    cast(catalogue.anomaly(), verdicts)
    proposal = summary()["series"][0]["proposal"]
    assert (proposal is not None) is is_proposed
    assert not DetectionOverride.objects.exists()


def test_a_proposal_is_one_step_stricter_than_what_holds(client):
    writer = bearer(catalogue.token("admin")[1])
    seen = []
    now = timezone.now()
    DetectionOverride.objects.create(service="chat-api", sensitivity="high")
    DetectionOverride.objects.update(updated_at=now - timedelta(days=30))
    for step in range(8):
        anomaly = catalogue.anomaly(at=now + timedelta(minutes=step))
        cast(anomaly, "nnnnn")
        proposal = client.get(SUMMARY, headers=writer).json()["series"][0]["proposal"]
        if proposal is None:
            break
        seen.append(proposal.get("sensitivity") or proposal["min_deviation"])
        made = client.post("/api/v1/detection-overrides", proposal, content_type="application/json", headers=writer)
        assert made.status_code == 201, made.content
        # As if it had been made just after the anomaly that it answers.
        DetectionOverride.objects.filter(pk=made.json()["id"]).update(updated_at=anomaly.first_seen)
        assert client.get(SUMMARY, headers=writer).json()["series"][0]["proposal"] is None
    assert seen == ["medium", "low", 0.1, 0.2, 0.4, 0.8, 1.6]


def test_a_muted_series_gets_no_proposal():
    anomaly = catalogue.anomaly()
    DetectionOverride.objects.create(muted=True)
    DetectionOverride.objects.update(updated_at=anomaly.first_seen - timedelta(days=1))
    cast(anomaly, "nnnnn")
    votes = feedback.votes_seen_by(program("bot"), timezone.now() - timedelta(days=1))
    assert len(votes) == 5
    assert feedback.proposals(votes) == {}
