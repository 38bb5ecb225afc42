"""Templates that people write: what they can say, and what they cannot use up."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.rules.templates import MAX_RESULT, MAX_SOURCE, TemplateProblem, render

CONTEXT: dict[str, Any] = {
    "severity": "critical",
    "text": "t" * 4000,
    "anomalies": [
        {
            "title": f"Spike {number}",
            "value": 15234.5,
            "first_seen": datetime(2026, 3, 1, 12, 5, tzinfo=UTC),
            "labels": {"team": "search", "tier": "1"},
            "model": None,
        }
        for number in range(100)
    ],
}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ severity|upper }}: {{ anomalies[0].title }}", "CRITICAL: Spike 0"),
        ("{{ anomalies[0].value|number }}", "15,234"),
        ("{{ anomalies[0].model|number }}", "-"),
        ("{{ (anomalies[0].value / 1000)|round(1) }} s", "15.2 s"),
        ("{{ anomalies[0].first_seen|time('%H:%M') }}", "12:05"),
        ("{% for a in anomalies[:2] %}{{ loop.index }}. {{ a.title }}\n{% endfor %}", "1. Spike 0\n2. Spike 1\n"),
        (
            "{% for key, value in anomalies[0].labels|dictsort %}{{ key }}={{ value }} {% endfor %}",
            "team=search tier=1 ",
        ),
        ("{% if severity == 'critical' %}wake up{% else %}later{% endif %}", "wake up"),
        ("{{ anomalies[0].labels.owner|default('nobody') }}", "nobody"),
        ("{{ anomalies|length }} in {{ anomalies[0].labels.items()|list if false else 'all' }}", None),
        ("<b>{{ severity }}</b>", "<b>critical</b>"),
    ],
)
def test_a_template_says_what_it_is_given(source: str, said: str | None) -> None:
    if said is None:
        with pytest.raises(TemplateProblem, match="calls nothing"):
            render(source, CONTEXT)
    else:
        assert render(source, CONTEXT) == said


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("{{ severity", "unexpected end"),
        ("one\n{% if %}", "line 2"),
        ("{{ sevrity }}", "'sevrity' is undefined"),
        ("{{ anomalies[0].labels.owner }}", "owner"),
        ("{{ severity|shout }}", "No filter named 'shout'"),
        ("{% for a in anomalies recursive %}{% endfor %}", "recursive"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("x" * (MAX_SOURCE + 1), "are allowed"),
    ],
)
def test_a_template_that_cannot_work_says_why(source: str, why: str) -> None:
    with pytest.raises(TemplateProblem, match=why):
        render(source, CONTEXT)


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__ }}",
        "{{ severity['__class__'] }}",
        "{{ anomalies|sort(attribute='title.__class__') }}",
        "{{ severity.format }}",
        "{{ anomalies.append }}",
        "{{ self.__init__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ lipsum() }}",
        "{{ ().__class__.__bases__[0].__subclasses__() }}",
        "{% set x = 1 %}",
        "{% macro f() %}{% endmacro %}",
        "{% include 'admin/base.html' %}",
        "{% import 'os' as os %}",
        "{% extends 'admin/base.html' %}",
    ],
)
def test_a_template_reaches_nothing_but_its_values(source: str) -> None:
    with pytest.raises(TemplateProblem):
        render(source, CONTEXT)


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'a' * 1000000000 }}",
        "{{ [0] * 1000000000 }}",
        "{{ 9 ** 999999999 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '{:>1000000000}'.format(1) }}",
        "{{ 'a'|center(1000000000) }}",
        "{{ 'a'.ljust(1000000000) }}",
        "{% for i in range(1000000000) %}{% endfor %}",
        "{% for a in anomalies %}{% for b in anomalies %}{% for c in anomalies %}{% endfor %}{% endfor %}{% endfor %}",
        "{% for a in text %}{% for b in text %}{% endfor %}{% endfor %}",
        "{% for a in anomalies %}{{ text }}{% endfor %}",
        "{{ text|join(text)|join(text)|join(text) }}",
        "{{ " + "text ~ " * 500 + "text }}",
        "{{ " + "(" * 1900 + "1" + ")" * 1900 + " }}",
        "{{ " + "9 * " * 900 + "9 }}{{ text }}{{ text }}{{ text }}{{ text }}{{ text }}",
    ],
)
def test_a_template_that_would_use_up_memory_or_time_is_stopped_at_once(source: str) -> None:
    began = time.monotonic()
    with pytest.raises(TemplateProblem):
        render(source, CONTEXT)
    assert time.monotonic() - began < 2


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("{}%|~+*()[]. 'aexts\n"), max_size=60).map(lambda text: "{{" + text + "}}"))
def test_whatever_is_written_ends_as_a_text_or_a_problem(source: str) -> None:
    with contextlib.suppress(TemplateProblem):
        assert len(render(source, {"text": "x"})) <= MAX_RESULT
