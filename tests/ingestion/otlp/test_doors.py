"""The doors of OTLP: status codes, answers in the type of the request, limits, and Kafka before the answer."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from google.protobuf.json_format import Parse
from google.rpc import code_pb2
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from redis import Redis

from baselines.models import Project, Service
from ingestion import reception
from ingestion.formats.otlp import Encoding
from ingestion.kafka import Batch, KeyedProducer
from ingestion.otlp import memory
from ingestion.otlp import reception as doors
from sentinel_site.config.ingestion import KafkaConfig
from tests.ingestion.kafka_reading import landed
from tests.ingestion.otlp.requests import (
    CHAT,
    CONTENT_TYPES,
    ENCODINGS,
    SECOND_NS,
    START_NS,
    encoded,
    histogram,
    logs,
    metrics,
    record,
    span,
    tokens,
    traces,
)
from tests.support.catalogue import bearer, token

pytestmark = [pytest.mark.django_db, pytest.mark.parametrize("encoding", ENCODINGS)]
TRACES, LOGS = "/v1/traces", "/v1/logs"
NOW = datetime(2024, 11, 6, 12, tzinfo=UTC)


def sender(project: Project | None = None, scope: str = "ingest") -> dict[str, str]:
    return bearer(token(scope, project=project)[1])


def post(
    client: Client, body: Any, encoding: Encoding, headers: dict[str, str] | None = None, path: str = TRACES
) -> Any:
    data = body if isinstance(body, bytes) else encoded(body, encoding)
    chosen = sender() if headers is None else headers
    # Of an empty body the test client leaves the type out, unless it is told so.
    return client.post(path, data, CONTENT_TYPES[encoding], CONTENT_TYPE=CONTENT_TYPES[encoding], headers=chosen)


def read(answer: Any, kind: Any, encoding: Encoding) -> Any:
    """The message of an answer, which has to be in the request's type."""
    assert answer.headers["Content-Type"] == CONTENT_TYPES[encoding]
    return kind.FromString(answer.content) if encoding == "protobuf" else Parse(answer.content, kind())


def check_failure(answer: Any, encoding: Encoding, status: int, code: int) -> str:
    """That an answer is a google.rpc.Status; its message."""
    assert answer.status_code == status, answer.content
    found = read(answer, Status, encoding)
    assert found.code == code
    return str(found.message)


def test_what_is_accepted_is_in_kafka_under_its_key(client: Client, kafka: KafkaConfig, encoding: Encoding) -> None:
    answer = post(client, traces(span(), span({"http.route": "/"})), encoding)
    assert answer.status_code == 200
    assert not read(answer, ExportTraceServiceResponse, encoding).HasField("partial_success")
    (message,) = landed(kafka.brokers[0], kafka.topic)
    assert message.key == b"chat-api|gpt-4o-2024-08-06"
    assert (message.value["latency_ms"], message.value["prompt_tokens"]) == (850.0, 120)


def test_an_empty_request_succeeds(client: Client, encoding: Encoding) -> None:
    answer = post(client, b"" if encoding == "protobuf" else b"{}", encoding)
    assert (answer.status_code, answer.content) == (200, b"" if encoding == "protobuf" else b"{}")


def test_of_the_partly_bad_the_good_is_kept(client: Client, kafka: KafkaConfig, encoding: Encoding) -> None:
    bad = span(CHAT | {"gen_ai.usage.input_tokens": -1})
    answer = post(client, traces(span(), bad, bad, span()), encoding)
    assert answer.status_code == 200
    partial = read(answer, ExportTraceServiceResponse, encoding).partial_success
    assert partial.rejected_spans == 2
    assert partial.error_message == "2 spans refused. 2 x gen_ai.usage.input_tokens: must not be negative"
    assert len(landed(kafka.brokers[0], kafka.topic)) == 2


def test_log_records_have_a_path_of_their_own(client: Client, kafka: KafkaConfig, encoding: Encoding) -> None:
    answer = post(client, logs(record(), record(time_unix_nano=0)), encoding, path=LOGS)
    assert read(answer, ExportLogsServiceResponse, encoding).partial_success.rejected_log_records == 1
    assert len(landed(kafka.brokers[0], kafka.topic)) == 1
    hint = check_failure(post(client, logs(record()), encoding), encoding, 400, code_pb2.INVALID_ARGUMENT)
    assert "these go to /v1/logs" in hint


