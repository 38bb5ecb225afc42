"""The API answers as its own OpenAPI document says."""

from __future__ import annotations

import json

import jsonschema
import pytest
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator

from alerting.models import AlertRule, Attempt, Channel
from anomalies import feedback, lifecycle
from anomalies.models import Anomaly
from tests.alerting.factories import a_delivery, a_telling
from tests.support import catalogue
from tests.support.catalogue import bearer

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def document() -> dict:
    """The document as clients get it: plain JSON, references and all."""
    return json.loads(json.dumps(SchemaGenerator().get_schema(request=None, public=True), default=str))


@pytest.fixture
def rows():
    anomaly = catalogue.anomaly(z_score=None, confidence=None)
    lifecycle.acknowledge(Anomaly.objects.all(), catalogue.person("ann"), "looking", assignee="bob")
    catalogue.anomaly()
    catalogue.baseline()
    return anomaly


def nullable_as_a_type(node):
    """OpenAPI 3.0 says `nullable`; JSON Schema has no such word."""
    if isinstance(node, list):
        return [nullable_as_a_type(part) for part in node]
    if not isinstance(node, dict):
        return node
    plain = {key: nullable_as_a_type(part) for key, part in node.items() if key != "nullable"}
    return {"anyOf": [plain, {"type": "null"}]} if node.get("nullable") is True else plain


def check(document: dict, path: str, answer, method: str = "get", code: int = 200) -> None:
    assert answer.status_code == code, answer.content
    content = document["paths"][path][method]["responses"][str(code)]["content"]["application/json"]["schema"]
    schema = nullable_as_a_type({"components": document["components"]} | content)
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    assert [error.message for error in validator.iter_errors(answer.json())] == []


@pytest.mark.parametrize("path", ["/api/v1/anomalies/recent", "/api/v1/baselines", "/api/v1/services"])
def test_lists_answer_as_described(client, document, rows, path):
    answer = client.get(path, headers=bearer(catalogue.token("read")[1]))
    assert next(iter(answer.json().values())), "an empty list proves nothing"
    check(document, path, answer)


def test_one_anomaly_answers_as_described(client, document, rows):
    answer = client.get(f"/api/v1/anomalies/{rows.id}", headers=bearer(catalogue.token("read")[1]))
    check(document, "/api/v1/anomalies/{anomaly_id}", answer)


def test_incidents_answer_as_described(client, document, rows):
    read, write = (bearer(catalogue.token(scope)[1]) for scope in ("read", "write"))
    check(document, "/api/v1/incidents", client.get("/api/v1/incidents", {"hours": 87600}, headers=read))
    path = f"/api/v1/incidents/{rows.incident_id}"
    check(document, "/api/v1/incidents/{incident_id}", client.get(path, headers=read))
    for act in ("acknowledge", "resolve"):
        answer = client.post(f"{path}/{act}", {}, content_type="application/json", headers=write)
        check(document, f"/api/v1/incidents/{{incident_id}}/{act}", answer, "post")


def test_overrides_answer_as_described(client, document):
    headers = bearer(catalogue.token("admin")[1])
    path, said = "/api/v1/detection-overrides", {"thresholds": {"zscore": 4}, "detectors": {"iqr": False}}
    made = client.post(path, said, content_type="application/json", headers=headers)
    check(document, path, made, "post", 201)
    check(document, path, client.get(path, headers=headers))
    one = f"{path}/{made.json()['id']}"
    check(document, f"{path}/{{override_id}}", client.get(one, headers=headers))
    changed = client.patch(one, {"muted": True}, content_type="application/json", headers=headers)
    check(document, f"{path}/{{override_id}}", changed, "patch")


def test_annotations_and_retiring_answer_as_described(client, document, rows):
    headers = bearer(catalogue.token("admin")[1])
    path = "/api/v1/annotations"
    made = client.post(path, {"text": "deploy"}, content_type="application/json", headers=headers)
    check(document, path, made, "post", 201)
    check(document, path, client.get(path, headers=headers))
    retired = client.post("/api/v1/services/chat-api/retire", {}, content_type="application/json", headers=headers)
    check(document, "/api/v1/services/{name}/retire", retired, "post")


