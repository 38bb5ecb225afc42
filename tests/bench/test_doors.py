"""Every door, a small version of what `make bench BENCH=doors` does: real server, real consumers, real Kafka."""

from __future__ import annotations

import pytest

from bench import doors
from bench.premises import Addresses
from tests.support.services import require

MIB = 1 << 20


@pytest.mark.verify
@pytest.mark.timeout(600)
def test_no_door_breaks_swells_or_loses_what_it_refuses() -> None:
    addresses = Addresses(require("kafka"), require("postgres"), require("redis"))
    findings = doors.measure(addresses, mutations=40, size=2 * MIB, seed=7)
    assert [each.door for each in findings if not each.is_good] == [], doors.show(findings)
    assert len(findings) == 14
    given = {each.door: each.outcomes for each in findings}
    assert given["Kafka, native topic"] == {"dead letters": 40, "rows": 40}
    assert given["native, arrays, gzip"]["accepted"] == given["native, lines, gzip"]["accepted"] == 10
    assert all(each.given for each in findings)


def test_a_door_is_bad_that_swells_or_has_a_fault() -> None:
    assert doors.Finding("a", growth_mb=300).is_good
    assert not doors.Finding("a", growth_mb=301).is_good
    assert not doors.Finding("a", faults=["500 for b''"]).is_good
    assert "a: 500 for b''" in doors.show([doors.Finding("a", 1, {"500": 1}, 1.0, ["500 for b''"])])
