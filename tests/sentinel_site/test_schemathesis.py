"""Requests of all kinds that the API's own description makes up: no answer that it does not describe, no crash, and
nothing of another project."""

from __future__ import annotations

import json

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, given, settings, strategies
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from sentinel_site.access import throttling
from tests.sentinel_site.test_other_projects import OBJECTS
from tests.support import catalogue
from tests.support.catalogue import bearer
from tests.support.world import MAKERS, World

pytestmark = [pytest.mark.django_db, pytest.mark.verify]

EXAMPLES = 25
THEIRS = "theirs"
ELSEWHERE = {"/api/v1/events"}
"""What needs Kafka; hostile bodies of events have tests of their own."""
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
CONFIGURED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def one_connection():
    """Requests come over the connection of the test, which they would close."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def described(one_connection):
    """The operations of the document, over the application itself."""
    document = json.loads(json.dumps(SchemaGenerator().get_schema(request=None, public=True), default=str))
    schema = schemathesis.openapi.from_dict(document)
    schema.app = get_wsgi_application()
    found = [result.ok() for result in schema.get_all_operations()]
    return [operation for operation in found if operation.path not in ELSEWHERE]


@pytest.fixture
def ours(monkeypatch) -> dict[str, object]:
    """Values for placeholders of routes that lead to rows of project blue; project red has a row of each kind, too."""
    monkeypatch.setattr(throttling, "limit", lambda: 10**9)
    World("red", THEIRS).one_of_each()
    world = World("blue", "ours")
    return {placeholder: value(MAKERS[label](world)) for placeholder, (label, value) in OBJECTS.items()}


@pytest.mark.parametrize("scope", ["read", "write", "admin"])
def test_every_operation_answers_as_described_and_shows_nothing_of_others(described, ours, scope):
    headers = bearer(catalogue.token(scope, of="blue")[1])
    wrong = {}
    for operation in described:
        try:
            try_out(operation, headers, ours)
        except (AssertionError, BaseExceptionGroup) as error:
            wrong[operation.label] = str(error)
    assert not wrong, "\n\n".join(f"{label}\n{error}" for label, error in wrong.items())


def try_out(operation, headers: dict[str, str], ours: dict[str, object]) -> None:
    @CONFIGURED
    @given(case=operation.as_strategy(), is_of_ours=strategies.booleans())
    def ask(case, is_of_ours: bool) -> None:
        if is_of_ours:
            case.path_parameters = {name: str(ours.get(name, was)) for name, was in case.path_parameters.items()}
            if isinstance(case.body, dict) and "project" in case.body:
                case.body["project"] = "blue"
        with transaction.atomic():  # what one request did is not there for the next
            answer = case.call(headers=headers)
            transaction.set_rollback(True)
        case.validate_response(answer, checks=CHECKS, headers=headers)
        sent = json.dumps([case.query, case.path_parameters, str(case.body)], default=str)
        assert THEIRS in sent or THEIRS.encode() not in answer.content, "a row of another project"

    ask()
