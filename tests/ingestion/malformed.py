"""Messages that no consumer should have to see, each with the code it has to be refused with."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

Mutation = Callable[[random.Random], bytes]

FIELDS = ("timestamp", "service_name", "model_name", "latency_ms", "prompt_tokens", "completion_tokens")


def good_event(rng: random.Random) -> dict[str, Any]:
    """A valid event of the flat shape."""
    sent, received = rng.randrange(1, 4000), rng.randrange(1, 1000)
    return {
        "timestamp": f"2024-11-06T10:{rng.randrange(60):02d}:{rng.randrange(60):02d}.{rng.randrange(1000):03d}Z",
        "service_name": rng.choice(["chat-api", "search", "summarizer"]),
        "model_name": rng.choice(["gpt-4", "claude-3-opus", "llama-3-70b"]),
        "latency_ms": round(rng.lognormvariate(6.5, 0.4), 3),
        "prompt_tokens": sent,
        "completion_tokens": received,
        "total_tokens": sent + received,
        "cost_usd": round(sent * 3e-5 + received * 6e-5, 6),
        "metadata": {"region": rng.choice(["eu", "us"])},
    }


def good_message(rng: random.Random) -> bytes:
    return json.dumps(good_event(rng)).encode()


def with_value(field: str, value: Any) -> Mutation:
    """A good event with another value in one field."""
    return lambda rng: json.dumps(good_event(rng) | {field: value}).encode()


def with_text(field: str, text: str | bytes) -> Mutation:
    """A good event with a raw piece of JSON (or of what is no JSON) in one field."""
    raw = text.encode() if isinstance(text, str) else text

    def message(rng: random.Random) -> bytes:
        return json.dumps(good_event(rng) | {field: "@@"}).encode().replace(b'"@@"', raw)

    return message


def without(field: str) -> Mutation:
    return lambda rng: json.dumps({k: v for k, v in good_event(rng).items() if k != field}).encode()


def always(payload: bytes) -> Mutation:
    return lambda _: payload


def cut_short(rng: random.Random) -> bytes:
    message = good_message(rng)
    return message[: rng.randrange(1, len(message) - 1)]


def array_of_events(rng: random.Random) -> bytes:
    return b"[" + good_message(rng) + b"," + good_message(rng) + b"]"


def two_events(rng: random.Random) -> bytes:
    return good_message(rng) + b"\n" + good_message(rng)


def utf_16(rng: random.Random) -> bytes:
    return good_message(rng).decode().encode("utf-16")


def latin_1_name(rng: random.Random) -> bytes:
    return json.dumps(good_event(rng) | {"service_name": "caf\u00e9"}, ensure_ascii=False).encode("latin-1")


def single_quotes(rng: random.Random) -> bytes:
    return good_message(rng).replace(b'"', b"'")


def nested(tokens: Any, **changes: Any) -> Mutation:
    """The nested shape with a wrong number of prompt tokens."""

    def message(rng: random.Random) -> bytes:
        flat = good_event(rng)
        shape = {"timestamp": flat["timestamp"], "service_name": "chat-api", "model": "gpt-4", "latency_ms": 5.0}
        halves = {"prompt": {"text": "hi", "tokens": tokens}, "response": {"text": "ho", "tokens": 4}}
        return json.dumps(shape | halves | changes).encode()

    return message


DEEP = 100_000
HUGE = "9" * 5000
NOT_JSON_MESSAGES: list[tuple[Mutation, str]] = [
    (always(b""), "empty"),
    (always(b" \n\t "), "empty"),
    (always(b"null"), "not_an_object"),
    (always(b"42"), "not_an_object"),
    (always(b'"an event"'), "not_an_object"),
    (always(b"true"), "not_an_object"),
    (always(b"[]"), "array"),
    (array_of_events, "array"),
    (always(b"hello, world"), "invalid_json"),
    (always(b"<event/>"), "invalid_json"),
    (always(bytes(range(128, 256))), "invalid_text"),
    (always(b"\x00" * 64), "invalid_text"),
    (always(b"\x0a\x1b\x0a\x08chat-api\x12\x05gpt-4"), "invalid_json"),
    (cut_short, "invalid_json"),
    (two_events, "invalid_json"),
    (single_quotes, "invalid_json"),
    (with_text("latency_ms", "12,"), "invalid_json"),
    (with_text("latency_ms", "007"), "invalid_json"),
    (with_text("latency_ms", "0x10"), "invalid_json"),
    (with_text("user_id", b'"raw\x00nul"'), "invalid_json"),
    (with_text("user_id", b'"raw\nline"'), "invalid_json"),
    (utf_16, "invalid_text"),
    (latin_1_name, "invalid_text"),
    (with_text("service_name", b'"\xed\xa0\x80"'), "invalid_text"),
    (with_text("service_name", '"\\ud800"'), "invalid_text"),
    (with_text("model_name", '"\\udc00\\ud800"'), "invalid_text"),
    (with_text("latency_ms", "NaN"), "not_finite"),
    (with_text("latency_ms", "-Infinity"), "not_finite"),
    (with_text("cost_usd", "Infinity"), "not_finite"),
    (always(b"[" * DEEP), "array"),
    (always(b'{"a":' * DEEP), "too_deep"),
    (with_text("metadata", b'{"a":' * DEEP + b"1" + b"}" * DEEP), "too_deep"),
    (with_text("unknown", b"[" * DEEP + b"]" * DEEP), "too_deep"),
]
WRONG_EVENTS: list[tuple[Mutation, str]] = [
    (always(b"{}"), "missing"),
    *((without(field), "missing") for field in FIELDS),
    (nested(None), "missing"),
    (nested(-1), "negative"),
    (nested("many"), "wrong_type"),
    (nested(1, errors=[1, 2]), "wrong_type"),
    (nested(1, latency_ms=None), "wrong_type"),
    (with_value("timestamp", "yesterday"), "bad_timestamp"),
    (with_value("timestamp", ""), "bad_timestamp"),
    (with_value("timestamp", "2024-13-06T10:25:00Z"), "bad_timestamp"),
    (with_value("timestamp", "2024-11-06T25:00:00Z"), "bad_timestamp"),
    (with_value("timestamp", "20241106T102500Z"), "bad_timestamp"),
    (with_value("timestamp", "2024-W45-3"), "bad_timestamp"),
    (with_value("timestamp", "0001-01-01T00:00:00Z"), "bad_timestamp"),
    (with_value("timestamp", "2024-11-06T10:25:00.123456789xZ"), "bad_timestamp"),
    (with_value("timestamp", 1730888700), "wrong_type"),
    (with_value("timestamp", None), "wrong_type"),
    (with_value("service_name", ""), "bad_name"),
    (with_value("service_name", "   "), "bad_name"),
    (with_value("service_name", "x" * 129), "bad_name"),
    (with_value("service_name", "chat\x00api"), "bad_name"),
    (with_value("service_name", "chat\x1b[31mapi"), "bad_name"),
    (with_value("service_name", "chat\u202eapi"), "bad_name"),
    (with_value("model_name", "gpt\n4"), "bad_name"),
    (with_value("model_name", ""), "bad_name"),
    (with_value("model_name", "m" * 5000), "bad_name"),
    (with_value("service_name", None), "wrong_type"),
    (with_value("service_name", ["chat-api"]), "wrong_type"),
    (with_value("model_name", {"name": "gpt-4"}), "wrong_type"),
    (with_value("latency_ms", -1), "negative"),
    (with_value("latency_ms", -0.001), "negative"),
    (with_value("latency_ms", "12"), "wrong_type"),
    (with_value("latency_ms", True), "wrong_type"),
    (with_value("latency_ms", None), "wrong_type"),
    (with_value("latency_ms", [1]), "wrong_type"),
    (with_text("latency_ms", "1e400"), "out_of_range"),
    (with_text("latency_ms", HUGE), "out_of_range"),
    (with_value("prompt_tokens", -5), "negative"),
    (with_value("prompt_tokens", 1.5), "wrong_type"),
    (with_value("prompt_tokens", "12"), "wrong_type"),
    (with_value("completion_tokens", 2**63), "out_of_range"),
    (with_text("completion_tokens", HUGE), "out_of_range"),
    (with_value("prompt_tokens", None), "missing"),
    (with_value("total_tokens", -1), "negative"),
    (with_value("cost_usd", -0.01), "negative"),
    (with_value("cost_usd", "free"), "wrong_type"),
    (with_text("cost_usd", "-1e400"), "out_of_range"),
    (with_value("errors", [{"message": "boom"}]), "wrong_type"),
    (with_value("error", 500), "wrong_type"),
    (with_value("metadata", "eu"), "wrong_type"),
    (with_value("metadata", [1, 2]), "wrong_type"),
    (with_value("user_id", 7), "wrong_type"),
    (with_value("quality_score", "good"), "wrong_type"),
    (with_value("prompt", 7), "wrong_type"),
]
KINDS = NOT_JSON_MESSAGES + WRONG_EVENTS


def malformed_messages(n: int, seed: int) -> list[tuple[bytes, str]]:
    """`n` malformed messages of all kinds in turn, each with the code of its refusal; the same for the same seed."""
    rng = random.Random(seed)
    kinds = rng.sample(KINDS, len(KINDS))
    return [(mutate(rng), code) for mutate, code in (kinds[index % len(kinds)] for index in range(n))]