def test_feedback_answers_as_described(client, document, rows):
    headers = bearer(catalogue.token("admin")[1])
    path, said = f"/api/v1/anomalies/{rows.id}/feedback", {"verdict": "noise"}
    given = client.post(path, said, content_type="application/json", headers=headers)
    check(document, "/api/v1/anomalies/{anomaly_id}/feedback", given, "post")
    for number in range(5):
        feedback.vote(rows.id, catalogue.person(f"p{number}"), "noise", "", timezone.now())
    channel = Channel.objects.create(name="pager", kind="webhook")
    a_telling(channel, rows, rule=AlertRule.objects.create(name="all"))
    summary = client.get("/api/v1/feedback/summary", headers=headers)
    check(document, "/api/v1/feedback/summary", summary)
    assert all(summary.json().values()), "an empty list proves nothing"
    assert summary.json()["series"][0]["proposal"]


@pytest.mark.parametrize("act", ["acknowledge", "resolve"])
def test_actions_answer_as_described(client, document, rows, act):
    path, headers = f"/api/v1/anomalies/{rows.id}/{act}", bearer(catalogue.token("write")[1])
    answer = client.post(path, {}, content_type="application/json", headers=headers)
    check(document, f"/api/v1/anomalies/{{anomaly_id}}/{act}", answer, "post")


def test_a_wrong_answer_would_be_noticed(client, document, rows):
    class Wrong:
        status_code = 200

        @staticmethod
        def json():
            return {"anomalies": [{"id": 1}], "count": "many", "next": None}

    with pytest.raises(AssertionError):
        check(document, "/api/v1/anomalies", Wrong)


def test_every_parameter_of_the_list_is_described(document):
    described = {parameter["name"] for parameter in document["paths"]["/api/v1/anomalies"]["get"]["parameters"]}
    filters = {"severity", "service", "model", "metric", "detector", "type", "status", "state"}
    assert described == filters | {"hours", "start", "end", "limit", "cursor", "q", "fields", "format"}


def test_the_document_and_its_page_are_served(client):
    headers = bearer(catalogue.token("read")[1])
    served = client.get("/api/v1/schema/", headers=headers | {"accept": "application/vnd.oai.openapi+json"})
    assert served.json()["openapi"].startswith("3.")
    page = client.get("/api/v1/docs/", headers=headers)
    assert page.status_code == 200
    assert b"http://" not in page.content.replace(b"http://testserver", b"")
    assert b"https://" not in page.content