def test_bad_data_is_a_bad_request(client: Client, encoding: Encoding) -> None:
    answer = post(client, b"\xff\xff" if encoding == "protobuf" else b"[1", encoding)
    assert "is no ExportTraceServiceRequest" in check_failure(answer, encoding, 400, code_pb2.INVALID_ARGUMENT)


def test_without_the_scope_ingest_nothing_is_taken(client: Client, encoding: Encoding) -> None:
    nobody = post(client, traces(span()), encoding, {})
    check_failure(nobody, encoding, 401, code_pb2.UNAUTHENTICATED)
    assert nobody.headers["WWW-Authenticate"].startswith("Bearer")
    check_failure(
        post(client, traces(), encoding, {"Authorization": "Bearer x"}), encoding, 401, code_pb2.UNAUTHENTICATED
    )
    check_failure(post(client, traces(), encoding, sender(scope="read")), encoding, 403, code_pb2.PERMISSION_DENIED)
    client.force_login(User.objects.create_user("viewer"))
    check_failure(post(client, traces(), encoding, {}), encoding, 403, code_pb2.PERMISSION_DENIED)


def test_a_closed_network_may_do_without_tokens(
    client: Client, kafka: KafkaConfig, otlp: Callable[..., None], encoding: Encoding
) -> None:
    otlp(require_token=False)
    assert post(client, traces(span()), encoding, {}).status_code == 200
    assert len(landed(kafka.brokers[0], kafka.topic)) == 1
    ours = Project.objects.create(name="ours")
    Service.objects.create(
        name="chat-api", project=Project.objects.create(name="theirs"), first_seen=NOW, last_seen=NOW
    )
    answer = post(client, traces(span()), encoding, sender(ours))
    assert read(answer, ExportTraceServiceResponse, encoding).partial_success.rejected_spans == 1


def test_a_token_writes_to_the_services_of_its_project_only(
    client: Client, kafka: KafkaConfig, encoding: Encoding
) -> None:
    ours, theirs = Project.objects.create(name="ours"), Project.objects.create(name="theirs")
    Service.objects.create(name="chat-api", project=theirs, first_seen=NOW, last_seen=NOW)
    request = traces(span())
    request.MergeFrom(traces(span(), resource={"service.name": "new-api"}))
    partial = read(post(client, request, encoding, sender(ours)), ExportTraceServiceResponse, encoding).partial_success
    assert (partial.rejected_spans, "belongs to another project" in partial.error_message) == (1, True)
    assert Service.objects.get(name="new-api").project == ours
    assert [message.value["service_name"] for message in landed(kafka.brokers[0], kafka.topic)] == ["new-api"]


def test_other_methods_and_types_are_refused(client: Client, encoding: Encoding) -> None:
    headers = sender()
    answer = client.generic("PUT", TRACES, b"x", content_type=CONTENT_TYPES[encoding], headers=headers)
    check_failure(answer, encoding, 405, code_pb2.UNIMPLEMENTED)
    assert answer.headers["Allow"].startswith("POST")
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        answer = client.post(TRACES, b"x", content_type=content_type, headers=headers)
        assert "application/x-protobuf or application/json" in check_failure(
            answer, "json", 415, code_pb2.INVALID_ARGUMENT
        )
    answer = post(client, traces(), encoding, headers | {"Content-Encoding": "br"})
    check_failure(answer, encoding, 415, code_pb2.INVALID_ARGUMENT)


