"""Private data does not get through; what merely looks like it does; nothing takes long; failures close."""

from __future__ import annotations

import random
import string
import time
from itertools import product

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from ingestion.privacy import DEFAULT, KINDS, REDACTED, Policy, Scrubber
from ingestion.privacy.findings import Budget
from ingestion.privacy.recognisers import RECOGNISERS

PRIVATE = [
    ("email", "first.last+tag@mail.example.co.uk"),
    ("email", "josé.garcía@correo.es"),
    ("email", "user%40example.com"),
    ("email", "почта@пример.рф"),
    ("phone", "+1 (415) 555-2671"),
    ("phone", "+49 (0)30 901820"),
    ("phone", "020 7946 0958"),
    ("phone", "(415) 555-2671 ext. 12"),
    ("card", "4111 1111 1111 1111"),
    ("card", "3782-822463-10005"),
    ("card", "6011000990139424"),
    ("iban", "GB82 WEST 1234 5698 7654 32"),
    ("iban", "de89370400440532013000"),
    ("ssn", "123-45-6789"),
    ("ip", "203.0.113.9"),
    ("ip", "2001:db8:85a3::8a2e:370:7334"),
    ("ip", "::ffff:192.0.2.128"),
    ("api_key", "sk-proj-Ab12Cd34Ef56Gh78Ij90Kl12"),
    ("api_key", "AKIAIOSFODNN7EXAMPLE"),
    ("api_key", "ghp_abcdefghijklmnopqrstuvwxyz0123456789"),
    ("jwt", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcDEF_123-xyz"),
    ("private_key", "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----"),
]
AROUND = [
    "{}",
    "see {}.",
    '{{"note": "{}"}}',
    "({})",
    "x={};",
    "用户{}的资料",
    "до {} после",
    "line\\n{}\\tline",
    "%20{}%20",
]
HARMLESS = [
    "order 415-555-2671",
    "4111 1111 1111 1112",
    "DE88 3704 0044 0532 0130 00",
    "666-12-3456 and 123-00-4567 and part no. 123-45-6789",
    "at 2024-11-06 10:25:00.123, 06.11.2024 10:25, 1730888700123, 20241106T102500Z",
    "550e8400-e29b-41d4-a716-446655440000",
    "9fceb02d0ae598e95dc970b74767f19372d61af8",
    "version 1.2.3.4, v10.0.19041.1, gpt-4o-2024-08-06, claude-3-5-sonnet-20241022",
    "$1,234,567.89 and 0.4111111111111111 and 1 234 567 890",
    "ISBN 978-3-16-148410-0, 0-306-40615-2, tracking 1Z999AA10123456784",
    "aa:bb:cc:dd:ee:ff at 10:25:00 in std::vector<int>, 127.0.0.1 and ::1",
    "npm i @scope/package@1.2.3; git clone git@github.com:org/repo.git",
    "the bearer of good news has a token count of 1234567890123456",
    "sk-learn-is-a-name-of-many-words",
]


@pytest.mark.parametrize(("kind", "value"), PRIVATE)
@pytest.mark.parametrize("around", AROUND)
def test_private_data_is_masked_and_what_is_around_it_stays(kind: str, value: str, around: str) -> None:
    assert DEFAULT.scrub(around.format(value)) == around.format(f"[{kind}]")


@pytest.mark.parametrize("text", HARMLESS)
def test_what_merely_looks_like_private_data_stays(text: str) -> None:
    assert DEFAULT.scrub(text) == text


def test_two_numbers_in_a_row_are_two_findings() -> None:
    assert DEFAULT.scrub("+1 415 555 2671 +44 20 7946 0958") == "[phone] [phone]"
    assert DEFAULT.scrub("4111111111111111 5555 5555 5555 4444") == "[card] [card]"


def test_a_key_without_its_end_is_masked_to_the_end_of_the_text() -> None:
    assert DEFAULT.scrub("a -----BEGIN PRIVATE KEY-----\nMIIE\nfoo") == "a [private_key]"


def test_of_overlapping_findings_nothing_remains() -> None:
    scrubbed = DEFAULT.scrub("Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcDEF_123-xyz")
    assert scrubbed == "Authorization: Bearer [jwt]"


@pytest.mark.parametrize(
    ("action", "pattern"),
    [("mask", r"^\[email\] x$"), ("drop", "^ x$"), ("hash", r"^\[email:[a-p]{12}\] x$"), ("keep", "^a@b.io x$")],
)
def test_the_policy_says_what_stands_in_the_place_of_a_value(action: str, pattern: str) -> None:
    policy = Policy("mask", {"email": action}, key=b"key")  # type: ignore[dict-item]
    assert re2.search(pattern, Scrubber(policy).scrub("a@b.io x"))


def test_digests_tell_values_apart_and_need_the_key() -> None:
    one, other = (Scrubber(Policy("hash", key=key)) for key in (b"one", b"other"))
    assert one.scrub("a@b.io") == one.scrub("a@b.io") != one.scrub("c@b.io")
    assert one.scrub("a@b.io") != other.scrub("a@b.io")
    with pytest.raises(ValueError, match="needs a key"):
        Policy("hash")


def test_identifiers_stay_apart_whatever_the_policy() -> None:
    scrubber = Scrubber(Policy(key=b"key"))
    assert scrubber.scrub_identifier("a@b.io") != scrubber.scrub_identifier("c@b.io")
    assert "@" not in scrubber.scrub_identifier("a@b.io")
    assert scrubber.scrub_identifier("user-17") == "user-17"


def test_an_installation_adds_kinds_of_its_own() -> None:
    scrubber = Scrubber(Policy(patterns={"employee": r"\bE-[0-9]{6}\b"}))
    assert scrubber.scrub("E-123456 wrote to a@b.io") == "[employee] wrote to [email]"


@pytest.mark.parametrize(
    ("kind", "pattern", "reason"),
    [
        ("employee", "(a", "missing"),
        ("employee", r"(?=a)b", "look-around"),
        ("employee", "a*", "matches the empty text"),
        ("employee", "(((a{1000}){1000}){1000})", "is not a pattern"),
        ("email", "a", "must be a new name"),
        ("Big Name", "a", "must be a new name"),
        ("employee", "a" * 1001, "longer than"),
    ],
)
def test_an_unsafe_pattern_is_refused_with_a_reason(kind: str, pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Policy(patterns={kind: pattern})


def test_an_unknown_kind_or_action_is_refused() -> None:
    with pytest.raises(ValueError, match="name is no kind"):
        Policy(actions={"name": "mask"})
    with pytest.raises(ValueError, match="none of mask"):
        Policy(actions={"email": "burn"})  # type: ignore[dict-item]


def test_a_failing_search_redacts_the_whole_text(monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[Exception] = []
    scrubber = Scrubber(failed=failures.append)

    def broken(text: str) -> list[object]:
        raise RuntimeError("broken")

    monkeypatch.setattr(scrubber, "find", broken)
    assert scrubber.scrub("a@b.io") == REDACTED
    assert [str(failure) for failure in failures] == ["broken"]


def test_too_much_work_redacts_the_whole_text() -> None:
    failures: list[Exception] = []
    assert Scrubber(failed=failures.append).scrub("1.2.3.4 " * 50_000) == REDACTED
    assert [type(failure).__name__ for failure in failures] == ["TooMuchWork"]


def test_half_a_surrogate_pair_hides_nothing() -> None:
    assert DEFAULT.scrub("\ud800 a@b.io") == "\ud800 [email]"


TOKENS = st.sampled_from(
    [
        *"@.+-:/ %()[]{}\"'\\\n=,;#$_\0é电\u0660",
        "0",
        "1",
        "42",
        "4111",
        "26 26 24 83",
        "512 345 678",
        "my number is 12345678",
        "call",
        "a",
        "Z",
        "com",
        "DE89",
        "sk-",
        "eyJ",
        "::",
        "%40",
        "%20",
    ]
    + [value for _, value in PRIVATE]
)


@given(st.lists(TOKENS, max_size=30).map(" ; ".join))
def test_scrubbing_twice_changes_nothing_more(text: str) -> None:
    once = DEFAULT.scrub(text)
    assert DEFAULT.scrub(once) == once


@given(st.one_of(st.lists(TOKENS, max_size=30).map("".join), st.text(max_size=200)))
def test_the_fast_path_never_passes_what_a_recogniser_would_find(text: str) -> None:
    found = [finding for recogniser in RECOGNISERS for finding in recogniser.find(text, Budget(10**7))]
    assert bool(found) <= bool(DEFAULT.find(text)), found


@given(st.lists(TOKENS, max_size=40).map("".join))
def test_findings_are_in_order_apart_and_within_the_text(text: str) -> None:
    place = 0
    for kind, start, end in DEFAULT.find(text):
        assert kind in KINDS
        assert place <= start < end <= len(text)
        place = end


def hostile_texts() -> dict[str, str]:
    """100 000 characters each that make careless patterns slow."""
    rng, size = random.Random(1), 100_000
    pieces = [
        "a@",
        "a@a.",
        "a.",
        "1",
        "1 ",
        "12-",
        "4111 ",
        "+1 ",
        "(",
        "DE12 ",
        "::",
        "ab:",
        "1.1.1.1 ",
        "sk-",
        "eyJ",
        "eyJa.",
    ]
    pieces += [
        "-----BEGIN PRIVATE KEY----- ",
        "bearer ",
        "token=",
        '\\"',
        "%20",
        "://a:",
        "\u0660 ",
        "电",
        'api_key: "',
        "call 12345678 ",
    ]
    texts = {piece: piece * (size // len(piece)) for piece in pieces}
    texts["random"] = "".join(rng.choices("0123456789 -.:aA+@%", k=size))
    texts["printable"] = "".join(rng.choices(string.printable, k=size))
    return texts


@pytest.mark.parametrize("name", hostile_texts())
def test_no_text_takes_more_than_linear_time(name: str) -> None:
    text = hostile_texts()[name]
    DEFAULT.scrub(text[:1000])
    began = time.process_time()
    DEFAULT.scrub(text)
    # 50 ms are the aim, see docs/privacy.md; ten times that is what only something worse than linear takes.
    assert time.process_time() - began < 0.5


def test_kinds_and_forms_of_writing_are_all_covered() -> None:
    assert {kind for kind, _ in PRIVATE} | {"bearer"} == set(KINDS)
    assert len(list(product(PRIVATE, AROUND))) > 150
