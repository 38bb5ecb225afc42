"""Whether a (service, model) pair is watched yet, still, or at all."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Max, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce, Greatest

from baselines.models import BaselineSnapshot, ServedModel

# Until then the calibrated detectors work with widened thresholds.
CALIBRATED_SAMPLES = 4000
# Of a snapshot: samples it was ever taught. One of an older version does not say more than what is in its window.
TAUGHT = Greatest("learned", "samples")


class Watch(models.TextChoices):
    WARMING = "warming"
    READY = "ready"
    CAPPED = "capped"
    RETIRED = "retired"


def samples_needed() -> int:
    """Samples that its longest baseline was taught from which on a pair is ready, in the mode that is configured."""
    detection = settings.SENTINEL.detection
    return int(detection.baseline.min_samples) if detection.mode == "classic" else CALIBRATED_SAMPLES


def watch_of(model: ServedModel, samples: int) -> Watch:
    """The state of a pair whose longest baseline was taught `samples`."""
    if model.retired_at is not None:
        return Watch.RETIRED
    if model.is_capped:
        return Watch.CAPPED
    return Watch.READY if samples >= samples_needed() else Watch.WARMING


def with_samples(pairs: QuerySet[ServedModel]) -> QuerySet[ServedModel]:
    """The pairs, each with the samples that its longest baseline was ever taught as `samples`."""
    of_pair = BaselineSnapshot.objects.filter(service=OuterRef("service__name"), model=OuterRef("name")).order_by()
    longest = of_pair.values("service", "model").annotate(longest=Max(TAUGHT)).values("longest")
    return pairs.annotate(samples=Coalesce(Subquery(longest), 0))