def test_the_answer_has_the_type_of_the_request_whatever_is_asked_for(client: Client, encoding: Encoding) -> None:
    answer = post(client, traces(), encoding, sender() | {"Accept": "text/html"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, CONTENT_TYPES[encoding])
    spelled = CONTENT_TYPES[encoding].upper() + "; charset=utf-8"
    answer = client.post(TRACES, encoded(traces(), encoding), content_type=spelled, headers=sender())
    assert answer.headers["Content-Type"] == CONTENT_TYPES[encoding]


@pytest.mark.parametrize("how", ["gzip", "members", "deflate"])
def test_a_compressed_request_is_taken(client: Client, kafka: KafkaConfig, how: str, encoding: Encoding) -> None:
    body = encoded(traces(span()), encoding)
    compressed = {
        "gzip": gzip.compress(body),
        "members": gzip.compress(body[:50]) + gzip.compress(body[50:]),
        "deflate": zlib.compress(body),
    }[how]
    headers = sender() | {"Content-Encoding": "deflate" if how == "deflate" else "gzip"}
    assert post(client, compressed, encoding, headers).status_code == 200
    assert len(landed(kafka.brokers[0], kafka.topic)) == 1


def test_what_is_not_compressed_as_it_says_is_a_bad_request(client: Client, encoding: Encoding) -> None:
    headers = sender() | {"Content-Encoding": "gzip"}
    whole = gzip.compress(encoded(traces(span()), encoding))
    for body in (b"hello", whole[:-9], whole[: len(whole) // 2], whole + b"trailing"):
        check_failure(post(client, body, encoding, headers), encoding, 400, code_pb2.INVALID_ARGUMENT)
    assert post(client, b"", "protobuf", headers).status_code == 200


def test_a_body_beyond_the_limit_is_refused(client: Client, otlp: Callable[..., None], encoding: Encoding) -> None:
    otlp(max_body_size=1000)
    body = encoded(traces(*[span()] * 50), encoding)
    message = check_failure(post(client, body, encoding), encoding, 413, code_pb2.RESOURCE_EXHAUSTED)
    assert "ingestion.otlp.max_body_size" in message
    gzipped = sender() | {"Content-Encoding": "gzip"}
    check_failure(post(client, gzip.compress(body), encoding, gzipped), encoding, 413, code_pb2.RESOURCE_EXHAUSTED)


def test_a_bomb_is_refused_before_it_is_unpacked(client: Client, otlp: Callable[..., None], encoding: Encoding) -> None:
    otlp(max_body_size=1 << 20)
    bomb = gzip.compress(bytes(1 << 28))
    answer = post(client, bomb, encoding, sender() | {"Content-Encoding": "gzip"})
    check_failure(answer, encoding, 413, code_pb2.RESOURCE_EXHAUSTED)


def test_too_many_calls_are_refused(client: Client, monkeypatch: pytest.MonkeyPatch, encoding: Encoding) -> None:
    monkeypatch.setattr(doors, "MAX_CALLS", 3)
    check_failure(post(client, traces(*[span()] * 4), encoding), encoding, 413, code_pb2.RESOURCE_EXHAUSTED)


def test_a_chunked_body_is_read_where_the_server_ends_it(
    client: Client, kafka: KafkaConfig, encoding: Encoding
) -> None:
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": "", "CONTENT_TYPE": CONTENT_TYPES[encoding]}
    body = BytesIO(encoded(traces(span()), encoding))
    ended = {"wsgi.input": body, "wsgi.input_terminated": True}
    headers = sender()
    answer = client.generic("POST", TRACES, headers=headers, **chunked, **ended)
    assert answer.status_code == 200
    assert len(landed(kafka.brokers[0], kafka.topic)) == 1
    answer = client.generic("POST", TRACES, headers=headers, **chunked)
    check_failure(answer, encoding, 411, code_pb2.INVALID_ARGUMENT)


def test_without_kafka_nothing_is_accepted(client: Client, kafka: KafkaConfig, encoding: Encoding) -> None:
    away = KafkaConfig(brokers=("127.0.0.1:1",))
    reception._producer = KeyedProducer(away, message_timeout_ms=200)
    answer = post(client, traces(span()), encoding)
    check_failure(answer, encoding, 503, code_pb2.UNAVAILABLE)
    assert answer.headers["Retry-After"] == "5"


def test_more_than_kafka_takes_is_held_off(
    client: Client, kafka: KafkaConfig, monkeypatch: pytest.MonkeyPatch, encoding: Encoding
) -> None:
    away = KafkaConfig(brokers=("127.0.0.1:1",))
    reception._producer = KeyedProducer(away, message_timeout_ms=5000, queue_buffering_max_messages=1)
    monkeypatch.setattr(reception, "QUEUE_SECONDS", 0.05)
    answer = post(client, traces(span(), span()), encoding)
    check_failure(answer, encoding, 429, code_pb2.RESOURCE_EXHAUSTED)
    assert answer.headers["Retry-After"] == "2"


def test_the_unforeseen_is_answered_too(client: Client, monkeypatch: pytest.MonkeyPatch, encoding: Encoding) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(doors.DECODERS, "traces", fail)
    check_failure(post(client, traces(span()), encoding), encoding, 500, code_pb2.UNKNOWN)


def test_a_request_sent_again_has_the_same_ids(client: Client, kafka: KafkaConfig, encoding: Encoding) -> None:
    for _ in range(2):
        post(client, traces(span()), encoding)
    first, second = landed(kafka.brokers[0], kafka.topic)
    assert first.value["event_id"] == second.value["event_id"] != ""


def test_the_answer_waits_for_kafka(
    client: Client, kafka: KafkaConfig, monkeypatch: pytest.MonkeyPatch, encoding: Encoding
) -> None:
    waited: list[int] = []
    wait = Batch.wait

    def seen(batch: Batch, deadline: float) -> None:
        waited.append(batch.pending)
        wait(batch, deadline)
        assert batch.pending == 0

    monkeypatch.setattr(Batch, "wait", seen)
    assert post(client, traces(span(), span()), encoding).status_code == 200
    assert waited
    assert json.dumps([message.value["event_id"] for message in landed(kafka.brokers[0], kafka.topic)])


def test_metrics_are_counted_once_through_a_restart_of_the_sender(
    client: Client, kafka: KafkaConfig, encoding: Encoding
) -> None:
    name = f"metered-{kafka.topic}"

    def send(second: int, values: list[float], **options: Any) -> Any:
        point = histogram(values=values, cumulative=True, end_ns=START_NS + second * SECOND_NS, **options)
        answer = post(client, metrics(point, resource={"service.name": name}), encoding, path="/v1/metrics")
        assert answer.status_code == 200
        return read(answer, ExportMetricsServiceResponse, encoding)

    assert not send(10, [0.2, 0.4]).HasField("partial_success")
    send(20, [0.2, 0.4, 0.9])
    send(20, [0.2, 0.4, 0.9])
    send(40, [0.5], start_ns=START_NS + 30 * SECOND_NS)
    assert send(50, [0.5, 0.5], start_ns=START_NS + 30 * SECOND_NS, sum=-1.0).partial_success.rejected_data_points == 1
    found = [message.value for message in landed(kafka.brokers[0], kafka.topic)]
    assert round(sum(value["latency_ms"] for value in found)) == 2000
    assert (len(found), len({value["event_id"] for value in found})) == (4, 4)


def test_streams_are_not_moved_on_by_what_kafka_did_not_take(
    client: Client, kafka: KafkaConfig, encoding: Encoding
) -> None:
    request = metrics(histogram(values=[0.2, 0.4], cumulative=True), resource={"service.name": kafka.topic})
    reception._producer = KeyedProducer(KafkaConfig(brokers=("127.0.0.1:1",)), message_timeout_ms=200)
    check_failure(post(client, request, encoding, path="/v1/metrics"), encoding, 503, code_pb2.UNAVAILABLE)
    assert post(client, request, encoding, path="/v1/metrics").status_code == 200
    assert len(landed(kafka.brokers[0], kafka.topic)) == 2


@pytest.mark.parametrize(("mode", "expected"), [("auto", 1), ("always", 3), ("never", 1)])
def test_calls_that_came_as_spans_are_not_counted_by_metrics_again(
    client: Client, kafka: KafkaConfig, otlp: Callable[..., None], mode: str, expected: int, encoding: Encoding
) -> None:
    otlp(metrics=mode)
    resource = {"service.name": kafka.topic}
    assert post(client, traces(span(), resource=resource), encoding).status_code == 200
    measured = metrics(histogram(values=[0.2, 0.4]), resource=resource)
    assert post(client, measured, encoding, path="/v1/metrics").status_code == 200
    assert len(landed(kafka.brokers[0], kafka.topic)) == expected


def test_durations_and_tokens_in_requests_of_their_own_count_once(
    client: Client, kafka: KafkaConfig, encoding: Encoding
) -> None:
    resource = {"service.name": kafka.topic}
    for metric in (histogram(values=[0.2, 0.4]), tokens("input", [10, 20])):
        assert post(client, metrics(metric, resource=resource), encoding, path="/v1/metrics").status_code == 200
    assert len(landed(kafka.brokers[0], kafka.topic)) == 2


def test_metrics_wait_while_their_memory_is_away(
    client: Client, kafka: KafkaConfig, monkeypatch: pytest.MonkeyPatch, encoding: Encoding
) -> None:
    def away(_alias: str) -> Redis:
        return Redis(port=1, socket_connect_timeout=1)

    monkeypatch.setattr(memory, "get_redis_connection", away)
    answer = post(client, metrics(histogram(values=[0.2], cumulative=True)), encoding, path="/v1/metrics")
    assert "Redis does not answer" in check_failure(answer, encoding, 503, code_pb2.UNAVAILABLE)
    assert answer.headers["Retry-After"] == "5"
    assert post(client, traces(span(), resource={"service.name": kafka.topic}), encoding).status_code == 200
