"""Waiting for a condition."""

from itertools import count

import pytest

from tests.support.waiting import eventually


def test_the_first_truthy_result_is_returned() -> None:
    calls = count()
    assert eventually(lambda: next(calls) // 3, interval=0) == 1
    assert next(calls) == 4


def test_an_exception_means_not_yet() -> None:
    answers = iter([0, 5])
    assert eventually(lambda: 10 // next(answers), interval=0) == 2


def test_a_missed_deadline_names_what_was_awaited_and_the_last_value() -> None:
    with pytest.raises(AssertionError, match=r"not within 0 s: three rows; the last call returned \[\]"):
        eventually(list, deadline=0, message="three rows")


def test_a_missed_deadline_names_and_chains_the_last_exception() -> None:
    with pytest.raises(AssertionError, match="raised KeyError: 'absent'") as caught:
        eventually(lambda: {}["absent"], deadline=0)
    assert isinstance(caught.value.__cause__, KeyError)
