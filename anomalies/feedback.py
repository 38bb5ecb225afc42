"""What people make of anomalies, and what follows: shares of noise, and proposals to be stricter where it is much."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction

from anomalies import overrides
from anomalies.detection.overrides import Override, matches
from anomalies.models import Anomaly, DetectionOverride, Feedback, Verdict
from baselines.people import key_of, name_of

# Fewer votes than that are somebody's mood; and an operator who is right four times out of ten wants to be told.
VOTES_NEEDED = 5
NOISE_NEEDED = 0.6
# The latest ones, where there are more: a report is read by people.
MOST_VOTES = 20_000
STRICTER = {"high": "medium", "medium": "low"}
FIRST_DEVIATION = 0.1
LAST_DEVIATION = 1.6


class Vote(NamedTuple):
    anomaly_id: UUID
    service: str
    model: str
    metric: str
    detector: str
    first_seen: datetime
    verdict: str

    @property
    def series(self) -> tuple[str, str, str]:
        return self.service, self.model, self.metric


@transaction.atomic
def vote(anomaly_id: UUID, actor: object, verdict: str, note: str, now: datetime) -> None:
    """Record what `actor` makes of an anomaly, instead of what they made of it before."""
    anomaly = Anomaly.objects.select_for_update().get(pk=anomaly_id)
    said = {"actor_name": name_of(actor), "verdict": verdict, "note": note, "at": now}
    Feedback.objects.update_or_create(anomaly=anomaly, actor=key_of(actor), defaults=said)
    Anomaly.objects.filter(pk=anomaly_id).update(feedback=in_sum(anomaly.votes.order_by("at", "id")))


def in_sum(votes: Iterable[Feedback]) -> dict[str, Any] | None:
    """The votes on one anomaly, the latest last, as its row shows them: the last one, and how many of each."""
    votes = list(votes)
    if not votes:
        return None
    last = votes[-1]
    counts = {verdict.value: sum(one.verdict == verdict for one in votes) for verdict in Verdict}
    at = last.at.isoformat().replace("+00:00", "Z")
    return {"verdict": last.verdict, "note": last.note, "by": last.actor_name, "at": at} | counts


def votes_seen_by(principal: object, since: datetime) -> list[Vote]:
    """The votes since then on anomalies that `principal` may see, the latest first."""
    found = Feedback.objects.visible_to(principal).filter(at__gte=since).order_by("-at", "-id")
    columns = ("anomaly_id", "anomaly__service__name", "anomaly__model", "anomaly__metric", "anomaly__detector")
    rows = found.values_list(*columns, "anomaly__first_seen", "verdict")[:MOST_VOTES]
    return [Vote(*row) for row in rows]


def shares(votes: Iterable[Vote], key: Callable[[Vote], Any]) -> dict[Any, dict[str, Any]]:
    """By what `key` gives: the votes, how many were useful and noise, and the share of noise; the noisiest first."""
    counted: defaultdict[Any, list[int]] = defaultdict(lambda: [0, 0])
    for one in votes:
        counted[key(one)][one.verdict == Verdict.NOISE] += 1
    found = {name: share(useful, noise) for name, (useful, noise) in counted.items()}
    return dict(sorted(found.items(), key=lambda item: (-item[1]["noise_share"], -item[1]["votes"], str(item[0]))))


def share(useful: int, noise: int) -> dict[str, Any]:
    votes = useful + noise
    return {"votes": votes, "useful": useful, "noise": noise, "noise_share": round(noise / votes, 4)}


def proposals(votes: Sequence[Vote]) -> dict[tuple[str, str, str], dict[str, Any]]:
    """By series, a stricter override for those whose anomalies are mostly noise: a proposal, for people to decide.

    Only votes on anomalies that began after the last change of what is set for the series count: one that was heeded
    is not made again until the new setting had its chance.
    """
    in_force = overrides.current()
    rows = list(DetectionOverride.objects.values_list("service", "model", "metric", "updated_at"))
    by_series: defaultdict[tuple[str, str, str], list[Vote]] = defaultdict(list)
    for one in votes:
        by_series[one.series].append(one)
    found = {}
    for series, cast in by_series.items():
        changed = [at for *patterns, at in rows if all(map(matches, patterns, series))]
        fresh = [one for one in cast if not changed or one.first_seen > max(changed)]
        if fresh and (proposal := _proposal(series, fresh, in_force.resolve(*series))):
            found[series] = proposal
    return found


def _proposal(series: tuple[str, str, str], votes: Sequence[Vote], now: Override) -> dict[str, Any] | None:
    noise = sum(one.verdict == Verdict.NOISE for one in votes)
    if len(votes) < VOTES_NEEDED or noise / len(votes) < NOISE_NEEDED:
        return None
    stricter = _stricter(now)
    if stricter is None:
        return None
    note = f"{noise} of {len(votes)} votes call it noise."
    return dict(zip(("service", "model", "metric"), series, strict=True)) | stricter | {"note": note}


def _stricter(now: Override) -> Mapping[str, Any] | None:
    """One step: less sensitive, and at the end of that, only larger departures. None where nothing is left to do."""
    if now.muted:
        return None
    if calmer := STRICTER.get(now.sensitivity or "medium"):
        return {"sensitivity": calmer}
    deviation = max(2 * (now.min_deviation or 0.0), FIRST_DEVIATION)
    return {"min_deviation": deviation} if deviation <= LAST_DEVIATION else None
