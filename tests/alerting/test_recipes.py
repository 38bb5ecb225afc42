"""The recipes of the documentation are accepted as they stand there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from alerting.models import Channel
from alerting.rules.group_by import GROUP_FIELDS
from alerting.rules.limits import AGGREGATIONS, METRICS, NO_DATA
from alerting.rules.matching import FIELDS, OPERATORS
from tests.alerting.factories import a_webhook
from tests.support import catalogue
from tests.support.catalogue import bearer

pytestmark = pytest.mark.django_db

PAGE = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text()
RECIPES = re.findall(r"```json POST (\S+)\n(.*?)```", PAGE, re.DOTALL)


def test_there_are_recipes_of_rules_silences_and_limits() -> None:
    kinds = ("alert-rules", "silences", "thresholds", "budgets")
    assert {path for path, _ in RECIPES} == {f"/api/v1/{kind}" for kind in kinds}
    assert len(RECIPES) >= 8


@pytest.mark.parametrize(("path", "body"), RECIPES)
def test_a_recipe_works_as_it_stands(client: Any, path: str, body: str) -> None:
    Channel.objects.all().delete()
    for number in (1, 2, 3):
        a_webhook("https://x.example/", name=f"channel {number}", id=number)
    headers = bearer(catalogue.token("write")[1])
    made = client.post(path, body, content_type="application/json", headers=headers)
    assert made.status_code == 201, made.content
    for name, value in json.loads(body).items():
        if not name.endswith("_at"):
            assert made.json()[name] == value


def test_the_page_names_every_field_and_operator() -> None:
    for name in (*FIELDS, *GROUP_FIELDS, *OPERATORS, *METRICS, *AGGREGATIONS, *NO_DATA):
        assert f"`{name}`" in PAGE, name
