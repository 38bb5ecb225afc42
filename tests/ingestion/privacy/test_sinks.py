"""Private data is gone from events before any sink, and from dead letters."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import pytest
from prometheus_client import REGISTRY

from ingestion.dead_letters import Record, dead_letter
from ingestion.formats.cleaning import clean
from ingestion.formats.event import Event
from ingestion.formats.native import decode, encode
from ingestion.formats.validation import Limits, Rejection
from ingestion.limits import limits_of
from ingestion.privacy import Policy, Scrubber
from sentinel_site.config.model import Config

PRIVATE = ("ada@example.com", "4111 1111 1111 1111", "+1 415 555 2671", "sk-proj-Ab12Cd34Ef56Gh78Ij90Kl12")
LIMITS = Limits(scrubber=Scrubber(Policy(key=b"key")), capture_text=True)
MESSAGE = {
    "timestamp": "2024-11-06T10:25:00Z",
    "service_name": "chat",
    "model_name": "gpt-4o",
    "latency_ms": 5,
    "prompt_tokens": 1,
    "completion_tokens": 1,
}


def event_of(limits: Limits = LIMITS, **fields: object) -> Event:
    return decode(json.dumps({**MESSAGE, **fields}).encode(), received_ms=1 << 62, limits=limits)


@pytest.mark.parametrize("private", PRIVATE)
@pytest.mark.parametrize("times", [1, 2])
def test_no_field_of_an_event_holds_private_data(private: str, times: int) -> None:
    said = f"it is {private} ok"
    for _ in range(times):  # what was remembered of the first must not let the second through
        event = event_of(
            errors=[said],
            metadata={"note": said, said: "x"},
            user_id=private,
            session_id=private,
            finish_reason=private,
            provider=private,
            prompt_text=said,
            response_text=said,
        )
        assert private not in encode(event).decode()


def test_people_stay_apart_and_the_same() -> None:
    ada, bob = event_of(user_id="ada@example.com"), event_of(user_id="bob@example.com")
    assert ada.user_id != bob.user_id
    assert ada.user_id == event_of(user_id="ada@example.com").user_id
    assert event_of(user_id="user-17", session_id="s-4").user_id == "user-17"


def test_ids_made_of_addresses_are_digested_and_stay_distinct() -> None:
    one, other = (event_of(event_id=f"{name}@example.com/1").event_id for name in ("ada", "bob"))
    assert one != other
    assert "@" not in f"{one}{other}"


def test_an_event_that_was_cleaned_passes_again_unchanged() -> None:
    once = event_of(user_id="ada@example.com", errors=["of ada@example.com"], metadata={"note": "4111111111111111"})
    assert msgspec.structs.asdict(decode(encode(once), received_ms=1 << 62, limits=LIMITS)) == msgspec.structs.asdict(
        once
    )


def test_events_of_other_formats_are_cleaned_by_one_call() -> None:
    event = Event(
        0, "chat", "gpt-4o", user_id="ada@example.com", metadata={"a": "+1 415 555 2671"}, prompt_text="a@b.io"
    )
    clean(event, LIMITS)
    assert event.metadata == {"a": "[phone]"}
    assert (event.prompt_text, "@" in event.user_id) == ("[email]", False)


def test_detection_of_private_data_can_be_turned_off() -> None:
    off = replace(LIMITS, scrubber=Scrubber(Policy(is_on=False)))
    assert event_of(off, metadata={"note": "a@b.io"}).metadata == {"note": "a@b.io"}


@pytest.mark.parametrize("private", PRIVATE)
@pytest.mark.parametrize("payload", ['{"note": "is %s"}', '{"%s": 1}', '{"a": [{"b": "%s"}]', "broken %s {"])
def test_dead_letters_hold_no_private_data(private: str, payload: str) -> None:
    record = Record("t", 0, 0, None, (payload % private).encode())
    letter = dead_letter(record, Rejection("invalid", "x", f"got {private}"))
    assert private not in letter.decode()


def test_a_number_that_is_a_card_leaves_dead_letters_too() -> None:
    letter = dead_letter(
        Record("t", 0, 0, None, b'{"n": 4111111111111111, "latency_ms": -1.5}'), Rejection("x", "", "")
    )
    assert json.loads(json.loads(letter)["payload"]) == {"n": "[card]", "latency_ms": -1.5}


def test_the_configuration_sets_what_is_done_with_each_kind() -> None:
    config = Config.model_validate(
        {"ingestion": {"privacy": {"actions": {"card": "drop", "email": "hash"}, "patterns": {"badge": "B-[0-9]{4}"}}}}
    )
    scrub = limits_of(config).scrubber.scrub
    assert scrub("a 4111111111111111 B-1234") == "a  [badge]"
    assert scrub("x@y.io").startswith("[email:")
    assert limits_of(config) is limits_of(config)


@pytest.mark.parametrize(
    ("privacy", "reason"),
    [
        ({"patterns": {"badge": "(?<=x)y"}}, "is not a pattern of RE2"),
        ({"actions": {"face": "mask"}}, "face is no kind"),
    ],
)
def test_the_configuration_refuses_what_is_unsafe(privacy: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Config.model_validate({"ingestion": {"privacy": privacy}})


def test_texts_redacted_as_a_whole_are_counted() -> None:
    name, labels = "sentinel_scrub_failures_total", {"reason": "TooMuchWork"}
    before = REGISTRY.get_sample_value(name, labels) or 0
    limits_of(Config()).scrubber.scrub("1.2.3.4 " * 50_000)
    assert REGISTRY.get_sample_value(name, labels) == before + 1
