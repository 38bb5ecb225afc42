"""Which pairs are watched: warming, ready, capped, retired; and how a retired one comes back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from auditlog.models import LogEntry

from baselines import catalogue as known
from baselines.models import ServedModel, Service
from baselines.stats.series import Pair
from baselines.watch import CALIBRATED_SAMPLES, samples_needed
from tests.support import catalogue
from tests.support.catalogue import NOON, bearer

pytestmark = pytest.mark.django_db

SERVICES = "/api/v1/services"
LATER = NOON + timedelta(hours=1)
PAIR = Pair("chat-api", "gpt-4")


@pytest.fixture
def watch(client):
    """The watch state of each model of a service as the API tells it."""
    headers = bearer(catalogue.token("read")[1])

    def read(service: str = "chat-api") -> dict[str, str]:
        rows = client.get(SERVICES, headers=headers).json()["services"]
        models = next(row["models"] for row in rows if row["name"] == service)
        return {model["model"]: model["watch"] for model in models}

    return read


@pytest.fixture
def retire(client):
    headers = bearer(catalogue.token("write", name="janitor")[1])
    return lambda name, body=None: client.post(
        f"{SERVICES}/{name}/retire", body or {}, content_type="application/json", headers=headers
    )


def configured(settings, mode: str) -> None:
    detection = settings.SENTINEL.detection.model_copy(update={"mode": mode})
    settings.SENTINEL = settings.SENTINEL.model_copy(update={"detection": detection})


def test_how_many_samples_make_a_pair_ready_depends_on_the_mode(settings, watch):
    catalogue.service()
    configured(settings, "classic")
    needed = samples_needed()
    row = catalogue.baseline(samples=needed - 1)
    assert watch() == {"gpt-4": "warming"}
    type(row).objects.update(samples=needed)
    assert watch() == {"gpt-4": "ready"}
    configured(settings, "calibrated")
    assert watch() == {"gpt-4": "warming"}
    # More than the window holds: what it was taught counts.
    type(row).objects.update(samples=1000, learned=CALIBRATED_SAMPLES - 1)
    assert watch() == {"gpt-4": "warming"}
    type(row).objects.update(learned=CALIBRATED_SAMPLES)
    assert watch() == {"gpt-4": "ready"}


def test_a_pair_beyond_the_cap_is_shown_as_capped_until_it_has_a_series_of_its_own(watch):
    known.register({PAIR: NOON, Pair("chat-api", "gpt-5"): NOON}, capped=[PAIR])
    assert watch() == {"gpt-4": "capped", "gpt-5": "warming"}
    known.register({PAIR: LATER})
    assert watch()["gpt-4"] == "warming"


def test_a_retired_model_comes_back_with_telemetry_of_a_later_time_only():
    row = known.register({PAIR: NOON})["chat-api"]
    assert known.retire(row, "gpt-4", LATER) == 1
    known.register({PAIR: LATER - timedelta(seconds=1)})
    assert known.retired() == {PAIR: LATER}
    known.register({PAIR: LATER + timedelta(seconds=1)})
    assert known.retired() == {}


def test_what_is_seen_brings_back_no_other_pair():
    row = known.register({PAIR: NOON, Pair("chat-api", "gpt-5"): NOON})["chat-api"]
    known.retire(row, None, LATER)
    known.register({PAIR: LATER + timedelta(seconds=1)})
    assert set(known.retired()) == {Pair("chat-api", "gpt-5")}


def test_a_service_is_retired_whole_or_model_by_model(retire, watch):
    catalogue.service(models=("gpt-4", "gpt-5"))
    answer = retire("chat-api", {"model": "gpt-5"})
    assert answer.status_code == 200
    assert [(row["model"], row["watch"]) for row in answer.json()["models"]] == [
        ("gpt-4", "warming"),
        ("gpt-5", "retired"),
    ]
    since = ServedModel.objects.get(name="gpt-5").retired_at
    retire("chat-api")
    assert watch() == {"gpt-4": "retired", "gpt-5": "retired"}
    assert ServedModel.objects.get(name="gpt-5").retired_at == since
    assert LogEntry.objects.filter(content_type__model="servedmodel", action=LogEntry.Action.UPDATE).count() == 2


def test_a_name_with_a_slash_can_be_retired(retire):
    catalogue.service("team/chat?")
    assert retire("team/chat%3F").json()["name"] == "team/chat?"


def test_retiring_what_there_is_not(retire):
    catalogue.service()
    assert retire("chat").status_code == 404
    answer = retire("chat-api", {"model": "gpt-9"})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["model"])
    assert retire("chat-api", {"modle": "gpt-4"}).status_code == 400
    assert known.retired() == {}


def test_other_projects_services_cannot_be_retired(client):
    catalogue.service("theirs", of="red")
    headers = bearer(catalogue.token("admin", of="blue")[1])
    assert client.post(f"{SERVICES}/theirs/retire", headers=headers).status_code == 404
    assert known.retired() == {}


def test_an_operator_retires_in_the_admin_and_a_viewer_does_not(client):
    service = catalogue.service()
    pair = service.models.get()
    for group, retired in (("viewer", 0), ("operator", 1)):
        client.force_login(catalogue.person(group, group))
        for path, row in (("servedmodel", pair), ("service", service)):
            form = {"action": "retire_selected", "_selected_action": [str(row.pk)], "index": "0"}
            client.post(f"/admin/baselines/{path}/", form)
            assert len(known.retired()) == retired, (group, path)
            ServedModel.objects.update(retired_at=None)
    page = client.get("/admin/baselines/servedmodel/").content.decode()
    assert "warming" in page
    assert client.get(f"/admin/baselines/service/{Service.objects.get().pk}/change/").status_code == 200


def test_the_provider_of_a_pair_is_kept_where_nobody_says_another():
    other = Pair("chat-api", "gpt-5")
    known.register({PAIR: NOON, other: NOON}, providers={PAIR: "openai", other: ""})
    known.register({PAIR: LATER, other: LATER})
    assert dict(ServedModel.objects.values_list("name", "provider")) == {PAIR.model: "openai", "gpt-5": ""}
    known.register({PAIR: LATER, other: LATER}, providers={PAIR: "azure.ai.openai", other: "openai"})
    assert dict(ServedModel.objects.values_list("name", "provider")) == {
        PAIR.model: "azure.ai.openai",
        "gpt-5": "openai",
    }
