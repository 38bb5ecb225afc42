"""What COPY reads from the lines is what was to be written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingestion.telemetry_store import copy_text
from ingestion.telemetry_store.rows import json_texts
from tests.support.services import require

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
COLUMNS = "text text, json jsonb, whole bigint, real double precision, flag boolean, id uuid, at timestamptz"

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])) | st.sampled_from(
    ["\\.", "\\N", "\\", "\t", "\r\n", "a\\tb", "", '"', "\u2028", "%s", "%"]
)
rows = st.tuples(
    texts,
    st.dictionaries(texts, texts, max_size=2),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.uuids(),
    st.integers(0, 253_370_000_000_000_000).map(lambda microseconds: microseconds * 1000),  # to the year 9998
)


def lines(some: list[Any]) -> list[str]:
    text, json, whole, real, flag, identity, at = zip(*some, strict=True)
    return copy_text.lines(
        [
            copy_text.texts(text),
            copy_text.jsons(json_texts(json)),
            *(copy_text.numbers(values) for values in (whole, real, flag)),
            copy_text.uuids(identity),
            copy_text.moments(at),
        ]
    )


@pytest.fixture(scope="module")
def connection() -> Any:
    with psycopg.connect(require("postgres"), options="-c TimeZone=Asia/Kolkata") as connection:
        yield connection


def copied(connection: Any, some: list[Any]) -> list[Any]:
    with connection.transaction(force_rollback=True), connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE copied (place serial, {COLUMNS})")
        with cursor.copy("COPY copied (text, json, whole, real, flag, id, at) FROM STDIN") as copy:
            copy.write("".join(line + "\n" for line in lines(some)))
        cursor.execute("SELECT text, json, whole, real, flag, id, at FROM copied ORDER BY place")
        return cursor.fetchall()


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some=st.lists(rows, min_size=1, max_size=20))
def test_postgresql_reads_every_value_as_it_was(connection: Any, some: list[Any]) -> None:
    expected = [(*row[:6], EPOCH + timedelta(microseconds=row[6] // 1000)) for row in some]
    assert copied(connection, some) == expected


@given(some=st.lists(rows, min_size=1))
def test_every_row_is_one_line(some: list[Any]) -> None:
    assert not any("\n" in line or line.count("\t") != 6 for line in lines(some))


def test_what_is_not_finite_or_not_known_is_null() -> None:
    assert list(copy_text.numbers([None, float("nan"), float("inf"), 1.5])) == [r"\N", r"\N", r"\N", "1.5"]


def test_an_integer_beyond_64_bits_is_left_to_the_database() -> None:
    assert list(copy_text.numbers([2**70, None, 3])) == [str(2**70), r"\N", "3"]


def test_one_uuid_for_all_rows_is_written_for_each() -> None:
    identity = UUID(int=7)
    assert copy_text.lines([copy_text.uuids([identity] * 2), copy_text.numbers([1, 2])]) == [
        f"{identity}\t1",
        f"{identity}\t2",
    ]


def test_a_nul_in_json_is_replaced_and_the_words_for_it_are_kept() -> None:
    found = [msgspec.json.decode(text) for text in json_texts([{"a": "x\0\0y"}, {"a": r"\u0000"}, {"a": "\\\0"}])]
    assert found == [{"a": "x\ufffd\ufffdy"}, {"a": r"\u0000"}, {"a": "\\\ufffd"}]