def test_alert_rules_channels_silences_and_deliveries_answer_as_described(client, document, rows):
    headers = bearer(catalogue.token("admin")[1])

    def ask(method, path, template, body=None, code=200):
        answer = getattr(client, method)(path, body, content_type="application/json", headers=headers)
        check(document, f"/api/v1/{template}", answer, method, code)
        return answer.json()

    url = {"url": "https://x.example/"}
    channel = ask(
        "post", "/api/v1/channels", "channels", {"name": "c", "kind": "webhook", "config": url, "secret": "s" * 32}, 201
    )
    ask("get", "/api/v1/channels", "channels")
    one = f"/api/v1/channels/{channel['id']}"
    ask("get", one, "channels/{channel_id}")
    ask("patch", one, "channels/{channel_id}", {"rate_limit": 3})
    ask("post", f"{one}/test", "channels/{channel_id}/test", {})
    matchers = [{"field": "service", "op": "glob", "value": "*"}]
    parts = {"channels_by_severity": {"info": [channel["id"]]}, "escalation": [{"channel": channel["id"], "wait": 1}]}
    rule = ask("post", "/api/v1/alert-rules", "alert-rules", {"name": "r", "matchers": matchers} | parts, 201)
    ask("get", "/api/v1/alert-rules", "alert-rules")
    ask("get", f"/api/v1/alert-rules/{rule['id']}", "alert-rules/{rule_id}")
    ask("patch", f"/api/v1/alert-rules/{rule['id']}", "alert-rules/{rule_id}", {"continue": True})
    Anomaly.objects.update(first_seen=timezone.now(), last_seen=timezone.now())
    assert ask("post", "/api/v1/alert-rules/preview", "alert-rules/preview", {"group_wait": 0})["groups"]
    said = {"matchers": matchers, "ends_at": "2999-01-01T00:00:00Z"}
    silence = ask("post", "/api/v1/silences", "silences", said, 201)
    ask("get", "/api/v1/silences", "silences")
    ask("get", f"/api/v1/silences/{silence['id']}", "silences/{silence_id}")
    ask("patch", f"/api/v1/silences/{silence['id']}", "silences/{silence_id}", {"comment": "why"})
    ask("post", f"/api/v1/silences/{silence['id']}/end", "silences/{silence_id}/end", {})
    words = {"title_template": "{{ severity }}"}
    assert ask("post", "/api/v1/channels/preview", "channels/preview", words)["previews"]
    outage = {"name": "outage", "source_matchers": matchers, "equal": ["provider"]}
    inhibition = ask("post", "/api/v1/inhibitions", "inhibitions", outage, 201)
    assert ask("get", "/api/v1/inhibitions", "inhibitions")["inhibitions"]
    ask("get", f"/api/v1/inhibitions/{inhibition['id']}", "inhibitions/{inhibition_id}")
    ask("patch", f"/api/v1/inhibitions/{inhibition['id']}", "inhibitions/{inhibition_id}", {"min_services": 3})
    limit = {"name": "slow", "metric": "latency_ms", "aggregation": "p95", "value": 2000}
    threshold = ask("post", "/api/v1/thresholds", "thresholds", limit, 201)
    assert ask("get", "/api/v1/thresholds", "thresholds")["thresholds"]
    ask("get", f"/api/v1/thresholds/{threshold['id']}", "thresholds/{threshold_id}")
    ask("patch", f"/api/v1/thresholds/{threshold['id']}", "thresholds/{threshold_id}", {"value": 3000})
    budget = ask("post", "/api/v1/budgets", "budgets", {"name": "b", "amount": 100}, 201)
    assert ask("get", "/api/v1/budgets", "budgets")["budgets"]
    ask("get", f"/api/v1/budgets/{budget['id']}", "budgets/{budget_id}")
    ask("patch", f"/api/v1/budgets/{budget['id']}", "budgets/{budget_id}", {"enabled": False})
    delivery = a_delivery()
    Attempt.objects.create(delivery=delivery, number=1, started_at=timezone.now(), ok=True)
    assert ask("get", "/api/v1/deliveries", "deliveries")["deliveries"]
    assert ask("get", f"/api/v1/deliveries/{delivery.pk}", "deliveries/{delivery_id}")["tries"]


def test_every_operation_says_how_it_refuses(document):
    operations = [(method, each) for path in document["paths"].values() for method, each in path.items()]
    assert operations
    for method, operation in operations:
        expected = {"400", "401", "403", "429", "503"} | ({"304"} if method == "get" else {"409"})
        assert expected <= set(operation["responses"]), operation["operationId"]


@pytest.mark.parametrize("code", [401, 403, 429])
def test_a_refusal_is_a_problem_as_described(client, document, rows, monkeypatch, code):
    monkeypatch.setattr("sentinel_site.access.throttling.tally.take", lambda who, limit: 7 if code == 429 else None)
    scope = {401: None, 403: "ingest", 429: "read"}[code]
    answer = client.get("/api/v1/baselines", headers=bearer(catalogue.token(scope)[1]) if scope else {})
    said = document["paths"]["/api/v1/baselines"]["get"]["responses"][str(code)]
    name = said["$ref"].removeprefix("#/components/responses/")
    described = document["components"]["responses"][name]
    assert answer.status_code == code
    assert set(described.get("headers", {})) <= set(answer.headers)
    jsonschema.validate(answer.json(), document["components"]["schemas"]["Problem"])
    assert answer["Content-Type"] in described["content"]
