"""manage.py alerts: dead deliveries are listed, and replayed under the ids they had."""

from __future__ import annotations

import uuid
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from alerting.models import Delivery
from tests.alerting.factories import a_delivery, a_webhook

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("alerts", *arguments, stdout=out)
    return out.getvalue()


def pending() -> set[uuid.UUID]:
    return set(Delivery.objects.filter(status="pending").values_list("pk", flat=True))


def test_dead_deliveries_are_counted_by_channel_and_shown_one_by_one() -> None:
    dead = a_delivery(status="dead", attempt_count=12, last_error="the receiver answered 500")
    a_delivery(status="delivered")
    a_webhook("https://x.example/", name="idle")
    assert run("dead").splitlines()[-1] == "1 dead"
    assert "hook  1  " in run("dead")
    (line,) = run("dead", "--each").splitlines()
    assert line.startswith(str(dead.pk))
    assert line.endswith("hook  12 tries  the receiver answered 500")
    assert run("dead", "--channel", "idle").splitlines() == ["0 dead"]
    later = (timezone.now() + timedelta(hours=1)).isoformat()
    assert run("dead", "--since", later).splitlines() == ["0 dead"]
    assert run("dead", "--until", later).splitlines()[-1] == "1 dead"


def test_they_are_tried_again_under_their_ids_and_no_others_are() -> None:
    first, second, done = a_delivery(status="dead"), a_delivery(status="dead"), a_delivery(status="delivered")
    assert run("replay", "--all", "--dry-run") == "dry run: 2 would be tried again\n"
    assert pending() == set()
    assert run("replay", str(first.pk)) == "1 will be tried again, under the ids they had\n"
    assert pending() == {first.pk}
    run("replay", "--channel", "hook")
    assert pending() == {first.pk, second.pk}
    done.refresh_from_db()
    assert done.status == "delivered"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["replay"], "say which"),
        (["replay", "--all", str(uuid.UUID(int=1))], "not both"),
        (["replay", str(uuid.UUID(int=1))], "there is no dead delivery 00000000"),
        (["replay", "one"], "no id of a delivery"),
        (["dead", "--channel", "nowhere"], "there is no channel nowhere; there are: .*hook"),
        (["dead", "--since", "yesterday"], "no time such as"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: list[str], words: str) -> None:
    a_delivery(status="pending")
    with pytest.raises(CommandError, match=words):
        run(*arguments)
