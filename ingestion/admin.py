"""The admin of dead letters: their reasons and counts as they lie in Kafka, one with its payload, replaying them."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any

from confluent_kafka import KafkaException
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.views.decorators.http import require_POST
from unfold.admin import ModelAdmin

from baselines.admin_tools import BoundedPaginator, ReadOnlyAdmin, text_filter
from baselines.people import name_of
from baselines.visibility import visible_project_ids
from ingestion.letter_replay import REPLAYED, Outcome, Replay
from ingestion.letters import Choice, Letter, LetterBox, LetterPlace, counted
from ingestion.models import ReplayedLetter
from ingestion.telemetry_store import shared_store

LOOKED_AT = 5000  # messages of each partition, the newest
SHOWN = 20
REPLAYED_AT_ONCE = 1000
SECONDS = 2.0
LIST = "admin:ingestion_replayedletter_changelist"


@admin.register(ReplayedLetter)
class DeadLettersAdmin(ReadOnlyAdmin, ModelAdmin):
    """The list is of what was replayed; above it stands what lies in the dead-letter topic."""

    list_display = ["claimed_at", "topic", "partition", "offset", "reason", "actor", "replayed_at"]
    list_filter = [text_filter("reason"), text_filter("topic")]
    list_filter_submit = True
    list_before_template = "ingestion/admin/letters.html"
    sortable_by = ["claimed_at"]
    paginator = BoundedPaginator
    show_full_result_count = False

    def get_urls(self) -> list[Any]:
        ours = [
            path("replay/", self.admin_site.admin_view(require_POST(self.replay_view)), name="dead-letters-replay"),
            path("<int:partition>/<int:offset>/", self.admin_site.admin_view(self.letter_view), name="dead-letter"),
        ]
        return ours + super().get_urls()

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """The permission that operators have; nobody edits a row."""
        return bool(request.user.has_perm("ingestion.change_replayedletter"))  # type: ignore[union-attr]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        found = letters_found() | {"may_replay": self.has_replay_permission(request), "may_read": may_read(request)}
        return super().changelist_view(request, (extra_context or {}) | found | {"title": "Dead letters"})

    def letter_view(self, request: HttpRequest, partition: int, offset: int) -> HttpResponse:
        """One letter. A message belongs to no project, so its payload is for those who see all of them."""
        if not (self.has_view_permission(request) and may_read(request)):
            raise PermissionDenied
        place = LetterPlace(partition, offset)
        try:
            with letter_box() as box:
                letter = box.at([place]).get(place)
                in_kafka = bool(letter and box.originals([letter]))
        except KafkaException as error:
            self.message_user(request, away(error), messages.ERROR)
            return HttpResponseRedirect(reverse(LIST))
        if letter is None:
            raise Http404
        shown = {"letter": letter, "payload": letter.payload.decode(errors="replace"), "in_kafka": in_kafka}
        context = self.admin_site.each_context(request) | shown | {"may_replay": self.has_replay_permission(request)}
        return TemplateResponse(request, "ingestion/admin/letter.html", context | {"title": f"Dead letter {place}"})

    def replay_view(self, request: HttpRequest) -> HttpResponse:
        """Replay the letter at `place`, or the newest with `reason` about `topic`."""
        if not self.has_replay_permission(request):
            raise PermissionDenied
        try:
            with letter_box() as box:
                outcomes = replayed(box, chosen(box, request.POST), name_of(request.user))
        except (KafkaException, ValueError) as error:
            text = away(error) if isinstance(error, KafkaException) else str(error)
            self.message_user(request, text, messages.ERROR)
        else:
            self._tell(request, outcomes)
        return HttpResponseRedirect(reverse(LIST))

    def _tell(self, request: HttpRequest, outcomes: list[Outcome]) -> None:
        counts = Counter(outcome.what for outcome in outcomes)
        said = ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) or "nothing to replay"
        why = next((f" ({outcome.why})" for outcome in outcomes if outcome.why), "")
        is_good = counts.keys() <= {REPLAYED}
        self.message_user(request, f"{said}{why}.".capitalize(), messages.SUCCESS if is_good else messages.WARNING)


def letter_box() -> LetterBox:
    return LetterBox(settings.SENTINEL.ingestion.kafka, SECONDS)


def may_read(request: HttpRequest) -> bool:
    return visible_project_ids(request.user) is None


def letters_found() -> dict[str, Any]:
    """What the page says of the topic: counts by reason, and the newest letters; or that Kafka does not answer."""
    try:
        with letter_box() as box:
            letters = list(box.letters(newest=LOOKED_AT))
    except KafkaException as error:
        return {"away": away(error)}
    newest = sorted(letters, key=lambda letter: letter.written_at, reverse=True)[:SHOWN]
    return {"tallies": counted(letters), "newest": newest, "looked_at": LOOKED_AT}


def chosen(box: LetterBox, form: Any) -> list[Letter]:
    """The letters that a form asks to replay; raises ValueError for a form that makes no sense."""
    if form.get("place"):
        return list(box.at([LetterPlace.parse(form["place"])]).values())
    if not (form.get("reason") and form.get("topic")):
        raise ValueError("Say which dead letters to replay.")
    letters = box.letters(Choice([form["reason"]], [form["topic"]]), LOOKED_AT)
    return list(islice(letters, REPLAYED_AT_ONCE))


def replayed(box: LetterBox, letters: list[Letter], actor: str) -> list[Outcome]:
    replay = Replay(settings.SENTINEL, box, shared_store(), actor)
    try:
        return replay.replay(letters, timezone.now())
    finally:
        replay.close()


def away(error: KafkaException) -> str:
    return f"Kafka does not answer: {error.args[0].str()}"
